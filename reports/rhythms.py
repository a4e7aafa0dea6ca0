"""What servers usually do at an hour of the day or of the week, for reports that compare hours or days with others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reports.stats import Floats
from reports.stats.rhythm import FEWEST_CYCLES, rhythm
from storage.rollups.read import Period

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_WEEKS_OF_HOURS = 4
"""Before the period: the hours of a week need three of each, and half a week at either end has no level."""
_FEWEST_DAYS_OF_HOURS = 7
_WEEKS_OF_DAYS = 8
_MOST_READ = 400_000
"""Values that are read for the sake of a rhythm: half a second."""


def earlier(period: Period, series: int) -> Period:
    """The period with the time before it that its rhythm is known from.

    Four weeks of hours, of very many series less, or eight weeks of days.
    """
    if period.slot_ms >= _DAY_MS:
        days = max(0, 7 * _WEEKS_OF_DAYS - len(period.slots))
    else:
        affordable = _MOST_READ // (24 * max(1, series))
        days = min(7 * _WEEKS_OF_HOURS, max(_FEWEST_DAYS_OF_HOURS, affordable))
    return Period(period.since_ms - days * _DAY_MS, period.until_ms, period.slot_ms)


def usual(values: Floats, period: Period) -> Floats:
    """How many times its level each value usually is in that slot, as a logarithm; 0 where no rhythm is known.

    Of hours the hour of the day and, where there are three weeks, that of the week; of days the day of the week.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(values > 0, np.log(values), np.nan)
    found = np.zeros(values.shape)
    for cycle in (24, 168) if period.slot_ms == _HOUR_MS else (7,):
        found = found + rhythm(logs - found, period.slots.start % cycle, cycle)
    return found


def rhythm_is_known(values: Floats, slot_ms: int) -> npt.NDArray[np.bool_]:
    """Whether each row reaches over so many days (of days: weeks) that a rhythm would be seen in it."""
    cycle = 24 if slot_ms == _HOUR_MS else 7
    known = ~np.isnan(values)
    reach = known.shape[1] - known.argmax(axis=1)
    return np.asarray(known.any(axis=1) & (reach >= (FEWEST_CYCLES + 1) * cycle))
