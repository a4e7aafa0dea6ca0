"""One run as its steps: servers into shards, shards to workers, batches into the store, the run closed."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os import cpu_count, getpid
from pathlib import Path
from typing import TYPE_CHECKING

from checker.accounts import Accounts
from checker.interrupts import Interrupts
from checker.limits import Caches, Limits, Pace, PoolLimits, ResourceLimits
from checker.model import Batch, RunInfo, RunState, Server, Status
from checker.probes import KINDS
from checker.runner import Memory, RunnerOptions, Shards, run_shards, worker_lost
from checker.sharding import shards
from checker.units import Secret
from checker.version import VERSION

if TYPE_CHECKING:
    from storage.store import Store

log = logging.getLogger(__name__)

_SERVERS_PER_WORKER = 50
_MOST_BATCHES_WAITING = 64
_TICK_S = 0.1

Progress = Callable[[int, int, Mapping[Status, int]], None]
"""Checks done, checks in all, and how many have which status so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to check and how."""

    servers: Sequence[Server]
    database: Path
    workers: int | None = None
    """None takes one per core, fewer for a small fleet."""
    concurrency: int = 500
    """Checks at once over all workers."""
    per_origin: int = 30
    """Attempts at once at one origin over all workers, for each probe kind."""
    processes: int = 8
    """Programs of stdio servers at once over all workers."""
    token_key: Secret | None = None
    """What access tokens are encrypted with in the database; None keeps them in memory."""
    pace: Pace = field(default_factory=Pace)
    pools: Mapping[str, PoolLimits] = field(default_factory=dict)
    """Probe kind -> limits of its connections."""
    caches: Caches = field(default_factory=Caches)
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    heartbeat_timeout_s: float = 15.0
    config_path: str | None = None
    environment: str | None = None
    log_level: int = 50


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the run went."""

    run_id: int
    state: RunState
    signal: int | None
    """The signal that interrupted it."""


def check(request: RunRequest, progress: Progress) -> RunEnd:
    """Check every server once and store the results; raises StorageError and WorkerStartError.

    On Ctrl-C what is done is kept and the run is marked interrupted; a second one does not wait for sessions to
    be closed. If storing fails the run is marked failed, as far as the database still takes it.
    """
    workers = request.workers or _workers_for(len(request.servers))
    log.info("%d servers, %d workers, database %s", len(request.servers), workers, request.database)
    crew = _Crew(request, workers)
    try:
        from storage.store import open_store  # takes as long to import as a worker to start, so both at once

        with open_store(request.database) as store:
            run_id = store.begin_run(_info(request, workers), request.servers)
            state = RunState.FAILED
            try:
                with Interrupts(crew.stop, crew.abort) as interrupts:
                    crew.begin(_recall(store, request.servers))
                    _store_results(store, run_id, crew, len(request.servers), progress)
                state = RunState.INTERRUPTED if interrupts.received else RunState.FINISHED
                if state is RunState.FINISHED:
                    _fill_gaps(store, run_id, request.servers)
            finally:
                store.finish_run(run_id, state, _now_ms())
                store.write_measures(run_id, crew.accounts.measures())
            return RunEnd(run_id, state, interrupts.received)
    finally:
        crew.abort()


class _Crew:
    """The threads that drive the workers; results are taken from ``batches`` until ``done``."""

    def __init__(self, request: RunRequest, workers: int) -> None:
        self.batches: queue.Queue[Batch] = queue.Queue(_MOST_BATCHES_WAITING)
        self._shards = Shards(shards(request.servers, workers, request.pace.batch_size), workers)
        self._begin, self._given_up = threading.Event(), threading.Event()
        self._remembered: Mapping[str, Memory] = {}
        self.accounts = Accounts()
        options = RunnerOptions(
            limits=_limits(request, workers),
            heartbeat_timeout_s=request.heartbeat_timeout_s,
            remembered=lambda server: self._remembered.get(server.name, {}),
            report=self.accounts.take,
        )
        executor = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._futures: list[Future[None]] = []
        for number in range(workers):
            own = replace(options, limits=replace(options.limits, worker=number))
            self._futures.append(executor.submit(run_shards, self._shards, self._put, own, self._begin))
        executor.shutdown(wait=False)

    def begin(self, remembered: Mapping[str, Memory]) -> None:
        """Deal, now that there is a run to store results in."""
        self._remembered = remembered
        self._begin.set()

    @property
    def done(self) -> bool:
        """Whether every worker has ended and every batch was taken."""
        return all(future.done() for future in self._futures) and self.batches.empty()

    def raise_failure(self) -> None:
        """Raise what ended a driver, if something did."""
        for future in self._futures:
            future.result()

    def stop(self) -> None:
        """Deal no more and give up what is under way."""
        self._shards.stop()

    def abort(self) -> None:
        """Stop, and do not wait for anything."""
        self._shards.abort()
        self._given_up.set()
        self._begin.set()

    def _put(self, batch: Batch) -> None:
        while not self._given_up.is_set():
            try:
                return self.batches.put(batch, timeout=_TICK_S)
            except queue.Full:
                continue


def _store_results(store: Store, run_id: int, crew: _Crew, total: int, progress: Progress) -> None:
    """Write batches as they come; this thread is the only one that touches the database."""
    counts: dict[Status, int] = dict.fromkeys(Status, 0)
    progress(0, total, counts)
    while not crew.done:
        try:
            batch = crew.batches.get(timeout=_TICK_S)
        except queue.Empty:
            continue
        store.write(run_id, batch)
        for result in batch.checks:
            counts[result.status] += 1
        progress(sum(counts.values()), total, counts)
    crew.raise_failure()


def _fill_gaps(store: Store, run_id: int, servers: Sequence[Server]) -> None:
    """Answer for servers that have no row although the run is over: no server may be missing."""
    missing = set(store.missing(run_id, [server.name for server in servers]))
    lost = tuple(worker_lost(server, "no answer came", 1) for server in servers if server.name in missing)
    if lost:
        store.write(run_id, Batch(checks=lost))


def _recall(store: Store, servers: Sequence[Server]) -> dict[str, Memory]:
    """What earlier runs have remembered of the servers' endpoints, by server."""
    keys = {
        server.name: {kind: KINDS[kind].address(options).key for kind, options in server.probes.items()}
        for server in servers
    }
    by_key = store.recall({key for by_kind in keys.values() for key in by_kind.values()}, _now_ms())
    return {name: {kind: by_key.get(key, {}) for kind, key in by_kind.items()} for name, by_kind in keys.items()}


def _limits(request: RunRequest, workers: int) -> Limits:
    """What each of so many workers may do."""
    return Limits(
        concurrency=-(-request.concurrency // workers),
        per_origin=request.per_origin,
        processes=max(1, request.processes // workers),
        log_level=request.log_level,
        token_key=request.token_key,
        workers=workers,
        pools={kind: request.pools.get(kind, PoolLimits()) for kind in KINDS},
        caches=request.caches,
        pace=request.pace,
        lag=request.limits.lag,
    )


def _info(request: RunRequest, workers: int) -> RunInfo:
    return RunInfo(
        started_at_ms=_now_ms(),
        servers_expected=len(request.servers),
        workers=workers,
        concurrency=request.concurrency,
        config_path=request.config_path,
        environment=request.environment,
        checker_version=VERSION,
        host=socket.gethostname(),
        pid=getpid(),
    )


def _workers_for(servers: int) -> int:
    """One worker per core, but none for fewer than 50 servers: starting one takes longer than checking those."""
    return max(1, min(cpu_count() or 1, servers // _SERVERS_PER_WORKER))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
