"""Rows of small cells and small lines as hand-written SVG: a chart library is too slow for hundreds of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from markupsafe import Markup

from reports.show import per_cent

CELL, CELL_HEIGHT = 4, 12
KEPT_FROM_RATIO = 0.99
"""Where no objective says another."""
WARNING_FROM_RATIO = 0.9
GRID = Markup(  # noqa: S704 # numbers of ours
    '<svg class="defs" width="0" height="0" aria-hidden="true"><defs>'
    f'<pattern id="cells" width="{CELL}" height="{CELL_HEIGHT}" patternUnits="userSpaceOnUse">'
    f'<path d="M{CELL} 0v{CELL_HEIGHT}" stroke="var(--ground)" stroke-width="1.4"/></pattern></defs></svg>'
)
"""What a page with strips has once: the gaps between their cells."""
_TOPS = {"all": 0, "kept": 0, "part": 3, "low": 6, "none": 10}
"""Where each kind of cell begins: it can be told without its colour."""


def strip(values: Sequence[float | None], name: str, objective_ratio: float | None = None) -> Markup:
    """A cell for each ratio, 0 to 1; None is not known. ``name`` is what is read aloud before the numbers."""
    kinds = [_kind(value, objective_ratio or KEPT_FROM_RATIO) for value in values]
    runs: dict[str, list[str]] = {}
    place = 0
    for kind, cells in itertools.groupby(kinds):
        width, top = CELL * len(list(cells)), _TOPS[kind]
        runs.setdefault(kind, []).append(f"M{place} {top}h{width}V{CELL_HEIGHT}h-{width}z")
        place += width
    paths = "".join(f'<path class="{kind}" d="{"".join(parts)}"/>' for kind, parts in runs.items())
    return Markup(
        '<svg class="strip" viewBox="0 0 {0} {1}" preserveAspectRatio="none" role="img" aria-label="{2}">{3}'
        '<rect width="{0}" height="{1}" fill="url(#cells)"/></svg>'
    ).format(place, CELL_HEIGHT, f"{name}: {in_words(values)}", Markup(paths))  # noqa: S704 # numbers and our own words


def in_words(values: Sequence[float | None]) -> str:
    """The cells for who cannot see them: how many are known, the mean of these and the worst."""
    known = [value for value in values if value is not None]
    if not known:
        return "nothing known"
    unknown = f", {len(values) - len(known)} not known" if len(known) < len(values) else ""
    mean = per_cent(sum(known) / len(known))
    return f"{len(values)} cells{unknown}, mean {mean}, lowest {per_cent(min(known))}"


def legend(objective_ratio: float | None = None) -> list[tuple[Markup, str]]:
    """The kinds of cells, drawn, and what they mean."""
    words = {
        "all": "100 %",
        "kept": f"from {per_cent(objective_ratio or KEPT_FROM_RATIO)}",
        "part": f"from {per_cent(WARNING_FROM_RATIO)}",
        "low": "less",
        "none": "not known",
    }
    swatch = Markup(
        '<svg class="swatch" viewBox="0 0 8 12" aria-hidden="true"><path class="{}" d="M0 {}h8V12h-8z"/></svg>'
    )
    return [(swatch.format(kind, top), words[kind]) for kind, top in _TOPS.items()]


def _kind(value: float | None, kept_from: float) -> str:
    if value is None:
        return "none"
    if value >= 1:
        return "all"
    if value >= kept_from:
        return "kept"
    return "part" if value >= WARNING_FROM_RATIO else "low"
