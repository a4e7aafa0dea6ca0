"""Layers of a configuration: an environment over the file, a server over the defaults, variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from checker.probe_kinds import KINDS
from checker.settings.validate import unknown_key
from checker.settings.yaml_document import Document, FoundLater, Place, Problem

FILE_SUFFIX = "_file"
"""Ending of the name of an option that names a file."""


def merged(below: Any, above: Any) -> Any:
    """``above`` merged over ``below``: mappings are merged key by key, everything else is replaced.

    A value replaces the file it might be read from, and the reverse: ``bearer`` above removes ``bearer_file`` below.
    """
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if not below:
        return dict(above)
    kept = {key: item for key, item in below.items() if key in above or _other_spelling(key) not in above}
    return {**kept, **{key: merged(below[key], item) if key in below else item for key, item in above.items()}}


def picked(whole: Any, like: Any) -> Any:
    """The values of ``whole`` whose keys ``like`` has too."""
    if not isinstance(whole, Mapping) or not isinstance(like, Mapping):
        return whole
    return {key: picked(whole[key], item) for key, item in like.items() if key in whole}


def _other_spelling(key: str) -> str:
    return key.removesuffix(FILE_SUFFIX) if key.endswith(FILE_SUFFIX) else key + FILE_SUFFIX


def spelled_out(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A server entry in which a bare address has become a mapping with a url."""
    return {key: {"url": value} if key in KINDS and isinstance(value, str) else value for key, value in entry.items()}


def with_environment(document: Document, environment: str | None, known: Sequence[str], named_by: str = "") -> Document:
    """The document with the environment merged in, without its ``environments`` block; raises ConfigError.

    In an environment ``servers`` is a mapping from a server's name to its differences. ``known`` are the keys that an
    environment may have, ``named_by`` is the part of a message that tells where the environment's name comes from.
    """
    values = dict(document.values)
    environments = values.pop("environments", None) or {}
    if problems := faults_of_environments(environments, known):
        raise document.refuse(problems)
    base = dict(values)
    if environment is None:
        return replace(document, values=values, layers=(base, {}))
    if environment not in environments:
        there = ", ".join(environments) or "none"
        said = f'no environment "{environment}"{named_by}; there are: {there}'
        raise document.refuse([Problem(("environments",), said)])
    differing = dict(environments[environment] or {})
    prefix: Place = ("environments", environment)
    changes = differing.pop("servers", None) or {}
    values, index_of = merged(values, differing), dict[str, int]()
    if changes:
        values["servers"], index_of = _servers(document, values.get("servers"), changes, (*prefix, "servers"))
    layers = base, dict(environments[environment] or {})
    lines = FoundLater(lambda: _laid(document.lines, prefix, index_of))
    return replace(document, values=values, lines=lines, layers=layers)


def _laid(written: Mapping[Place, int], prefix: Place, index_of: Mapping[str, int]) -> dict[Place, int]:
    """The lines of the document with those of the environment over them."""
    lines = {place[2:]: line for place, line in written.items() if place[:2] == prefix and len(place) > 2}
    # an entry is complained of by its place in the list, and what is wrong may stand in the environment
    for place, line in list(lines.items()):
        if place[0] == "servers" and len(place) > 2 and place[1] in index_of:
            lines["servers", index_of[str(place[1])], *place[2:]] = line
    return {**written, **lines}


def faults_of_environments(environments: Any, known: Sequence[str]) -> list[Problem]:
    """Basic faults of all environments, including those that were not selected."""
    if not isinstance(environments, Mapping):
        return [Problem(("environments",), "write names of environments, indented below")]
    problems = []
    for name, above in environments.items():
        if above is not None and not isinstance(above, Mapping):
            problems.append(Problem(("environments", name), "write keys and values, indented below"))
            continue
        problems += [
            Problem(("environments", name, key), unknown_key(key, list(known)))
            for key in above or {}
            if key not in known
        ]
    return problems


def faults_of_changes(servers: Any, changes: Any, place: Place) -> list[Problem]:
    """The faults of an environment's ``servers`` themselves, without those of what they say."""
    if not isinstance(changes, Mapping):
        return [Problem(place, "write names of servers, each with what is different, indented below")]
    listed = servers if isinstance(servers, list) else ()
    names = list(dict.fromkeys(str(one.get("name")) for one in listed if isinstance(one, Mapping)))
    problems = []
    for name, change in changes.items():
        if name not in names:
            said = unknown_key(name, names).replace("unknown key", "no server of this name")
            problems.append(Problem((*place, name), said))
        elif change is not None and not isinstance(change, Mapping):
            problems.append(Problem((*place, name), "write what differs for the server, indented below"))
    return problems


def _servers(document: Document, servers: Any, changes: Any, place: Place) -> tuple[list[Any], dict[str, int]]:
    """The server entries with the changes merged over them, and the position in the list of each changed one."""
    if problems := faults_of_changes(servers, changes, place):
        raise document.refuse(problems)
    listed = list(servers) if isinstance(servers, list) else []
    index_of = {str(one.get("name")): index for index, one in enumerate(listed) if isinstance(one, Mapping)}
    for name, change in changes.items():
        if change:
            listed[index_of[name]] = merged(spelled_out(listed[index_of[name]]), spelled_out(change))
    return listed, {name: index for name, index in index_of.items() if name in changes}


_REFERENCE = re.compile(r"\$(?:(\$)|\{([^}]*)(\}?))")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def expand(value: Any, environ: Mapping[str, str], place: Place, problems: list[Problem]) -> Any:
    """The value with ``${VAR}`` and ``${VAR:-default}`` filled in and ``$$`` turned into ``$``; adds to problems."""
    if isinstance(value, dict):
        return {key: expand(item, environ, (*place, key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, environ, (*place, index), problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        named = _NAME.fullmatch(match[2]) if match[3] else None
        if named is None:
            # What follows may be a secret that only looks like a variable: it is not shown.
            problems.append(Problem(place, '"${…" is not a variable; write ${NAME}, or $${ for the text itself'))
            return ""
        found = environ.get(named[1], named[2])
        if found is None:
            problems.append(
                Problem(
                    place, f"the environment variable {named[1]} is not set; set it, or write ${{{named[1]}:-default}}"
                )
            )
        return found or ""

    return _REFERENCE.sub(fill, value)
