"""Lines over time as hand-written SVG, with axes: of two for each server a chart library would make minutes."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from reports.palette import series
from reports.pictures import LegendEntry, Picture
from reports.report import Line
from reports.ticks import short, time_ticks, value_ticks

WIDTH, HEIGHT = 760, 200
_LEFT, _RIGHT, _TOP, _BELOW = 52, 24, 22, 34
_LINE = 13


def plot(x_ms: Sequence[int], lines: Sequence[Line], unit: str, name: str) -> Picture:
    """The lines from zero up, with gaps where there is no value and dots where one stands alone."""
    known = [value for line in lines for value in line.values if value is not None]
    if not known:
        return Picture()
    top = max(known) * 1.06 or 1.0
    low, high = x_ms[0], x_ms[-1]
    across = (WIDTH - _LEFT - _RIGHT) / (high - low or 1)
    down = (HEIGHT - _TOP - _BELOW) / top
    parts = [*_grid(top, down, unit), *_times(low, high, across)]
    keys: list[LegendEntry] = []
    for number, line in reversed(list(enumerate(lines))):
        colour, _ = series(number // 2)
        dashes = "3 3" if number % 2 else ""
        places = [
            None if value is None else f"{_LEFT + (at - low) * across:.4g} {HEIGHT - _BELOW - value * down:.4g}"
            for at, value in zip(x_ms, line.values, strict=True)
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
    return Picture(opening.format(WIDTH, HEIGHT, said, said) + body + Markup("</svg>"), keys)


def _path(places: Sequence[str | None]) -> str:
    """Through the places; a place alone is a line of no length, which its round ends make a dot."""
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
    for at, words in time_ticks(low, high):
        x = _LEFT + (at - low) * across
        parts.append(f'<path d="M{x:.4g} {_TOP}V{HEIGHT - _BELOW}" stroke="var(--rule)"/>')
        for place, word in enumerate(words.split("\n")):
            y = HEIGHT - _BELOW + 16 + _LINE * place
            parts.append(f'<text x="{x:.4g}" y="{y}" text-anchor="middle" fill="var(--dim)">{word}</text>')
    return parts
