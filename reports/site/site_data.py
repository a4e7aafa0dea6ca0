"""The data of a site, collected once for all servers: states, availability, latency, incidents, reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import orjson
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from checker.probe_kinds import KINDS
from checker.untrusted_text import markup
from reports import hover, svg
from reports.incidents import is_down, lasted_ms
from reports.output_forms import duration
from reports.report_model import Level
from reports.site.files import slugs
from storage.history import Newest, OfferRow
from storage.report_history import Past, ServerRow
from storage.rollups.buckets import NUMBERS, OutcomeBuckets
from storage.rollups.partial import PercentileBuckets
from storage.rollups.read import BucketSeries, FoundBuckets, Last, Period
from storage.rollups.watermarks import DAY_MS, HOUR_MS, Outcome

Numbers = npt.NDArray[np.float64]
Values = Sequence[float | None]

DAYS = 90
WINDOWS = (("24h", HOUR_MS, 24), ("7d", DAY_MS, 7), ("30d", DAY_MS, 30), ("90d", DAY_MS, DAYS))
"""Name, length of a cell and number of cells; the last cell is the current hour or day."""
TRACE_DAYS = 30
"""Days in the small picture of a server's latency."""
FEWEST_FOR_P95 = 20
"""Fewest answers in a slot: with fewer, the 95th percentile is their maximum."""
WELL = 0.9
_UP = (NUMBERS.index("healthy_ms"), NUMBERS.index("degraded_ms"))
_DOWN = NUMBERS.index("unhealthy_ms")
_REASON_DAYS = 30


class ServerState(Struct, frozen=True):
    """The current state of a server as a word, with the level that colours it."""

    word: str
    level: Level
    status: str
    """For machines: a status, or MAINTENANCE."""


STATES = {
    "UNHEALTHY": ServerState("Down", Level.BAD, "UNHEALTHY"),
    "DEGRADED": ServerState("Degraded", Level.WARNING, "DEGRADED"),
    "UNKNOWN": ServerState("Unknown", Level.UNKNOWN, "UNKNOWN"),
    "MAINTENANCE": ServerState("Maintenance", Level.UNKNOWN, "MAINTENANCE"),
    "HEALTHY": ServerState("Up", Level.GOOD, "HEALTHY"),
}
"""Worst first."""


class UptimeWindow(Struct, frozen=True):
    """The availability of a server in a window that ends now."""

    name: str
    cells: Values
    """Up / (up + down) of each hour or day; None if neither is known."""
    ratio: float | None
    """Over the whole window, weighted by time."""
    known_ms: int
    known_well: bool
    """True if the state was known for at least `WELL` of the time."""
    objective_ratio: float | None = None

    @property
    def level(self) -> Level | None:
        """Good if the objective, or 99% without one, is met; None if nothing is known."""
        if self.ratio is None:
            return None
        met = self.ratio >= (self.objective_ratio or svg.KEPT_FROM_RATIO)
        return Level.GOOD if met else Level.WARNING if self.ratio >= svg.WARNING_FROM_RATIO else Level.BAD


class Latencies(Struct, frozen=True):
    """Response times of one kind of probe, in milliseconds to the microsecond per slot; None without answers."""

    kind: str
    p50_ms: Values
    p95_ms: Values
    """None also with fewer than `FEWEST_FOR_P95` answers."""


class LatencyTrace(Struct, frozen=True):
    """The median latency of a kind of probe by day."""

    kind: str
    values_ms: Values
    last_ms: float
    """The newest one."""

    @property
    def picture(self) -> Markup:
        """A small line over the days."""
        told = hover.runs(None if value is None else duration(value) for value in self.values_ms)
        return svg.trace(self.values_ms, told)


class Happening(Struct, frozen=True):
    """An incident with its server."""

    server: ServerRow
    slug: str
    started_at_ms: int
    ended_at_ms: int | None
    unknown_since_ms: int | None
    """If no check has ended it: start of the time with unknown state; None while the server is known to be down."""
    lasted_ms: int
    """Duration known so far, if it has no end."""
    reason: str | None

    @property
    def is_open(self) -> bool:
        """True if the server is known to be down now."""
        return self.ended_at_ms is None and self.unknown_since_ms is None


class Subject(Struct, frozen=True):
    """A server with everything its page shows."""

    server: ServerRow
    slug: str
    state: ServerState
    newest: Newest | None
    windows: Sequence[UptimeWindow]
    hourly: Sequence[Latencies]
    daily: Sequence[Latencies]
    incidents: Sequence[Happening]
    """Newest first."""
    reasons: Sequence[tuple[str, int]]
    """Reasons of checks that were not HEALTHY in the last 30 days, most frequent first."""
    offer: OfferRow | None

    @property
    def trace(self) -> LatencyTrace | None:
        """The latency of its first kind of probe by day; None if it never answered."""
        line = next(iter(self.daily), None)
        values = [] if line is None else line.p50_ms[-TRACE_DAYS:]
        known = [value for value in values if value is not None]
        return LatencyTrace(line.kind, values, known[-1]) if line is not None and known else None


class Site(Struct, frozen=True):
    """All servers by group, and the overall verdict."""

    title: str
    now_ms: int
    subjects: Sequence[Subject]
    level: Level
    verdict: str
    hours: tuple[int, ...]
    """Starts of the hours of the last day, Unix milliseconds."""
    days: tuple[int, ...]
    newest_at_ms: int | None
    """Start of the newest check of all; None if there is none."""
    interval_ms: int | None
    """Typical interval between checks of the server that is checked most often; None if unknown."""


def gather(past: Past, title: str) -> Site:
    """The data of these servers up to now; servers that left their configuration are left out."""
    there = tuple(one for one in past.servers if one.retired_at_ms is None)
    if there and len(there) < len(past.servers):
        past = past.of(there)
    hours = Period((past.now_ms // HOUR_MS - 23) * HOUR_MS, past.now_ms, HOUR_MS)
    days = Period((past.now_ms // DAY_MS - DAYS + 1) * DAY_MS, past.now_ms, DAY_MS)
    place = {server.id: number for number, server in enumerate(past.servers)}
    by_hour, by_day = past.rollups.outcomes(hours), past.rollups.outcomes(days)
    known = {HOUR_MS: _times(by_hour, hours, place), DAY_MS: _times(by_day, days, place)}
    windows = [_windows(name, *known[slot_ms], cells, slot_ms) for name, slot_ms, cells in WINDOWS]
    hourly, daily = (_latencies(past.rollups.percentiles(one, list(KINDS)), one, place) for one in (hours, days))
    reasons = _reasons(by_day, days, place)
    newest, lasts = past.last_checks(), past.rollups.newest()
    offers = past.newest_offers(newest)
    slug = slugs([server.name for server in past.servers])
    happened = _happenings(past, days, slug)
    subjects = [
        Subject(
            server=server,
            slug=slug[server.name],
            state=_state(newest.get(server.id), lasts.get(server.id), past.now_ms),
            newest=newest.get(server.id),
            windows=[replace(window[number], objective_ratio=server.objective_ratio) for window in windows],
            hourly=hourly.get(number, ()),
            daily=daily.get(number, ()),
            incidents=happened.get(server.id, ()),
            reasons=reasons.get(number, Counter()).most_common(),
            offer=offers.get(server.id),
        )
        for number, server in enumerate(past.servers)
    ]
    level, verdict = _verdict(subjects)
    return Site(
        title=markup(title),
        now_ms=past.now_ms,
        subjects=subjects,
        level=level,
        verdict=verdict,
        hours=tuple(slot * HOUR_MS for slot in hours.slots),
        days=tuple(slot * DAY_MS for slot in days.slots),
        newest_at_ms=max((one.at_ms for one in newest.values()), default=None),
        interval_ms=min((one.interval_ms for one in lasts.values() if one.interval_ms), default=None),
    )


def _state(newest: Newest | None, last: Last | None, now_ms: int) -> ServerState:
    """The state of a server by its newest check, as long as that counts."""
    if newest is None or last is None or last.until_ms < now_ms or last.outcome is Outcome.SUSPECT:
        return STATES["UNKNOWN"]
    return STATES["MAINTENANCE" if newest.maintenance else newest.status]


def _verdict(subjects: Sequence[Subject]) -> tuple[Level, str]:
    """The overall line: the worst state, with the number of servers in it."""
    counts = Counter(one.state.status for one in subjects)
    number = len(subjects)
    for status, words in (("UNHEALTHY", "down"), ("DEGRADED", "degraded")):
        if found := counts[status]:
            return STATES[status].level, f"{found} of {_servers(number)} {'is' if found == 1 else 'are'} {words}"
    if not counts["HEALTHY"]:
        return Level.UNKNOWN, f"nothing is known of {_servers(number)} now"
    unknown = counts["UNKNOWN"] + counts["MAINTENANCE"]
    if unknown:
        return Level.GOOD, f"{counts['HEALTHY']} of {_servers(number)} are up; of {unknown} nothing is known now"
    return Level.GOOD, "the server is up" if number == 1 else f"all {number} servers are up"


def _servers(number: int) -> str:
    return f"{number} server{'' if number == 1 else 's'}"


def _times(found: FoundBuckets[OutcomeBuckets], period: Period, place: Mapping[int, int]) -> tuple[Numbers, Numbers]:
    """Milliseconds up, and up or down, each of shape (servers, slots)."""
    up_ms, known_ms = (np.zeros((len(place), len(period.slots))) for _ in range(2))
    rows = _rows(found.series, place)[found.buckets.series]
    slots = found.buckets.slot - period.slots[0]
    up = found.buckets.numbers[:, _UP].sum(1)
    np.add.at(up_ms, (rows, slots), up)
    np.add.at(known_ms, (rows, slots), up + found.buckets.numbers[:, _DOWN])
    return up_ms, known_ms


def _windows(name: str, up_ms: Numbers, known_ms: Numbers, cells: int, slot_ms: int) -> list[UptimeWindow]:
    """The window of each server over the newest slots of this number."""
    up_ms, known_ms = up_ms[:, -cells:], known_ms[:, -cells:]
    up, known = up_ms.sum(1).tolist(), known_ms.sum(1).tolist()
    well_ms = WELL * slot_ms * (cells - 1)
    return [
        UptimeWindow(name, _values(row), None if not of_row else of_up / of_row, int(of_row), of_row >= well_ms)
        for row, of_up, of_row in zip(_ratios(up_ms, known_ms), up, known, strict=True)
    ]


def _ratios(part: Numbers, whole: Numbers) -> Numbers:
    ratios = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratios, where=whole > 0)
    return ratios


def _latencies(
    found: FoundBuckets[PercentileBuckets], period: Period, place: Mapping[int, int]
) -> dict[int, Sequence[Latencies]]:
    """By index of the server: a row of percentiles for each of its kinds of probe."""
    buckets = found.buckets
    size = len(found.series)
    p50_ms = np.round(buckets.table_us(buckets.p50_us, size, period.slots) / 1000, 3)
    p95_ms = np.round(buckets.table_us(buckets.p95_us, size, period.slots) / 1000, 3)
    p95_ms[buckets.table_us(buckets.count, size, period.slots) < FEWEST_FOR_P95] = np.nan
    rows: dict[int, list[Latencies]] = {}
    for number in np.unique(buckets.series).tolist():
        series = found.series[number]
        line = Latencies(series.kind, _values(p50_ms[number]), _values(p95_ms[number]))
        rows.setdefault(place[series.server_id], []).append(line)
    return {one: sorted(of, key=lambda line: line.kind) for one, of in rows.items()}


def _reasons(found: FoundBuckets[OutcomeBuckets], period: Period, place: Mapping[int, int]) -> dict[int, Counter[str]]:
    """By index of the server: number of occurrences of each reason in the last days."""
    rows = _rows(found.series, place)[found.buckets.series]
    recent = found.buckets.slot > period.slots[-1] - _REASON_DAYS
    counted: dict[int, Counter[str]] = {}
    for row, text in zip(rows[recent].tolist(), np.array(found.buckets.reasons, object)[recent], strict=True):
        if text is not None:
            counted.setdefault(row, Counter()).update(orjson.loads(text))
    return counted


def _happenings(past: Past, period: Period, slug: Mapping[str, str]) -> dict[int, list[Happening]]:
    """The incidents of each server by its id, newest first."""
    servers = {server.id: server for server in past.servers}
    found: dict[int, list[Happening]] = {}
    for one in past.rollups.incidents(period.since_ms, period.until_ms):
        server = servers[one.server_id]
        silent_ms = None if one.ended_at_ms is not None or is_down(one, past.now_ms) else one.down_until_ms
        times = (one.started_at_ms, one.ended_at_ms, silent_ms, lasted_ms(one))
        happening = Happening(server, slug[server.name], *times, one.reason)
        found.setdefault(server.id, []).insert(0, happening)
    return found


def _rows(series: Sequence[BucketSeries], place: Mapping[int, int]) -> npt.NDArray[np.int64]:
    return np.array([place[one.server_id] for one in series], np.int64)


def _values(row: Numbers) -> Values:
    return [None if value != value else value for value in row.tolist()]
