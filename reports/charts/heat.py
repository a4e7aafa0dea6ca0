"""Counts over time and size as cells, the darker the more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from reports.charts.axes import Numbers, fit, slot_of, x_figure
from reports.palette import LIGHT, series
from reports.pictures import LegendEntry
from reports.report import Chart

_OPACITIES = (0.16, 0.3, 0.45, 0.6, 0.8, 1.0)


def heat(chart: Chart, rows: Numbers) -> tuple[Figure, list[LegendEntry], str]:
    """A cell for each row and place that has a count; each darkness stands for counts up to so many."""
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
    """The largest count of each darkness: equal ratios up to the largest of all."""
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
