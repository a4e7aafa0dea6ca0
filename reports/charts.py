"""Charts drawn by matplotlib: as small SVG that takes its colours from the page, or as PNG on a ground of its own."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from reports.palette import COLOURED, LIGHT, series
from reports.pictures import Key, Picture, summary
from reports.report import Chart, Shape
from reports.slim import slim
from reports.ticks import short, time_ticks

Numbers = npt.NDArray[np.float64]

WIDTH, HEIGHT = 760, 230
"""In the units of the SVG; text is 11 of them high."""
MOST_GREY = 60
"""Lines that are drawn in grey behind the coloured ones."""
MOST_BARS = 30
"""Words of a bar chart."""
_BAR_HEIGHT = 22
_MOST_LETTERS = 28
_MOST_WORDS = 12
_INCH = 72
_PNG_DPI = 100
_GREATEST = 1e100
"""A value beyond has no place on an axis."""
_SETTINGS: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mcp-status-check",
    "path.simplify": True,
    "path.simplify_threshold": 0.4,
    "text.parse_math": False,
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": LIGHT["rule"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.8,
    "xtick.labelcolor": LIGHT["dim"],
    "ytick.labelcolor": LIGHT["dim"],
    "axes.labelcolor": LIGHT["dim"],
    "lines.linewidth": 1.6,
}


def pictures(charts: Sequence[Chart], images: str = "svg") -> list[Picture]:
    """The charts drawn as ``svg`` or ``png``, of every shape but STATES; the same charts always give the same bytes."""
    with _style():
        return [_picture(chart, images) for chart in charts]


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the reader's fonts draw it, not ours
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def _picture(chart: Chart, images: str) -> Picture:
    rows = np.array([_numbers(line.values) for line in chart.lines], np.float64).reshape(len(chart.lines), len(chart.x))
    if chart.log:
        rows[rows <= 0] = np.nan
    if not np.isfinite(rows).any():
        return Picture()
    figure, keys, note = _DRAWN[chart.shape](chart, rows)
    name = summary(chart)
    marks = [mark.label for mark in chart.marks] if chart.x_is_time else []
    return Picture(_svg(figure, name) if images == "svg" else _png(figure, name), keys, marks, note)


def _svg(figure: Figure, name: str) -> Markup:
    FigureCanvasSVG(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return slim(file.getvalue(), name)


def _png(figure: Figure, name: str) -> Markup:
    FigureCanvasAgg(figure)
    figure.patch.set_facecolor(LIGHT["card"])
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    data = base64.b64encode(file.getvalue()).decode()
    width, height = (round(inches * _INCH) for inches in figure.get_size_inches())
    return Markup('<img class="chart" width="{}" height="{}" alt="{}" src="data:image/png;base64,{}">').format(
        width, height, name, data
    )


def _lines(chart: Chart, rows: Numbers) -> tuple[Figure, list[Key], str]:
    """The first lines in colour, some of the rest in grey behind them."""
    figure, axes, x = _time_figure(chart)
    dots = "o" if chart.shape is Shape.POINTS else ""
    rest = rows[COLOURED : COLOURED + MOST_GREY]
    for row in rest:
        axes.plot(x, row, color=LIGHT["rest"], linewidth=0 if dots else 0.6, alpha=0.6, marker=dots, markersize=2.5)
    keys: list[Key] = []
    for number, row in reversed(list(enumerate(rows[:COLOURED]))):
        colour, dashes = series(number)
        pattern = (0, tuple(map(float, dashes.split()))) if dashes else "-"
        if dots:
            axes.plot(x, row, color=LIGHT[colour], linewidth=0, marker=dots, markersize=4)
        else:
            axes.plot(x, row, color=LIGHT[colour], linestyle=pattern)
            alone = _alone(row)
            axes.plot(x[alone], row[alone], color=LIGHT[colour], linewidth=0, marker="o", markersize=4)
        keys.insert(0, Key(chart.lines[number].label, colour, "" if dots else dashes))
    if len(rest):
        keys.append(Key(f"{len(rest)} more", "rest"))
    left_out = len(rows) - COLOURED - len(rest)
    note = f"{left_out} of {len(rows)} lines are left out of the picture." if left_out > 0 else ""
    _fit(axes, chart, rows[: COLOURED + MOST_GREY], keys)
    return figure, keys, note


def _band(chart: Chart, rows: Numbers) -> tuple[Figure, list[Key], str]:
    """The first line with the area between the second and the third behind it."""
    figure, axes, x = _time_figure(chart)
    colour, _ = series(0)
    keys = [Key(chart.lines[0].label, colour)]
    if len(rows) >= 3:
        _area(axes, x, rows[1], rows[2], colour)
        both = _alone(rows[1] + rows[2])
        axes.vlines(x[both], rows[1][both], rows[2][both], color=LIGHT[colour], alpha=0.4, linewidth=3)
        keys.append(Key(f"{chart.lines[1].label} to {chart.lines[2].label}", colour, "area"))
    axes.plot(x, rows[0], color=LIGHT[colour])
    alone = _alone(rows[0])
    axes.plot(x[alone], rows[0][alone], color=LIGHT[colour], linewidth=0, marker="o", markersize=4)
    _fit(axes, chart, rows[:3], keys)
    return figure, keys, ""


def _stack(chart: Chart, rows: Numbers) -> tuple[Figure, list[Key], str]:
    """A column for each x, the lines one on top of the other; as wide as there is room, so that it is an area."""
    figure, axes, x = _time_figure(chart)
    width = _slot(x)
    base = np.zeros(len(x))
    keys: list[Key] = []
    for number, row in enumerate(rows[:COLOURED]):
        colour, dashes = series(number)
        top = base + np.nan_to_num(row)
        alpha = 0.45 if dashes else 0.85
        _rectangles(axes, x - width / 2, x + width / 2, base, top, colour, alpha)
        base = top
        keys.append(Key(chart.lines[number].label, colour, "pale" if dashes else "area"))
    left_out = len(rows) - COLOURED
    note = f"{left_out} of {len(rows)} lines are left out of the picture." if left_out > 0 else ""
    _fit(axes, chart, np.vstack((base, np.zeros(len(x)))), keys)
    axes.set_xlim(float(x.min() - width), float(x.max() + width))
    return figure, keys, note


def _bars(chart: Chart, rows: Numbers) -> tuple[Figure, list[Key], str]:
    """Columns over time, or a bar to the right for each word."""
    shown = rows[:COLOURED]
    keys = [
        Key(line.label, series(number)[0], "pale" if series(number)[1] else "area")
        for number, line in enumerate(chart.lines[:COLOURED])
    ]
    note = f"{len(rows) - COLOURED} of {len(rows)} lines are left out of the picture." if len(rows) > COLOURED else ""
    if chart.x_is_time:
        figure, axes, x = _time_figure(chart)
        width = _slot(x) * 0.85
        _grouped(axes, x, shown, width, across=False)
        _fit(axes, chart, np.vstack((shown, np.zeros(len(x)))), keys)
        axes.set_xlim(float(x.min() - width), float(x.max() + width))
        return figure, keys, note
    words = [str(one) for one in chart.x]
    if len(words) > MOST_BARS:
        note = f"{note} The first {MOST_BARS} of {len(words)} are drawn.".strip()
        words, shown = words[:MOST_BARS], shown[:, :MOST_BARS]
    figure, axes = _figure(chart, 50 + _BAR_HEIGHT * len(words) * max(1.0, 0.5 * len(shown)))
    y = np.arange(len(words), dtype=np.float64)
    _grouped(axes, y, shown, 0.8, across=True)
    axes.yaxis.set_major_locator(FixedLocator(y.tolist()))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: _cut(words[round(place)], _MOST_LETTERS)))
    axes.set_ylim(len(words) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    _fit(axes, chart, np.vstack((shown, np.zeros(len(words)))), keys, across=True)
    return figure, keys, note


_DRAWN = {Shape.LINES: _lines, Shape.POINTS: _lines, Shape.BAND: _band, Shape.STACK: _stack, Shape.BARS: _bars}


def _figure(chart: Chart, height: float = HEIGHT, below: float = 24) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / _INCH, height / _INCH), dpi=_INCH)
    above = 8 + 16 * bool(chart.unit) + 14 * bool(chart.marks)
    left = 52
    if chart.shape is Shape.BARS and not chart.x_is_time:
        left = 16 + round(6.7 * min(_MOST_LETTERS, max(len(str(one)) for one in chart.x)))
    sides = {"left": left / WIDTH, "right": 1 - 24 / WIDTH}
    figure.subplots_adjust(bottom=below / height, top=1 - above / height, **sides)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.tick_params(left=False, bottom=False, which="both")
    return figure, axes


def _time_figure(chart: Chart) -> tuple[Figure, Axes, Numbers]:
    """A figure whose x axis is time, numbers, or words side by side; and the places of the values on it."""
    if not chart.x_is_time and all(isinstance(one, int | float) for one in chart.x):
        figure, axes = _figure(chart)
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        return figure, axes, np.array(chart.x, np.float64)
    x = np.array(chart.x if chart.x_is_time else range(len(chart.x)), np.float64)
    low, high = float(x.min()), float(x.max())
    if chart.x_is_time:
        pad = (high - low) * 0.01 or _slot(x) / 2
        ticks = time_ticks(low, high)
    else:
        pad = 0.5
        step = -(-len(x) // _MOST_WORDS)
        ticks = [(float(place), _cut(str(chart.x[place]), 12)) for place in range(0, len(x), step)]
    figure, axes = _figure(chart, below=38 if any("\n" in words for _, words in ticks) else 24)
    axes.set_xlim(low - pad, high + pad)
    for number, mark in enumerate(chart.marks, 1):
        if low - pad <= mark.x <= high + pad:
            axes.axvline(mark.x, color=LIGHT["dim"], linewidth=1, linestyle=(0, (1, 2)))
            place = (mark.x, 1.02)
            axes.annotate(str(number), place, xycoords=("data", "axes fraction"), ha="center", color=LIGHT["ink"])
    names = dict(ticks)
    axes.xaxis.set_major_locator(FixedLocator(list(names)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: names.get(place, "")))
    return figure, axes, x


def _fit(axes: Axes, chart: Chart, rows: Numbers, keys: list[Key], *, across: bool = False) -> None:
    """Choose the range of the values, draw the threshold, and mark the axis."""
    low, high = float(np.nanmin(rows)), float(np.nanmax(rows))
    if chart.log:
        low = float(np.nanmin(np.where(rows > 0, rows, np.nan)))
    level = chart.threshold
    if level is not None:
        (axes.axvline if across else axes.axhline)(level, color=LIGHT["ink"], linewidth=1.2, linestyle=(0, (9, 4)))
        keys.append(Key(f"threshold {short(level)} {chart.unit}".strip(), "ink", "9 4"))
        low, high = min(low, level), max(high, level)
    axis, limits = (axes.xaxis, axes.set_xlim) if across else (axes.yaxis, axes.set_ylim)
    if chart.log and low > 0:
        (axes.set_xscale if across else axes.set_yscale)("log")
        limits(low / 1.25, high * 1.25)
        axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 1000 else (1.0, 2.0, 5.0), numticks=8))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    else:
        limits(*_range(low, high))
        whole = bool(np.all(rows[np.isfinite(rows)] % 1 == 0))
        axis.set_major_locator(MaxNLocator(6 if across else 5, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_major_formatter(FuncFormatter(short))
    if chart.unit:
        place: Literal["left", "right"] = "right" if across else "left"
        axes.set_title(chart.unit, fontsize=10, color=LIGHT["dim"], loc=place, pad=16 if chart.marks else 5)


def _range(low: float, high: float) -> tuple[float, float]:
    """From zero where that costs little of the picture, else with some room on both sides."""
    if high == low:
        room = abs(high) * 0.1 or 1.0
        return (0.0, high + room) if low >= 0 else (low - room, high + room)
    room = (high - low) * 0.06
    if 0 <= low < 0.6 * high:
        return 0.0, high + room
    return (low - room if low != 0 else 0.0), high + room


def _grouped(axes: Axes, places: Numbers, rows: Numbers, width: float, *, across: bool) -> None:
    """A bar for each place and row, those of a place side by side."""
    each = width / len(rows)
    for number, row in enumerate(rows):
        start = places - width / 2 + number * each
        known = np.isfinite(row)
        low, high = np.minimum(row, 0)[known], np.maximum(row, 0)[known]
        ends = start[known], start[known] + each * 0.94
        colour, dashes = series(number)
        alpha = 0.45 if dashes else 0.85
        if across:
            _rectangles(axes, low, high, *ends, colour, alpha)
        else:
            _rectangles(axes, *ends, low, high, colour, alpha)


def _area(axes: Axes, x: Numbers, low: Numbers, high: Numbers, colour: str) -> None:
    """What lies between two lines, as one path; not where either has a gap."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    runs = [run for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(run) > 1]
    if runs:
        rings = [
            np.column_stack((np.append(x[run], x[run][::-1]), np.append(low[run], high[run][::-1]))) for run in runs
        ]
        codes = np.concatenate([np.append(Path.MOVETO, np.full(len(ring) - 1, Path.LINETO)) for ring in rings])
        path = Path(np.concatenate(rings), codes.astype(np.uint8))
        axes.add_patch(PathPatch(path, facecolor=LIGHT[colour], edgecolor="none", alpha=0.2))


def _rectangles(
    axes: Axes, left: Numbers, right: Numbers, bottom: Numbers, top: Numbers, colour: str, alpha: float
) -> None:
    """All rectangles as one path: a patch for each would be ten times the bytes and the time."""
    corners = np.stack(
        [np.stack(pair, -1) for pair in ((left, bottom), (right, bottom), (right, top), (left, top), (left, bottom))], 1
    )
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(left))
    path = Path(corners.reshape(-1, 2), codes)
    axes.add_patch(PathPatch(path, facecolor=LIGHT[colour], edgecolor="none", alpha=alpha))


def _numbers(values: Sequence[float | None]) -> list[float]:
    """The values with NaN where there is none that an axis could show."""
    return [float("nan") if value is None or not abs(value) < _GREATEST else float(value) for value in values]


def _alone(row: Numbers) -> npt.NDArray[np.bool_]:
    """Which values have a gap on both sides: a line would not show them."""
    known = np.isfinite(row)
    before, after = np.append(False, known[:-1]), np.append(known[1:], False)
    alone: npt.NDArray[np.bool_] = known & ~before & ~after
    return alone


def _slot(x: Numbers) -> float:
    """The smallest distance between values on the x axis; an hour where there is one value."""
    return float(np.diff(x).min()) if len(x) > 1 else 3_600_000.0


def _cut(words: str, most: int) -> str:
    plain = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
