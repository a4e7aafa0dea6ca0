"""A named query on the history: its SQL, its description, and the values of its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import field

from checker.errors import UsageError
from checker.structs import Options

Value = str | int | float | None
"""A value that a parameter can be bound to."""

_PARTS = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\] | --[^\n]* | /\*.*?(?:\*/|\Z)
    | (?P<named>[:@$][A-Za-z_]\w*) | (?P<unnamed>\?\d*)""",
    re.DOTALL | re.VERBOSE,
)
"""Text, names in quotes and comments, in which a colon means nothing; and the parameters between them."""

_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?")
_LARGEST = 2**63 - 1


class Query(Options, frozen=True, kw_only=True):
    """A saved query."""

    sql: str
    """One reading statement; parameters are written :name."""
    description: str = ""
    """The question it answers, for `mcp-status sql --list`."""
    params: Mapping[str, Value] = field(default_factory=dict)
    """Name of a parameter -> its value if `--param` gives none."""


def parameters(sql: str) -> tuple[str, ...]:
    """The names of the statement's parameters in order, without the colon; "" for an unnamed one."""
    found = (match for match in _PARTS.finditer(sql) if match["named"] or match["unnamed"])
    return tuple(dict.fromkeys((match["named"] or "?")[1:] for match in found))


def bound(query: Query, given: Mapping[str, Value]) -> dict[str, Value]:
    """The value of each parameter of the query; raises UsageError if a value is missing or a parameter is unknown."""
    names = parameters(query.sql)
    if "" in names:
        raise UsageError("the query has a parameter without a name; write :name in place of ?, and --param name=value")
    for name in given:
        if name not in names:
            raise UsageError(f"the query has no parameter :{name}; it has {listed(names)}")
    values = {name: query.params[name] for name in names if name in query.params} | dict(given)
    if missing := [name for name in names if name not in values]:
        raise UsageError(f"the query's parameter :{missing[0]} has no value; add --param {missing[0]}=VALUE")
    return values


def listed(names: tuple[str, ...]) -> str:
    """The parameters as listed in a message."""
    return ", ".join(f":{name}" for name in names) or "none"


def parse_value(text: str) -> Value:
    """A number if the text is written like one, else the text; single quotes force text and are removed."""
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    if _WHOLE.fullmatch(text) and abs(int(text)) <= _LARGEST:
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
