"""Badges as SVG files: a label and a value on a colour, as READMEs show them."""

from __future__ import annotations

from markupsafe import Markup

from checker.plain_text import markup
from reports.palette import LIGHT
from reports.show import per_cent

_NARROW, _WIDE = frozenset("fijlrt.,:;|!'()[]{}/- "), frozenset("mwMW%@&")
_SIDES = 12
_MOST_LETTERS = 40


def badge(label: str, value: str, level: str) -> Markup:
    """A badge; ``level`` is good, warning, bad or unknown, and the value says the same in words."""
    label, value = _cut(label), _cut(value)
    left, right = (round(sum(map(_width, words))) + _SIDES for words in (label, value))
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">'
        "<title>{label}: {value}</title>"
        '<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>'
        '<g clip-path="url(#r)"><path fill="#444b54" d="M0 0h{left}v20H0z"/>'
        '<path fill="{colour}" d="M{left} 0h{right}v20H{left}z"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        '<text x="{label_x}" y="14" textLength="{label_width}">{label}</text>'
        '<text x="{value_x}" y="14" textLength="{value_width}">{value}</text></g></svg>\n'
    ).format(
        width=left + right,
        left=left,
        right=right,
        label=label,
        value=value,
        colour=LIGHT[level],
        label_x=left / 2,
        value_x=left + right / 2,
        label_width=left - _SIDES,
        value_width=right - _SIDES,
    )


def uptime_badge(ratio: float | None, objective_ratio: float | None) -> Markup:
    """The availability of 30 days: good where it keeps the objective, 99% where there is none."""
    if ratio is None:
        return badge("uptime 30d", "unknown", "unknown")
    level = "good" if ratio >= (objective_ratio or 0.99) else "warning" if ratio >= 0.9 else "bad"
    return badge("uptime 30d", per_cent(ratio, objective_ratio), level)


def _width(letter: str) -> float:
    """About what a letter takes of 11 px Verdana; the text is set to the sum, whatever the font."""
    if not letter.isascii():
        return 11.0
    if letter in _NARROW:
        return 4.6
    return 10.5 if letter in _WIDE else 7.8 if letter.isupper() else 6.9


def _cut(words: str) -> str:
    plain = markup(words)
    return plain if len(plain) <= _MOST_LETTERS else f"{plain[: _MOST_LETTERS - 1]}…"
