"""Rows of small cells and small lines as hand-written SVG: a chart library is too slow for hundreds of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from math import fsum

from markupsafe import Markup

from reports.show import objective, per_cent

CELL_HEIGHT = 12
"""A cell is one wide: strips are stretched to the room there is."""
KEPT_FROM_RATIO = 0.99
"""Where no objective says another."""
WARNING_FROM_RATIO = 0.9
MOST_GAPS = 130
"""Cells from which on they are drawn without gaps, which would be wider than they."""
_TOPS = {"all": 0, "kept": 0, "part": 3, "low": 6, "none": 10}
"""Where each kind of cell begins: it can be told without its colour."""


def gaps(lengths: Collection[int]) -> Markup:
    """What a page has once that shows strips of so many cells: the gaps between them, as wide in every strip."""
    paths = "".join(
        f'<path id="gaps-{length}" class="gaps" d="{_upright(length)}"/>'
        for length in sorted(set(lengths))
        if 1 < length < MOST_GAPS
    )
    svg = '<svg class="defs" width="0" height="0" aria-hidden="true"><defs>{}</defs></svg>' if paths else "{}"
    return Markup(svg).format(Markup(paths))  # noqa: S704 # numbers of ours


def strip(values: Sequence[float | None], name: str | None, objective_ratio: float | None = None) -> Markup:
    """A cell for each ratio, 0 to 1; None is not known.

    ``name`` is read aloud, with the numbers; without one nothing is, as where the numbers stand beside it.
    """
    kinds = [_kind(value, objective_ratio or KEPT_FROM_RATIO) for value in values]
    runs: dict[str, list[str]] = {}
    place = 0
    for kind, cells in itertools.groupby(kinds):
        after, top = place + len(list(cells)), _TOPS[kind]
        runs.setdefault(kind, []).append(f"M{place} {top}H{after}V{CELL_HEIGHT}H{place}z")
        place = after
    paths = "".join(f'<path class="{kind}" d="{"".join(parts)}"/>' for kind, parts in runs.items())
    if 1 < place < MOST_GAPS:
        paths += f'<use href="#gaps-{place}"/>'
    said = Markup('aria-hidden="true"')
    if name is not None:
        said = Markup('role="img" aria-label="{}"').format(f"{name}: {in_words(values, objective_ratio)}")
    return Markup('<svg class="strip" viewBox="0 0 {} {}" preserveAspectRatio="none" {}>{}</svg>').format(
        place,
        CELL_HEIGHT,
        said,
        Markup(paths),  # noqa: S704 # numbers and our own words
    )


def in_words(values: Sequence[float | None], objective_ratio: float | None = None) -> str:
    """The cells for who cannot see them: how many are known, the mean of these and the worst."""
    known = [value for value in values if value is not None]
    if not known:
        return "nothing known"
    unknown = f", {len(values) - len(known)} not known" if len(known) < len(values) else ""
    mean, lowest = (per_cent(ratio, objective_ratio) for ratio in (fsum(known) / len(known), min(known)))
    return f"{len(values)} cells{unknown}, mean {mean}, lowest {lowest}"


def legend(objective_ratio: float | None = None) -> list[tuple[Markup, str]]:
    """The kinds of cells, drawn, and what they mean."""
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
