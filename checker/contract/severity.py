"""One change of a contract, and the scale that changes are graded on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checker.contract.canonical_form import dumps

_LONGEST_ITEM = 120
_LONGEST_DETAIL = 200
_EXACT = 2**53


class Grade(StrEnum):
    """How much a change matters, the worst first."""

    BREAKING = "breaking"
    """A call that worked will fail."""
    RISKY = "risky"
    """A model or a program may behave otherwise."""
    COSMETIC = "cosmetic"
    """Nothing that worked stops working."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was."""

    kind: str
    """A stable word, such as ``tool_removed``."""
    grade: Grade
    item: str
    """What has changed: ``tool add``, ``prompt greet``, ``resource file:///x``, ``server``."""
    detail: str

    @classmethod
    def of(cls, item: str, kind: str, grade: Grade, detail: str) -> Change:
        """A change whose texts are fit to be shown: one line, printable, short."""
        return cls(kind=kind, grade=grade, item=_line(item, _LONGEST_ITEM), detail=_line(detail, _LONGEST_DETAIL))


def worst(grades: Iterable[Grade]) -> Grade:
    """The worst of at least one grade."""
    return min(grades, key=list(Grade).index)


def same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: true is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def distinct(values: Iterable[Any]) -> dict[bytes, Any]:
    """The values by their canonical text, in which equal ones meet."""
    return {dumps(_as_float(one)): one for one in values}


def _as_float(value: Any) -> Any:
    """A whole number as a float, so that 1 and 1.0 meet; not beyond where floats lose units."""
    small = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT
    return float(value) if small else value


def _line(text: str, limit: int) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
