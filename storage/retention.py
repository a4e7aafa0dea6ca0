"""Retention: deletion of old history by age, by size, and for servers that take far too much space.

A server whose contract differs at every check, or whose every failure has a long message, must not cost other servers
their history. It loses old versions of its contract, and the texts and facts of its old probes; its checks, with their
statuses, reasons and times, are kept as long as those of all servers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct, field
from sqlalchemy import delete, func, select, text, update

from checker.limits import Keep
from checker.loadtest.results import BenchState
from storage.connections import DatabaseConnection
from storage.contracts import FEWEST_VERSIONS, drop_versions
from storage.loadtests.tables import PARTS, bench_baselines, bench_runs
from storage.raw_parts import BOTH, FIRST_CHECK_MS, in_both, in_part, nth_of_both
from storage.rollups.watermarks import DAY_HOURS, DAY_MS, HOUR_MS, marks
from storage.tables import rollup_marks, rollup_state, runs, servers


def steps_of_load_tests(connection: DatabaseConnection, before_ms: int) -> list[Callable[..., None]]:
    """Steps that `storage.retention` takes for load test runs that began before this time: one for each."""
    return [partial(_drop_counted, run_id=run_id) for run_id in old_benchmarks(connection, before_ms, 0)]


def oldest_steps(connection: DatabaseConnection) -> list[Callable[..., None]]:
    """Step for a file that is still too large: delete the oldest run."""
    return [partial(_drop_counted, run_id=run_id) for run_id in old_benchmarks(connection, None, 0)[:1]]


def drop(connection: DatabaseConnection, run_id: int) -> None:
    """Delete a run with all its parts."""
    for table in PARTS:
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(bench_runs).where(bench_runs.c.id == run_id))


def old_benchmarks(connection: DatabaseConnection, before_ms: int | None, keep_last: int) -> list[int]:
    """Runs that began before this time (None: all finished ones), oldest first.

    Baselines and the newest ``keep_last`` of each name are excluded.
    """
    place = func.row_number().over(partition_by=bench_runs.c.name, order_by=bench_runs.c.id.desc()).label("place")
    ranked = select(bench_runs.c.id, bench_runs.c.started_at_ms, bench_runs.c.state, place).subquery()
    found = select(ranked.c.id).where(
        ranked.c.place > keep_last,
        ranked.c.id.not_in(select(bench_baselines.c.run_id)),
        ranked.c.state != BenchState.RUNNING if before_ms is None else ranked.c.started_at_ms < before_ms,
    )
    return list(connection.scalars(found.order_by(ranked.c.id)))


def _drop_counted(connection: DatabaseConnection, pruned: Pruned, run_id: int) -> None:
    drop(connection, run_id)
    pruned.add(bench_runs.name, 1)


SHARE_BYTES = 256 * 1024
"""Space that old versions of a server's contract, or texts of its probes, may take before they are deleted first."""
NEWEST_RUNS = 100
"""The texts of the newest probes of a server stay: these are the ones that users look at."""

_SAMPLE = 200
_MANY_BYTES = 256
"""Bytes of text per probe from which on a server's texts are summed; the detail of a failure takes half of that."""
_OLD_VERSIONS = text(
    """select v.server_id, v.version, length(v.changes) + coalesce(c.document_bytes, 0) as bytes
    from contract_versions v left join contracts c on c.digest = v.digest
    where v.version > 1 and v.version <= (
        select max(n.version) from contract_versions n where n.server_id = v.server_id) - :newest
    order by v.server_id, v.version"""
)
_TEXTS = "length(coalesce(p.detail, '')) + length(coalesce(p.stderr_tail, '')) + length(coalesce(p.remarks, ''))"
_FACTS = "length(coalesce(f.capabilities, '')) + length(coalesce(f.server_name, '')) + 300"
_NEWEST_PROBES = f"""{
    in_both(f'''select * from (select p.detail, p.stderr_tail, p.remarks, p.mcp_facts_id, p.run_id
    from servers t cross join {{probes of t.id}} where t.id = :server order by p.run_id desc limit {_SAMPLE})''')
}
    order by run_id desc limit {_SAMPLE}"""  # noqa: S608 # our words
_SAMPLED = text(
    f"select sum({_TEXTS}), count(*) from ({_NEWEST_PROBES}) p"  # noqa: S608 # our words
)
_SAMPLED_FACTS = text(
    f"""select sum({_FACTS}) from mcp_facts f where f.id in (
        select mcp_facts_id from ({_NEWEST_PROBES}))"""  # noqa: S608
)
_OLD_RUN = nth_of_both(
    "run_id", "run_id", "from {checks} where server_id = :server", "run_id desc", offset=str(NEWEST_RUNS)
)
_BEFORE = f"coalesce({_OLD_RUN}, -1)"
_OLD_PROBES_OF = f"from servers t cross join {{probes of t.id}} where t.id = :server and p.run_id <= {_BEFORE}"
_OLD_TEXTS = text(
    f"select coalesce(sum(bytes), 0) from ({in_both(f'select {_TEXTS} as bytes {_OLD_PROBES_OF}')})"  # noqa: S608
)
_OLD_FACTS = text(
    f"""select coalesce(sum({_FACTS}), 0) from mcp_facts f where f.id in (
        {in_both(f"select p.mcp_facts_id {_OLD_PROBES_OF}")})"""  # noqa: S608
)
_STRIP = f"""update {{probes}} set detail = null, stderr_tail = null, remarks = null, mcp_facts_id = null
    where (server_id, run_id) in (
        select server_id, run_id from {{checks}} where server_id = :server and run_id <= {_BEFORE})
    and (detail is not null or stderr_tail is not null or remarks is not null or mcp_facts_id is not null)"""  # noqa: S608
_STRIP_CHECKS = (
    f"update {{checks}} set detail = null where server_id = :server and detail is not null and run_id <= {_BEFORE}"  # noqa: S608
)
_UNUSED_FACTS = text(
    "delete from mcp_facts where id not in (select mcp_facts_id from probes where mcp_facts_id is not null)"
)


def steps_of_heaviest(connection: DatabaseConnection, excess_bytes: int) -> list[Callable[..., None]]:
    """Steps that free this many bytes, largest servers first; empty if no server stands out."""
    return _contract_steps(connection, excess_bytes) or _text_steps(connection, excess_bytes)


def _contract_steps(connection: DatabaseConnection, excess_bytes: int) -> list[Callable[..., None]]:
    """Steps that delete old contract versions: each server keeps the first and the newest."""
    old: dict[int, list[tuple[int, int]]] = {}
    for server_id, version, size in connection.execute(_OLD_VERSIONS, {"newest": FEWEST_VERSIONS - 1}):
        old.setdefault(server_id, []).append((version, size))
    found: list[Callable[..., None]] = []
    for server_id, held in sorted(old.items(), key=lambda one: -sum(size for _, size in one[1])):
        left = sum(size for _, size in held)
        dropped = []
        for version, size in held:
            if excess_bytes <= 0 or left <= SHARE_BYTES:
                break
            dropped.append(version)
            left -= size
            excess_bytes -= size
        if dropped:
            found.append(partial(_drop_versions, server_id=server_id, versions=dropped))
    return found


def _text_steps(connection: DatabaseConnection, excess_bytes: int) -> list[Callable[..., None]]:
    """Steps that delete texts and facts of old probes, for servers whose newest ones are long."""
    sizes = {one: size for one in connection.scalars(select(servers.c.id)).all() if (size := _texts(connection, one))}
    found: list[Callable[..., None]] = []
    for server_id, size in sorted(sizes.items(), key=lambda one: -one[1]):
        if excess_bytes <= 0:
            break
        found.append(partial(_strip, server_id=server_id))
        excess_bytes -= size
    return found


def _texts(connection: DatabaseConnection, server_id: int) -> int:
    """Estimated bytes of the texts of a server's old probes; 0 if they are of usual size."""
    of = {"server": server_id}
    said, probes = connection.execute(_SAMPLED, of).one()
    if not probes or (said + (connection.scalar(_SAMPLED_FACTS, of) or 0)) / probes < _MANY_BYTES:
        return 0
    size = sum(int(connection.scalar(query, of) or 0) for query in (_OLD_TEXTS, _OLD_FACTS))
    return size if size > SHARE_BYTES else 0


def _drop_versions(connection: DatabaseConnection, pruned: Pruned, server_id: int, versions: list[int]) -> None:
    pruned.add("contract_versions", drop_versions(connection, server_id, versions))


def _strip(connection: DatabaseConnection, pruned: Pruned, server_id: int) -> None:
    """Delete the texts of a server's checks and record the number deleted; the checks keep their counts."""
    of = {"server": server_id}
    for part in BOTH:
        pruned.add("texts", connection.execute(text(in_part(part, _STRIP)), of).rowcount)
        connection.execute(text(in_part(part, _STRIP_CHECKS)), of)
    connection.execute(_UNUSED_FACTS)


Step = Callable[..., None]
"""A step of work: called with a connection, inside a transaction, and the count of deleted rows."""
DETAIL_HOURS_MS = 3 * DAY_MS
"""Retention of the hour buckets of stages and probe outcomes: they are many, and day buckets contain them too."""
_AT_ONCE = 200
_MEASURES = ("run_pools", "run_caches", "run_workers", "run_resources", "run_alerts")
_OLD_CHECKS = "from {checks} where server_id = :server and run_id < :run and started_at_ms < :raw"
_OLD_PROBES = f"delete from {{probes}} where (server_id, run_id) in (select server_id, run_id {_OLD_CHECKS})"  # noqa: S608
_EMPTY_RUNS = """select r.id from runs r where r.id < :run
    and not exists (select 1 from sorted_checks c where c.run_id = r.id)
    and not exists (select 1 from recent_checks c where c.run_id = r.id)
    and not exists (select 1 from contract_versions v where v.run_id = r.id)"""


class Pruned(Struct):
    """Number of deleted rows by table."""

    rows: dict[str, int] = field(default_factory=dict)
    raw_from_ms: int = 0
    """Raw rows remain for checks that began at or after this time."""

    def add(self, table: str, number: int) -> None:
        """Add deleted rows to the count."""
        if number > 0:
            self.rows[table] = self.rows.get(table, 0) + number


def steps(connection: DatabaseConnection, keep: Keep, now_ms: int) -> list[Step]:
    """Steps that delete rows by age, each in its own transaction."""
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
        *steps_of_load_tests(connection, now_ms - round(keep.benchmarks * 1000)),
    ]


def drop_measures(connection: DatabaseConnection, pruned: Pruned, before_ms: int) -> None:
    """Delete the measurements of runs that ended before that moment."""
    for table in _MEASURES:
        ended = "select id from runs where finished_at_ms < :before"
        old = text(f"delete from {table} where run_id in ({ended})")  # noqa: S608 # our names
        pruned.add(table, connection.execute(old, {"before": before_ms}).rowcount)


def detail_steps(connection: DatabaseConnection, now_ms: int) -> list[Step]:
    """Delete old hour buckets of single probes whose day buckets exist; run after every roll, since they are many."""
    slot = (now_ms - DETAIL_HOURS_MS) // DAY_MS * DAY_HOURS
    return [
        *_bucket_steps(connection, "hour_latency", slot, "stage <> 'total'"),
        *_bucket_steps(connection, "hour_outcomes", slot, "kind <> 'check' and stage = 'total'"),
    ]


def raw_steps(connection: DatabaseConnection, raw_ms: int) -> list[Step]:
    """Delete raw rows of checks that began before this full day, all rolled by then, and runs left empty."""
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


def size_steps(connection: DatabaseConnection, most_bytes: int, now_ms: int) -> list[Step]:
    """Steps for a database that is too large: first the servers that use most space, then all.

    Contract versions and texts go first, of servers that have far more of them than others. Then goes the oldest day of
    raw rows or, if only today is left, of hour buckets. After these go load tests, oldest first; baselines stay.
    """
    excess_bytes = used_bytes(connection) - most_bytes
    if excess_bytes <= 0:
        return []
    if found := steps_of_heaviest(connection, excess_bytes):
        return found
    today_ms = now_ms // DAY_MS * DAY_MS
    oldest_ms = marks(connection).raw_from_ms
    if oldest_ms < today_ms:
        first_ms = connection.scalar(text(FIRST_CHECK_MS))
        next_ms = max(oldest_ms, (first_ms or today_ms) // DAY_MS * DAY_MS) + DAY_MS
        found = raw_steps(connection, _cutoff(connection, min(next_ms, today_ms)))
        if found:
            return found
    oldest = connection.scalar(text("select min(slot) from hour_latency"))
    if oldest is None or oldest >= (now_ms - DETAIL_HOURS_MS) // HOUR_MS:
        return oldest_steps(connection)
    next_slot = (oldest // DAY_HOURS + 1) * DAY_HOURS
    return [
        *_bucket_steps(connection, "hour_outcomes", next_slot),
        *_bucket_steps(connection, "hour_latency", next_slot),
    ]


def used_bytes(connection: DatabaseConnection) -> int:
    """Bytes used by the database's rows, without the free pages of the file."""
    pages, free, size = (
        int(connection.exec_driver_sql(f"pragma {name}").scalar() or 0)
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def drop_unused(connection: DatabaseConnection, pruned: Pruned) -> None:
    """Delete addresses, facts of MCP servers and contracts that no row refers to any more."""
    for table, column in (("mcp_facts", "mcp_facts_id"), ("urls", "url_id")):
        unused = f"delete from {table} where id not in (select {column} from probes where {column} is not null)"  # noqa: S608 # our names
        pruned.add(table, connection.execute(text(unused)).rowcount)
    orphans = "delete from contracts where digest not in (select digest from contract_versions)"
    pruned.add("contracts", connection.execute(text(orphans)).rowcount)


def _cutoff(connection: DatabaseConnection, wanted_ms: int) -> int:
    """The full day before which raw rows may be deleted: all of them are rolled, and their days are complete."""
    rolled_ms = connection.scalar(select(func.min(rollup_state.c.rolled_until_ms))) or 0
    return int(max(0, min(wanted_ms, rolled_ms)) // DAY_MS * DAY_MS)


def _remember(connection: DatabaseConnection, _: Pruned, servers: list[int], raw_ms: int) -> None:
    """Save the states needed to judge later rows, and record that earlier rows are gone."""
    from storage.rollups.states import advance_base

    for low in range(0, len(servers), _AT_ONCE):
        advance_base(connection, servers[low : low + _AT_ONCE], raw_ms)
    connection.execute(update(rollup_marks).values(raw_from_ms=raw_ms))


def _drop_raw(connection: DatabaseConnection, pruned: Pruned, servers: list[int], raw_ms: int, run: int) -> None:
    for part in BOTH:
        old_probes, old_checks = (text(in_part(part, one)) for one in (_OLD_PROBES, f"delete {_OLD_CHECKS}"))
        for server in servers:
            values = {"server": server, "run": run, "raw": raw_ms}
            pruned.add("probes", connection.execute(old_probes, values).rowcount)
            pruned.add("checks", connection.execute(old_checks, values).rowcount)
    pruned.raw_from_ms = raw_ms


def _drop_runs(connection: DatabaseConnection, pruned: Pruned, run: int) -> None:
    empty = list(connection.scalars(text(_EMPTY_RUNS), {"run": run}))
    for number in empty:
        for table in ("run_cached", *_MEASURES):
            connection.execute(text(f"delete from {table} where run_id = :run"), {"run": number})  # noqa: S608 # our names
        connection.execute(text("delete from run_cached where from_run_id = :run"), {"run": number})
        pruned.add("runs", connection.execute(text("delete from runs where id = :run"), {"run": number}).rowcount)


def _bucket_steps(connection: DatabaseConnection, table: str, slot: int, condition: str = "1 = 1") -> list[Step]:
    """Delete the buckets before this slot, of the series that meet the condition."""
    found = list(connection.scalars(text(f"select id from series where {condition} order by id")))  # noqa: S608 # our words
    blocks = [found[low : low + 20 * _AT_ONCE] for low in range(0, len(found), 20 * _AT_ONCE)]
    return [partial(_drop_buckets, table=table, of_series=some, slot=slot) for some in blocks]


def _drop_buckets(connection: DatabaseConnection, pruned: Pruned, table: str, of_series: list[int], slot: int) -> None:
    old = text(f"delete from {table} where series_id = :series and slot < :slot")  # noqa: S608 # our names
    pruned.add(
        table,
        sum(connection.execute(old, {"series": number, "slot": slot}).rowcount for number in of_series),
    )


def _drop_incidents(connection: DatabaseConnection, pruned: Pruned, before_ms: int) -> None:
    old = text("delete from incidents where ended_at_ms < :before")
    pruned.add("incidents", connection.execute(old, {"before": before_ms}).rowcount)
