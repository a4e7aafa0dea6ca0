"""The colours of pages and charts by name, for light and dark backgrounds, with sufficient contrast on each.

Text has at least 4.5 to 1 and lines have at least 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11); a test computes it.
"""

from __future__ import annotations

LIGHT = {
    "ground": "#ffffff",
    "card": "#f5f6f8",
    "ink": "#1b1f24",
    "dim": "#565e68",
    "rule": "#d5d9df",
    "link": "#0b57b0",
    "good": "#0a6b3b",
    "warning": "#8a5200",
    "bad": "#b3142e",
    "unknown": "#5c4a92",
    "good-ground": "#e2f3e9",
    "warning-ground": "#fdf0d9",
    "bad-ground": "#fde7ea",
    "unknown-ground": "#ece9f6",
    "c1": "#1f5fbf",
    "c2": "#b85600",
    "c3": "#0b7a6f",
    "c4": "#8b3fb3",
    "c5": "#b3144f",
    "c6": "#5f6b1a",
    "rest": "#8b929b",
}
"""Colours for light backgrounds and for paper."""

DARK = {
    "ground": "#14171b",
    "card": "#1d2126",
    "ink": "#e8ebef",
    "dim": "#a6afba",
    "rule": "#373d45",
    "link": "#8cbcff",
    "good": "#5fd195",
    "warning": "#f2b65a",
    "bad": "#ff8a94",
    "unknown": "#bcaef0",
    "good-ground": "#12301f",
    "warning-ground": "#352710",
    "bad-ground": "#3a171c",
    "unknown-ground": "#262039",
    "c1": "#7db1ff",
    "c2": "#f5a05c",
    "c3": "#4fd1c2",
    "c4": "#d29cf0",
    "c5": "#ff8ab5",
    "c6": "#c3cf6a",
    "rest": "#767e88",
}

SERIES = ("c1", "c2", "c4", "c3", "c5", "c6")
"""The colours of a chart's lines, in this order; then once more, dashed."""
DASHES = ("", "6 3")
COLOURED = len(SERIES) * len(DASHES)
"""Number of distinguishable lines."""


def variables(colours: dict[str, str]) -> str:
    """The colours as declarations of CSS variables."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def series(number: int) -> tuple[str, str]:
    """Colour name and dash pattern of the line with this number, from 0."""
    return SERIES[number % len(SERIES)], DASHES[number // len(SERIES) % len(DASHES)]
