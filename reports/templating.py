"""Rendering of templates into pages: values are escaped, invalid characters replaced, only our own script may run."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache, lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from checker.untrusted_text import markup
from checker.version import VERSION
from reports.output_forms import duration, objective, per_cent, when
from reports.palette import DARK, LIGHT, variables
from reports.svg import gaps


def render(template: str, **values: Any) -> str:
    """The template rendered with these values."""
    return _environment().get_template(template).render(**values)


def stamp(at_ms: float) -> str:
    """A time in ISO 8601, in UTC and to the minute, for the `time` element."""
    return f"{when(at_ms).replace(' ', 'T')}Z"


@lru_cache(maxsize=8192)
def moment(at_ms: float) -> Markup:
    """A time as an element: to the minute, in UTC."""
    shown = when(at_ms)
    return Markup(f'<time datetime="{shown.replace(" ", "T")}Z">{shown}</time>')  # noqa: S704 # digits


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_fit,
        auto_reload=False,
    )
    environment.filters |= {
        "per_cent": per_cent,
        "objective": objective,
        "duration": duration,
        "when": when,
        "stamp": stamp,
        "moment": moment,
    }
    sources = {name: _source(environment, name) for name in ("page.css", "page.js")}
    colours = (
        f":root{{color-scheme:light dark;{variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
    )
    style = colours + re.sub(r" ?([{};]) ?|(?<=[:,]) ", r"\1", sources["page.css"])
    script = sources["page.js"]
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data: 'self'; base-uri 'none'; form-action 'none'"
    )
    environment.globals |= {
        "style": Markup(style),  # noqa: S704 # files of this package
        "script": Markup(script),  # noqa: S704
        "policy": policy,
        "gaps": gaps,
        "version": VERSION,
    }
    return environment


def _source(environment: Environment, name: str) -> str:
    """A file of the package, with its lines joined."""
    assert environment.loader is not None  # noqa: S101 # for the type checker
    text, _, _ = environment.loader.get_source(environment, name)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _hash(text: str) -> str:
    """Hash that identifies an inline element in a content security policy (CSP level 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _fit(value: Any) -> Any:
    """A printed template value, cleaned; markup stays markup."""
    if isinstance(value, Markup):
        return Markup(markup(str(value)))  # noqa: S704 # it was
    return markup(value) if isinstance(value, str) else value
