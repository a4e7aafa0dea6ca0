"""What a chart has become on a page: its markup, and what is said in words beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.report import Chart


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """What a line of a picture stands for."""

    label: str
    colour: str
    """Name in the palette."""
    dashes: str = ""
    """As SVG has them; empty for a solid line; area, pale or hatch for a ground."""
    opacity: float | None = None
    """Of an area."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn chart; without markup there was nothing to draw."""

    markup: str = ""
    """Safe to put in a page as it is."""
    keys: Sequence[LegendEntry] = ()
    marks: Sequence[str] = ()
    """What the numbered marks are, from 1."""
    note: str = ""
    """What was left out."""


def summary(chart: Chart) -> str:
    """The picture in words, for who cannot see it."""
    found = [value for line in chart.lines for value in line.values if value is not None]
    lines = f"{len(chart.lines)} line{'' if len(chart.lines) == 1 else 's'}"
    if not found:
        return f"{chart.title}: no data"
    unit = chart.unit if chart.unit == "%" else f" {chart.unit}".rstrip()
    return f"{chart.title}: {lines}, values from {min(found):.4g} to {max(found):.4g}{unit}"
