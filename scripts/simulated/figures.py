"""A figure of a study: how often something held, and how often it is to hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

COVERAGE = (0.93, 0.99)
FALSE_ALARMS = (0.0, 0.05)
POWER = (0.8, 1.0)
"""What is said to be seen four times in five."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How often a statement held in simulated cases."""

    kind: str
    """coverage, false alarms or power."""
    statement: str
    case: str
    held: int
    cases: int
    bounds: tuple[float, float]
    note: str = ""

    @property
    def ratio(self) -> float:
        """How often it held."""
        return self.held / self.cases

    @property
    def good(self) -> bool:
        """Within the bounds, but for what chance explains in so few cases: two standard errors."""
        low, high = self.bounds
        slack = 2 * math.sqrt(max(low * (1 - low), high * (1 - high), 0.01) / self.cases)
        return low - slack <= self.ratio <= high + slack

    def line(self) -> str:
        """The figure for a terminal."""
        word = "ok   " if self.good else "WRONG"
        more = f"  {self.note}" if self.note else ""
        return f"{word} {self.kind:12} {self.statement}, {self.case}: {_share(self.ratio)} of {self.cases:,}{more}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as Markdown."""
    lines = ["| what | of the statement | in the case | held | cases | is to be |", "|---|---|---|---:|---:|---|"]
    for one in figures:
        low, high = one.bounds
        wanted = f"{_share(low)} to {_share(high)}" if low and high < 1 else f"at most {_share(high)}"
        if high == 1:
            wanted = f"at least {_share(low)}" if low else ""
        case = f"{one.case} ({one.note})" if one.note else one.case
        lines.append(f"| {one.kind} | {one.statement} | {case} | {_share(one.ratio)} | {one.cases:,} | {wanted} |")
    return "\n".join(lines) + "\n"


def _share(ratio: float) -> str:
    return f"{100 * ratio:.1f}%"
