"""The greenlets of a worker: tasks come in, checks run side by side, batches of results go out."""

from __future__ import annotations

import logging
import mmap
import os
import resource
from collections import deque
from collections.abc import Callable, Iterable, MutableSequence
from time import perf_counter, time
from typing import Any

import gevent
import gevent.event
import gevent.pool
from msgspec.structs import replace

from checker.limits import Limits
from checker.messages import Task
from checker.metrics import WorkerMeasures, WorkerReport
from checker.missing_results import bare, unanswered
from checker.model import Batch, CacheEntry, Doubt, Reason
from checker.probes.base import Background
from checker.probes.offload import do_elsewhere
from checker.processes.started_tasks import MOST
from checker.result_rows import FULL_BATCH, RowBatch, UsualResult, rows_of
from checker.secrets.excerpts import excerpt
from checker.worker.adaptive_concurrency import Concurrency, LagMeter
from checker.worker.background import Later
from checker.worker.checks import Finished, ServerChecker
from checker.worker.cpu_offload import Judges
from checker.worker.cpu_offload_process import peak_memory_bytes
from checker.worker.greenlets import TURN_S, Waiter, breathe
from checker.worker.origin_limits import Due

log = logging.getLogger(__name__)

_LOOK_S = 0.05
_STRAINED = {
    Reason.CONNECT_TIMEOUT,
    Reason.CONNECT_FAILED,
    Reason.CONNECTION_CLOSED,
    Reason.FIRST_BYTE_TIMEOUT,
    Reason.RATE_LIMITED,
    Reason.INTERNAL_ERROR,
}
"""Reasons caused by too much concurrency, here or at the server."""


class _GreenletGrace:
    """Implements `checker.worker.transport.client.Grace`: keeps track of work still in progress."""

    def __init__(self) -> None:
        self._under_way = gevent.pool.Group()

    def spawn(self, work: Callable[[], Any]) -> Background:
        later = Later(work)
        self._under_way.add(later.greenlet)  # type: ignore[arg-type] # any greenlet will do
        return later

    def let_go(self, seconds: float) -> None:
        """Wait that long for work in progress, then end it."""
        self._under_way.join(timeout=seconds)
        self._under_way.kill(block=True, timeout=0.2)


class Loop:
    """Runs tasks as they arrive, as many at once as the worker keeps up with and ``limits.concurrency`` allows.

    A greenlet takes one task after another, and waits for more when there are none, because starting a greenlet costs
    as much as a short exchange.
    """

    def __init__(self, emit: Callable[[Batch], None]) -> None:
        self._emit = emit
        self._grace, self._judges = _GreenletGrace(), Judges()
        self._tasks: deque[Task] = deque()
        self._due = Due(self._run_more)
        """These begin before all others."""
        self._begun: MutableSequence[int] | mmap.mmap = bytearray(MOST)
        self._finished: list[Finished] = []
        self._full = gevent.event.Event()
        self._background: list[gevent.Greenlet[..., None]] = []
        self._checker: ServerChecker | None = None
        self._running = gevent.pool.Group()
        self._parked: list[Waiter] = []
        """Greenlets that wait for tasks."""
        self._at_work = 0
        self._open, self._stopping = True, False
        self._lag: LagMeter | None = None
        self._concurrency = Concurrency(1, adaptive=False)
        self._durations_ms: list[float] = []
        self._starting = self._strained = self._worker = self._checks = self._suspect = self._most_at_once = 0

    def start(self, limits: Limits, begun: mmap.mmap) -> None:
        """Begin to run tasks, and record in ``begun`` which were begun."""
        self._begun = begun
        self._checker = ServerChecker(limits, self._grace, self._due)
        do_elsewhere(self._judges.run, breathe)
        self._worker = limits.worker
        self._lag = LagMeter(limits.limits.lag)
        self._concurrency = Concurrency(limits.concurrency, limits.pace.adaptive)
        self._background = [gevent.spawn(self._look), gevent.spawn(self._flush_regularly, limits.pace.batch_timeout)]
        self._run_more()

    def add(self, tasks: Iterable[Task]) -> None:
        """Queue tasks behind the waiting ones."""
        if self._lag is not None and not self._at_work:
            self._lag.start_over()  # nobody was held up by their being read
        self._tasks.extend(tasks)
        self._run_more()

    def gate(self, open_: bool) -> None:
        """Stop starting checks, or start them again."""
        self._open = open_
        self._run_more()

    def drop(self, detail: str) -> None:
        """Give up tasks that have not begun, with the reason that there was no room for them."""
        for task in (*self._take_held(), *self._tasks):
            given_up = unanswered(task.server, Reason.RESOURCE_LIMIT, detail, task.tries)
            self._finished.append(Finished(given_up, ()))
        self._tasks.clear()
        self._full.set()

    def stop(self, cancel: bool, within_s: float = 0) -> None:
        """Take no more tasks and hand over all results; with ``cancel`` give up the checks in progress.

        They get ``within_s`` to end. Without ``cancel`` nothing is in progress: the parent sends stop when every task
        is answered.
        """
        self._stopping = True
        if cancel:
            self._take_held()
            self._tasks.clear()
            if within_s:
                self._dismiss()
                self._running.join(timeout=within_s)
            self._running.kill(timeout=1.0)
        self._dismiss()
        self._running.join()
        for greenlet in self._background:
            greenlet.kill()
        self._flush()

    def let_go(self, seconds: float) -> None:
        """Wait at most that long for sessions that are still being opened or closed."""
        self._grace.let_go(seconds)

    def kill_programs(self) -> None:
        """Kill the programs of stdio servers and their descendants, and the processes for large work."""
        self._judges.end()
        if self._checker is not None:
            self._checker.processes.kill_all()

    @property
    def started(self) -> bool:
        """True if there is anything to report."""
        return self._checker is not None

    def report(self) -> WorkerReport:
        """Totals so far, and the resources used."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        worker = WorkerMeasures(
            worker=self._worker,
            pid=os.getpid(),
            checks=self._checks,
            suspect_checks=self._suspect,
            cpu_ms=round((usage.ru_utime + usage.ru_stime) * 1000),
            peak_memory_bytes=peak_memory_bytes(),
            lag_p99_us=0 if self._lag is None else self._lag.p99_us(),
            longest_lag_us=0 if self._lag is None else round(self._lag.longest_s * 1e6),
            most_at_once=self._most_at_once,
            concurrency_at_end=self._concurrency.allowed,
            ports_at_busiest_origin=0 if self._checker is None else self._checker.ports_at_busiest_origin(),
        )
        if self._checker is None:
            return WorkerReport(worker=worker)
        return WorkerReport(worker=worker, pools=self._checker.pool_measures(), caches=self._checker.cache_measures())

    def _take_held(self) -> list[Task]:
        """Remove the tasks that were held at their origins."""
        due = [task for task, _ in self._due.tasks]
        self._due.tasks.clear()
        return due if self._checker is None else due + self._checker.take_held()

    @property
    def _has_room(self) -> bool:
        return self._open and not self._stopping and self._at_work < self._concurrency.allowed

    def _run_more(self) -> None:
        """Start as many greenlets as there are tasks and free places."""
        if self._checker is None or self._lag is None:
            return
        while self._has_room and len(self._tasks) + len(self._due.tasks) > self._starting:
            self._starting += 1
            self._at_work += 1
            if self._parked:
                waiter = self._parked.pop()
                waiter.has_come = True
                gevent.get_hub().loop.run_callback(waiter.go_on)
            else:
                self._running.spawn(self._work, self._checker, self._lag)
        self._most_at_once = max(self._most_at_once, self._at_work)

    def _work(self, checker: ServerChecker, lag: LagMeter) -> None:
        """Run tasks until the loop is stopped."""
        self._run_tasks(checker, lag)
        while self._more_came():
            self._run_tasks(checker, lag)

    def _more_came(self) -> bool:
        """Wait for tasks; False if there will be none."""
        if self._stopping:
            return False
        waiter, hub = Waiter(), gevent.get_hub()
        self._parked.append(waiter)
        try:
            hub.switch()
        except BaseException:  # a cancelled run
            if waiter.has_come:
                self._starting -= 1
                self._at_work -= 1
            elif waiter in self._parked:
                self._parked.remove(waiter)
            raise
        finally:
            waiter.greenlet = None
        return waiter.has_come

    def _dismiss(self) -> None:
        """End the greenlets that wait for tasks."""
        parked, self._parked = self._parked, []
        for waiter in parked:
            gevent.get_hub().loop.run_callback(waiter.go_on)

    def _run_tasks(self, checker: ServerChecker, lag: LagMeter) -> None:
        """Run one task after another while there are tasks and free places."""
        tasks, due, concurrency, now = self._tasks, self._due.tasks, self._concurrency, gevent.get_hub().loop.now
        self._starting -= 1
        try:
            while (tasks or due) and self._open and self._at_work <= concurrency.allowed:
                if not 0 <= time() - now() < TURN_S:  # the usual answer of breathe, without a call
                    breathe()  # a hundred that begin in one turn would hold up the others for tenths of a second
                    if not tasks and not due:
                        break
                began = perf_counter()
                task, held_since = due.popleft() if due else (tasks.popleft(), 0.0)
                self._begun[task.number] = 1  # before anything else: this check may be what ends the worker
                finished = _checked(checker, task, held_since)
                if finished is None:  # held until there is a place at its origin
                    self._begun[task.number] = 0
                    continue
                self._checks += 1
                if (reason := finished.check.reason) is None:
                    self._durations_ms.append(finished.check.duration_us / 1000)
                elif reason in _STRAINED:
                    self._strained += 1
                if lag.saturated_since(began) or (
                    finished.outcomes and any(outcome.is_suspect for outcome in finished.outcomes)
                ):
                    self._suspect += 1
                    finished = finished._replace(check=replace(finished.check, suspect=True))
                self._finished.append(finished)  # looked up now: a flush meanwhile put a new list in its place
                nothing_else = self._at_work == 1 and not tasks and not due
                if len(self._finished) >= FULL_BATCH or nothing_else:
                    self._full.set()
        finally:
            self._at_work -= 1

    def _look(self) -> None:
        """Adjust the number of concurrent checks."""
        while True:
            gevent.sleep(_LOOK_S)
            lag_s = 0.0 if self._lag is None else self._lag.recent_s
            all_in_use = bool(self._tasks or self._due.tasks) and self._at_work >= self._concurrency.allowed
            self._concurrency.look(lag_s, all_in_use, self._durations_ms, self._strained)
            self._durations_ms, self._strained = [], 0
            self._due.look()
            self._run_more()

    def _flush_regularly(self, every_s: float) -> None:
        try:
            while True:
                self._full.wait(every_s)
                self._full.clear()
                self._flush()
        except OSError:  # the parent is gone, which the end of standard input tells as well
            return

    def _fresh_entries(self) -> list[CacheEntry]:
        return [] if self._checker is None else self._checker.dns.take_fresh()

    def _reached(self) -> tuple[int, ...]:
        return () if self._checker is None else self._checker.surroundings.take_reached()

    def _flush(self) -> None:
        if not self._finished:
            return
        finished, self._finished = self._finished, []
        self._hand_over(finished, tuple(self._fresh_entries()))

    def _hand_over(self, finished: list[Finished], fresh: tuple[CacheEntry, ...] = ()) -> None:
        """Emit results; a result that cannot be sent to the parent takes no other down with it."""
        try:
            self._emit(_batch(finished, fresh, self._reached()))
        except (ValueError, TypeError, OverflowError) as error:  # too large, or what no frame can carry
            if len(finished) > 1:
                middle = len(finished) // 2
                self._hand_over(finished[:middle], fresh)
                self._hand_over(finished[middle:])
                return
            (one,) = finished
            log.exception("result of %s", one.check.server)
            record = one.check.record if isinstance(one.check, UsualResult) else one.check
            self._emit(_batch([Finished(bare(record, error), ())], (), ()))


def _batch(finished: list[Finished], fresh: tuple[CacheEntry, ...], reached_s: tuple[int, ...]) -> Batch:
    telling = [
        (one.check.server, outcome)
        for one in finished
        for outcome in one.outcomes
        if outcome.cache_entries or outcome.contracts or outcome.own_fault is not None
    ]
    contracts = {contract.digest: contract for _, outcome in telling for contract in outcome.contracts}
    return RowBatch(
        checks=rows_of([one.check for one in finished]),
        cache_entries=(*fresh, *(entry for _, outcome in telling for entry in outcome.cache_entries)),
        contracts=tuple(contracts.values()),  # servers of one kind have the same
        doubts=tuple(
            Doubt(server=server, kind=outcome.result.kind, own_fault=outcome.own_fault.value)
            for server, outcome in telling
            if outcome.own_fault is not None
        ),
        reached_s=reached_s,
    )


def _checked(checker: ServerChecker, task: Task, held_since: float) -> Finished | None:
    """The result of the check, None if the task is held; a bug of ours must lose neither the row nor the greenlet."""
    try:
        return checker.check_or_hold(task, held_since)
    except Exception as error:
        log.exception("check of %s", task.server.name)
        detail = f"{type(error).__name__}: {excerpt(str(error))}"
        return Finished(unanswered(task.server, Reason.INTERNAL_ERROR, detail, task.tries), ())
