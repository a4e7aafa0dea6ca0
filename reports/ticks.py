"""Ticks of an axis and their labels: times in UTC at round hours and days, numbers in short form."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_STEPS_MS = (
    *(one * _MINUTE_MS for one in (1, 2, 5, 10, 15, 30)),
    *(one * _HOUR_MS for one in (1, 2, 3, 6, 12)),
    *(one * _DAY_MS for one in (1, 2, 7, 14, 28, 56, 91, 182, 364)),
)
_MONDAY_MS = 4 * _DAY_MS
"""The first Monday of 1970: weekly ticks are on Mondays."""
_SCALES = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""Lower limit, divisor and suffix letter."""
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


def time_ticks(since_ms: float, until_ms: float, most: int = 8) -> list[tuple[float, str]]:
    """Round times in a range with their labels, at most ``most``; the start of the range if there are none.

    A tick at midnight, and the first, name the day; years are named if there is more than one.
    """
    span_ms = max(0.0, until_ms - since_ms)
    step_ms = (
        next((one for one in _STEPS_MS if span_ms / one < most), 0.0) or math.ceil(span_ms / most / _DAY_MS) * _DAY_MS
    )
    start_ms = _MONDAY_MS if step_ms % (7 * _DAY_MS) == 0 else 0
    first = math.ceil((since_ms - start_ms) / step_ms)
    last = math.floor((until_ms - start_ms) / step_ms)
    places = [start_ms + number * step_ms for number in range(first, last + 1)][:most] or [since_ms]
    years = len({_moment(one).year for one in (since_ms, until_ms)}) > 1
    return [(place, _words(place, step_ms, place == places[0], years)) for place in places]


def clock_ticks(low_s: float, high_s: float, most: int = 9) -> list[tuple[float, str]]:
    """Round times of a run in seconds from its start, labelled 0:30 or 1:00:00, at most ``most`` + 1."""
    step = next((one for one in _STEPS_S if (high_s - low_s) / one <= most), 0.0)
    step = step or math.ceil((high_s - low_s) / most / 86_400) * 86_400
    first, last = math.ceil(low_s / step), math.floor(high_s / step)
    return [(float(number * step), clock(number * step)) for number in range(first, last + 1)]


def clock(at_s: float) -> str:
    """A time in a run: minutes and seconds, with hours if there are any."""
    whole = math.floor(at_s)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def value_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between low and high, both included, at most ``most`` + 1; a single one if they are equal."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = size * next(one for one in _NICE if one * size >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def short(value: float, _place: object = None) -> str:
    """A number in short form for an axis; also takes the position, which matplotlib passes."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-4:
        return f"{value:.0e}".replace("e+", "e").replace("e-0", "e-")
    for least, scale, letter in _SCALES:
        if size >= least:
            return f"{_plain(value / scale)}{letter}"
    return _plain(value)


def _plain(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1000 else f"{value:,.0f}"


def _words(at_ms: float, step_ms: float, first: bool, years: bool) -> str:
    moment = _moment(at_ms)
    day = f"{moment.day} {moment:%b %Y}" if years else f"{moment.day} {moment:%b}"
    if step_ms >= _DAY_MS:
        return day
    clock = f"{moment:%H:%M}"
    return day if clock == "00:00" else f"{clock}\n{day}" if first else clock


def _moment(at_ms: float) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
