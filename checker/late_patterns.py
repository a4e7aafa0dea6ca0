"""Regular expressions that are compiled when they are first used: most runs need few of the many that there are."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

_METHODS = (
    *("search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"),
    *("pattern", "flags", "groups", "groupindex"),
)


def late(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """The same as `re.compile`; an error in the expression shows when it is used."""
    return cast("re.Pattern[AnyStr]", _LatePattern(pattern, flags))


class _LatePattern:
    def __init__(self, pattern: Any, flags: int) -> None:
        self._written = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)
        compiled = re.compile(*self._written)
        for method in _METHODS:  # the next time nothing is between
            self.__dict__[method] = getattr(compiled, method)
        return self.__dict__[name]
