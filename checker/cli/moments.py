"""Times on the command line, of `--since` and `--until`: how long ago, a date, or a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import click

from checker.errors import UsageError
from checker.units import parse_duration

FORMS = "24h, 7d, yesterday, 2026-11-30, 18:00 or 2026-11-30T18:00Z"
"""The forms of a time, as help names them."""
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_DAYS_AGO = {"today": 0, "yesterday": 1}


@dataclass(frozen=True, slots=True)
class When:
    """A time: how long ago it was, or when; and the way it was written."""

    text: str
    ago_s: float | None
    """Seconds before the moment at which the command looks; None for a time of its own."""
    at_ms: int = 0

    def before(self, now_ms: int) -> int:
        """The time in milliseconds, as of this moment."""
        return self.at_ms if self.ago_s is None else now_ms - round(self.ago_s * 1000)


def parse_when(text: str, now: datetime) -> When:
    """The time that is written: a duration before now, a date, a time of today or yesterday, or both.

    Without an offset they are in the time zone of ``now``, that of the user; a date alone is its first moment, and a
    time that is still to come today is yesterday's. Raises ValueError.
    """
    spelled = text.strip()
    try:
        return When(text, parse_duration(spelled))
    except ValueError:
        pass
    if spelled.lower() == "now":
        return When(text, 0.0)
    if (days := _DAYS_AGO.get(spelled.lower())) is not None:
        return _at(text, datetime.combine(now.date() - timedelta(days=days), time()))
    if clock := _CLOCK.fullmatch(spelled):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        at = datetime.combine(now.date(), time(hour, minute, second))
        return _at(text, at if at.astimezone() <= now else at - timedelta(days=1))
    try:
        return _at(text, datetime.combine(date.fromisoformat(spelled), time()))
    except ValueError:
        pass
    try:
        return _at(text, datetime.fromisoformat(spelled))
    except ValueError:
        raise ValueError(f"write how long ago, a date or a time: {FORMS}") from None


def _at(text: str, at: datetime) -> When:
    try:
        return When(text, None, round(at.astimezone().timestamp() * 1000))
    except (OverflowError, OSError):
        raise ValueError("no time that a computer can count; write a later one") from None


class WhenParam(click.ParamType[When]):
    """A time such as 24h, 2026-11-30 or 18:00."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> When:
        """The time; fails with the forms that there are."""
        if isinstance(value, When):
            return value
        try:
            return parse_when(value, datetime.now().astimezone())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def period_ms(since: When | None, until: When | None, now_ms: int) -> tuple[int, int]:
    """The times between which to look; raises UsageError for none, and for a beginning that is still to come."""
    since_ms = 0 if since is None else since.before(now_ms)
    until_ms = now_ms if until is None else min(until.before(now_ms), now_ms)
    if since is not None and since_ms > now_ms:
        raise UsageError(f"--since {since.text}: is still to come; write an earlier time")
    if since_ms >= until_ms:
        given = " ".join(
            f"--{name} {one.text}" for name, one in (("since", since), ("until", until)) if one is not None
        )
        raise UsageError(f"{given}: nothing is between them; write an earlier --since or a later --until")
    return since_ms, until_ms
