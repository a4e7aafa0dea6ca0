"""The greenlets of a worker: tasks come in, checks run side by side, batches go out as results come."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter
from typing import Any

import gevent
import gevent.event
import gevent.pool
import gevent.queue

from checker.limits import Limits
from checker.measures import WorkerMeasures, WorkerReport
from checker.model import Batch
from checker.probes.base import Background
from checker.worker.checks import Checker, Task
from checker.worker.lag import LagMeter

_FLUSH_CHECKS = 100
_FLUSH_S = 0.25


class _Later:
    """Work in a greenlet of its own; what it raises is raised to who waits, not printed."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self.greenlet = gevent.spawn(self._run)

    def _run(self) -> tuple[Any, Exception | None]:
        try:
            return self._work(), None
        except Exception as error:
            return None, error

    def wait(self) -> Any:
        """What the work returned; raises what it raised."""
        value, error = self.greenlet.get()
        if error is not None:
            raise error
        return value


class _Grace:
    """Implements `checker.worker.transport.client.Grace`: remembers what is still under way."""

    def __init__(self) -> None:
        self._under_way = gevent.pool.Group()

    def spawn(self, work: Callable[[], Any]) -> Background:
        later = _Later(work)
        self._under_way.add(later.greenlet)  # type: ignore[arg-type] # any greenlet will do
        return later

    def let_go(self, seconds: float) -> None:
        """Wait that long for what is under way, then end it."""
        self._under_way.join(timeout=seconds)
        self._under_way.kill(block=True, timeout=0.2)


class Loop:
    """Runs tasks as they come, at most ``limits.concurrency`` at once."""

    def __init__(self, emit: Callable[[Batch], None]) -> None:
        self._emit = emit
        self._grace = _Grace()
        self._tasks: gevent.queue.Queue[Task] = gevent.queue.Queue()
        self._finished: list[Batch] = []
        self._full = gevent.event.Event()
        self._flusher = gevent.spawn(self._flush_regularly)
        self._dealer: gevent.Greenlet[..., None] | None = None
        self._checker: Checker | None = None
        self._running = gevent.pool.Pool()
        self._lag: LagMeter | None = None
        self._worker, self._checks, self._suspect, self._most_at_once = 0, 0, 0, 0

    def start(self, limits: Limits) -> None:
        """Begin to run tasks."""
        self._checker = checker = Checker(limits, self._grace)
        self._worker = limits.worker
        self._lag = LagMeter(limits.lag)
        self._running = gevent.pool.Pool(limits.concurrency)
        self._dealer = gevent.spawn(self._deal, checker, self._lag)

    def add(self, tasks: Iterable[Task]) -> None:
        """Put tasks behind those that wait."""
        for task in tasks:
            self._tasks.put(task)

    def stop(self, cancel: bool) -> None:
        """Take no more tasks and hand over all results; with ``cancel`` give up the checks that are under way.

        Without it nothing is: the parent says stop when every task is answered.
        """
        if self._dealer is not None:
            self._dealer.kill()
        if cancel:
            self._running.kill(timeout=1.0)
        self._running.join()
        self._flusher.kill()
        self._flush()

    def let_go(self, seconds: float) -> None:
        """Wait at most that long for sessions that are still being opened or closed."""
        self._grace.let_go(seconds)

    def kill_programs(self) -> None:
        """Kill what stdio servers were started, and what they have started."""
        if self._checker is not None:
            self._checker.processes.kill_all()

    @property
    def started(self) -> bool:
        """Whether there is anything to report."""
        return self._checker is not None

    def report(self) -> WorkerReport:
        """What was done until now, and what it took."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        worker = WorkerMeasures(
            worker=self._worker,
            pid=os.getpid(),
            checks=self._checks,
            suspect_checks=self._suspect,
            cpu_ms=round((usage.ru_utime + usage.ru_stime) * 1000),
            peak_memory_bytes=usage.ru_maxrss * 1024,
            lag_p99_us=0 if self._lag is None else self._lag.p99_us(),
            longest_lag_us=0 if self._lag is None else round(self._lag.longest_s * 1e6),
            most_at_once=self._most_at_once,
            concurrency_at_end=self._running.size or 0,
        )
        if self._checker is None:
            return WorkerReport(worker=worker)
        return WorkerReport(worker=worker, pools=self._checker.pool_measures(), caches=self._checker.cache_measures())

    def _deal(self, checker: Checker, lag: LagMeter) -> None:
        while True:
            task = self._tasks.get()
            self._running.spawn(self._check, checker, task, lag)
            self._most_at_once = max(self._most_at_once, len(self._running))

    def _check(self, checker: Checker, task: Task, lag: LagMeter) -> None:
        began = perf_counter()
        finished = checker.check(task)
        self._checks += 1
        if lag.saturated_since(began):
            self._suspect += 1
            finished = replace(finished, checks=tuple(replace(one, suspect=True) for one in finished.checks))
        self._finished.append(finished)  # looked up now: a flush meanwhile put a new list in its place
        nothing_else = len(self._running) == 1 and not self._tasks.qsize()
        if len(self._finished) >= _FLUSH_CHECKS or nothing_else:
            self._full.set()

    def _flush_regularly(self) -> None:
        try:
            while True:
                self._full.wait(_FLUSH_S)
                self._full.clear()
                self._flush()
        except OSError:  # the parent is gone, which the end of standard input tells as well
            return

    def _flush(self) -> None:
        if not self._finished:
            return
        finished, self._finished = self._finished, []
        self._emit(
            Batch(
                checks=tuple(check for batch in finished for check in batch.checks),
                cache_entries=tuple(entry for batch in finished for entry in batch.cache_entries),
                contracts=tuple(contract for batch in finished for contract in batch.contracts),
            )
        )
