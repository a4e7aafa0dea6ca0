"""Charts drawn by matplotlib: compact SVG in the page's colours, or PNG and SVG files with their own background."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.charts.axes import INCH, SETTINGS, Numbers, finite, places_of, span_keys
from reports.charts.compact_svg import slim
from reports.charts.lines import MOST_BARS, MOST_GREY, band, bars, heat, lines, stack
from reports.palette import LIGHT
from reports.report_model import Chart, Shape
from reports.svg import LegendEntry, Picture, summary

__all__ = ["MOST_BARS", "MOST_GREY", "files", "pictures"]

_PNG_DPI = 100
_FILE_WIDTH = 760
_HEAD, _MOST_KEYS, _MOST_LETTERS = 40, 8, 24
_SVG_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_DRAWN: dict[Shape, Callable[[Chart, Numbers], tuple[Figure, list[LegendEntry], str]]] = {
    Shape.LINES: lines,
    Shape.STEPS: lines,
    Shape.POINTS: lines,
    Shape.BAND: band,
    Shape.STACK: stack,
    Shape.BARS: bars,
    Shape.HEAT: heat,
}


def pictures(charts: Sequence[Chart], images: str = "svg") -> list[Picture]:
    """The charts drawn as ``svg`` or ``png``, except those of shape STATES; equal charts give equal bytes."""
    with _style():
        return [_picture(chart, images) for chart in charts]


def files(charts: Sequence[Chart], images: str) -> list[bytes]:
    """The charts as standalone files, ``svg`` or ``png``, with title and background.

    Empty if there is nothing to draw, and for STATES, which are not drawn here.
    """
    with _style():
        return [_file(chart, images) for chart in charts]


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults with our settings, independent of the user's matplotlibrc."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the reader's fonts draw it, not ours
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def _picture(chart: Chart, images: str) -> Picture:
    drawn = _drawn(chart)
    if drawn is None:
        return Picture()
    figure, keys, note = drawn
    name = summary(chart)
    marks = [mark.label for mark in chart.marks] if chart.x_is_time or chart.x_is_number else []
    width, height = (round(inches * INCH) for inches in figure.get_size_inches())
    return Picture(
        _svg(figure, name) if images == "svg" else _png(figure, name),
        keys,
        marks,
        note,
        places_of(chart, figure.axes[0]),
        (width, height),
    )


def _drawn(chart: Chart) -> tuple[Figure, list[LegendEntry], str] | None:
    """The figure, its legend and notes on what was left out; None if no value can be drawn."""
    rows = np.array([finite(line.values) for line in chart.lines], np.float64).reshape(len(chart.lines), len(chart.x))
    if chart.log and chart.shape is not Shape.HEAT:
        rows[rows <= 0] = np.nan
    if chart.shape is Shape.STATES or not np.isfinite(rows).any():
        return None
    figure, keys, note = _DRAWN[chart.shape](chart, rows)
    return figure, [*keys, *span_keys(chart)], note


def _file(chart: Chart, images: str) -> bytes:
    drawn = _drawn(chart)
    if drawn is None:
        return b""
    figure, keys, _ = drawn
    figure.set_size_inches(_FILE_WIDTH / INCH, figure.get_size_inches()[1])
    _headed(figure, chart.title, keys)
    figure.patch.set_facecolor(LIGHT["card"])
    file = io.BytesIO()
    if images == "svg":
        FigureCanvasSVG(figure)
        figure.savefig(file, format="svg", metadata=_SVG_METADATA)
    else:
        FigureCanvasAgg(figure)
        figure.savefig(file, format="png", dpi=2 * _PNG_DPI, metadata={"Software": None})
    return file.getvalue()


def _headed(figure: Figure, title: str, keys: Sequence[LegendEntry]) -> None:
    """Increase the height of the figure for its title and legend."""
    height = figure.get_size_inches()[1] * INCH
    higher = height + _HEAD
    figure.set_size_inches(figure.get_size_inches()[0], higher / INCH)
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 * height / higher, box.width, box.height * height / higher))
    figure.text(0.01, 1 - 14 / higher, title, fontsize=12, color=LIGHT["ink"], va="center")
    figure.legend(
        handles=[_handle(key) for key in keys[:_MOST_KEYS]],
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 20 / higher),
        ncols=_MOST_KEYS,
        frameon=False,
        fontsize=8,
        handlelength=1.6,
        columnspacing=1.0,
        labelcolor=LIGHT["dim"],
    )


def _handle(key: LegendEntry) -> Line2D | Patch:
    """A legend sample of the line or area."""
    label, colour = key.label if len(key.label) <= _MOST_LETTERS else f"{key.label[:_MOST_LETTERS]}…", LIGHT[key.colour]
    if key.dashes in ("area", "pale"):
        return Patch(color=colour, alpha=key.opacity or (0.45 if key.dashes == "pale" else 0.85), label=label)
    dashes = tuple(map(float, key.dashes.split())) if key.dashes and key.dashes != "hatch" else ()
    return Line2D([], [], color=colour, linestyle=(0, dashes) if dashes else "-", label=label)


def _svg(figure: Figure, name: str) -> Markup:
    FigureCanvasSVG(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_SVG_METADATA)
    return slim(file.getvalue(), name)


def _png(figure: Figure, name: str) -> Markup:
    FigureCanvasAgg(figure)
    figure.patch.set_facecolor(LIGHT["card"])
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    data = base64.b64encode(file.getvalue()).decode()
    width, height = (round(inches * INCH) for inches in figure.get_size_inches())
    return Markup('<img class="chart" width="{}" height="{}" alt="{}" src="data:image/png;base64,{}">').format(
        width, height, name, data
    )
