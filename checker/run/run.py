"""One run in its steps: servers into shards, shards to workers, batches into the store, the run closed."""

from __future__ import annotations

import _socket
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from os import cpu_count, getpid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from checker.breaker import rules, skips
from checker.cache_keys import DNS, named_host
from checker.clock import now_ms
from checker.limits import Caches, Keep, Limits, PoolLimits, RunOptions, part
from checker.maintenance_windows import MaintenanceWindow, in_maintenance
from checker.metrics import MetricsCollector
from checker.missing_results import worker_lost
from checker.model import Batch, RunInfo, RunState, Server, Status
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.probes.base import Address
from checker.processes.signals import Interrupts
from checker.result_rows import SERVER, Rows, as_rows, joined
from checker.run.caches import ConfigUse, RunCaches
from checker.run.governor import Alarms, Governor
from checker.run.idle_workers import IdleWorkers
from checker.run.own_network import OwnNetwork
from checker.run.queue import PROGRAMS, Shards, shards
from checker.run.workers import Memory, RunnerOptions, run_shards
from checker.version import VERSION

if TYPE_CHECKING:
    from storage.store import Store


_SERVERS_PER_WORKER = 50


def limits_of(options: RunOptions, workers: int, log_level: int) -> Limits:
    """The limits for this many workers together."""
    pools = {kind: options.pools.get(kind, PoolLimits()) for kind in KINDS}
    told = {"workers": workers, "log_level": log_level, "pools": pools, "caches": _within(options.caches)}
    return Limits(**(asdict(options) | told))


def _within(caches: Caches) -> Caches:
    """The caches, none of which may have more entries than the total allows."""
    most = caches.size
    if most is None:
        return caches
    tokens, dns = caches.auth_tokens, caches.dns
    return replace(
        caches,
        auth_tokens=replace(tokens, size=min(most, tokens.size)),
        dns=replace(dns, size=min(most, dns.size)),
    )


def workers_of(servers: Sequence[Server], options: RunOptions) -> int:
    """Number of workers: no more than can each get a share of every run-wide limit."""
    if not servers:
        return 0
    wanted = options.workers or usual_workers(len(servers))
    kinds = {kind for server in servers for kind in server.probes}
    most = [options.concurrency, *([] if options.max_connections is None else [options.max_connections])]
    most += [pool.max_connections for kind, pool in options.pools.items() if kind in kinds and pool.when_full == "wait"]
    return min(wanted, *most)


def usual_workers(servers: int) -> int:
    """One worker per core, but none for fewer than 50 servers: starting one takes longer than checking those."""
    return max(1, min(cpu_count() or 1, servers // _SERVERS_PER_WORKER))


log = logging.getLogger(__name__)

_MOST_BATCHES_WAITING = 64
_MOST_TOGETHER = 200
"""Batches in one transaction."""
_HELD_S = 0.2
"""Results wait for this long at most, in a batch of a worker and for others to be written with."""
_FAST = 1000
"""Checks a second from which on results wait for others."""
_TICK_S = 0.1
_NOTHING: Mapping[str, Any] = {}

Progress = Callable[[int, int, Mapping[Status, int], str | None], None]
"""Checks done, checks in all, number of checks with each status so far, and the cause if checks wait."""


class RunRequest(Struct, frozen=True, kw_only=True):
    """The servers to check and the options of the run."""

    servers: Sequence[Server]
    database: Path
    options: RunOptions = field(default_factory=RunOptions)
    config: ConfigUse | None = None
    """The source of the configuration, if it is one that may be cached."""
    keep: Keep = field(default_factory=Keep)
    """Retention of the history."""
    config_path: str | None = None
    environment: str | None = None
    configured: Sequence[str] = ()
    """Names of all servers of the configuration, checked or not; empty if the servers come from elsewhere."""
    ad_hoc: bool = False
    """The servers were given on a command line: a fleet may have others of the same names."""
    log_level: int = 50
    idle: IdleWorkers | None = None
    """Workers of earlier runs, and the place for those of this one; by default they end with the run."""
    interrupts: Callable[[Callable[[], None], Callable[[], None]], Interrupts] = Interrupts
    """What may end the run early: signals, unless the caller has other means."""
    stored: Callable[[int, Sequence[str]], None] | None = None
    """Called with the run's id and the servers of each batch, once their results are stored."""


class RunEnd(Struct, frozen=True):
    """The outcome of a run."""

    run_id: int
    state: RunState
    signal: int | None
    """The signal that interrupted it."""


def check(request: RunRequest, progress: Progress) -> RunEnd:
    """Check every server once and store the results; raises StorageError and WorkerStartError.

    On Ctrl-C finished checks are kept and the run is marked interrupted; a second Ctrl-C does not wait for sessions to
    close. If storing fails the run is marked failed, as far as the database still accepts writes.
    """
    # where results may be taken, how many workers are needed is known only once the database was asked
    run_workers = _WorkerThreads(request) if request.options.max_age is None else None
    progress(0, len(request.servers), {}, None)
    try:
        from storage.store import open_store  # takes as long to import as a worker to start, so both at once

        with open_store(request.database) as store:
            caches = RunCaches(request.servers, request.options.caches, request.options.max_age, request.config)
            taken = caches.take(store, now_ms())
            fresh = [server for server in request.servers if server.name not in taken]
            run_workers = run_workers or _WorkerThreads(replace(request, servers=fresh))
            log.info("%d servers, %d cached, %d workers", len(request.servers), len(taken), run_workers.workers)
            info = _info(request, len(fresh), run_workers.workers)
            run_id = store.begin_run(info, request.servers, request.configured, ad_hoc=request.ad_hoc)
            caches.keep_keys(store, run_id, info.started_at_ms, fresh, whole=not taken)
            store.write_cached(run_id, taken)
            state, stored = RunState.FAILED, 0
            try:
                with request.interrupts(run_workers.stop, run_workers.abort) as interrupts:
                    run_workers.begin(_recall(store, fresh, request.options.caches.dns.enabled), _skips(store, fresh))
                    caches.keep_config(store, run_id, now_ms())
                    stored = _store_results(store, run_id, run_workers, request, len(fresh), progress)
                state = RunState.INTERRUPTED if interrupts.received else RunState.FINISHED
                if state is RunState.FINISHED and stored < len(fresh):
                    stored += _fill_gaps(store, run_id, fresh)
            finally:
                evicted = store.finish_run(run_id, state, now_ms(), caches.sizes, request.options.caches.size)
                for measures in caches.measures(store, evicted, stored, now_ms()):
                    run_workers.collector.add_cache(measures)
                store.write_measures(run_id, run_workers.collector.measures().only(request.options.measures))
                if request.keep.measures is not None:
                    store.drop_measures(now_ms() - round(request.keep.measures * 1000))
            return RunEnd(run_id, state, interrupts.received)
    finally:
        if run_workers is not None:
            run_workers.abort()
            if request.idle is not None:  # the caller goes on, and expects that nothing is left of the run
                run_workers.wait()


class _WorkerThreads:
    """The threads that drive the workers; results are taken from ``batches`` until ``done``."""

    def __init__(self, request: RunRequest) -> None:
        self.servers, options = request.servers, request.options
        self.workers = workers_of(request.servers, options)
        workers = max(1, self.workers)
        limits = limits_of(options, workers, request.log_level)
        self.batches: queue.Queue[Batch] = queue.Queue(_MOST_BATCHES_WAITING)
        self._left, self._answered, self._took_at_s = len(request.servers), 0, 0.0
        widths = {kind: limits.attempts_at_origin(kind) for kind in KINDS} | {PROGRAMS: limits.processes}
        pace = options.pace
        self._shards = Shards(shards(request.servers, workers, pace.batch_size, widths, pace.by_priority), workers)
        self._begin, self._given_up = threading.Event(), threading.Event()
        self._remembered: Mapping[str, Memory] = {}
        self._skipped: Mapping[str, Mapping[str, str]] = {}
        self.collector = MetricsCollector()
        self.alarms = Alarms(options.alerts)
        self.governor = Governor(options.limits, self._shards, self.collector, self._put, self.alarms)
        self.collector.resources = self.governor.measured
        runner_options = RunnerOptions(
            limits=limits,
            remembered=lambda server: self._remembered.get(server.name, _NOTHING),
            skipped=lambda server: self._skipped.get(server.name, _NOTHING),
            report=self.collector.take,
            alert=self.collector.note,
            idle=request.idle,
        )
        executor = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._futures: list[Future[None]] = []
        for number in range(self.workers):
            own_limits = replace(limits, worker=number, concurrency=part(options.concurrency, number, workers))
            own = replace(runner_options, limits=own_limits)
            self._futures.append(executor.submit(run_shards, self._shards, self._put, own, self._begin))
        executor.shutdown(wait=False)
        if self.workers:
            self.governor.start()

    def begin(self, remembered: Mapping[str, Memory], skipped: Mapping[str, Mapping[str, str]]) -> None:
        """Start assigning, now that there is a run to store results in; ``skipped`` maps skipped probes to reasons."""
        self._remembered, self._skipped = remembered, skipped
        if self.workers:
            self.governor.wait_for_first_look()
        self._begin.set()

    @property
    def done(self) -> bool:
        """True if every worker has ended and every batch was taken."""
        return all(future.done() for future in self._futures) and self.governor.settled and self.batches.empty()

    def raise_failure(self) -> None:
        """Raise the exception that ended a driver, if there is one."""
        for future in self._futures:
            future.result()

    def note_alarms(self) -> None:
        """Record the thresholds that the checks so far have crossed."""
        for alert in self.alarms.look_at_checks():
            self.collector.note(alert)

    def stop(self) -> None:
        """Assign no more and give up checks in progress."""
        self._shards.stop()

    def abort(self) -> None:
        """Stop without waiting for anything."""
        self.governor.end()
        self._shards.abort()
        self._given_up.set()
        self._begin.set()

    def wait(self) -> None:
        """Return when all threads have ended, and with them the workers that do not stay."""
        wait(self._futures)

    def take(self) -> Batch:
        """Pending batches, merged into one: a transaction costs as much as the rows of many. Raises queue.Empty.

        While results come fast, those of a moment are taken together. A batch was then filled in less than that moment,
        so that a run that is killed loses no more than where they come slowly (`run.pace.batch_timeout`).
        """
        taken = [self.batches.get(timeout=_TICK_S)]
        now_s = time.monotonic()
        rate = self._answered / max(1e-6, now_s - self._took_at_s)
        until_s = now_s + (_HELD_S - len(taken[0].checks) / rate if rate > _FAST else 0.0)
        self._took_at_s, self._answered = now_s, len(taken[0].checks)
        self._left -= len(taken[0].checks)
        with suppress(queue.Empty):
            while self._left > 0 and len(taken) < _MOST_TOGETHER:
                left_s = until_s - time.monotonic()
                taken.append(self.batches.get(timeout=left_s) if left_s > 0 else self.batches.get_nowait())
                self._answered += len(taken[-1].checks)
                self._left -= len(taken[-1].checks)
        return joined(taken)

    def _put(self, batch: Batch) -> None:
        while not self._given_up.is_set():
            try:
                return self.batches.put(batch, timeout=_TICK_S)
            except queue.Full:
                continue


def _store_results(
    store: Store,
    run_id: int,
    run_workers: _WorkerThreads,
    request: RunRequest,
    total: int,
    progress: Progress,
) -> int:
    """Write batches as they arrive; this thread is the only one that touches the database.

    Returns the number of servers that have a row now.
    """
    counts: dict[Status, int] = dict.fromkeys(Status, 0)
    stored = 0
    windows = {server.name: server.maintenance for server in run_workers.servers if server.maintenance}
    own_network = OwnNetwork(run_workers.servers, request.options.canaries)
    alarms = run_workers.alarms

    def keep(batch: Batch) -> None:
        nonlocal stored
        results = as_rows(batch.checks)
        for rows in results.checks if windows else ():
            _mark(rows, windows)
        names = list(results.of_checks(SERVER)) if request.stored is not None else []  # storing changes the rows
        stored += store.write(run_id, replace(batch, checks=results))
        if request.stored is not None:
            request.stored(run_id, names)
        alarms.add(results)
        for status, number in Counter(results.of_checks("status")).items():
            counts[Status(status)] += number
        progress(sum(counts.values()), total, counts, run_workers.governor.waits_for)

    def keep_settled(now_s: float) -> None:
        if settled := own_network.settled(now_s):
            keep(Batch(checks=settled))

    progress(0, total, counts, None)
    look_at_s = time.monotonic() + alarms.limits.interval
    while not run_workers.done:
        keep_settled(now_ms() / 1000)
        if time.monotonic() >= look_at_s:
            run_workers.note_alarms()
            look_at_s = time.monotonic() + alarms.limits.interval
        try:
            keep(own_network.without_doubtful(run_workers.take()))
        except queue.Empty:
            progress(sum(counts.values()), total, counts, run_workers.governor.waits_for)
    keep_settled(math.inf)
    run_workers.note_alarms()
    run_workers.raise_failure()
    return stored


def _mark(rows: Rows, windows: Mapping[str, Sequence[MaintenanceWindow]]) -> None:
    """Mark the checks of servers under maintenance."""
    started = zip(rows.column(SERVER), rows.column("started_at_ms"), strict=True)
    marks = iter([in_maintenance(windows.get(name, ()), at_ms) for name, at_ms in started])
    rows.change("maintenance", lambda known: known or next(marks))


def _fill_gaps(store: Store, run_id: int, servers: Sequence[Server]) -> int:
    """Add results for servers without a row at the end of the run: no server may be missing. Returns their number."""
    missing = set(store.missing(run_id, [server.name for server in servers]))
    lost = tuple(worker_lost(server, "no answer came", 1) for server in servers if server.name in missing)
    return store.write(run_id, Batch(checks=lost)) if lost else 0


def tidy(database: Path, keep: Keep, note: Callable[[int, int], None]) -> None:
    """Close past hours, and delete rows past their retention: run this after a run.

    ``note`` is called with the number of finished servers and their total. Raises StorageError and StorageBusy.
    """
    from storage.store import open_store

    with open_store(database) as store:
        if store.roll(now_ms(), note=note) and keep.after_runs:
            store.prune(keep, now_ms())


def _recall(store: Store, servers: Sequence[Server], dns: bool) -> dict[str, Memory]:
    """Facts from earlier runs about the servers' endpoints and, with ``dns``, their hosts, by server; often none."""
    hosts: dict[Address, str] = {}

    def keys() -> Iterator[str]:
        for server in servers:
            for kind, options in server.probes.items():
                address = _at(kind, options)
                yield address.key
                if dns and (host := named_host(address.pool_name)):
                    hosts[address] = host
                    yield host

    by_key = store.recall(keys(), now_ms())
    if not by_key:
        return {}

    def memory(address: Address) -> Mapping[str, str]:
        known = by_key.get(address.key, {})
        found = by_key.get(hosts.get(address, ""), {}).get(DNS)
        return known if found is None else {**known, DNS: found}

    memories = (
        (server.name, {kind: known for kind, options in server.probes.items() if (known := memory(_at(kind, options)))})
        for server in servers
    )
    return {name: known for name, known in memories if known}


def _at(kind: str, options: Any) -> Address:
    return probe_of(kind).address(options)


def _skips(store: Store, servers: Sequence[Server]) -> dict[str, dict[str, str]]:
    """Probes that open circuit breakers skip in this run: server -> probe kind -> reason."""
    circuits, at_ms = store.circuits(), now_ms()
    failed = (server for server in servers if server.name in circuits)
    return {server.name: skips(circuits[server.name], rules(server), at_ms) for server in failed}


def _info(request: RunRequest, fresh: int, workers: int) -> RunInfo:
    return RunInfo(
        started_at_ms=now_ms(),
        servers_expected=fresh,
        servers_cached=len(request.servers) - fresh,
        workers=workers,
        concurrency=request.options.concurrency,
        config_path=request.config_path,
        environment=request.environment,
        checker_version=VERSION,
        host=_socket.gethostname(),
        pid=getpid(),
    )
