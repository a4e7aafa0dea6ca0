"""Drives one worker from a thread of the parent: deals it shards, passes on its batches, replaces it when it is lost.

A server is answered once. When a worker is lost, those servers that only waited in it go on in a new one; those that
were under way may have been the cause, and are tried again apart (`checker.quarantine`).
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from checker.child import ChildLost
from checker.dealing import Shards
from checker.driver import Dealt, Driver, Memory, RunnerOptions, Sink
from checker.errors import WorkerStartError
from checker.model import Batch
from checker.quarantine import Quarantine
from checker.unanswered import worker_lost

__all__ = ["Memory", "RunnerOptions", "Shards", "Sink", "run_shards", "worker_lost"]

log = logging.getLogger(__name__)

_STARTS_IN_A_ROW = 3
_LOST_FOR_NOTHING = 3
"""Workers lost in a row that had begun and answered nothing: what ends them is no server."""


def run_shards(shards: Shards, sink: Sink, options: RunnerOptions, begin: threading.Event | None = None) -> None:
    """Check servers until there are no more shards; returns when this worker's process has ended.

    The worker is started at once; nothing is dealt before ``begin``, if there is one, is set. Raises
    WorkerStartError where no worker can be started.
    """
    runner = _Runner(shards, sink, options)
    try:
        if begin is not None:
            runner.warm_up()
            begin.wait()
        runner.run()
    finally:
        shards.leave(options.limits.worker)
        runner.end()


class _Runner:
    def __init__(self, shards: Shards, sink: Sink, options: RunnerOptions) -> None:
        self._shards, self._sink, self._options = shards, sink, options
        self._driver = Driver(shards, sink, options)
        self._quarantine = Quarantine(shards, sink, options)
        self._for_nothing = 0

    def warm_up(self) -> None:
        """Start the worker before there is anything for it to do; a failure is told by `run`."""
        with suppress(WorkerStartError):
            self._driver.start()

    def run(self) -> None:
        """Deal and listen until everything taken is answered or in quarantine."""
        driver, failures = self._driver, 0
        while (
            self._refill() or driver.unanswered or driver.draining or self._shards.held_back
        ) and not self._shards.aborted:
            try:
                driver.start()
                failures = 0
                driver.listen()
            except WorkerStartError as error:
                failures += 1
                if failures == _STARTS_IN_A_ROW:
                    self._give_up(list(driver.unanswered.values()), f"no other could be started: {error}")
                    raise
            except ChildLost as how:
                stopping, drained, progress = driver.said_stop, driver.draining, driver.answered > 0
                why, suspects, waiting = driver.lost(how)
                if stopping:
                    return
                if suspects or not drained:
                    what = f"{len(suspects)} servers under way, {len(waiting)} waiting"
                    driver.tell("worker", "lost", f"a worker was lost with {what}: {why}", len(suspects))
                self._go_on(why, suspects, waiting, progress or bool(suspects))

    def end(self) -> None:
        """Let the worker finish what it has open and see it gone, and with it those in quarantine."""
        self._driver.end()
        self._quarantine.wait()

    def _refill(self) -> bool:
        """Take shards while the worker could soon begin their servers; whether any was taken."""
        taken = False
        most = 2 * self._options.limits.concurrency  # the worker never runs dry while its results are on their way
        number, driver = self._options.limits.worker, self._driver
        while (
            not driver.draining
            and (held := len(driver.unanswered)) < most
            and (shard := self._shards.take(held, number))
        ):
            driver.deal(Dealt(server, shard.share) for server in shard.servers)
            taken = True
        return taken

    def _go_on(self, why: str, suspects: list[Dealt], waiting: list[Dealt], made_progress: bool) -> None:
        """Suspects apart from here on, the others in a new worker as if nothing had happened."""
        self._for_nothing = 0 if made_progress else self._for_nothing + 1
        if self._for_nothing == _LOST_FOR_NOTHING:
            self._for_nothing = 0
            return self._give_up(waiting, why)
        self._driver.deal(waiting)
        if suspects:
            self._quarantine.take(suspects)
            if self._quarantine.needs_all:
                self._quarantine.settle()

    def _give_up(self, tasks: list[Dealt], why: str) -> None:
        self._driver.unanswered = {}
        if tasks:
            self._sink(Batch(checks=tuple(worker_lost(dealt.server, why, dealt.tries) for dealt in tasks)))
