"""The newest raw checks of each server, read backwards from the end so that only the requested rows are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from checker.stats.histogram import Integers
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both, nth_of_both
from storage.rollups.check_interval import Rhythm, holds
from storage.rollups.fold import spans
from storage.rollups.raw_rows import CHECK_ROW, Checks, read_checks
from storage.rollups.watermarks import DAY_MS, HOUR_MS

_BEFORE = 16
"""Earlier checks that show the check interval (`storage.rollups.fold`), some of them close to each other."""
_EARLIER_MS, _NEWEST_MS = (
    nth_of_both("started_at_ms", "started_at_ms", f"from {{checks}} e where {those}", "started_at_ms desc", offset)
    for those, offset in (
        ("e.server_id = t.id and e.started_at_ms < :since_ms", str(_BEFORE - 1)),
        ("e.server_id = t.id", ":before"),
    )
)
_SINCE = in_both(
    f"""select {CHECK_ROW} from servers t cross join {{checks}} c on c.server_id = t.id
    and c.started_at_ms >= coalesce({_EARLIER_MS}, 0)
    where (:every or t.id in (select value from json_each(:servers))) and c.started_at_ms < :until_ms"""  # noqa: S608 # our names
)
_NEWEST = in_both(
    f"""select {CHECK_ROW} from servers t cross join {{checks}} c on c.server_id = t.id
    and c.started_at_ms >= coalesce({_NEWEST_MS}, 0)
    where (:every or t.id in (select value from json_each(:servers)))"""  # noqa: S608 # our names
)
_FIRST_MS = nth_of_both("started_at_ms", "started_at_ms", "from {checks} c where c.server_id = t.id", "started_at_ms")
_FIRST_SEEN = f"""select t.id, {_FIRST_MS},
        (select min(o.slot) from hour_outcomes o where o.series_id = x.id),
        (select min(o.slot) from day_outcomes o where o.series_id = x.id)
    from servers t left join series x on x.server_id = t.id and x.kind = 'check' and x.stage = 'total'
    where (:every or t.id in (select value from json_each(:servers)))"""  # noqa: S608 # our names


def checks_since(connection: DatabaseConnection, servers: Sequence[int] | None, since_ms: int, until_ms: int) -> Checks:
    """Checks of these servers, or of all, from ``since_ms`` on, and some earlier ones for the state at that time."""
    return read_checks(connection, _SINCE, **_of(servers), since_ms=since_ms, until_ms=until_ms)


def newest_checks(connection: DatabaseConnection, servers: Sequence[int] | None, number: int) -> Checks:
    """The newest checks of these servers, or of all, at most ``number`` of each."""
    return read_checks(connection, _NEWEST, **_of(servers), before=number - 1)


def first_seen(connection: DatabaseConnection, servers: Sequence[int] | None) -> dict[int, int]:
    """Time of the first check of each server, as far as it is kept; only to the hour or day where raw rows are gone."""
    found = {}
    asked = {"every": servers is None, "servers": orjson.dumps(list(servers or [])).decode()}
    for server, raw_ms, hour, day in connection.exec_driver_sql(_FIRST_SEEN, asked):
        slots = [(slot * size_ms, size_ms) for slot, size_ms in ((hour, HOUR_MS), (day, DAY_MS)) if slot is not None]
        if slots:
            begins_ms, size_ms = min(slots)
            if len(slots) > 1 and slots[0][0] < begins_ms + size_ms:
                begins_ms, size_ms = slots[0]  # the hour says it better than its day
            found[server] = raw_ms if raw_ms is not None and raw_ms < begins_ms + size_ms else begins_ms
        elif raw_ms is not None:
            found[server] = raw_ms
    return found


def last_run_before(connection: DatabaseConnection, at_ms: int) -> int:
    """The newest run that began before this time; 0 without one. Later checks belong to it or to later runs."""
    before = "select id from runs where started_at_ms < ? order by id desc limit 1"
    return connection.exec_driver_sql(before, (at_ms,)).scalar() or 0


def spans_of(checks: Checks, until_ms: int) -> tuple[Integers, Integers, Integers]:
    """The time for which each of these checks counts, as start and end, and its state (`fold.spans`)."""
    opens = np.diff(checks.server, prepend=-1) > 0
    firsts = np.flatnonzero(opens).tolist()
    hold_ms = np.zeros(len(opens), np.int64)
    for first, end in zip(firsts, [*firsts[1:], len(opens)], strict=False):
        hold_ms[first:end] = holds(Rhythm(), checks.at_ms[first:end].tolist())[0]
    return spans(checks.at_ms, checks.outcome, hold_ms, np.append(opens[1:], True)[: len(opens)], until_ms)


def _of(servers: Sequence[int] | None) -> dict[str, object]:
    return {"every": servers is None, "servers": list(servers or [])}
