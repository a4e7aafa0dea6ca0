"""``${VAR}`` in values: filled in from the environment, an error where it is not set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from checker.settings.document import Place, Problem

_REFERENCE = re.compile(r"\$(?:(\$)|\{([^}]*)(\}?))")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def expand(value: Any, environ: Mapping[str, str], place: Place, problems: list[Problem]) -> Any:
    """The value with every ``${VAR}`` and ``${VAR:-default}`` filled in and ``$$`` made ``$``; adds to problems."""
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
