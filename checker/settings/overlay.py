"""Values laid over values: an environment over the document, a server over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.settings.document import Document, Place, Problem
from checker.settings.validate import unknown_key


def merged(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``: mappings are merged key by key, everything else is replaced."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{key: merged(below[key], item) if key in below else item for key, item in above.items()}}


def with_environment(document: Document, environment: str | None) -> Document:
    """The document as the environment has it, without its ``environments`` block; raises ConfigError.

    In an environment ``servers`` is a mapping from a server's name to what is different about it.
    """
    values = dict(document.values)
    environments = values.pop("environments", None) or {}
    if not isinstance(environments, Mapping):
        raise document.refuse([Problem(("environments",), "write names of environments, indented below")])
    if environment is None:
        return Document(document.path, values, document.lines)
    if environment not in environments:
        known = ", ".join(map(str, environments)) or "none"
        raise document.refuse([Problem(("environments",), f'no environment "{environment}"; there are: {known}')])
    above = environments[environment] or {}
    if not isinstance(above, Mapping):
        raise document.refuse([Problem(("environments", environment), "write keys and values, indented below")])
    lines = dict(document.lines)
    prefix: Place = ("environments", environment)
    for place, line in document.lines.items():
        if place[:2] == prefix and len(place) > 2:
            lines[place[2:]] = line
    differing = dict(above)
    changed = _servers(document, values.get("servers"), differing.pop("servers", {}), prefix)
    values = merged(values, differing)
    if changed is not None:
        values["servers"] = changed
    return Document(document.path, values, lines)


def _servers(document: Document, servers: Any, changes: Any, prefix: Place) -> list[Any] | None:
    if not changes or not isinstance(servers, list):
        return None
    place = (*prefix, "servers")
    if not isinstance(changes, Mapping):
        raise document.refuse([Problem(place, "write names of servers, each with what is different, indented below")])
    names = [one.get("name") for one in servers if isinstance(one, Mapping)]
    if unknown := [name for name in changes if name not in names]:
        known = [str(name) for name in names]
        said = unknown_key(str(unknown[0]), known).replace("unknown key", "no server of this name")
        raise document.refuse([Problem((*place, unknown[0]), said)])
    return [
        merged(one, changes[one["name"]] or {}) if isinstance(one, Mapping) and one.get("name") in changes else one
        for one in servers
    ]
