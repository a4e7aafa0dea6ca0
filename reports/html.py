"""A report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from reports import html_cells, svg
from reports.hover import names_of_slots, points, strip_values
from reports.report_model import Chart, Kind, Level, Line, Report, Section, Shape, Table
from reports.svg import Picture
from reports.templating import render

MOST_BYTES = 2_000_000
"""Largest size of a page; above it tables are cut, and then charts are left out."""
MOST_CHARTS = {"svg": 24, "png": 12}
"""Largest number of charts drawn by matplotlib; handwritten strips are not counted."""
MOST_STRIPS = 60
"""Largest number of rows of cells in a picture."""
_TALL_FROM = 40
"""Number of rows from which on a table scrolls in its own box, so that the content after it stays within reach."""
_ROWS_AND_CHARTS: Sequence[tuple[int | None, int]] = ((None, 24), (1000, 16), (500, 12), (200, 8), (50, 4), (10, 1))
"""Limits on rows per table and on charts, tried one after the other until the page is small enough."""
WORDS = {Level.GOOD: "Good", Level.WARNING: "Warning", Level.BAD: "Bad", Level.UNKNOWN: "Unknown"}


class _Strip(Struct, frozen=True):
    label: str
    markup: Markup
    said: str


class _Figure(Struct, frozen=True):
    """A chart as the template needs it."""

    chart: Chart
    picture: Picture
    told: str
    """What the script shows of it: the names of the cells, or all points."""
    strips: Sequence[_Strip] = ()
    legend: Sequence[tuple[Markup, str]] = ()
    numbers: Table | None = None


class _StripColumn(Struct, frozen=True):
    """A row of cells for each row of a table, as one of its columns."""

    chart: Chart
    told: str
    place: int
    strips: Mapping[str, Markup]
    legend: Sequence[tuple[Markup, str]]


class _SectionPart(Struct, frozen=True):
    """A section as the template needs it."""

    section: Section
    figures: Sequence[_Figure]
    charts_left_out: int
    table: Table | None
    rows: Sequence[Markup]
    every: Sequence[Markup]
    """The rows of the whole table, if a shorter one is shown."""
    rows_left_out: int
    cells: _StripColumn | None
    open: bool
    contents: str
    """What is inside, for the line that unfolds it."""

    @property
    def tall(self) -> bool:
        """True if the table scrolls in its own box."""
        return len(self.rows) > _TALL_FROM

    @property
    def every_label(self) -> str:
        """The line that unfolds the whole table: it has more rows, or more columns."""
        if len(self.every) == len(self.rows):
            return "All columns"
        return f"All {len(self.every):,} rows, one by one" if self.rows else f"The {len(self.every):,} rows as a table"


def page(report: Report, images: str = "svg") -> str:
    """The whole page, at most `MOST_BYTES` long; ``images`` is the format of the charts in it, svg or png."""
    drawn = _drawn(report, images)
    counts = {len(line.values) for section in report.sections for chart in section.charts for line in chart.lines}
    for rows, charts in _ROWS_AND_CHARTS:
        shown = drawn[: min(charts, MOST_CHARTS[images])]
        lead = _drawn_figures(report.lead, shown, rows)
        parts = [_part(section, shown, rows, place == 0, report.lead) for place, section in enumerate(report.sections)]
        text = render(
            "report.html.j2",
            report=report,
            parts=parts,
            lead=lead,
            word=report.headline or WORDS[report.level],
            cells=html_cells,
            said=_said(report),
            cell_counts=counts,
        )
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def _said(report: Report) -> str:
    """The verdict without its first word where that stands before it."""
    word, _, rest = report.verdict.partition(": ")
    return rest if rest and report.headline and word.isupper() else report.verdict


def _drawn(report: Report, images: str) -> list[tuple[Chart, Picture]]:
    """The charts of the report that matplotlib draws, up to the limit of a page."""
    wanted = [chart for section in report.sections for chart in section.charts if chart.shape is not Shape.STATES]
    if not wanted:
        return []
    from reports.charts import pictures  # half a second, which a report without charts need not wait for

    wanted = wanted[: MOST_CHARTS[images]]
    return list(zip(wanted, pictures(wanted, images), strict=True))


def _drawn_figures(
    charts: Sequence[Chart], drawn: Sequence[tuple[Chart, Picture]], most_rows: int | None
) -> list[_Figure]:
    """Those of the charts that were drawn, with their numbers if there is room for them."""
    found = {id(chart): picture for chart, picture in drawn}
    return [
        _Figure(
            chart,
            found[id(chart)],
            points(chart, found[id(chart)]),
            numbers=html_cells.numbers_of(chart) if most_rows is None else None,
        )
        for chart in charts
        if id(chart) in found
    ]


def _part(
    section: Section,
    drawn: Sequence[tuple[Chart, Picture]],
    most_rows: int | None,
    first: bool,
    lead: Sequence[Chart],
) -> _SectionPart:
    led = {id(chart) for chart in lead}
    charts = [chart for chart in section.charts if id(chart) not in led]
    table, cells = section.page_table or section.table, None
    figures: list[_Figure] = []
    for chart in charts:
        if chart.shape is Shape.STATES:
            cells = cells or (None if table is None else _cells(chart, table))
            if cells is None or cells.chart is not chart:
                figures.append(_states(chart))
        else:
            figures += _drawn_figures([chart], drawn, most_rows)
    rows, every = _rows(table, most_rows, cells), _rows(section.table if section.page_table else None, most_rows, None)
    whole = 0 if section.table is None else len(section.table.rows)
    return _SectionPart(
        section=section,
        figures=figures,
        charts_left_out=len(charts) - len(figures) - (cells is not None),
        table=table,
        rows=rows,
        every=every,
        rows_left_out=whole - len(every or rows),
        cells=cells,
        open=first or section.open,
        contents=_contents(len(rows), len(figures)),
    )


def _rows(table: Table | None, most: int | None, cells: _StripColumn | None) -> list[Markup]:
    if table is None:
        return []
    return list(html_cells.table_rows(table, most, *((cells.strips, cells.place) if cells else ())))


def _contents(rows: int, figures: int) -> str:
    counted = [
        f"{number:,} {word}{'' if number == 1 else 's'}"
        for number, word in ((rows, "row"), (figures, "picture"))
        if number
    ]
    return ", ".join(counted) or "nothing"


def _cells(chart: Chart, table: Table) -> _StripColumn | None:
    """The rows of a STATES chart as a column of the table that has rows of the same names; None if it has not."""
    if not chart.lines or not {line.label for line in chart.lines} <= {str(row[0]) for row in table.rows}:
        return None
    ratios = [place for place, column in enumerate(table.columns) if column.kind is Kind.RATIO]
    return _StripColumn(
        chart,
        names_of_slots(chart.x, chart.x_is_time),
        ratios[0] + 1 if ratios else 1,
        {line.label: _strip(chart, line) for line in chart.lines},
        svg.legend(chart.threshold),
    )


def _states(chart: Chart) -> _Figure:
    """A row of cells for each line of a STATES chart."""
    shown = [_Strip(line.label, _strip(chart, line), line.said) for line in chart.lines[:MOST_STRIPS]]
    left_out = len(chart.lines) - len(shown)
    note = f"{left_out} of {len(chart.lines)} rows are left out of the picture." if left_out else ""
    told = names_of_slots(chart.x, chart.x_is_time)
    return _Figure(chart, Picture(note=note), told, shown, svg.legend(chart.threshold))


def _strip(chart: Chart, line: Line) -> Markup:
    return svg.strip(line.values, line.label, chart.threshold, strip_values(line.values, chart.threshold))
