"""Servers that were under way in a lost worker, tried again apart from all others until it is known who ends workers.

A group of suspects has a worker to itself. Whoever is answered there is cleared. When that worker is lost too, the
group is split, so that one server among n costs about log n workers; groups run side by side. A worker that was not
lost takes the next group, because starting one costs more than what is tried in it. A server that was alone in two
workers which were lost, the second of them new, is what ended them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from checker.child import ChildLost
from checker.dealing import Shards
from checker.driver import Dealt, Driver, RunnerOptions, Sink
from checker.errors import WorkerStartError
from checker.limits import Limits
from checker.model import Batch
from checker.unanswered import at_fault, worker_lost

log = logging.getLogger(__name__)

_PARTS = 4
"""Into how many a group is split, and how many groups have a worker at the same time."""
_ALONE_TWICE = 2
_SILENCE_S = 5.0
"""A group's worker is lost after so long a silence: where that was a mistake, the group is only split for nothing."""
_TICK_S = 0.1


class Quarantine:
    """The groups of suspects of one runner, each driven by a thread of its own."""

    def __init__(self, shards: Shards, sink: Sink, options: RunnerOptions) -> None:
        self._shards, self._sink = shards, sink
        self.needs_all = _cannot_be_shared(options.limits)
        """Whether a limit is so low that nothing may go on beside: then the groups have their turns one by one."""
        self._at_once = 1 if self.needs_all else _PARTS
        self._options = options if self.needs_all else replace(options, limits=_part_of(options.limits))
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[Driver] = []
        self._open, self._change = 0, threading.Condition()

    def take(self, suspects: Sequence[Dealt]) -> None:
        """Try these apart, in as many groups as may run side by side."""
        tried_again = [dealt._replace(tries=dealt.tries + 1) for dealt in suspects]
        for group in _split(tried_again):
            self._try(group)

    def wait(self) -> None:
        """Return when every suspect is answered, or dealing has stopped; nothing can be tried after it."""
        self.settle()
        if self._threads is not None:
            self._threads.shutdown()

    def settle(self) -> None:
        """Return when every suspect is answered, or dealing has stopped."""
        with self._change:
            while self._open:
                self._change.wait(_TICK_S)

    def _try(self, group: Sequence[Dealt], lost_alone: int = 0) -> None:
        with self._change:
            self._open += 1
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="quarantine")
        self._threads.submit(self._run, group, lost_alone)

    def _run(self, group: Sequence[Dealt], lost_alone: int) -> None:
        try:
            self._drive(group, lost_alone)
        except Exception:  # whoever has no row at the end of the run gets one there
            log.exception("quarantine of %d servers", len(group))
        finally:
            with self._change:
                self._open -= 1
                idle: list[Driver] = []
                if not self._open:
                    idle, self._idle = self._idle, idle
                self._change.notify_all()
            for driver in idle:
                driver.end()

    def _drive(self, group: Sequence[Dealt], lost_alone: int) -> None:
        if self._shards.stopped:
            return
        alone = len(group) == 1
        driver = self._worker_for(fresh=lost_alone > 0)
        patience_s = self._options.heartbeat_timeout_s
        driver.patience_s = patience_s if alone else min(_SILENCE_S, patience_s)
        kept = False
        driver.deal(group)
        try:
            driver.start()
            while driver.unanswered and not self._shards.aborted:
                driver.listen()
            kept = not (self._shards.stopped or driver.draining)
        except WorkerStartError as error:
            lost = tuple(
                worker_lost(dealt.server, f"no other could be started: {error}", dealt.tries) for dealt in group
            )
            self._sink(Batch(checks=lost))
        except ChildLost as how:
            stopping, progress = driver.said_stop, driver.answered > 0
            why, suspects, waiting = driver.lost(how)
            if stopping or not (suspects or waiting):  # all of them are answered
                return
            driver.tell(
                "worker", "lost", f"a worker in quarantine was lost with {len(group)} servers: {why}", len(group)
            )
            if alone:
                self._again_or_answered(group[0], lost_alone + 1, why, begun=bool(suspects))
            elif suspects or progress:
                self._narrow(suspects, waiting)
            else:  # lost before anything was begun: in smaller groups, so that this comes to an end
                self._narrow(waiting, [])
        finally:
            if kept:
                with self._change:
                    self._idle.append(driver)
            else:
                driver.end()

    def _worker_for(self, fresh: bool) -> Driver:
        """One that has nobody, and where it is to be ``fresh`` never had: what was there before may end it only now."""
        with self._change:
            if self._idle and not fresh:
                return self._idle.pop()
        return Driver(self._shards, self._sink, self._options)

    def _narrow(self, suspects: Sequence[Dealt], waiting: Sequence[Dealt]) -> None:
        """What had not begun this time is still not cleared, but one step less suspect."""
        again = [dealt._replace(tries=dealt.tries + 1) for dealt in suspects]
        for group in (*_split(again), waiting):
            if group:
                self._try(group)

    def _again_or_answered(self, dealt: Dealt, lost_alone: int, why: str, begun: bool) -> None:
        """Once more alone; the second time it is answered, as the culprit only if its check had begun."""
        if lost_alone < _ALONE_TWICE:
            self._try([dealt._replace(tries=dealt.tries + 1)], lost_alone)
        elif begun:
            detail = f"checking this server alone ended the worker twice: {why}"
            self._sink(Batch(checks=(at_fault(dealt.server, detail, dealt.tries),)))
        else:
            self._sink(Batch(checks=(worker_lost(dealt.server, why, dealt.tries),)))


def _split(suspects: Sequence[Dealt]) -> list[Sequence[Dealt]]:
    size = -(-len(suspects) // _PARTS) or 1
    return [suspects[start : start + size] for start in range(0, len(suspects), size)]


def _cannot_be_shared(limits: Limits) -> bool:
    """Whether a limit of this worker is too low for each group beside it to have a part of it."""
    whole = [limits.attempts_at_origin(kind) for kind in limits.pools] or [limits.per_origin]
    most = [pool.max_connections for pool in limits.pools.values() if pool.when_full == "wait"]
    most += [] if limits.max_connections is None else [limits.max_connections]
    return min(limits.concurrency, *whole, *(limit // limits.workers for limit in most)) < _PARTS


def _part_of(limits: Limits) -> Limits:
    """What each of the groups may do, so that all of them together keep to what one worker may."""
    pools = {
        kind: replace(
            pool,
            max_connections=max(1, pool.max_connections // _PARTS),
            per_origin=max(1, limits.attempts_at_origin(kind) // _PARTS),
        )
        for kind, pool in limits.pools.items()
    }
    total = limits.max_connections
    return replace(
        limits,
        concurrency=max(1, limits.concurrency // _PARTS),
        per_origin=max(1, limits.per_origin // _PARTS),
        processes=max(1, limits.processes // _PARTS),
        max_connections=None if total is None else max(1, total // _PARTS),
        pools=pools,
    )
