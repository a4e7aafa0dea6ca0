"""One worker as the thread that drives it sees it: dealt tasks, listened to, and asked about when it is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from checker.begun import BegunTasks
from checker.child import Child, ChildLost
from checker.clock import now_ms
from checker.dealing import Shards
from checker.errors import WorkerStartError
from checker.limits import Limits
from checker.measures import ResourceAlert, WorkerReport
from checker.messages import Bye, Drop, FromWorker, Gate, Run, Start, Stop, Task
from checker.model import Batch, Server
from checker.wire import reader

Sink = Callable[[Batch], None]
Memory = Mapping[str, Mapping[str, str]]
"""Probe kind -> cache category -> what is remembered of the server's endpoint."""

log = logging.getLogger(__name__)

TICK_S = 0.1
_STOP_S = 3.0
_END_S = 8.0
_ENDING_S = 1.0
"""How long a worker that closed its pipe may take to be gone, so that it is known how it ended."""
_BEATS_S = 2.0
"""A worker says something once a second; after this silence it is looked at what it does with its time."""
_WEDGED_CPU_S = 3.0
"""CPU time since its last report: a loop that turns says something long before."""
_LOOK_S = 0.25
_DRAIN_S = 3.0
_HARD = 2
"""A worker is killed at so many times the memory at which it is replaced."""
_MIB = 1024 * 1024


class RunnerOptions(Struct, frozen=True, kw_only=True):
    """What every worker of a run is told."""

    limits: Limits
    heartbeat_timeout_s: float = 15.0
    worker_memory_bytes: int | None = None
    """Resident memory from which on a worker is replaced."""
    remembered: Callable[[Server], Memory] = field(default=lambda _server: {})
    skipped: Callable[[Server], Mapping[str, str]] = field(default=lambda _server: {})
    """Gives the probe kinds that are not to be made, with why."""
    report: Callable[[WorkerReport], None] = field(default=lambda _report: None)
    """Takes what a worker says of itself: about once a second, and when it ends."""
    alert: Callable[[ResourceAlert], None] = field(default=lambda _alert: None)
    """Takes what is to be told of workers that were lost or replaced; called from any thread."""


class Dealt(NamedTuple):
    """A server that was given to a worker."""

    server: Server
    share: int
    tries: int = 1
    number: int = 0
    """Under which its worker tells that it has begun."""


class Driver:
    """One worker at a time, and what it has not answered; used by one thread.

    Whatever says so raises ChildLost when the worker is lost: then `lost` tells who may have been the cause.
    """

    def __init__(self, shards: Shards, sink: Sink, options: RunnerOptions) -> None:
        self._shards, self._sink, self._options = shards, sink, options
        self._child: Child[FromWorker] | None = None
        self._begun: BegunTasks | None = None
        self._said_open, self._said_given_up = True, False
        self._draining = ""
        self._looked_at = 0.0
        self._cpu_heard_s = 0.0
        self.patience_s = options.heartbeat_timeout_s
        """After how long a silence the worker counts as lost."""
        self.unanswered: dict[str, Dealt] = {}
        self.answered = 0
        """How many results this worker has given."""
        self.said_stop = False

    @property
    def draining(self) -> bool:
        """Whether the worker is about to be replaced: it begins nothing more."""
        return bool(self._draining)

    def start(self) -> None:
        """Start a worker, if there is none, and deal it what is unanswered; raises WorkerStartError."""
        if self._child is not None:
            return
        begun = BegunTasks()
        child = Child[FromWorker](reader(FromWorker), descriptors=[begun.descriptor])
        try:
            child.greet()
        except WorkerStartError:
            child.end(within_s=0)
            begun.close()
            raise
        child.send(Start(self._options.limits, self._shards.libraries, begun.descriptor))
        log.info("worker %d started", child.pid)
        self._child, self._begun = child, begun
        self._said_open, self._said_given_up, self.said_stop, self._draining = True, False, False, ""
        self._cpu_heard_s, self.answered = 0.0, 0
        self._send(self.unanswered.values())

    def deal(self, tasks: Iterable[Dealt]) -> None:
        """Give the worker more to do; without one they are dealt as it starts."""
        fresh = {dealt.server.name: dealt for dealt in tasks}
        self.unanswered |= fresh
        if self._child is not None:
            self._send(fresh.values())

    def listen(self) -> None:
        """Pass on what the worker has; say stop to it once dealing has stopped. Raises ChildLost."""
        child = self._worker()
        if self._shards.stopped and not self.said_stop:
            self.say_stop(cancel=True)
        self._say_whether_to_wait(child)
        for message in child.receive(TICK_S, _STOP_S if self.said_stop else self.patience_s):
            if isinstance(message, Batch):
                self._pass_on(message)
            elif isinstance(message, WorkerReport):
                self._cpu_heard_s = message.worker.cpu_ms / 1000
                self._options.report(message)
            elif isinstance(message, Bye):
                if self._draining:
                    raise ChildLost(self._draining)
                self._discard(within_s=1.0)
                self.unanswered.clear()
                return
        self._look_at(child)

    def say_stop(self, cancel: bool) -> None:
        """Let the worker end; with ``cancel`` it gives up what is under way."""
        self._worker().send(Stop(cancel))
        self.said_stop = True

    def lost(self, how: ChildLost) -> tuple[str, list[Dealt], list[Dealt]]:
        """Bury the worker; why it was lost, what was under way in it, and what only waited. Nothing is unanswered now.

        What was done and not handed over counts as under way.
        """
        child, begun = self._worker(), self._begun
        assert begun is not None  # noqa: S101 # it comes with the worker
        child.end(within_s=_ENDING_S if str(how) == "ended" else 0)
        why = child.how_it_ended if str(how) == "ended" else str(how)
        suspects = [dealt for dealt in self.unanswered.values() if begun.has_begun(dealt.number)]
        waiting = [dealt for dealt in self.unanswered.values() if not begun.has_begun(dealt.number)]
        self.unanswered, self._draining = {}, ""
        self._discard()
        return why, suspects, waiting

    def end(self) -> None:
        """Let the worker finish what it has open, then see it gone."""
        if (child := self._child) is None:
            return
        if not self.said_stop:
            self.say_stop(cancel=bool(self.unanswered))
        until = time.monotonic() + _END_S
        try:
            while time.monotonic() < until and not self._shards.aborted:
                for message in child.receive(TICK_S, _END_S):
                    if isinstance(message, WorkerReport):
                        self._options.report(message)
                    elif isinstance(message, Bye):
                        return self._discard(within_s=1.0)
        except ChildLost:
            pass
        self._discard(within_s=0 if self._shards.aborted else 1.0)

    def tell(self, resource: str, level: str, detail: str, value: float = 0.0, threshold: float = 0.0) -> None:
        """Log what happened to the worker, and keep it with the run."""
        log.warning("%s", detail)
        at_ms = now_ms()
        self._options.alert(
            ResourceAlert(at_ms=at_ms, resource=resource, level=level, value=value, threshold=threshold, detail=detail)
        )

    def _worker(self) -> Child[FromWorker]:
        assert self._child is not None  # noqa: S101 # callers start it before
        return self._child

    def _send(self, tasks: Iterable[Dealt]) -> None:
        child, begun = self._worker(), self._begun
        assert begun is not None  # noqa: S101 # it comes with the worker
        sent = []
        for dealt in tasks:
            server, number = dealt.server, begun.number()
            self.unanswered[server.name] = dealt._replace(number=number)
            sent.append(
                Task(
                    server=server,
                    memory=self._options.remembered(server),
                    skip=self._options.skipped(server),
                    tries=dealt.tries,
                    share=dealt.share,
                    number=number,
                )
            )
        if sent:
            log.debug("worker %d: %d servers dealt", child.pid, len(sent))
            child.send(Run(tuple(sent)))

    def _pass_on(self, batch: Batch) -> None:
        self._sink(batch)
        self.answered += len(batch.checks)
        for check in batch.checks:
            self.unanswered.pop(check.server, None)

    def _say_whether_to_wait(self, child: Child[FromWorker]) -> None:
        """Tell the worker of the gate, and of what it is to give up, once each."""
        if (open_ := self._shards.gate_open) != self._said_open:
            child.send(Gate(open_))
            self._said_open = open_
        if self._shards.given_up is not None and not self._said_given_up:
            child.send(Drop(self._shards.given_up))
            self._said_given_up = True

    def _look_at(self, child: Child[FromWorker]) -> None:
        """Raise ChildLost for a worker that spins without a word or takes far too much memory; replace one before."""
        if (now := time.monotonic()) - self._looked_at < _LOOK_S or self.said_stop:
            return
        self._looked_at = now
        from checker.resources import cpu_of, memory_of  # takes a moment to import, as workers take to start

        if child.silent_s > _BEATS_S and (spent_s := cpu_of(child.pid) - self._cpu_heard_s) > _WEDGED_CPU_S:
            raise ChildLost(f"busy without a word for {child.silent_s:.0f} s, in which it used {spent_s:.0f} s of CPU")
        limit = self._options.worker_memory_bytes
        if limit is None or (used := memory_of(child.pid)) <= limit:
            return
        what = f"{used / _MIB:.0f} MiB, run.limits.worker_memory is {limit / _MIB:.0f} MiB"
        if used > _HARD * limit:
            raise ChildLost(f"took {what}")
        if not self._draining:
            self._draining = f"took {what}, and did not end what was under way within {_DRAIN_S:g} s"
            self.tell("worker_memory", "hard", f"worker {child.pid} has {what}: another takes its place", used, limit)
            child.send(Stop(cancel=True, within_s=_DRAIN_S))

    def _discard(self, within_s: float = 0) -> None:
        if self._child is not None:
            self._child.end(within_s)
            log.info("worker %d ended", self._child.pid)
            self._child = None
        if self._begun is not None:
            self._begun.close()
            self._begun = None
