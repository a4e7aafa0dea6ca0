"""One change of a contract, and the scale by which changes are graded."""

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
    """The severity of a change, the worst first."""

    BREAKING = "breaking"
    """A call that worked will fail."""
    RISKY = "risky"
    """A model or a program may behave otherwise."""
    COSMETIC = "cosmetic"
    """Nothing that worked stops working."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two contracts."""

    kind: str
    """A stable word, such as ``tool_removed``."""
    grade: Grade
    item: str
    """The changed item: ``tool add``, ``prompt greet``, ``resource file:///x``, ``server``."""
    detail: str

    @classmethod
    def of(cls, item: str, kind: str, grade: Grade, detail: str) -> Change:
        """A change whose texts are safe to show: one line, printable, short."""
        return cls(kind=kind, grade=grade, item=_line(item, _LONGEST_ITEM), detail=_line(detail, _LONGEST_DETAIL))


def worst(grades: Iterable[Grade]) -> Grade:
    """The worst of the grades, of which there is at least one."""
    return min(grades, key=list(Grade).index)


def same(one: Any, other: Any) -> bool:
    """Equality by the rules of JSON: true is not 1, and 1 is 1.0."""
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
    """The values keyed by their canonical text, so that equal ones coincide."""
    return {dumps(_as_float(one)): one for one in values}


def _as_float(value: Any) -> Any:
    """A whole number as a float, so that 1 and 1.0 coincide; not beyond the range where floats are exact."""
    small = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _EXACT
    return float(value) if small else value


def _line(text: str, limit: int) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
