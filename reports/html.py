"""A report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import html_cells, svg
from reports.report_model import Chart, Level, Report, Section, Shape, Table
from reports.svg import Picture
from reports.templating import render

MOST_BYTES = 2_000_000
"""Largest size of a page; above it tables are cut, and then charts are left out."""
MOST_CHARTS = {"svg": 24, "png": 12}
"""Largest number of charts drawn by matplotlib; handwritten strips are not counted."""
MOST_STRIPS = 60
"""Largest number of rows of cells in a picture."""
_FOLDED_FROM = 12
"""Number of rows from which on a table is folded if a picture shows the same."""
_TALL_FROM = 40
"""Number of rows from which on a table scrolls in its own box, so that the content after it stays within reach."""
_ROWS_AND_CHARTS: Sequence[tuple[int | None, int]] = ((None, 24), (1000, 16), (500, 12), (200, 8), (50, 4), (10, 1))
"""Limits on rows per table and on charts, tried one after the other until the page is small enough."""
WORDS = {Level.GOOD: "Good", Level.WARNING: "Warning", Level.BAD: "Bad", Level.UNKNOWN: "Unknown"}


@dataclass(frozen=True, slots=True)
class _Strip:
    label: str
    markup: Markup
    said: str


@dataclass(frozen=True, slots=True)
class _Figure:
    """A chart as the template needs it."""

    chart: Chart
    picture: Picture
    strips: Sequence[_Strip] = ()
    legend: Sequence[tuple[Markup, str]] = ()
    numbers: Table | None = None


@dataclass(frozen=True, slots=True)
class _SectionPart:
    """A section as the template needs it."""

    section: Section
    figures: Sequence[_Figure]
    charts_left_out: int
    rows: Sequence[Markup]
    rows_left_out: int
    folded: bool
    tall: bool
    """True if the table scrolls in its own box."""


def page(report: Report, images: str = "svg") -> str:
    """The whole page, at most `MOST_BYTES` long; ``images`` is the format of the charts in it, svg or png."""
    drawn = _drawn(report, images)
    counts = {len(line.values) for section in report.sections for chart in section.charts for line in chart.lines}
    for rows, charts in _ROWS_AND_CHARTS:
        parts = [_part(section, drawn[: min(charts, MOST_CHARTS[images])], rows) for section in report.sections]
        text = render(
            "report.html.j2",
            report=report,
            parts=parts,
            word=report.headline or WORDS[report.level],
            cells=html_cells,
            cell_counts=counts,
        )
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def _drawn(report: Report, images: str) -> list[tuple[Chart, Picture]]:
    """The charts of the report that matplotlib draws, up to the limit of a page."""
    wanted = [chart for section in report.sections for chart in section.charts if chart.shape is not Shape.STATES]
    if not wanted:
        return []
    from reports.charts import pictures  # half a second, which a report without charts need not wait for

    wanted = wanted[: MOST_CHARTS[images]]
    return list(zip(wanted, pictures(wanted, images), strict=True))


def _part(section: Section, drawn: Sequence[tuple[Chart, Picture]], most_rows: int | None) -> _SectionPart:
    found = {id(chart): picture for chart, picture in drawn}
    figures = []
    for chart in section.charts:
        if chart.shape is Shape.STATES:
            figures.append(_states(chart))
        elif id(chart) in found:
            numbers = html_cells.numbers_of(chart) if most_rows is None else None
            figures.append(_Figure(chart, found[id(chart)], numbers=numbers))
    table = section.table
    rows = [] if table is None else list(html_cells.table_rows(table, most_rows))
    return _SectionPart(
        section=section,
        figures=figures,
        charts_left_out=len(section.charts) - len(figures),
        rows=rows,
        rows_left_out=0 if table is None else len(table.rows) - len(rows),
        folded=bool(figures) and len(rows) > _FOLDED_FROM,
        tall=len(rows) > _TALL_FROM,
    )


def _states(chart: Chart) -> _Figure:
    """A row of cells for each line of a STATES chart."""
    shown = [
        _Strip(line.label, svg.strip(line.values, line.label, chart.threshold), line.said)
        for line in chart.lines[:MOST_STRIPS]
    ]
    left_out = len(chart.lines) - len(shown)
    note = f"{left_out} of {len(chart.lines)} rows are left out of the picture." if left_out else ""
    return _Figure(chart, Picture(note=note), shown, svg.legend(chart.threshold))
