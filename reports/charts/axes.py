"""The frame of a figure: its size, its two axes with ticks, and the highlighted spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from reports.palette import LIGHT
from reports.report_model import Chart, Look, Scale, Shape
from reports.svg import LegendEntry
from reports.ticks import clock_ticks, short, time_ticks

Numbers = npt.NDArray[np.float64]

WIDTH, HEIGHT = 560, 210
"""In the units of the SVG; text is 11 units high: two charts lie side by side on a wide page, and one fits a phone."""
INCH = 72
MOST_LETTERS = 26
_MOST_WORDS, _MOST_TIMES, _MOST_CLOCK_TICKS = 6, 6, 7
_LEFT, _SIDE, _LETTER = 52, 24, 6.0
_LINE_SPACING = 1.5
"""Of labels with two lines: a narrow page draws them half as large again."""
SPAN_NAME = "span_name"
"""Beginning of the ids of the names of spans, for which a narrow page has no room."""
_GREATEST = 1e100
"""Values beyond this are not drawn."""
_TAILS = ((0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99"), (0.99999, "99.999"))
"""Ticks of a tail axis: ratios, and their labels in per cent."""
SETTINGS: dict[Any, object] = {
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
"""Settings of matplotlib that replace its defaults."""


def figure_of(chart: Chart, height: float = HEIGHT, below: float = 24) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and margins for their labels."""
    figure = Figure(figsize=(WIDTH / INCH, height / INCH), dpi=INCH)
    above = 24 + 18 * bool(chart.marks or chart.spans)
    left = _LEFT
    if chart.shape is Shape.BARS and not chart.x_is_time:
        left = 16 + round(7.8 * min(MOST_LETTERS, max(len(str(one)) for one in chart.x)))
    sides = {"left": left / WIDTH, "right": 1 - _SIDE / WIDTH}
    figure.subplots_adjust(bottom=below / height, top=1 - above / height, **sides)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.tick_params(left=False, bottom=False, which="both")
    return figure, axes


def x_figure(chart: Chart) -> tuple[Figure, Axes, Numbers]:
    """A figure whose x axis is time, numbers, or categories side by side; and the positions of the values on it."""
    if chart.x_is_number:
        return _numbers_figure(chart)
    x = np.array(chart.x if chart.x_is_time else range(len(chart.x)), np.float64)
    low, high = float(x.min()), float(x.max())
    if chart.x_is_time:
        pad = (high - low) * 0.01 or slot_of(x) / 2
        ticks = time_ticks(low, high, _MOST_TIMES)
    else:
        pad = 0.5
        step = -(-len(x) // _MOST_WORDS)
        ticks = [(float(place), cut(str(chart.x[place]), 12)) for place in range(0, len(x), step)]
    figure, axes = figure_of(chart, below=42 if any("\n" in words for _, words in ticks) else 24)
    axes.set_xlim(low - pad, high + pad)
    _marks(axes, [mark.x for mark in chart.marks], low - pad, high + pad)
    _ticks(axes, ticks)
    return figure, axes, x


def _numbers_figure(chart: Chart) -> tuple[Figure, Axes, Numbers]:
    says_what = bool(chart.x_label) and chart.scale is not Scale.CLOCK  # a clock says it itself
    figure, axes = figure_of(chart, below=44 if says_what else 24)
    x = np.array(chart.x, np.float64)
    places = [mark.x for mark in chart.marks]
    if says_what:
        axes.set_xlabel(chart.x_label, fontsize=10, loc="right", labelpad=6)
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    if chart.scale is Scale.CLOCK and len(x):
        slot = slot_of(x, 1.0)
        low, high = float(x.min()), float(x.max()) + slot
        axes.set_xlim(low, high)
        _ticks(axes, clock_ticks(low, high, _MOST_CLOCK_TICKS))
        _spans(axes, chart, low, high)
        x = x + slot / 2
    elif chart.scale is Scale.TAIL:
        x, places = _tail(x), _tail(np.array(places)).tolist()
        high = float(x.max())
        axes.set_xlim(0.0, high * 1.01 or 1.0)
        _ticks(axes, [(place, words) for q, words in _TAILS if (place := float(_tail(np.array([q]))[0])) <= high])
    elif chart.scale is Scale.LOG and len(x) and x.min() > 0:
        low, high = float(x.min()), float(x.max())
        axes.set_xscale("log")
        axes.set_xlim(low / 1.1, high * 1.1)
        axes.xaxis.set_major_locator(LogLocator(subs=_log_steps(high / low), numticks=12))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(short))  # choosing a scale replaces it
    _marks(axes, places, -np.inf, np.inf)
    return figure, axes, x


def _log_steps(ratio: float) -> tuple[float, ...]:
    """Ticks within each power of ten, on an axis whose ends have this ratio."""
    if ratio > 1000:
        return (1.0,)
    return (1.0, 2.0, 5.0) if ratio > 10 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)


def _tail(ratios: Numbers) -> Numbers:
    """Positions of ratios on a tail axis."""
    return np.asarray(-np.log10(1 - np.minimum(ratios, 1 - 1e-12)), np.float64)


def _ticks(axes: Axes, ticks: Sequence[tuple[float, str]]) -> None:
    names = dict(ticks)
    axes.xaxis.set_major_locator(FixedLocator(list(names)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: names.get(place, "")))
    for label in axes.get_xticklabels():
        label.set_linespacing(_LINE_SPACING)


def _marks(axes: Axes, places: Sequence[float], low: float, high: float) -> None:
    """A numbered line at each of these marks that lies on the axis."""
    for number, place in enumerate(places, 1):
        if low <= place <= high:
            axes.axvline(place, color=LIGHT["dim"], linewidth=1, linestyle=(0, (1, 2)))
            above = (place, 1.02)
            axes.annotate(str(number), above, xycoords=("data", "axes fraction"), ha="center", color=LIGHT["ink"])


def _spans(axes: Axes, chart: Chart, low: float, high: float) -> None:
    """Spans of the x axis, each with its name above if it fits."""
    room = (WIDTH - _LEFT - _SIDE) / (high - low)
    sideways = axes.get_xaxis_transform()
    for span in chart.spans:
        begin, end = max(low, span.from_x), min(high, span.until_x)
        if begin >= end:
            continue
        if span.look is Look.HATCHED:
            corners = _hatching(begin, end, room)
            codes = np.tile([Path.MOVETO, Path.LINETO], len(corners) // 2)
            _behind(axes, Path(corners, codes), edgecolor=LIGHT["bad"], facecolor="none", linewidth=1.0, alpha=0.5)
            continue
        if span.look is Look.SHADED:
            corners = np.array([(begin, 0), (end, 0), (end, 1), (begin, 1), (begin, 0)])
            _behind(axes, Path(corners), edgecolor="none", facecolor=LIGHT["rule"], alpha=0.45)
        beginning = Path(np.array([(begin, 0.0), (begin, 0.5), (begin, 1.0)]))
        _behind(axes, beginning, edgecolor=LIGHT["rest"], facecolor="none", linewidth=0.8)
        words = cut(span.label, MOST_LETTERS)
        if len(words) * _LETTER + 6 < (end - begin) * room:
            place = begin + 2 / room, 1.02
            axes.text(*place, words, transform=sideways, fontsize=9, color=LIGHT["dim"], gid=f"{SPAN_NAME}_{begin:g}")


def _behind(axes: Axes, path: Path, **style: Any) -> None:
    """A path behind everything else, as high as the axes."""
    axes.add_patch(PathPatch(path, transform=axes.get_xaxis_transform(), zorder=0.5, **style))


def _hatching(begin: float, end: float, room: float) -> Numbers:
    """Slanted lines over a span: their ends, one after the other, on the x axis and from 0 to 1 on the y axis."""
    step, slant = 6 / room, 40 / room
    starts = np.arange(begin - slant, end, step)
    from_y = np.maximum(0.0, (begin - starts) / slant)
    to_y = np.minimum(1.0, (end - starts) / slant)
    there = to_y > from_y
    ends = np.stack((starts + from_y * slant, from_y, starts + to_y * slant, to_y), 1)[there]
    return ends.reshape(-1, 2)


def span_keys(chart: Chart) -> list[LegendEntry]:
    """Legend entries for the looks of the spans."""
    looks = {span.look for span in chart.spans}
    found = [LegendEntry("not measured", "rule", "area")] if Look.SHADED in looks else []
    return [*found, LegendEntry("the load generator was the limit", "bad", "hatch")] if Look.HATCHED in looks else found


def fit(axes: Axes, chart: Chart, rows: Numbers, keys: list[LegendEntry], *, across: bool = False) -> None:
    """Set the range of the values, draw the threshold, and place the ticks."""
    low, high = float(np.nanmin(rows)), float(np.nanmax(rows))
    if chart.log:
        low = float(np.nanmin(np.where(rows > 0, rows, np.nan)))
    level = chart.threshold
    if level is not None:
        (axes.axvline if across else axes.axhline)(level, color=LIGHT["ink"], linewidth=1.2, linestyle=(0, (9, 4)))
        keys.append(LegendEntry(f"threshold {short(level)} {chart.unit}".strip(), "ink", "9 4"))
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
    if said := _scale_words(chart, *sorted(axis.get_view_interval())):
        place: Literal["left", "right"] = "right" if across else "left"
        axes.set_title(said, fontsize=10, color=LIGHT["dim"], loc=place, pad=20 if chart.marks or chart.spans else 5)


def _scale_words(chart: Chart, low: float, high: float) -> str:
    """The unit of the values, with a warning where their axis does not start at zero."""
    if chart.log and low > 0 and chart.shape is not Shape.HEAT:
        return f"{chart.unit}, logarithmic" if chart.unit else "logarithmic"
    if low > 0 or high < 0:
        return f"{chart.unit}, not from zero" if chart.unit else "not from zero"
    return chart.unit


def places_of(chart: Chart, axes: Axes) -> list[float]:
    """The place of each x in the picture, in units of the SVG: from the left, or from the top for bars of words."""
    height = axes.figure.bbox.height
    if chart.shape is Shape.BARS and not chart.x_is_time:
        return [round(height - float(axes.transData.transform((0, row))[1]), 1) for row in range(len(chart.x))]
    x = np.array(chart.x if chart.x_is_time or chart.x_is_number else range(len(chart.x)), np.float64)
    if chart.x_is_number and chart.scale is Scale.CLOCK:
        x = x + slot_of(x, 1.0) / 2
    elif chart.x_is_number and chart.scale is Scale.TAIL:
        x = _tail(x)
    y = float(axes.get_ylim()[0])
    return [round(float(axes.transData.transform((one, y))[0]), 1) for one in x]


def _range(low: float, high: float) -> tuple[float, float]:
    """Range from zero if that costs little of the picture, else with some margin on both sides."""
    if high == low:
        room = abs(high) * 0.1 or 1.0
        return (0.0, high + room) if low >= 0 else (low - room, high + room)
    room = (high - low) * 0.06
    if 0 <= low < 0.6 * high:
        return 0.0, high + room
    return (low - room if low != 0 else 0.0), high + room


def rectangles(
    axes: Axes, left: Numbers, right: Numbers, bottom: Numbers, top: Numbers, colour: str, alpha: float
) -> None:
    """All rectangles as one path: one patch each would take ten times the bytes and the time."""
    corners = np.stack(
        [np.stack(pair, -1) for pair in ((left, bottom), (right, bottom), (right, top), (left, top), (left, bottom))], 1
    )
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(left))
    path = Path(corners.reshape(-1, 2), codes)
    axes.add_patch(PathPatch(path, facecolor=LIGHT[colour], edgecolor="none", alpha=alpha))


def finite(values: Sequence[float | None]) -> list[float]:
    """The values, with NaN for those that an axis cannot show."""
    return [float("nan") if value is None or not abs(value) < _GREATEST else float(value) for value in values]


def slot_of(x: Numbers, alone: float = 3_600_000.0) -> float:
    """The smallest distance between values on the x axis; ``alone`` if there is only one value."""
    return float(np.diff(x).min()) if len(x) > 1 else alone


def cut(words: str, most: int) -> str:
    """The text cut to the available space, in characters that can be drawn."""
    plain = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
