"""What a comparison says row by row, read from its report by the names of its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reports.report import Insufficient, Report
from reports.show import words

_NAMED = ("scenario", "operation", "server", "users", "servers", "statistic")
_NUMBERS = ("baseline", "candidate", "difference", "low", "high")


@dataclass(frozen=True, slots=True)
class Compared:
    """One statistic of one series."""

    name: str
    verdict: str
    """better, worse, same or cannot tell."""
    baseline: str
    candidate: str
    difference: str
    """With its interval where there is one."""

    @property
    def is_told(self) -> bool:
        """Whether the comparison came to a verdict."""
        return self.verdict in ("better", "worse", "same")


def compared_rows(report: Report | None) -> Iterator[Compared]:
    """The rows of the first table that has verdicts; none without a comparison."""
    for section in report.sections if report is not None else ():
        columns = (
            {column.name: (at, column) for at, column in enumerate(section.table.columns)} if section.table else {}
        )
        if section.table is None or "verdict" not in columns:
            continue
        for row in section.table.rows:
            said = {
                name: "" if isinstance(row[at], Insufficient) else words(column, row[at])
                for name, (at, column) in columns.items()
            }
            baseline, candidate, difference, low, high = (said.get(name, "") for name in _NUMBERS)
            yield Compared(
                name=" ".join(dict.fromkeys(said[name] for name in _NAMED if said.get(name))),
                verdict=said["verdict"],
                baseline=baseline,
                candidate=candidate,
                difference=f"{difference} ({low} to {high})" if low and high else difference,
            )
        return
