"""Lines, bands, stacks, bars and heat maps as figures, each with its legend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter

from reports.charts.axes import MOST_LETTERS, Numbers, cut, figure_of, fit, rectangles, slot_of, x_figure
from reports.palette import COLOURED, LIGHT, series
from reports.report_model import Chart, Scale, Shape
from reports.svg import LegendEntry

_OPACITIES = (0.16, 0.3, 0.45, 0.6, 0.8, 1.0)


def heat(chart: Chart, rows: Numbers) -> tuple[Figure, list[LegendEntry], str]:
    """A cell for each row and place that has a count; each shade stands for counts up to a limit."""
    figure, axes, x = x_figure(chart)
    edges, width = np.array(chart.edges or range(len(rows) + 1), np.float64), slot_of(x, 1.0)
    counts = np.nan_to_num(np.maximum(rows, 0.0))
    colour, _ = series(0)
    keys: list[LegendEntry] = []
    below = 0
    for opacity, upto in zip(_OPACITIES, _steps(float(counts.max())), strict=False):
        path = _cells((counts > below) & (counts <= upto), x - width / 2, width, edges)
        if path is not None:
            axes.add_patch(PathPatch(path, facecolor=LIGHT[colour], edgecolor="none", alpha=opacity))
            words = f"{below + 1:,} to {upto:,}" if upto > below + 1 else f"{upto:,}"
            keys.append(LegendEntry(words, colour, "area", opacity))
        below = upto
    used = np.flatnonzero(counts.any(axis=1))
    fit(axes, chart, edges[[used[0], used[-1] + 1]] if len(used) else edges, keys)
    return figure, keys, ""


def _steps(most: float) -> list[int]:
    """The largest count of each shade: equal ratios up to the largest of all."""
    found: list[int] = []
    for number in range(1, len(_OPACITIES) + 1):
        found.append(max(round(most ** (number / len(_OPACITIES))), found[-1] + 1 if found else 1))
    return found


def _cells(there: npt.NDArray[np.bool_], left: Numbers, width: float, edges: Numbers) -> Path | None:
    """The cells as one path; neighbours of a row are one rectangle."""
    rings = []
    for row in range(len(there)):
        ends = np.diff(np.concatenate(([0], there[row].astype(np.int8), [0])))
        for begin, end in zip(np.flatnonzero(ends == 1), np.flatnonzero(ends == -1), strict=True):
            low, high, near, far = edges[row], edges[row + 1], left[begin], left[end - 1] + width
            rings.append([(near, low), (far, low), (far, high), (near, high), (near, low)])
    if not rings:
        return None
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(rings))
    return Path(np.array(rings).reshape(-1, 2), codes)


MOST_GREY = 60
"""Lines that are drawn in grey behind the coloured ones."""
MOST_BARS = 30
"""Largest number of words in a bar chart."""
_BAR_HEIGHT = 22
_DASHES = "5 4"


def lines(chart: Chart, rows: Numbers) -> tuple[Figure, list[LegendEntry], str]:
    """The first lines in colour, some of the others in grey behind them."""
    figure, axes, x = x_figure(chart)
    dots = "o" if chart.shape is Shape.POINTS else ""
    drawstyle = _drawstyle(chart)
    rest = rows[COLOURED : COLOURED + MOST_GREY]
    for row in rest:
        axes.plot(x, row, color=LIGHT["rest"], linewidth=0 if dots else 0.6, alpha=0.6, marker=dots, markersize=2.5)
    keys: list[LegendEntry] = []
    for number, row in reversed(list(enumerate(rows[:COLOURED]))):
        colour, dashes = series(number)
        dashes = _DASHES if chart.lines[number].dashed else dashes
        pattern = (0, tuple(map(float, dashes.split()))) if dashes else "-"
        if dots:
            axes.plot(x, row, color=LIGHT[colour], linewidth=0, marker=dots, markersize=4)
        else:
            style = "steps-post" if chart.lines[number].steps else drawstyle
            axes.plot(x, row, color=LIGHT[colour], linestyle=pattern, drawstyle=style)
            alone = _alone(row)
            axes.plot(x[alone], row[alone], color=LIGHT[colour], linewidth=0, marker="o", markersize=4)
        keys.insert(0, LegendEntry(chart.lines[number].label, colour, "" if dots else dashes))
    if len(rest):
        keys.append(LegendEntry(f"{len(rest)} more", "rest"))
    left_out = len(rows) - COLOURED - len(rest)
    note = f"{left_out} of {len(rows)} lines are left out of the picture." if left_out > 0 else ""
    fit(axes, chart, rows[: COLOURED + MOST_GREY], keys)
    return figure, keys, note


def band(chart: Chart, rows: Numbers) -> tuple[Figure, list[LegendEntry], str]:
    """The first line with the area between the second and the third behind it."""
    figure, axes, x = x_figure(chart)
    colour, _ = series(0)
    keys = [LegendEntry(chart.lines[0].label, colour)]
    if len(rows) >= 3:
        _area(axes, x, rows[1], rows[2], colour)
        both = _alone(rows[1] + rows[2])
        axes.vlines(x[both], rows[1][both], rows[2][both], color=LIGHT[colour], alpha=0.4, linewidth=3)
        keys.append(LegendEntry(f"{chart.lines[1].label} to {chart.lines[2].label}", colour, "area"))
    axes.plot(x, rows[0], color=LIGHT[colour])
    alone = _alone(rows[0])
    axes.plot(x[alone], rows[0][alone], color=LIGHT[colour], linewidth=0, marker="o", markersize=4)
    fit(axes, chart, rows[:3], keys)
    return figure, keys, ""


def stack(chart: Chart, rows: Numbers) -> tuple[Figure, list[LegendEntry], str]:
    """A column for each x with the lines stacked; columns touch each other, so that they form an area."""
    figure, axes, x = x_figure(chart)
    width = slot_of(x, 1.0 if chart.scale is Scale.CLOCK else 3_600_000.0)
    base = np.zeros(len(x))
    keys: list[LegendEntry] = []
    for number, row in enumerate(rows[:COLOURED]):
        colour, dashes = series(number)
        top = base + np.nan_to_num(row)
        alpha = 0.45 if dashes else 0.85
        rectangles(axes, x - width / 2, x + width / 2, base, top, colour, alpha)
        base = top
        keys.append(LegendEntry(chart.lines[number].label, colour, "pale" if dashes else "area"))
    left_out = len(rows) - COLOURED
    note = f"{left_out} of {len(rows)} lines are left out of the picture." if left_out > 0 else ""
    fit(axes, chart, np.vstack((base, np.zeros(len(x)))), keys)
    if chart.scale is not Scale.CLOCK:
        axes.set_xlim(float(x.min() - width), float(x.max() + width))
    return figure, keys, note


def bars(chart: Chart, rows: Numbers) -> tuple[Figure, list[LegendEntry], str]:
    """Columns over time, or a horizontal bar for each word."""
    shown = rows[:COLOURED]
    keys = [
        LegendEntry(line.label, series(number)[0], "pale" if series(number)[1] else "area")
        for number, line in enumerate(chart.lines[:COLOURED])
    ]
    note = f"{len(rows) - COLOURED} of {len(rows)} lines are left out of the picture." if len(rows) > COLOURED else ""
    if chart.x_is_time:
        figure, axes, x = x_figure(chart)
        width = slot_of(x) * 0.85
        _grouped(axes, x, shown, width, across=False)
        fit(axes, chart, np.vstack((shown, np.zeros(len(x)))), keys)
        axes.set_xlim(float(x.min() - width), float(x.max() + width))
        return figure, keys, note
    words = [str(one) for one in chart.x]
    if len(words) > MOST_BARS:
        note = f"{note} The first {MOST_BARS} of {len(words)} are drawn.".strip()
        words, shown = words[:MOST_BARS], shown[:, :MOST_BARS]
    figure, axes = figure_of(chart, 50 + _BAR_HEIGHT * len(words) * max(1.0, 0.5 * len(shown)))
    y = np.arange(len(words), dtype=np.float64)
    _grouped(axes, y, shown, 0.8, across=True)
    axes.yaxis.set_major_locator(FixedLocator(y.tolist()))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: cut(words[round(place)], MOST_LETTERS)))
    axes.set_ylim(len(words) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    fit(axes, chart, np.vstack((shown, np.zeros(len(words)))), keys, across=True)
    return figure, keys, note


def _grouped(axes: Axes, places: Numbers, rows: Numbers, width: float, *, across: bool) -> None:
    """A bar for each place and row, with the bars of a place side by side."""
    each = width / len(rows)
    for number, row in enumerate(rows):
        start = places - width / 2 + number * each
        known = np.isfinite(row)
        low, high = np.minimum(row, 0)[known], np.maximum(row, 0)[known]
        ends = start[known], start[known] + each * 0.94
        colour, dashes = series(number)
        alpha = 0.45 if dashes else 0.85
        if across:
            rectangles(axes, low, high, *ends, colour, alpha)
        else:
            rectangles(axes, *ends, low, high, colour, alpha)


def _area(axes: Axes, x: Numbers, low: Numbers, high: Numbers, colour: str) -> None:
    """The area between two lines, as one path; interrupted where either has a gap."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    runs = [run for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(run) > 1]
    if runs:
        rings = [
            np.column_stack((np.append(x[run], x[run][::-1]), np.append(low[run], high[run][::-1]))) for run in runs
        ]
        codes = np.concatenate([np.append(Path.MOVETO, np.full(len(ring) - 1, Path.LINETO)) for ring in rings])
        path = Path(np.concatenate(rings), codes.astype(np.uint8))
        axes.add_patch(PathPatch(path, facecolor=LIGHT[colour], edgecolor="none", alpha=0.2))


def _drawstyle(chart: Chart) -> str:
    if chart.shape is not Shape.STEPS:
        return "default"
    return "steps-mid" if chart.scale is Scale.CLOCK else "steps-post"


def _alone(row: Numbers) -> npt.NDArray[np.bool_]:
    """Mask of values with a gap on both sides: a line would not show them."""
    known = np.isfinite(row)
    before, after = np.append(False, known[:-1]), np.append(known[1:], False)
    alone: npt.NDArray[np.bool_] = known & ~before & ~after
    return alone
