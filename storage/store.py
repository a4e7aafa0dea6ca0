"""The only writer: opens and closes runs, and writes each batch in one transaction."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import convert
from msgspec.structs import asdict

from checker.breaker import Circuit
from checker.errors import StorageError
from checker.limits import Keep
from checker.metrics import RunMeasures
from checker.model import Batch, ContractSnapshot, McpFacts, Remark, RunInfo, RunState, Server, figures
from checker.result_rows import MCP, REMARKS, SERVER, URL, ResultRows, Rows, rows_of
from checker.untrusted_text import storable
from storage import cache, known_fleets, result_entries
from storage import servers as roster
from storage.breakers import Breakers
from storage.connections import DatabaseConnection, errors_of, writing_connection
from storage.contracts import Seen, Versions, keep_contracts
from storage.raw_parts import RECENT, in_both
from storage.remarks import remarks_text
from storage.rollups import watermarks
from storage.rollups.late_rows import note_written, without_sorted
from storage.rows import insert_columns, insert_new, insert_one, insert_rows
from storage.schema import migrate

if TYPE_CHECKING:
    from storage.retention import Pruned, Step

_UNSTORABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""Exceptions for values that the database cannot store: text with lone surrogates, numbers beyond 64 bits."""
log = logging.getLogger(__name__)
_NAMED_AT_ONCE = 500
_RUNNING = "select id, pid from runs where state = ? and host = ?"
_FINISH = "update runs set state = ?, finished_at_ms = ? where id = ?"
_CHECKED = in_both("select server_id from {checks} where run_id = :run")
_FACTS_ID = "select id from mcp_facts where fingerprint = ?"
_COLUMN_OF = {SERVER: "server_id", URL: "url_id", MCP: "mcp_facts_id"}
"""Column of a result -> that of the table, where it is another one."""
_TRUTHS = ("suspect", "maintenance", *(figure.name for figure in figures() if figure.type is bool))
_SAID = dict.fromkeys((figure.name for figure in figures() if figure.type is str), 1000) | {
    "detail": 1000,
    "stderr_tail": 8000,
    "auth_metadata_url": 2000,
    "earlier_reasons": 1000,
}
"""Column of a probe that may contain a server's text -> the largest number of characters stored."""
_MOST_OF_A_FACT = 20_000
_MOST_OF_AN_ADDRESS = 4000
_ADDRESSES_OF_A_SERVER = 4


@contextmanager
def open_store(path: Path, *, wait_s: float = 60.0) -> Iterator[Store]:
    """The store in this file, which is created or upgraded as needed.

    While another process writes, each step waits up to ``wait_s`` and then raises StorageBusy. Raises StorageError if
    the file cannot be used.
    """
    with writing_connection(path, wait_s) as connection:
        with errors_of(path), connection.begin():
            migrate(connection, str(path))
        yield Store(connection, path)


class Store:
    """Write access to one database; used by one thread."""

    def __init__(self, connection: DatabaseConnection, path: Path) -> None:
        self._connection, self.path = connection, path
        self._server_ids: dict[str, int] = {}
        self._fleet: known_fleets.Fleet | None = None
        self._facts_ids: dict[McpFacts, int] = {}
        self._url_ids: dict[str, int] = {}
        self._urls_of_version: int | None = None
        """The version of the database that the ids of addresses are of: another process changes it as it writes."""
        self._versions = Versions()
        self._breakers = Breakers()

    def begin_run(
        self, info: RunInfo, checked: Sequence[Server], configured: Collection[str] = (), *, ad_hoc: bool = False
    ) -> int:
        """Start a run and return its id. Runs whose process died without finishing them are marked abandoned.

        ``configured`` are the names of all servers in the configuration, checked or not: servers that are no longer in
        it are retired. If it is empty, none is. ``ad_hoc`` is true for servers that were given on a command line.
        """
        origin = roster.origin(info, configured, ad_hoc)
        self._fleet = known_fleets.fleet(origin["config_path"], origin["environment"], checked, configured)
        with self.transaction() as connection:
            self._mark_abandoned(connection, info.host)
            if self._fleet.is_stored(connection):
                self._server_ids = roster.ids(connection)
            else:
                before = roster.stored(connection)
                self._server_ids = roster.keep(connection, info, checked, configured, before, ad_hoc)
                roster.retire(connection, info, configured, before)
                watermarks.add_servers(connection, info.started_at_ms)
                self._fleet.keep(connection)
            self._versions.load(connection)
            self._breakers.begin(connection, checked)
            return insert_one(connection, "runs", {"state": RunState.RUNNING, **asdict(info)})

    def write(self, run_id: int, batch: Batch) -> int:
        """Write a whole batch; returns the number of checks that are new. An existing row stays.

        If a value in it cannot be stored, the checks are written one by one, and the faulty one without the texts of
        its server: one server must not take the results of the others with it.
        """
        try:
            return self._write(run_id, batch)
        except _UNSTORABLE as error:
            self._forget(error)
        from checker.missing_results import bare  # it imports probes, which whoever only reads has no use for

        added = 0
        for check in batch.checks:
            digests = {probe.mcp.contract_digest for probe in check.probes if probe.mcp is not None}
            contracts_of_it = tuple(one for one in batch.contracts if one.digest in digests)
            try:
                added += self._write(run_id, Batch(checks=(check,), contracts=contracts_of_it))
            except _UNSTORABLE as error:
                self._forget(error)
                added += self._write(run_id, Batch(checks=(bare(check, error),)))
        return added

    def _forget(self, error: Exception) -> None:
        """Forget ids that were learned in a transaction that was rolled back."""
        log.error("a batch cannot be stored as a whole", exc_info=error)
        self._facts_ids.clear()
        self._url_ids.clear()
        with self.transaction() as connection:
            self._versions.load(connection)

    def _write(self, run_id: int, batch: Batch) -> int:
        results = batch.checks.copy() if isinstance(batch.checks, ResultRows) else rows_of(batch.checks)
        with self.transaction() as connection:
            if results:
                self._breakers.note(connection, run_id, batch.checks, self._server_ids)
                results = without_sorted(connection, run_id, results, self._server_ids)
            if results:
                added = self._write_results(connection, run_id, results, batch.contracts)
            cache.keep(connection, batch.cache_entries)
        return added if results else 0

    def _write_results(
        self, connection: DatabaseConnection, run_id: int, results: ResultRows, snapshots: Sequence[ContractSnapshot]
    ) -> int:
        """Write rows, which are changed to what is stored; returns the number of checks that are new."""
        keep_contracts(connection, snapshots)
        if results.facts:
            self._note_contracts(connection, run_id, results)
        facts_ids = [self._facts_id(connection, facts) for facts in results.facts]
        self._learn_urls(connection, results.of_probes(URL))
        for rows in results.probes:
            rows.change(URL, self._url_ids.__getitem__)
            rows.change(MCP, facts_ids.__getitem__)
            rows.change(REMARKS, lambda remarks: remarks_text(convert(remarks, tuple[Remark, ...])))
            insert_columns(connection, RECENT.probes, self._stored(rows), rows.values, run_id)
        added = 0
        for rows in results.checks:
            added += insert_columns(connection, RECENT.checks, self._stored(rows), rows.values, run_id)
        note_written(connection, run_id, results.of_checks(SERVER), results.of_checks("started_at_ms"))
        return added

    def circuits(self) -> dict[str, dict[str, Circuit]]:
        """Server -> probe kind -> its circuit, for servers of the run that have a circuit breaker and have failed."""
        with self.transaction() as connection:
            return self._breakers.circuits(connection)

    def keep_result_keys(
        self, run_id: int, at_ms: int, keys: Callable[[], Iterable[tuple[str, str | None]]], ttl_ms: int, whole: bool
    ) -> None:
        """Note for the results cache with which options the run, begun at that time, checks servers.

        ``keys`` gives each server with its key, None for one whose result is not kept; ``whole`` says that these are
        all servers that the run was begun with. Results are valid for ``ttl_ms``.
        """
        fleet = self._fleet if whole else None
        with self.transaction() as connection:
            if fleet is not None and fleet.has_result_keys(connection, ttl_ms):
                return
            of_servers = {self._server_ids[name]: key for name, key in keys()}
            result_entries.keep(connection, run_id, at_ms, of_servers, ttl_ms)
            if fleet is not None:
                fleet.keep(connection, ttl_ms)

    def write_cached(self, run_id: int, taken: Mapping[str, int]) -> None:
        """Store which servers the run did not check because it reused a result of an earlier run, given by its id."""
        rows = [(run_id, self._server_ids[name], earlier) for name, earlier in taken.items()]
        if rows:
            with self.transaction() as connection:
                insert_rows(connection, "run_cached", ("run_id", "server_id", "from_run_id"), rows)

    def write_measures(self, run_id: int, measures: RunMeasures) -> None:
        """Write the measurements that the run made of itself; a second call replaces the first."""
        resources = [measures.resources] if measures.resources else []
        kinds: tuple[tuple[str, Sequence[Any]], ...] = (
            ("run_workers", measures.workers),
            ("run_pools", measures.pools),
            ("run_caches", measures.caches),
            ("run_resources", resources),
            ("run_alerts", measures.alerts),
        )
        with self.transaction() as connection:
            for table, records in kinds:
                connection.exec_driver_sql(f"delete from {table} where run_id = ?", (run_id,))  # noqa: S608 # our names
                if records:
                    names = tuple(records[0].__struct_fields__)
                    rows = [(run_id, *(getattr(one, name) for name in names)) for one in records]
                    insert_rows(connection, table, ("run_id", *names), rows)

    def roll(self, now_ms: int, *, anew: bool = False, note: Callable[[int, int], None] | None = None) -> int:
        """Fold the raw rows of full hours into buckets; returns the number of checks folded.

        With ``anew`` all buckets whose raw rows exist are rebuilt. ``note`` is called with the number of servers done
        and the total. Servers are processed in batches: batches committed before a roll is killed stay.
        """
        with self.transaction() as connection:
            until_ms, blocks = (watermarks.plan_rebuild if anew else watermarks.plan)(connection, now_ms)
        if not blocks:
            return 0
        from storage import retention, server_order  # these, and numpy, take long to import: most runs close no hour
        from storage.rollups import roll

        total, done, folded = sum(map(len, blocks)), 0, 0
        for servers_of_block in blocks:
            with self.transaction() as connection:
                step = roll.rebuild_servers if anew else roll.roll_servers
                folded += step(connection, servers_of_block, until_ms)
            done += len(servers_of_block)
            if note is not None:
                note(done, total)
        with self.transaction() as connection:
            watermarks.advance_first_run(connection, now_ms)
            for drop in retention.detail_steps(connection, now_ms):
                drop(connection, retention.Pruned())
            slices = server_order.plan(connection, folded)
        for one in slices:
            with self.transaction() as connection:
                server_order.move(connection, one)
        return folded

    def prune(self, keep: Keep, now_ms: int, note: Callable[[int, int], None] | None = None) -> Pruned:
        """Delete rows past their retention and, if the database is too large, more (`retention.size_steps`).

        If the file is larger than the allowed size of the database, free pages are returned to the disk.

        ``note`` is called with the number of steps done and the total. Each step is a transaction: a killed prune
        leaves nothing half done.
        """
        from storage import retention
        from storage.database_file import give_back

        pruned = retention.Pruned()

        def do(planned: Sequence[Step]) -> None:
            for done, step in enumerate(planned, 1):
                with self.transaction() as connection:
                    step(connection, pruned)
                if note is not None:
                    note(done, len(planned))

        with self.transaction() as connection:
            planned = retention.steps(connection, keep, now_ms)
        do(planned)
        while keep.max_size is not None:
            with self.transaction() as connection:
                planned = retention.size_steps(connection, keep.max_size, now_ms)
            if not planned:
                break
            do(planned)
        if pruned.rows:
            with self.transaction() as connection:
                retention.drop_unused(connection, pruned)
            self._facts_ids, self._url_ids = {}, {}
        if keep.max_size is not None:
            give_back(self.path, keep.max_size)
        return pruned

    def drop_measures(self, before_ms: int) -> None:
        """See `retention.drop_measures`."""
        from storage import retention

        with self.transaction() as connection:
            retention.drop_measures(connection, retention.Pruned(), before_ms)

    def missing(self, run_id: int, names: Iterable[str]) -> list[str]:
        """The names that have no check in the run."""
        with self.transaction() as connection:
            there = set(connection.exec_driver_sql(_CHECKED, {"run": run_id}).scalars())
            if not self._server_ids:
                self._server_ids = roster.ids(connection)
        ids = self._server_ids
        return [name for name in names if ids.get(name) not in there]

    def finish_run(
        self,
        run_id: int,
        state: RunState,
        finished_at_ms: int,
        cache_sizes: Mapping[str, int] | None = None,
        cache_size: int | None = None,
    ) -> dict[str, int]:
        """Finish a run, evicting cache entries as `cache.give_up` does; returns the number above a size by category."""
        with self.transaction() as connection:
            connection.exec_driver_sql(_FINISH, (state.value, finished_at_ms, run_id))
            return cache.give_up(connection, finished_at_ms, cache_sizes or {}, cache_size)

    def recall(self, keys: Iterable[str], now_ms: int) -> dict[str, dict[str, str]]:
        """The unexpired entries under these keys: key -> category -> value."""
        with self.transaction() as connection:
            return cache.recall(connection, keys, now_ms)

    def young_results(self, keys: Mapping[str, str], since_ms: int, now_ms: int) -> dict[str, int]:
        """Server -> the run whose result may be reused, for servers under these keys of the results cache.

        The check began after ``since_ms``, has not expired, and says something about the server.
        """
        with self.transaction() as connection:
            taken = result_entries.young(connection, keys, since_ms, now_ms)
            cache.note_use(
                connection, result_entries.RESULTS, [key for key, name in keys.items() if name in taken], now_ms
            )
        return taken

    def note_use(self, category: str, key: str, now_ms: int) -> None:
        """Mark a cache entry as used."""
        with self.transaction() as connection:
            cache.note_use(connection, category, [key], now_ms)

    def cache_size(self, category: str) -> int:
        """Number of entries in a category."""
        with self.transaction() as connection:
            return cache.count(connection, category)

    def cached_results(self, answered: int, at_ms: int, now_ms: int, ttl_ms: int) -> int:
        """Number of entries of the results cache, after a run, begun at that time, that stored so many checks."""
        with self.transaction() as connection:
            if (
                now_ms - at_ms < ttl_ms
                and answered == result_entries.most(connection)
                and self._fleet is not None
                and self._fleet.has_result_keys(connection, ttl_ms)
            ):
                return answered  # each entry has its check: there is no need to look for them
            return result_entries.count(connection)

    def clear_cache(self, wanted: Iterable[str] = (), key: str | None = None) -> dict[str, int]:
        """Remove the entries of these categories, with a key only those under it; returns their number by category.

        Without a category: all except the pinned authorization servers (oauth_issuer). The history is not touched.
        """
        with self.transaction() as connection:
            return cache.clear(connection, list(wanted), key)

    @contextmanager
    def transaction(self) -> Iterator[DatabaseConnection]:
        """The only place that opens transactions; raises StorageError and StorageBusy."""
        with errors_of(self.path), self._connection.begin() as connection:
            yield connection

    def _mark_abandoned(self, connection: DatabaseConnection, host: str) -> None:
        running = connection.exec_driver_sql(_RUNNING, (RunState.RUNNING.value, host)).all()
        gone = [(RunState.ABANDONED.value, number) for number, pid in running if not is_alive(pid)]
        if gone:
            connection.exec_driver_sql("update runs set state = ? where id = ?", gone)

    def _stored(self, rows: Rows) -> tuple[str, ...]:
        """Change the values to those that are stored; returns the columns of the table that they are for."""
        rows.change(SERVER, self._server_ids.__getitem__)
        for name in _TRUTHS:
            rows.change(name, int)  # as the driver binds them
        for name, most in _SAID.items():
            rows.change(name, partial(storable, most=most))
        return tuple([_COLUMN_OF.get(name, name) for name in rows.columns])

    def _note_contracts(self, connection: DatabaseConnection, run_id: int, results: ResultRows) -> None:
        seen = []
        for rows in results.probes:
            for name, place, at_ms in zip(
                rows.column(SERVER), rows.column(MCP), rows.column("started_at_ms"), strict=False
            ):
                if digest := results.facts[place].contract_digest:
                    seen.append(Seen(self._server_ids[name], digest, at_ms))
        self._versions.note(connection, run_id, seen)

    def _learn_urls(self, connection: DatabaseConnection, found: set[str]) -> None:
        """Store new addresses, and remember the ids of all."""
        version = connection.exec_driver_sql("pragma data_version").scalar()
        if version != self._urls_of_version:
            # another process may have pruned an address that no row of this run has yet
            self._url_ids = self._url_ids_of_fleet(connection) if self._urls_of_version is None else {}
            self._urls_of_version = version
        known = self._url_ids  # not "found - known.keys()", which goes through all that are known
        new = {url: storable(url, _MOST_OF_AN_ADDRESS) for url in found if url not in known}
        if not new:
            return
        kept = list(dict.fromkeys(new.values()))
        insert_new(connection, "urls", [{"url": url} for url in kept])
        ids: dict[str, int] = {}
        for low in range(0, len(kept), _NAMED_AT_ONCE):
            some = kept[low : low + _NAMED_AT_ONCE]
            of_these = f"select url, id from urls where url in ({', '.join('?' * len(some))})"  # noqa: S608 # marks alone
            ids |= dict(connection.exec_driver_sql(of_these, tuple(some)))
        self._url_ids |= {url: ids[stored] for url, stored in new.items()}

    def _url_ids_of_fleet(self, connection: DatabaseConnection) -> dict[str, int]:
        """The ids of all addresses, if there are not many more than servers: one by one takes much longer."""
        newest = connection.exec_driver_sql("select max(id) from urls").scalar() or 0
        if newest > _ADDRESSES_OF_A_SERVER * len(self._server_ids):
            return {}
        return dict(connection.exec_driver_sql("select url, id from urls").all())

    def _facts_id(self, connection: DatabaseConnection, facts: McpFacts) -> int:
        """The id of these facts, found or created."""
        known = self._facts_ids.get(facts)
        if known is None:
            said = {name: getattr(facts, name) for name in McpFacts.__struct_fields__}
            values = {
                name: storable(value, _MOST_OF_A_FACT) if isinstance(value, str) else value
                for name, value in said.items()
            }
            mark = hashlib.sha256(orjson.dumps(values)).hexdigest()
            insert_new(connection, "mcp_facts", [{**values, "fingerprint": mark}])
            known = connection.exec_driver_sql(_FACTS_ID, (mark,)).scalar()
            if known is None:
                raise StorageError(f"{self.path}: facts of an MCP server were not stored")
            self._facts_ids[facts] = known
        return known


def is_alive(pid: int) -> bool:
    """True if a process with this id runs on this machine, also if it belongs to another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
