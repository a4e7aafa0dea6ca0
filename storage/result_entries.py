"""The results cache: with which options a server was checked, and in which runs; the results are its stored checks.

An entry is written when a server is checked with other options than before, not at every check: a fleet that stays as
it is writes none. Its value is a JSON list (`SpanOfRuns`), or the number of one run, of which only the check made in it
counts. Everything else that is shown of an entry is said by the newest check of those runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import NamedTuple

import orjson

from checker.model import Reason, Status
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both, nth_of_both
from storage.rows import in_statements

RESULTS = "results"
"""Category: SHA-256 of a server and its options -> the runs that checked it with them."""
_NEVER_MS = 253_402_300_799_000
"""The year 9999: an entry in use expires with its newest check, which it does not know."""
_ALL_RUNS = 2**62


class SpanOfRuns(NamedTuple):
    """The runs that checked a server with the same options: no other run between the first and the last did."""

    server_id: int
    first_run_id: int
    last_run_id: int | None
    """None while no run has used others."""
    ttl_ms: int
    """Lifetime of a result, from the start of its check."""


_ENTRY = f"""
    select e.category, e.key, e.value, e.created_at_ms, e.expires_at_ms, e.used_at_ms,
    case when e.value like '[%' then json_extract(e.value, '$[0]') end as server_id,
    case when e.value like '[%' then json_extract(e.value, '$[1]') else cast(e.value as integer) end as first,
    case when e.value like '[%' then ifnull(json_extract(e.value, '$[2]'), {_ALL_RUNS})
        else cast(e.value as integer) end as last,
    case when e.value like '[%' then json_extract(e.value, '$[3]') end as ttl_ms
    from cache_entries e where e.category = '{RESULTS}'
"""  # noqa: S608 # our names


def _newest_of(entry: str, server_id: str, wanted: str = "run_id") -> str:
    """The newest run of an entry that has a check of its server, or another column of that check.

    By the number of the run, which is the key: by time all checks of these runs would be looked at, and those are the
    whole history of a server whose options stay.
    """
    source = f"from {{checks}} n where n.server_id = {server_id} and n.run_id between {entry}.first and {entry}.last"
    return nth_of_both(wanted, "run_id, started_at_ms", source, "run_id desc")


_AT_MS = in_both("select c.started_at_ms from {checks} c where c.server_id = f.server_id and c.run_id = f.run_id")
LISTED = f"""(
    select category, key, value, created_at_ms, expires_at_ms, used_at_ms from cache_entries
    where category <> '{RESULTS}'
    union all
    select * from (
        select category, key, cast(run_id as text) as value, at_ms as created_at_ms, at_ms + ttl_ms as expires_at_ms,
        used_at_ms from (
            select f.*, ({_AT_MS}) as at_ms
            from (select e.*, {_newest_of("e", "e.server_id")} as run_id from ({_ENTRY}) e where ttl_ms is not null) f
        ) where at_ms is not null
    ) where expires_at_ms > ifnull((select max(finished_at_ms) from runs), 0)
    union all
    select category, key, value, created_at_ms, expires_at_ms, used_at_ms from ({_ENTRY}) where ttl_ms is null
)"""  # noqa: S608 # our names
"""All entries of all categories as users know them: an expired one is gone once a run has ended after it."""
_COUNT = f"""select count(*) from ({_ENTRY}) e where ttl_ms is null
    or {_newest_of("e", "e.server_id", "started_at_ms")} + ttl_ms > ifnull((select max(finished_at_ms) from runs), 0)
"""  # noqa: S608 # our words
_YOUNG = in_both(
    f"""
    select f.name, f.run_id from (
        select e.*, s.id, s.name, {_newest_of("e", "s.id")} as run_id
        from json_each(:keys) w cross join ({_ENTRY}) e on e.key = w.key cross join servers s on s.name = w.value
        where e.server_id is null or e.server_id = s.id
    ) f cross join {{checks}} c on c.server_id = f.id and c.run_id = f.run_id
    where c.started_at_ms > :since_ms and c.started_at_ms <= :now_ms
    and f.expires_at_ms > :now_ms and (f.ttl_ms is null or c.started_at_ms + f.ttl_ms > :now_ms)
    and c.status <> '{Status.UNKNOWN}' and not c.suspect
    and not exists (
        select 1 from {{probes}} p where p.server_id = c.server_id and p.run_id = c.run_id
        and (p.status = '{Status.UNKNOWN}' or p.reason = '{Reason.CIRCUIT_OPEN}')
    )"""  # noqa: S608 # our names
)
_KEEP = "insert into cache_entries (category, key, value, created_at_ms, expires_at_ms)"
_OR_CHANGE = """on conflict (category, key) do update set
    value = excluded.value, created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms"""
_OF_SERVER = f"""delete from cache_entries where category = '{RESULTS}' and value like '[%'
    and json_extract(value, '$[0]') = ?"""  # noqa: S608 # our names


def count(connection: DatabaseConnection) -> int:
    """Number of entries that are listed."""
    return int(connection.exec_driver_sql(_COUNT).scalar())


def most(connection: DatabaseConnection) -> int:
    """A number that `count` is not above, which takes no look at checks."""
    found = connection.exec_driver_sql(f"select count(*) from cache_entries where category = '{RESULTS}'")  # noqa: S608
    return int(found.scalar())


def young(connection: DatabaseConnection, keys: Mapping[str, str], since_ms: int, now_ms: int) -> dict[str, int]:
    """Server -> the run that checked it last, for servers whose check began after ``since_ms``.

    ``keys`` are keys with the names of their servers. Results that are UNKNOWN, suspect or of a probe that was not made
    are skipped.
    """
    given = {"keys": orjson.dumps(keys).decode(), "since_ms": since_ms, "now_ms": now_ms}
    return dict(connection.exec_driver_sql(_YOUNG, given).all())


def keep(connection: DatabaseConnection, run_id: int, at_ms: int, keys: Mapping[int, str | None], ttl_ms: int) -> None:
    """Note with which options a run checks servers: server -> its key, or None for one whose results are not kept."""
    spans: dict[int, dict[str, SpanOfRuns]] = {}
    found = connection.exec_driver_sql(f"select key, value from cache_entries where category = '{RESULTS}'")  # noqa: S608
    for key, value in found.all():
        if value.startswith("["):
            span = SpanOfRuns(*orjson.loads(value))
            spans.setdefault(span.server_id, {})[key] = span
    added: list[tuple[str, str]] = []
    changed: list[tuple[str, SpanOfRuns, int]] = []
    value_of = f"[%d,{run_id:d},null,{ttl_ms:d}]"  # the list that orjson writes, of a new span
    for server_id, key in keys.items():
        if (known := spans.get(server_id)) is None:
            if key is not None:
                added.append((key, value_of % server_id))
            continue
        for other, span in known.items():
            if span.last_run_id is None and other != key:
                changed.append((other, span._replace(last_run_id=run_id - 1), at_ms + span.ttl_ms))
        if key is None:
            continue
        own = known.get(key)
        if own is None or own.last_run_id is not None:
            added.append((key, value_of % server_id))
        elif own.ttl_ms != ttl_ms:
            changed.append((key, own._replace(ttl_ms=ttl_ms), _NEVER_MS))
    _keep_added(connection, added, at_ms)
    if changed:
        rows = [(RESULTS, key, orjson.dumps([*span]).decode(), at_ms, until_ms) for key, span, until_ms in changed]
        connection.exec_driver_sql(f"{_KEEP} values (?, ?, ?, ?, ?) {_OR_CHANGE}", rows)


def _keep_added(connection: DatabaseConnection, added: list[tuple[str, str]], at_ms: int) -> None:
    """Write entries whose checks have begun: many in a statement, because each one costs more than a row."""
    added.sort()  # keys are spread over the whole table
    for low, rows in in_statements(len(added), 2):
        places = f"('{RESULTS}', ?, ?, {at_ms:d}, {_NEVER_MS})"
        statement = f"{_KEEP} values {', '.join([places] * rows)} {_OR_CHANGE}"
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(added[low : low + rows])))


def forget(connection: DatabaseConnection, server_id: int) -> None:
    """Remove the entries of a server that is gone, or whose name is another now."""
    connection.exec_driver_sql(_OF_SERVER, (server_id,))
