"""A table of a report as HTML rows: numbers right-aligned, states with a word and a symbol, times in UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from checker.untrusted_text import markup
from reports.output_forms import words
from reports.report_model import Chart, Column, Insufficient, Kind, Line, Scale, Shape, Table
from reports.ticks import clock

LEVELS = {
    **{"HEALTHY": "good", "DEGRADED": "warning", "UNHEALTHY": "bad", "UNKNOWN": "unknown"},
    **{"PASSED": "good", "FAILED": "bad", "GOOD": "good", "BAD": "bad"},
}
"""The class of each status and result; the style sheet puts its symbol before the word."""
NUMBERS = frozenset({Kind.COUNT, Kind.NUMBER, Kind.RATIO, Kind.DURATION})
_TAGS = {**dict.fromkeys(NUMBERS, '<td class="n">'), Kind.TIME: '<td class="t">', Kind.LIST: '<td class="l">'}
MOST_LETTERS = 80
"""Largest length of a row's name; the full name is in its title."""
MOST_NUMBERS = 1200
"""Largest number of values in the table behind a chart; a longer one would dominate the page."""


def table_rows(
    table: Table, most: int | None = None, strips: Mapping[str, Markup] | None = None, place: int = 0
) -> Iterator[Markup]:
    """Each row as markup, up to ``most``; the first cell is the row's header.

    ``strips`` are rows of cells by the value in the first column; they are drawn before the column at ``place``.
    """
    written = [_writer(column, number == 0) for number, column in enumerate(table.columns)]
    for row in table.rows[:most]:
        cells = [write(value) for write, value in zip(written, row, strict=True)]
        if strips is not None:
            cells.insert(place, f'<td class="cells">{strips.get(row[0], "")}</td>')
        yield Markup("".join(cells))  # noqa: S704 # escaped


def numbers_of(chart: Chart) -> Table | None:
    """The numbers of a chart as a table; None if there are too many."""
    if chart.shape is Shape.STATES or len(chart.x) * (len(chart.lines) + 1) > MOST_NUMBERS:
        return None
    first = _x_column(chart)
    columns = [first, *(Column(line.label, line.label, Kind.NUMBER, chart.unit) for line in chart.lines)]
    x = [clock(one) for one in chart.x] if chart.scale is Scale.CLOCK else chart.x
    return Table(columns, list(zip(x, *(_finite(line) for line in chart.lines), strict=True)))


def _x_column(chart: Chart) -> Column:
    if chart.x_is_time:
        return Column("x", "Time, UTC", Kind.TIME)
    kinds = {Scale.LOG: Kind.NUMBER, Scale.TAIL: Kind.RATIO}
    return Column("x", chart.x_label, kinds.get(chart.scale, Kind.TEXT))


def _finite(line: Line) -> Sequence[float | None]:
    return [None if value is None or not abs(value) < float("inf") else value for value in line.values]


def _writer(column: Column, heads: bool) -> Callable[[Any], str]:
    """The function that writes the cells of a column."""
    tag, end = ('<th scope="row">', "</th>") if heads else ("<td>", "</td>")
    if not heads:
        tag = _TAGS.get(column.kind, '<td class="w">' if column.wide else tag)

    def write(value: Any) -> str:
        if value is None:
            return f"{tag}{end}"
        if column.kind is Kind.COUNT and isinstance(value, int):
            return f"{tag}{value:,}{end}"
        if isinstance(value, Insufficient):
            return f'<td class="few">{escape(words(column, value))}</td>'
        full = markup(words(column, value))
        if heads and len(full) > MOST_LETTERS:
            return f'<th scope="row" title="{escape(full)}">{escape(full[: MOST_LETTERS - 1])}…{end}'
        said = escape(full)
        if column.kind is Kind.STATUS and not heads:
            return f'<td><span class="state {LEVELS.get(str(value), "unknown")}">{said}</span></td>'
        return f"{tag}{said}{end}"

    return write
