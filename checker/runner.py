"""Drives one worker from a thread of the parent: deals it shards, passes on its batches, replaces it when it is lost.

A server is answered once. When a worker is lost, its unanswered servers go to a new one; a server that loses its
second worker is answered here, with UNKNOWN.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from checker.child import Child, ChildLost
from checker.dealing import Shards
from checker.errors import WorkerStartError
from checker.limits import Limits
from checker.measures import WorkerReport
from checker.model import Batch, CheckResult, Reason, Server
from checker.plain import from_plain, to_plain
from checker.unanswered import unanswered

Sink = Callable[[Batch], None]
Memory = Mapping[str, Mapping[str, str]]
"""Probe kind -> cache category -> what is remembered of the server's endpoint."""

log = logging.getLogger(__name__)

_MOST_TRIES = 2
_TICK_S = 0.1
_STOP_S = 3.0
_END_S = 8.0
_STARTS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """What every worker of a run is told."""

    limits: Limits
    heartbeat_timeout_s: float = 15.0
    remembered: Callable[[Server], Memory] = field(default=lambda _server: {})
    skipped: Callable[[Server], Mapping[str, str]] = field(default=lambda _server: {})
    """Gives the probe kinds that are not to be made, with why."""
    report: Callable[[WorkerReport], None] = field(default=lambda _report: None)
    """Takes what a worker says of itself: about once a second, and when it ends."""


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


class _Dealt(NamedTuple):
    server: Server
    tries: int
    share: int


class _Runner:
    def __init__(self, shards: Shards, sink: Sink, options: RunnerOptions) -> None:
        self._shards, self._sink, self._options = shards, sink, options
        self._child: Child | None = None
        self._unanswered: dict[str, _Dealt] = {}
        self._said_stop = self._said_given_up = False
        self._said_open = True

    def warm_up(self) -> None:
        """Start the worker before there is anything for it to do; a failure is told by `run`."""
        with suppress(WorkerStartError):
            self._start()

    def run(self) -> None:
        """Deal and listen until everything taken is answered."""
        failures = 0
        while (self._refill() or self._unanswered or self._shards.held_back) and not self._shards.aborted:
            try:
                child = self._child or self._start()
                failures = 0
                self._listen(child)
            except WorkerStartError:
                failures += 1
                if failures == _STARTS_IN_A_ROW:
                    self._lose("no worker could be started", give_up=True)
                    raise
            except ChildLost as lost:
                self._discard()
                if self._said_stop:
                    return
                self._lose(str(lost), give_up=False)

    def end(self) -> None:
        """Let the worker finish what it has open, then see it gone."""
        if self._child is None:
            return
        if not self._said_stop:
            self._say_stop(self._child, cancel=bool(self._unanswered))
        until = time.monotonic() + _END_S
        try:
            while time.monotonic() < until and not self._shards.aborted:
                for message in self._child.receive(_TICK_S, _END_S):
                    if message["op"] == "report":
                        self._options.report(from_plain(WorkerReport, message["report"]))
                    elif message["op"] == "bye":
                        return self._discard(within_s=1.0)
        except ChildLost:
            pass
        self._discard(within_s=0 if self._shards.aborted else 1.0)

    def _refill(self) -> bool:
        """Take shards while the worker could soon begin their servers; whether any was taken."""
        taken = False
        most = 2 * self._options.limits.concurrency  # the worker never runs dry while its results are on their way
        number = self._options.limits.worker
        while (held := len(self._unanswered)) < most and (shard := self._shards.take(held, number)):
            fresh = {server.name: _Dealt(server, 1, shard.share) for server in shard.servers}
            self._unanswered |= fresh
            taken = True
            if self._child is not None:
                self._deal(self._child, fresh)
        return taken

    def _start(self) -> Child:
        child = Child()
        try:
            child.greet()
        except WorkerStartError:
            child.end(within_s=0)
            raise
        child.send({"op": "limits", "limits": to_plain(self._options.limits)})
        self._said_open, self._said_given_up = True, False
        log.info("worker %d started", child.pid)
        self._child = child
        self._deal(child, self._unanswered)
        return child

    def _deal(self, child: Child, tasks: Mapping[str, _Dealt]) -> None:
        remembered, skipped = self._options.remembered, self._options.skipped
        plain = [
            [to_plain(server), remembered(server), skipped(server), tries, share]
            for server, tries, share in tasks.values()
        ]
        if plain:
            log.debug("worker %d: %d servers dealt", child.pid, len(plain))
            child.send({"op": "run", "servers": plain})

    def _listen(self, child: Child) -> None:
        """Pass on what the worker has; say stop to it once dealing has stopped."""
        if self._shards.stopped and not self._said_stop:
            self._say_stop(child, cancel=True)
        self._say_whether_to_wait(child)
        for message in child.receive(_TICK_S, _STOP_S if self._said_stop else self._options.heartbeat_timeout_s):
            if message["op"] == "batch":
                self._pass_on(message["batch"])
            elif message["op"] == "report":
                self._options.report(from_plain(WorkerReport, message["report"]))
            elif message["op"] == "bye":
                self._discard(within_s=1.0)
                self._unanswered.clear()

    def _pass_on(self, plain: Any) -> None:
        batch = from_plain(Batch, plain)
        self._sink(batch)
        for check in batch.checks:
            self._unanswered.pop(check.server, None)

    def _say_whether_to_wait(self, child: Child) -> None:
        """Tell the worker of the gate, and of what it is to give up, once each."""
        if (open_ := self._shards.gate_open) != self._said_open:
            child.send({"op": "gate", "open": open_})
            self._said_open = open_
        if self._shards.given_up is not None and not self._said_given_up:
            child.send({"op": "drop", "detail": self._shards.given_up})
            self._said_given_up = True

    def _say_stop(self, child: Child, cancel: bool) -> None:
        child.send({"op": "stop", "cancel": cancel})
        self._said_stop = True

    def _lose(self, why: str, give_up: bool) -> None:
        """Raise the count of every unanswered server; answer those that had their last try."""
        tried = {name: dealt._replace(tries=dealt.tries + 1) for name, dealt in self._unanswered.items()}
        lost = [dealt.server for dealt in tried.values() if give_up or dealt.tries > _MOST_TRIES]
        if lost:
            self._sink(Batch(checks=tuple(worker_lost(server, why, _MOST_TRIES) for server in lost)))
        log.warning("worker lost (%s): %d servers again, %d given up", why, len(tried) - len(lost), len(lost))
        gone = {server.name for server in lost}
        self._unanswered = {name: kept for name, kept in tried.items() if name not in gone}

    def _discard(self, within_s: float = 0) -> None:
        if self._child is not None:
            self._child.end(within_s)
            log.info("worker %d ended", self._child.pid)
            self._child = None


def worker_lost(server: Server, why: str, tries: int) -> CheckResult:
    """The result of a server whose workers were lost."""
    return unanswered(server, Reason.WORKER_LOST, f"the worker checking it was lost ({why})", tries)
