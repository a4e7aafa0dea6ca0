"""The source of a plan: the plan as written, without secrets, which is stored with a run, shown, and played again.

Servers keep only their names and addresses. Variables are not filled in, so that their values are not stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import NODEFAULT
from msgspec.structs import fields

from checker.model import Server
from checker.probes import probe_of
from checker.probes.http import shown_endpoint
from checker.secrets.plain_values import SECRET_NAME, is_plain
from checker.secrets.redactor import MASK

LEFT_OUT = "left_out"
"""The key that lists the parts missing from the source."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_HARMLESS = re.compile(r"\d{1,5}|localhost|\d{1,3}(\.\d{1,3}){3}")
"""Defaults of variables that may be shown: a port, or an address of a machine."""


def source_of(raw: Mapping[str, Any], name: str, servers: Sequence[Server], entries: Sequence[Any]) -> dict[str, Any]:
    """The source of a plan: JSON values.

    ``raw`` is its document before variables are filled in, ``entries`` the servers' entries, likewise, in order.
    """
    kept = {key: value for key, value in raw.items() if not key.startswith(("x-", "$")) and key not in _REPLACED}
    shown_parts: dict[str, Any] = {
        key: _without_secrets(kept[key]) for key in ("scenarios", "suite", "stress") if key in kept
    }
    masked = any(value != kept[key] for key, value in shown_parts.items())
    kept |= shown_parts
    pairs = [(server, entries[at] if at < len(entries) else {}) for at, server in enumerate(servers)]
    shown = [entry for server, given in pairs if len(entry := _shown(server, given)) > 1]
    left_out = sorted({text for server, given in pairs for text in _left_out(server, given)})
    left_out += ["arguments that may be secrets"] if masked else []
    return {"name": escaped(name), "servers": shown, **kept, **({LEFT_OUT: left_out} if left_out else {})}


def escaped(text: str) -> str:
    """Text escaped for a plan, where ``$`` begins a variable."""
    return text.replace("$", "$$")


def escaped_values(value: Any) -> Any:
    """The value with every text in it escaped; keys cannot contain variables."""
    if isinstance(value, Mapping):
        return {key: escaped_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [escaped_values(item) for item in value]
    return escaped(value) if isinstance(value, str) else value


_NOT_MISSED = ("url", "timeout", "retry", "breaker", "degraded_above", "certificate_warning")
"""Options that are in the source, or that a load test has its own version of or does not use."""
_REPLACED = ("name", "servers", "defaults", LEFT_OUT)


def _shown(server: Server, entry: Any) -> dict[str, Any]:
    """Name and displayable addresses; a server that is started by a command has none."""
    addresses = {
        kind: _shown_address(_written(options, entry, kind)) for kind, options in server.probes.items() if options.url
    }
    return {"name": escaped(server.name), **addresses}


def _written(options: Any, entry: Any, kind: str) -> str:
    """The address as written in the file, or as parsed if it comes from elsewhere."""
    given = entry.get(kind) if isinstance(entry, Mapping) else None
    url = given.get("url") if isinstance(given, Mapping) else given
    return url if isinstance(url, str) else escaped(options.url)


def _left_out(server: Server, entry: Any) -> Iterator[str]:
    for kind, options in server.probes.items():
        if not options.url:
            continue
        url = _written(options, entry, kind)
        if _shown_address(url) != _shown_variables(url):
            yield f"{kind}.url (user info, query values or fragment)"
        for one in fields(probe_of(kind).options):
            default = one.default if one.default is not NODEFAULT else None
            default = one.default_factory() if one.default_factory is not NODEFAULT else default
            if one.name not in _NOT_MISSED and getattr(options, one.name) != default:
                yield f"{kind}.{one.name}"


def _shown_address(url: str) -> str:
    try:
        return shown_endpoint(_shown_variables(url))
    except ValueError:  # a variable where an IPv6 address is to be
        return "***"


def _shown_variables(text: str) -> str:
    """The text with the defaults of variables only where they may be shown."""

    def shown(match: re.Match[str]) -> str:
        harmless = match[2] is not None and _HARMLESS.fullmatch(match[2])
        return match[0] if harmless else f"${{{match[1]}}}"

    return _VARIABLE.sub(shown, text)


def _without_secrets(value: Any) -> Any:
    """The value with possible secrets removed from every tool's arguments."""
    if isinstance(value, Mapping):
        return {key: _masked(item) if key == "arguments" else _without_secrets(item) for key, item in value.items()}
    return value


def _masked(value: Any, is_secret: bool = False) -> Any:
    """The value with ``***`` for everything that may be a secret by its name or form, except variables."""
    if isinstance(value, Mapping):
        return {key: _masked(item, is_secret or bool(SECRET_NAME.search(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, is_secret) for item in value]
    if value is None or not (is_secret or (isinstance(value, str) and not is_plain(value.replace("$$", "$")))):
        return value
    only = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return f"${{{only[1]}}}" if only else MASK
