"""Maintenance windows: tests if a server is in one at a given time; nothing is stored about a window itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo

from checker.structs import Options

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_S = 86_400.0


class MaintenanceWindow(Options, frozen=True, kw_only=True):
    """A one-off window with ``start`` and ``end``, or a recurring one with ``at`` and ``lasts``."""

    start: str | None = None
    """Start of a one-off window, such as 2026-12-01T22:00Z."""
    end: str | None = None
    """Its end, not included."""
    at: str | None = None
    """Time of day at which a recurring window begins, such as 02:30 or 02:30+05:00."""
    lasts: str | None = None
    """Its duration, such as 2h; at most a day."""
    days: tuple[str, ...] = ()
    """Days on which it begins: mon, tue, wed, thu, fri, sat, sun; every day if none is given."""
    timezone: str = "UTC"
    """The time zone of times that have no offset of their own, such as Europe/Berlin."""
    note: str = ""
    """Its purpose."""


def in_maintenance(windows: Iterable[MaintenanceWindow], at_ms: int) -> bool:
    """True if the time, in Unix milliseconds, lies in one of the windows."""
    return any(_covers(window, at_ms) for window in windows)


def moment(text: str, timezone: str) -> datetime:
    """An ISO 8601 time, in the given zone if it states none; raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=_zone(timezone))


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # not before: few servers have windows

    return ZoneInfo(name)


def _covers(window: MaintenanceWindow, at_ms: int) -> bool:
    from checker.units import parse_duration

    zone = _zone(window.timezone)
    now = datetime.fromtimestamp(at_ms / 1000, UTC)
    if window.start is not None and window.end is not None:
        return moment(window.start, window.timezone) <= now < moment(window.end, window.timezone)
    if window.at is None or window.lasts is None:
        return False
    lasts = timedelta(seconds=parse_duration(window.lasts))
    at = time.fromisoformat(window.at)
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone)
    today = now.astimezone(at.tzinfo).date()
    for day in (today, today - timedelta(days=1)):
        begins = datetime.combine(day, at).astimezone(UTC)
        if (not window.days or DAYS[day.weekday()] in window.days) and begins <= now < begins + lasts:
            return True
    return False


def faults(window: MaintenanceWindow) -> Iterable[tuple[str, str]]:
    """Errors in a window: the key and the value to write instead."""
    once = (window.start, window.end)
    again = (window.at, window.lasts)
    if any(once) == any(again) or None in (once if any(once) else again):
        yield "start", "write start: and end: for once, or at: and lasts: for again and again"
        return
    try:
        _zone(window.timezone)
    except (ValueError, OSError, LookupError):
        yield "timezone", f'"{window.timezone}" is not a time zone; write one like UTC or Europe/Berlin'
        return
    yield from _once(window) if any(once) else _again(window)


def _once(window: MaintenanceWindow) -> Iterable[tuple[str, str]]:
    moments = []
    for key, text in (("start", window.start), ("end", window.end)):
        try:
            moments.append(moment(str(text), window.timezone))
        except ValueError:
            yield key, f'"{text}" is not a time; write one like 2026-12-01T22:00Z'
    if len(moments) == 2 and moments[0] >= moments[1]:
        yield "end", "is not after start; swap them, or write a later end"
    if window.days:
        yield "days", "goes with at: and lasts:; remove it"


def _again(window: MaintenanceWindow) -> Iterable[tuple[str, str]]:
    from checker.units import parse_duration

    try:
        time.fromisoformat(str(window.at))
    except ValueError:
        yield "at", f'"{window.at}" is not a time of day; write one like 02:30'
    try:
        lasts_s = parse_duration(str(window.lasts))
        if not 0 < lasts_s <= LONGEST_S:
            yield "lasts", "write more than 0s and at most 24h"
    except ValueError as error:
        yield "lasts", f'"{window.lasts}" is not valid: {error}'
    for day in window.days:
        if day not in DAYS:
            yield "days", f'"{day}" is not a day; write {", ".join(DAYS)}'
