"""A report as text for people, as one JSON document, as NDJSON or as CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from reports import rows_as_text
from reports.check_documents import iso
from reports.report_model import Column, Insufficient, Kind, Level, Report, Section
from reports.run_as_text import COLOURS
from reports.text_tables import Cell, Role, TextColumn, TextOutput, TextTable

LEVELS = {Level.GOOD: "green", Level.WARNING: "yellow", Level.BAD: "red bold", Level.UNKNOWN: "magenta"}
"""The style of each level on a terminal."""
_RIGHT = {Kind.COUNT, Kind.NUMBER, Kind.RATIO, Kind.DURATION}
_EQUAL_MEANS_ALIKE = {Kind.TIME, Kind.DURATION, Kind.NUMBER}
"""Kinds whose equal values have one text; an equal ratio may have another objective, and 1 and True are two words."""
_MOST_DIGITS = 13
"""Largest number of digits of a percentage: a double has no more."""
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_MINUTE_MS, _DAY_MINUTES = 60_000, 1440
_REMEMBERED = 8192
"""Number of values whose text is kept: the columns of a large table repeat many of them."""


def text(report: Report, stream: TextIO) -> None:
    """Write the report as text: the verdict first, then every section that has rows."""
    out = TextOutput(stream)
    out.line(report.verdict, LEVELS[report.level])
    of = f"{report.servers} server{'' if report.servers == 1 else 's'}"
    until = "now" if report.until_now else when(report.until_ms)
    out.line(f"{of}{f', {report.selection}' if report.selection else ''}, {when(report.since_ms)} to {until} (UTC)")
    sections_text(report, out)


def sections_text(report: Report, out: TextOutput) -> None:
    """Write every section that has rows, and the notes."""
    for section in report.sections:
        if section.table is not None and section.table.rows:
            out.line()
            out.line(section.title, "bold")
            out.table(text_table(section))
            if section.text:
                out.line()
        if section.text:
            out.line(section.text, "dim")
    for note in report.notes:
        out.line(f"note: {note}", "dim")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON data: each table as records; a value from too few samples is null, with the reason added."""
    return {
        "report": report.name,
        "verdict": report.verdict,
        "level": report.level.value,
        "since": iso(report.since_ms),
        "until": iso(report.until_ms),
        "servers": report.servers,
        "selection": report.selection or None,
        "facts": dict(report.facts),
        "notes": list(report.notes),
        "sections": {section.name: list(records(section)) for section in report.sections if section.table is not None},
    }


def records(section: Section) -> Iterator[dict[str, Any]]:
    """The rows of a section's table as records, keyed by column names."""
    if section.table is None:
        return
    for row in section.table.rows:
        record: dict[str, Any] = {}
        for column, value in zip(section.table.columns, row, strict=True):
            if isinstance(value, Insufficient):
                record[column.name] = None
                record.setdefault("insufficient", {})[column.name] = {"samples": value.samples, "wanted": value.wanted}
            else:
                record[column.name] = plain(column, value)
        yield record


def csv(report: Report, name: str | None = None) -> Iterator[str]:
    """A section's table as CSV lines: the first section with a table, or the one with this name."""
    for section in report.sections:
        if section.table is not None and name in (None, section.name):
            yield from csv_of(section)
            return


def csv_of(section: Section) -> Iterator[str]:
    """A section's table as CSV lines; none if it has no table."""
    if section.table is not None:
        columns = section.table.columns
        rows = [
            [_cell(column, value) for column, value in zip(columns, row, strict=True)] for row in section.table.rows
        ]
        yield from rows_as_text.csv_lines([column.name for column in columns], rows)


def plain(column: Column, value: Any) -> Any:
    """A value for JSON: times in ISO 8601, numbers rounded to their precision."""
    if value is None:
        return None
    if column.kind is Kind.TIME:
        return iso(int(value))
    if column.kind is Kind.RATIO:
        return rounded(float(value), getattr(value, "objective_ratio", None))
    if column.kind in (Kind.NUMBER, Kind.DURATION):
        if math.isinf(value):
            return None
        return round(float(value), 3)
    if column.kind is Kind.COUNT:
        return int(value)
    if column.kind is Kind.LIST:
        return list(value)
    return value


def words(column: Column, value: Any) -> str:
    """A value as text for people."""
    if value is None:
        return ""
    return _insufficient(value) if isinstance(value, Insufficient) else _WORDS[column.kind](value)


def _insufficient(value: Insufficient) -> str:
    return f"insufficient ({value.samples} of {value.wanted})"


def when(at_ms: float) -> str:
    """A time to the minute, in UTC."""
    day, minute = divmod(int(at_ms // _MINUTE_MS), _DAY_MINUTES)
    return f"{_day(day)} {minute // 60:02}:{minute % 60:02}"


@lru_cache(maxsize=_REMEMBERED)
def _day(number: int) -> str:
    """A day, counted from 1970."""
    return f"{datetime.fromtimestamp(number * 86_400, UTC):%Y-%m-%d}"


def rounded(ratio: float, objective_ratio: float | None = None) -> float:
    """A ratio rounded to six digits; unrounded if these would show 0, 1, or the other side of its objective."""
    shown = round(ratio, 6)
    return ratio if _lies(shown, ratio, objective_ratio) else shown


@lru_cache(maxsize=_REMEMBERED)
def per_cent(ratio: float, objective_ratio: float | None = None) -> str:
    """A ratio in per cent, with enough digits to differ from 0, from 100, and from the objective that it misses."""
    if ratio in (0.0, 1.0):
        return f"{100 * ratio:.0f}%"
    for digits in range(1 if ratio < 0.99 else 2, _MOST_DIGITS):
        shown = f"{100 * ratio:.{digits}f}"
        # Through the text: a hundredth of 99.9 is not the number that 0.999 is.
        if not _lies(float(f"{shown}e-2"), ratio, objective_ratio):
            return f"{shown}%"
    if objective_ratio is not None and abs(ratio - objective_ratio) < 1e-9:
        return f"< {objective(objective_ratio)}"
    return "< 100%" if ratio > 0.5 else "> 0%"


def objective(ratio: float) -> str:
    """An objective in per cent, with all its digits."""
    for digits in range(1 if ratio < 0.99 else 2, _MOST_DIGITS):
        shown = f"{100 * ratio:.{digits}f}"
        if float(f"{shown}e-2") == ratio:
            return f"{shown}%"
    return per_cent(ratio, ratio)


def _lies(shown: float, ratio: float, objective_ratio: float | None) -> bool:
    """True if the shown value falsely equals 0 or 1, or lies on the other side of the objective."""
    if shown in (0.0, 1.0) and shown != ratio:
        return True
    return objective_ratio is not None and (shown >= objective_ratio) != (ratio >= objective_ratio)


@lru_cache(maxsize=_REMEMBERED)
def duration(value_ms: float) -> str:
    """Milliseconds in a suitable unit; an infinite value is the end of an open interval."""
    if math.isinf(value_ms):
        return "open"
    for size_ms, unit in _UNITS:
        if abs(value_ms) >= size_ms:
            return f"{number(value_ms / size_ms)} {unit}"
    return f"{number(value_ms)} ms"


def number(value: float) -> str:
    """A number with three significant digits; more only before the decimal point."""
    if value == 0:
        return "0"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}" if abs(value) >= 0.01 else f"{value:.2g}"


_WORDS: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: str,
    Kind.COUNT: str,
    Kind.STATUS: str,
    Kind.NUMBER: lambda value: number(float(value)),
    Kind.RATIO: lambda value: per_cent(float(value), getattr(value, "objective_ratio", None)),
    Kind.TIME: when,
    Kind.DURATION: lambda value: duration(float(value)),
    Kind.LIST: lambda value: ", ".join(map(str, value)),
}
"""Kind of a column -> a value as text for people."""


def text_table(section: Section) -> TextTable:
    """A section's table as text for people; the section must have one."""
    assert section.table is not None  # noqa: S101 # for the type checker
    # By columns: a row at a time the kind of each value would be looked up again.
    values = list(zip(*section.table.rows, strict=True)) or [()] * len(section.table.columns)
    columns = [
        TextColumn(
            f"{column.label} {column.unit}".strip(),
            _role(column, place),
            column.kind in _RIGHT,
            column.rank,
            _needed(of_column),
        )
        for place, (column, of_column) in enumerate(zip(section.table.columns, values, strict=True))
    ]
    return TextTable(columns, list(map(_texts, section.table.columns, values)))


def _role(column: Column, place: int) -> Role:
    if column.wide or column.is_reason:
        return Role.REASON
    if column.kind is Kind.LIST:
        return Role.WORDS
    return Role.FIGURE if column.kind is not Kind.TEXT else Role.WORDS if place else Role.NAME


def _needed(values: Sequence[Any]) -> str:
    """How many samples its insufficient values lack; empty if it has none."""
    few = (
        [value for value in values if isinstance(value, Insufficient)] if Insufficient in set(map(type, values)) else []
    )
    if not few:
        return ""
    samples = sorted({one.samples for one in few})
    have = f"{samples[0]:,}" if len(samples) == 1 else f"{samples[0]:,} to {samples[-1]:,}"
    return f"{max(one.wanted for one in few):,} samples ({have} here)"


def _texts(column: Column, values: Sequence[Any]) -> list[Cell]:
    """The values of a column as cells; plain text unless they have a colour."""
    words_of: Callable[[Any], Cell] = _WORDS[column.kind] if column.kind is not Kind.STATUS else _coloured

    def cell(value: Any) -> Cell:
        return "" if value is None else "-" if isinstance(value, Insufficient) else words_of(value)

    if column.kind in _EQUAL_MEANS_ALIKE:  # many repeat
        known = {value: cell(value) for value in set(values)}
        return [known[value] for value in values]
    if column.kind is Kind.TEXT:
        return [value if type(value) is str else cell(value) for value in values]
    return list(map(cell, values))


def _coloured(status: Any) -> Cell:
    return ((str(status), COLOURS.get(str(status), "")),)


def _cell(column: Column, value: Any) -> Any:
    return None if isinstance(value, Insufficient) else plain(column, value)
