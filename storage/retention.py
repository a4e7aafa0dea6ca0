"""What is dropped from the history, and when: raw rows and buckets by full days, runs left empty, load tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, func, select, text, update

from checker.limits import Keep
from storage import heaviest
from storage.bench import prune as bench_prune
from storage.rollups.marks import DAY_HOURS, DAY_MS, HOUR_MS, marks
from storage.tables import rollup_marks, rollup_state, runs

Step = Callable[..., None]
"""A part of the work: called with a connection, inside a transaction, and the count of what went."""
DETAIL_HOURS_MS = 3 * DAY_MS
"""How long hour buckets of the stages and outcomes of probes are kept: there are many, and days have them too."""
_AT_ONCE = 200
_MEASURES = ("run_pools", "run_caches", "run_workers", "run_resources", "run_alerts")
_OLD_PROBES = """delete from probes where server_id = :server and run_id < :run
    and not exists (select 1 from checks c where c.server_id = probes.server_id and c.run_id = probes.run_id)"""
_OLDEST = "select min(started_at_ms) from checks where run_id = (select min(run_id) from checks)"
_EMPTY_RUNS = """select r.id from runs r where r.id < :run
    and not exists (select 1 from checks c where c.run_id = r.id)
    and not exists (select 1 from contract_versions v where v.run_id = r.id)"""


@dataclass(slots=True)
class Pruned:
    """How many rows went, by table."""

    rows: dict[str, int] = field(default_factory=dict)
    raw_from_ms: int = 0
    """Raw rows are there of checks that began at or after this."""

    def add(self, table: str, number: int) -> None:
        """Note rows that went."""
        if number > 0:
            self.rows[table] = self.rows.get(table, 0) + number


def steps(connection: Connection, keep: Keep, now_ms: int) -> list[Step]:
    """What is to be dropped because of its age, in parts that are each done in a transaction of its own."""
    raw_ms = _cutoff(connection, now_ms - round(keep.raw * 1000))
    hours = (now_ms - round(keep.hours * 1000)) // DAY_MS * DAY_HOURS
    days = (now_ms - round(keep.days * 1000)) // DAY_MS
    return [
        *([] if keep.measures is None else [partial(drop_measures, before_ms=now_ms - round(keep.measures * 1000))]),
        *raw_steps(connection, raw_ms),
        *_bucket_steps(connection, "hour_outcomes", hours),
        *_bucket_steps(connection, "hour_latency", hours),
        *detail_steps(connection, now_ms),
        *_bucket_steps(connection, "day_outcomes", days),
        *_bucket_steps(connection, "day_latency", days),
        partial(_drop_incidents, before_ms=days * DAY_MS),
        *bench_prune.steps(connection, now_ms - round(keep.benchmarks * 1000)),
    ]


def drop_measures(connection: Connection, pruned: Pruned, before_ms: int) -> None:
    """Drop what runs that ended before that moment measured of themselves."""
    for table in _MEASURES:
        ended = "select id from runs where finished_at_ms < :before"
        old = text(f"delete from {table} where run_id in ({ended})")  # noqa: S608 # our names
        pruned.add(table, connection.execute(old, {"before": before_ms}).rowcount)


def detail_steps(connection: Connection, now_ms: int) -> list[Step]:
    """Drop old hour buckets of single probes, whose days are there: done after every roll, there are so many."""
    slot = (now_ms - DETAIL_HOURS_MS) // DAY_MS * DAY_HOURS
    return [
        *_bucket_steps(connection, "hour_latency", slot, "stage <> 'total'"),
        *_bucket_steps(connection, "hour_outcomes", slot, "kind <> 'check' and stage = 'total'"),
    ]


def raw_steps(connection: Connection, raw_ms: int) -> list[Step]:
    """Drop the raw rows of checks that began before this full day, which all are rolled, and runs left empty."""
    if raw_ms <= marks(connection).raw_from_ms:
        return []
    run = connection.scalar(select(func.min(runs.c.id)).where(runs.c.started_at_ms >= raw_ms))
    run = run or (connection.scalar(select(func.max(runs.c.id))) or 0) + 1
    servers = list(connection.scalars(select(rollup_state.c.server_id).order_by(rollup_state.c.server_id)))
    blocks = [servers[low : low + _AT_ONCE] for low in range(0, len(servers), _AT_ONCE)]
    return [
        partial(_remember, servers=servers, raw_ms=raw_ms),
        *(partial(_drop_raw, servers=some, raw_ms=raw_ms, run=run) for some in blocks),
        partial(_drop_runs, run=run),
    ]


def size_steps(connection: Connection, most_bytes: int, now_ms: int) -> list[Step]:
    """What to drop if the database is too large: from the servers that most is kept of, then from all.

    Versions of contracts and texts go first, of servers that have far more of them than others. Then goes the oldest
    day of raw rows or, where only today is left, of hour buckets. After these go load tests, the oldest first;
    baselines stay.
    """
    excess_bytes = used_bytes(connection) - most_bytes
    if excess_bytes <= 0:
        return []
    if found := heaviest.steps(connection, excess_bytes):
        return found
    today_ms = now_ms // DAY_MS * DAY_MS
    oldest_ms = marks(connection).raw_from_ms
    if oldest_ms < today_ms:
        first_ms = connection.scalar(text(_OLDEST))
        next_ms = max(oldest_ms, (first_ms or today_ms) // DAY_MS * DAY_MS) + DAY_MS
        found = raw_steps(connection, _cutoff(connection, min(next_ms, today_ms)))
        if found:
            return found
    oldest = connection.scalar(text("select min(slot) from hour_latency"))
    if oldest is None or oldest >= (now_ms - DETAIL_HOURS_MS) // HOUR_MS:
        return bench_prune.oldest_steps(connection)
    next_slot = (oldest // DAY_HOURS + 1) * DAY_HOURS
    return [
        *_bucket_steps(connection, "hour_outcomes", next_slot),
        *_bucket_steps(connection, "hour_latency", next_slot),
    ]


def used_bytes(connection: Connection) -> int:
    """What the database's rows take, without the free pages of the file."""
    pages, free, size = (
        int(connection.exec_driver_sql(f"pragma {name}").scalar() or 0)
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def drop_unused(connection: Connection, pruned: Pruned) -> None:
    """Drop addresses, facts of MCP servers and contracts that no row refers to any more."""
    for table, column in (("mcp_facts", "mcp_facts_id"), ("urls", "url_id")):
        unused = f"delete from {table} where id not in (select {column} from probes where {column} is not null)"  # noqa: S608 # our names
        pruned.add(table, connection.execute(text(unused)).rowcount)
    orphans = "delete from contracts where digest not in (select digest from contract_versions)"
    pruned.add("contracts", connection.execute(text(orphans)).rowcount)


def _cutoff(connection: Connection, wanted_ms: int) -> int:
    """The full day before which raw rows may go: none that is not rolled, or whose day is not."""
    rolled_ms = connection.scalar(select(func.min(rollup_state.c.rolled_until_ms))) or 0
    return int(max(0, min(wanted_ms, rolled_ms)) // DAY_MS * DAY_MS)


def _remember(connection: Connection, _: Pruned, servers: list[int], raw_ms: int) -> None:
    """Keep what rows from then on are judged by, and say that earlier ones are gone."""
    from storage.rollups.states import advance_base

    for low in range(0, len(servers), _AT_ONCE):
        advance_base(connection, servers[low : low + _AT_ONCE], raw_ms)
    connection.execute(update(rollup_marks).values(raw_from_ms=raw_ms))


def _drop_raw(connection: Connection, pruned: Pruned, servers: list[int], raw_ms: int, run: int) -> None:
    old_checks = text("delete from checks where server_id = :server and run_id < :run and started_at_ms < :raw")
    for server in servers:
        values = {"server": server, "run": run, "raw": raw_ms}
        pruned.add("checks", connection.execute(old_checks, values).rowcount)
        pruned.add("probes", connection.execute(text(_OLD_PROBES), {"server": server, "run": run}).rowcount)
    pruned.raw_from_ms = raw_ms


def _drop_runs(connection: Connection, pruned: Pruned, run: int) -> None:
    empty = list(connection.scalars(text(_EMPTY_RUNS), {"run": run}))
    for number in empty:
        for table in ("run_cached", *_MEASURES):
            connection.execute(text(f"delete from {table} where run_id = :run"), {"run": number})  # noqa: S608 # our names
        connection.execute(text("delete from run_cached where from_run_id = :run"), {"run": number})
        pruned.add("runs", connection.execute(text("delete from runs where id = :run"), {"run": number}).rowcount)


def _bucket_steps(connection: Connection, table: str, slot: int, condition: str = "1 = 1") -> list[Step]:
    """Drop the buckets before this slot, of the series that meet the condition."""
    found = list(connection.scalars(text(f"select id from series where {condition} order by id")))  # noqa: S608 # our words
    blocks = [found[low : low + 20 * _AT_ONCE] for low in range(0, len(found), 20 * _AT_ONCE)]
    return [partial(_drop_buckets, table=table, of_series=some, slot=slot) for some in blocks]


def _drop_buckets(connection: Connection, pruned: Pruned, table: str, of_series: list[int], slot: int) -> None:
    old = text(f"delete from {table} where series_id = :series and slot < :slot")  # noqa: S608 # our names
    pruned.add(
        table,
        sum(connection.execute(old, {"series": number, "slot": slot}).rowcount for number in of_series),
    )


def _drop_incidents(connection: Connection, pruned: Pruned, before_ms: int) -> None:
    old = text("delete from incidents where ended_at_ms < :before")
    pruned.add("incidents", connection.execute(old, {"before": before_ms}).rowcount)
