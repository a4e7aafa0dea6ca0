"""The values behind bars and points, as attributes that the page's script shows under the pointer or the focus."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import orjson

from reports.output_forms import per_cent, when
from reports.palette import COLOURED, series
from reports.report_model import Chart, Line, Scale, Shape
from reports.svg import Picture
from reports.ticks import clock

_DAY_MS = 86_400_000
_MOST_LETTERS = 60
_MOST_WORDS = 30
"""Largest number of words in a bar chart."""
_UNKNOWN = "-"


def names_of_slots(x: Sequence[Any], x_is_time: bool = True, scale: Scale = Scale.LINEAR) -> str:
    """The name of each place on the x axis as a JSON list: a day, a time, a word or a number."""
    if not x_is_time:
        return _json([clock(one) if scale is Scale.CLOCK else _cut(str(one)) for one in x])
    days = all(one % _DAY_MS == 0 for one in x)
    return _json([when(one)[:10] if days else when(one) for one in x])


def strip_values(values: Sequence[float | None], objective_ratio: float | None = None) -> str:
    """The cells of a strip in per cent, as `runs`."""
    return _per_cents(tuple(values), objective_ratio)


@lru_cache(maxsize=4096)
def _per_cents(values: tuple[float | None, ...], objective_ratio: float | None) -> str:
    return runs(None if value is None else per_cent(value, objective_ratio) for value in values)


def runs(words: Iterable[str | None]) -> str:
    """Words separated by spaces, equal neighbours as ``100%*12``; None is not known."""
    told = (_UNKNOWN if word is None else word.replace(" ", "\u00a0") for word in words)
    counted = ((word, sum(1 for _ in of)) for word, of in itertools.groupby(told))
    return " ".join(word if times == 1 else f"{word}*{times}" for word, times in counted)


def points(chart: Chart, picture: Picture) -> str:
    """A drawn chart as JSON: the places in the picture, their names, and the lines with colour and values."""
    most = _MOST_WORDS if chart.shape is Shape.BARS and not chart.x_is_time else len(chart.x)
    lines = chart.lines if chart.shape is Shape.HEAT else chart.lines[:COLOURED]
    return document(
        names_of_slots(chart.x[:most], chart.x_is_time, chart.scale),
        picture,
        chart.unit,
        [(line.label, series(number)[0], _values(line, chart.shape)[:most]) for number, line in enumerate(lines)],
        across=chart.shape is Shape.BARS and not chart.x_is_time,
    )


def document(
    names: str,
    picture: Picture,
    unit: str,
    lines: Sequence[tuple[str, str, list[float | None]]],
    *,
    across: bool = False,
) -> str:
    """The JSON of `points`; a line is its label, its colour and its values."""
    return _json(
        {
            "x": orjson.Fragment(names),
            "at": list(picture.places),
            "size": picture.size,
            "across": across,
            "unit": unit,
            "lines": [(_cut(label), colour, values) for label, colour, values in lines],
        }
    )


def rounded(values: Sequence[float | None]) -> list[float | None]:
    """The values to four digits; None for those that cannot be drawn."""
    return [None if value is None or not abs(value) < float("inf") else float(f"{value:.4g}") for value in values]


def _values(line: Line, shape: Shape) -> list[float | None]:
    return rounded([value or None for value in line.values] if shape is Shape.HEAT else line.values)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


def _cut(words: str) -> str:
    plain = words.encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= _MOST_LETTERS else f"{plain[: _MOST_LETTERS - 1]}…"
