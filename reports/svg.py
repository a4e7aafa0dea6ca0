"""Small pictures as handwritten SVG, where a chart library is too slow, and the text that goes with them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from functools import lru_cache
from math import fsum

from markupsafe import Markup, escape
from msgspec import Struct

from reports.output_forms import objective, per_cent
from reports.palette import series
from reports.report_model import Chart, Line
from reports.ticks import short, time_ticks, value_ticks


class LegendEntry(Struct, frozen=True):
    """A legend entry for a line of a picture."""

    label: str
    colour: str
    """Colour name in the palette."""
    dashes: str = ""
    """Dash pattern as in SVG; empty for a solid line; area, pale or hatch for a background."""
    opacity: float | None = None
    """Opacity of an area."""


class Picture(Struct, frozen=True):
    """A drawn chart; without markup there was nothing to draw."""

    markup: str = ""
    """Safe to insert into a page unchanged."""
    keys: Sequence[LegendEntry] = ()
    marks: Sequence[str] = ()
    """Meaning of the numbered marks, from 1."""
    note: str = ""
    """Note on what was left out."""
    places: Sequence[float] = ()
    """Place of each x in the picture, from the left, or from the top for bars of words."""
    size: tuple[float, float] = (0, 0)
    """Width and height in which the places are counted."""


def summary(chart: Chart) -> str:
    """The picture as text, for screen readers."""
    found = [value for line in chart.lines for value in line.values if value is not None]
    lines = f"{len(chart.lines)} line{'' if len(chart.lines) == 1 else 's'}"
    if not found:
        return f"{chart.title}: no data"
    unit = chart.unit if chart.unit == "%" else f" {chart.unit}".rstrip()
    return f"{chart.title}: {lines}, values from {min(found):.4g} to {max(found):.4g}{unit}"


CELL_HEIGHT = 12
"""Each cell is one unit wide: strips are stretched to the available width."""
KEPT_FROM_RATIO = 0.99
"""Ratio from which on a cell counts as kept, if there is no objective."""
WARNING_FROM_RATIO = 0.9
MOST_GAPS = 130
"""Number of cells from which on they are drawn without gaps, which would be wider than the cells."""
_TOPS = {"all": 0, "kept": 0, "part": 3, "low": 6, "none": 10}
"""Top of each kind of cell: kinds are distinguishable without colour."""


def gaps(lengths: Collection[int]) -> Markup:
    """Gaps between the cells of a strip, defined once per page: equally wide in every strip."""
    paths = "".join(
        f'<path id="gaps-{length}" class="gaps" d="{_upright(length)}"/>'
        for length in sorted(set(lengths))
        if 1 < length < MOST_GAPS
    )
    svg = '<svg class="defs" width="0" height="0" aria-hidden="true"><defs>{}</defs></svg>' if paths else "{}"
    return Markup(svg).format(Markup(paths))  # noqa: S704 # numbers of ours


def strip(
    values: Sequence[float | None], name: str | None, objective_ratio: float | None = None, told: str = ""
) -> Markup:
    """A cell for each ratio, 0 to 1; None is unknown.

    ``name`` is read by screen readers, with the numbers; leave it out if the numbers stand beside the strip. ``told``
    are the values that the page's script shows for each cell.
    """
    place, paths = len(values), _cells(tuple(values), objective_ratio or KEPT_FROM_RATIO)
    said = 'aria-hidden="true"'
    if name is not None:
        said = f'role="img" aria-label="{escape(name)}: {in_words(values, objective_ratio)}"'
    if told:
        said += f' data-v="{escape(told)}"'
    # Markup.format takes a tenth of a site's time.
    return Markup(  # noqa: S704 # numbers, words of ours and what is escaped above
        f'<svg class="strip" viewBox="0 0 {place} {CELL_HEIGHT}" preserveAspectRatio="none" {said}>{paths}</svg>'
    )


@lru_cache(maxsize=4096)
def _cells(values: tuple[float | None, ...], kept_from: float) -> str:
    """The cells as paths; a page repeats many rows, and those of healthy servers are alike."""
    kinds = [_kind(value, kept_from) for value in values]
    runs: dict[str, list[str]] = {}
    place = 0
    for kind, cells in itertools.groupby(kinds):
        after, top = place + len(list(cells)), _TOPS[kind]
        runs.setdefault(kind, []).append(f"M{place} {top}H{after}V{CELL_HEIGHT}H{place}z")
        place = after
    paths = "".join(f'<path class="{kind}" d="{"".join(parts)}"/>' for kind, parts in runs.items())
    return f'{paths}<use href="#gaps-{place}"/>' if 1 < place < MOST_GAPS else paths


def trace(values: Sequence[float | None], told: str) -> Markup:
    """A small line from zero up, of the height of a strip; ``told`` are the values for the page's script."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    places = [
        None if value is None else f"{place + 0.5:g} {CELL_HEIGHT - 1 - value / top * (CELL_HEIGHT - 2):.1f}"
        for place, value in enumerate(values)
    ]
    return Markup(  # noqa: S704 # numbers of ours, and what is escaped
        f'<svg class="strip" viewBox="0 0 {len(values)} {CELL_HEIGHT}" preserveAspectRatio="none" aria-hidden="true"'
        f' data-v="{escape(told)}"><path class="line" d="{_path(places)}"/></svg>'
    )


def in_words(values: Sequence[float | None], objective_ratio: float | None = None) -> str:
    """The cells as text for screen readers: number of known cells, their mean and the worst."""
    known = [value for value in values if value is not None]
    if not known:
        return "nothing known"
    unknown = f", {len(values) - len(known)} not known" if len(known) < len(values) else ""
    mean, lowest = (per_cent(ratio, objective_ratio) for ratio in (fsum(known) / len(known), min(known)))
    return f"{len(values)} cells{unknown}, mean {mean}, lowest {lowest}"


def legend(objective_ratio: float | None = None) -> list[tuple[Markup, str]]:
    """The kinds of cells, drawn, with their meaning."""
    words = {
        "all": "100%",
        "kept": f"from {objective(objective_ratio or KEPT_FROM_RATIO)}",
        "part": f"from {per_cent(WARNING_FROM_RATIO)}",
        "low": "less",
        "none": "not known",
    }
    swatch = Markup(
        '<svg class="swatch" viewBox="0 0 8 12" aria-hidden="true"><path class="{}" d="M0 {}h8V12h-8z"/></svg>'
    )
    return [(swatch.format(kind, top), words[kind]) for kind, top in _TOPS.items()]


def _upright(length: int) -> str:
    return "".join(f"M{place} 0V{CELL_HEIGHT}" for place in range(1, length))


def _kind(value: float | None, kept_from: float) -> str:
    if value is None:
        return "none"
    if value >= 1:
        return "all"
    if value >= kept_from:
        return "kept"
    return "part" if value >= WARNING_FROM_RATIO else "low"


WIDTH, HEIGHT = 560, 190
_LEFT, _RIGHT, _TOP, _BELOW = 52, 24, 22, 42
_LINE, _MOST_TICKS = 17, 6


def plot(x_ms: Sequence[int], lines: Sequence[Line], unit: str, name: str) -> Picture:
    """The lines from zero up, with gaps for missing values and dots for isolated ones."""
    known = [value for line in lines for value in line.values if value is not None]
    if not known:
        return Picture()
    top = max(known) * 1.06 or 1.0
    low, high = x_ms[0], x_ms[-1]
    across = (WIDTH - _LEFT - _RIGHT) / (high - low or 1)
    down = (HEIGHT - _TOP - _BELOW) / top
    parts = [*_grid(top, down, unit), *_times(low, high, across)]
    from_left = [f"{_LEFT + (at - low) * across:.4g} " for at in x_ms]
    keys: list[LegendEntry] = []
    for number, line in reversed(list(enumerate(lines))):
        colour, _ = series(number // 2)
        dashes = "3 3" if number % 2 else ""
        places = [
            None if value is None else f"{x}{HEIGHT - _BELOW - value * down:.4g}"
            for x, value in zip(from_left, line.values, strict=True)
        ]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        parts.append(
            f'<path d="{_path(places)}" fill="none" stroke="var(--{colour})" stroke-width="1.6"'
            f' stroke-linecap="round"{dashed}/>'
        )
        keys.insert(0, LegendEntry(line.label, colour, dashes))
    said = f"{name}: {min(known):.4g} to {max(known):.4g} {unit}"
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>')
    body = Markup("".join(parts))  # noqa: S704 # numbers, and words escaped below
    markup = opening.format(WIDTH, HEIGHT, said, said) + body + Markup("</svg>")
    return Picture(markup, keys, places=[round(_LEFT + (at - low) * across, 1) for at in x_ms], size=(WIDTH, HEIGHT))


def _path(places: Sequence[str | None]) -> str:
    """Path through the points; an isolated point is a line of zero length, which its round ends turn into a dot."""
    parts, pen = [], False
    for number, place in enumerate(places):
        if place is not None:
            alone = not pen and (number + 1 == len(places) or places[number + 1] is None)
            parts.append(f"{'L' if pen else 'M'}{place}{'h.1' if alone else ''}")
        pen = place is not None
    return "".join(parts)


def _grid(top: float, down: float, unit: str) -> list[str]:
    parts = [f'<text x="{_LEFT}" y="12" fill="var(--dim)">{escape(unit)}</text>']
    for value in value_ticks(0, top):
        y = HEIGHT - _BELOW - value * down
        parts.append(f'<path d="M{_LEFT} {y:.4g}H{WIDTH - _RIGHT}" stroke="var(--rule)"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.4g}" text-anchor="end" fill="var(--dim)">{short(value)}</text>')
    return parts


def _times(low: int, high: int, across: float) -> list[str]:
    parts = []
    for number, (at, words) in enumerate(time_ticks(low, high, _MOST_TICKS)):
        x = _LEFT + (at - low) * across
        parts.append(f'<path d="M{x:.4g} {_TOP}V{HEIGHT - _BELOW}" stroke="var(--rule)"/>')
        for place, word in enumerate(words.split("\n")):
            y = HEIGHT - _BELOW + 20 + _LINE * place
            second = ' class="second"' if number % 2 else ""
            parts.append(f'<text{second} x="{x:.4g}" y="{y}" text-anchor="middle" fill="var(--dim)">{word}</text>')
    return parts
