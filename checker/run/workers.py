"""Workers driven from the parent: fed with shards, replaced when lost, suspects retried separately.

A server is answered once. When a worker is lost, the servers that only waited in it continue in a new worker; those
that were in progress may be the cause, and are retried separately.

A group of suspects has a worker to itself. Any server that is answered there is cleared. If that worker is lost too,
the group is split, so that finding one server among n costs about log n workers; groups run side by side. A worker that
was not lost takes the next group, because starting one costs more than the work it retries. A server that was alone in
two lost workers, the second of them new, is the one that ended them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace

from checker.clock import now_ms
from checker.errors import WorkerStartError
from checker.limits import Limits
from checker.messages import Bye, Drop, FromWorker, Gate, Library, LoadLibraries, Rest, Rested, Start, Stop, Task
from checker.metrics import ResourceAlert, WorkerReport, since
from checker.missing_results import at_fault, worker_lost
from checker.model import Batch, Server
from checker.processes.child import Child, ChildLost
from checker.processes.started_tasks import BegunTasks
from checker.result_rows import SERVER, as_rows
from checker.run.idle_workers import IdleWorker, IdleWorkers
from checker.run.queue import Shards
from checker.run.resource_use import cpu_of, memory_of
from checker.run.task_shapes import Shapes
from checker.wire import reader

Sink = Callable[[Batch], None]
Memory = Mapping[str, Mapping[str, str]]
"""Probe kind -> cache category -> the remembered fact about the server's endpoint."""

log = logging.getLogger(__name__)

TICK_S = 0.1
_STOP_S = 3.0
_END_S = 8.0
_ENDING_S = 1.0
"""Time allowed for a worker that closed its pipe to end, so that its exit code is known."""
_BEATS_S = 2.0
"""A worker sends a message once a second; after this silence its CPU use is examined."""
_WEDGED_CPU_S = 3.0
"""CPU time since its last report: a loop that turns sends one long before."""
_LOOK_S = 0.25
_DRAIN_S = 3.0
_HARD = 2
"""A worker is killed at this multiple of the memory at which it is replaced."""
_MIB = 1024 * 1024


class RunnerOptions(Struct, frozen=True, kw_only=True):
    """The options sent to every worker of a run."""

    limits: Limits
    remembered: Callable[[Server], Memory] = field(default=lambda _server: {})
    skipped: Callable[[Server], Mapping[str, str]] = field(default=lambda _server: {})
    """Gives the probe kinds that are not to be made, with why."""
    report: Callable[[WorkerReport], None] = field(default=lambda _report: None)
    """Takes the reports of a worker: about once a second, and at its end."""
    alert: Callable[[ResourceAlert], None] = field(default=lambda _alert: None)
    """Takes alerts about workers that were lost or replaced; called from any thread."""
    idle: IdleWorkers | None = None
    """The workers that stay between runs; by default they end with the run."""


class Assigned(Struct, gc=False):
    """A server that is assigned to a worker."""

    server: Server
    share: int
    tries: int = 1
    number: int = 0
    """Number under which its present worker marks it as begun."""


class Driver:
    """One worker at a time, and its unanswered servers; used by one thread.

    Methods that document it raise ChildLost when the worker is lost: then `lost` names the possible causes.
    """

    def __init__(self, shards: Shards, sink: Sink, options: RunnerOptions) -> None:
        self._shards, self._sink, self._options = shards, sink, options
        self._child: Child[FromWorker] | None = None
        self._begun: BegunTasks | None = None
        self._shapes = Shapes()
        self._said_open, self._said_given_up = True, False
        self._draining = ""
        self._looked_at = 0.0
        self._cpu_heard_s = 0.0
        self._loaded: frozenset[Library] = frozenset()
        self._before: WorkerReport | None = None
        """What the worker had counted when this run took it over."""
        self.patience_s = options.limits.heartbeat_timeout
        """Silence after which the worker counts as lost."""
        self.unanswered: dict[str, Assigned] = {}
        self.answered = 0
        """Number of results that this worker has delivered."""
        self.said_stop = False

    @property
    def draining(self) -> bool:
        """True if the worker is about to be replaced: it begins nothing more."""
        return bool(self._draining)

    def start(self) -> None:
        """Start a worker, if there is none, and assign it the unanswered servers; raises WorkerStartError."""
        if self._child is not None:
            return
        self._said_open, self._said_given_up, self.said_stop, self._draining = True, False, False, ""
        self._cpu_heard_s, self.answered = 0.0, 0
        if not self._take_over():
            self._start_anew()
        self._send(self.unanswered.values())

    def _take_over(self) -> bool:
        """Go on with an idle worker; False if there is none that fits."""
        idle = self._options.idle
        if idle is None or (found := idle.take(self._options.limits, self._shards.libraries)) is None:
            return False
        missing = [one for one in self._shards.libraries if one not in found.libraries]
        if missing:
            found.child.send(LoadLibraries(tuple(missing)))
        self._child, self._begun, self._shapes = found.child, found.begun, found.shapes
        self._loaded, self._before = found.libraries | set(missing), found.report
        self._cpu_heard_s = found.report.worker.cpu_ms / 1000
        return True

    def _start_anew(self) -> None:
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
        self._child, self._begun, self._shapes = child, begun, Shapes()
        self._loaded, self._before = frozenset(self._shards.libraries), None

    def assign(self, tasks: Iterable[Assigned]) -> None:
        """Give the worker more servers; if there is no worker yet, it gets them on start."""
        fresh = {assigned.server.name: assigned for assigned in tasks}
        self.unanswered |= fresh
        if self._child is not None:
            self._send(fresh.values())

    def listen(self) -> None:
        """Pass on the worker's messages; send stop once assignment has stopped. Raises ChildLost."""
        child = self._worker()
        if self._shards.stopped and not self.said_stop:
            self.say_stop(cancel=True)
        self._say_whether_to_wait(child)
        for message in child.receive(TICK_S, _STOP_S if self.said_stop else self.patience_s):
            if isinstance(message, Batch):
                self._pass_on(message)
            elif isinstance(message, WorkerReport):
                self._cpu_heard_s = message.worker.cpu_ms / 1000
                self._report(message)
            elif isinstance(message, Bye):
                if self._draining:
                    raise ChildLost(self._draining)
                self._discard(within_s=1.0)
                self.unanswered.clear()
                return
        self._look_at(child)

    def say_stop(self, cancel: bool) -> None:
        """Let the worker end; with ``cancel`` it gives up checks in progress."""
        self._worker().send(Stop(cancel))
        self.said_stop = True

    def lost(self, how: ChildLost) -> tuple[str, list[Assigned], list[Assigned]]:
        """Discard the worker; returns the cause, the servers in progress and the waiting ones. None is unanswered now.

        Checks that were finished but not handed over count as in progress.
        """
        child, begun = self._worker(), self._begun
        assert begun is not None  # noqa: S101 # it comes with the worker
        child.end(within_s=_ENDING_S if str(how) == "ended" else 0)
        why = child.how_it_ended if str(how) == "ended" else str(how)
        suspects = [assigned for assigned in self.unanswered.values() if begun.has_begun(assigned.number)]
        waiting = [assigned for assigned in self.unanswered.values() if not begun.has_begun(assigned.number)]
        self.unanswered, self._draining = {}, ""
        self._discard()
        return why, suspects, waiting

    def end(self) -> None:
        """Let the worker finish its open work, then wait for its end, unless it is to stay for another run."""
        if (child := self._child) is None or self._is_left_idle(child):
            return
        if not self.said_stop:
            self.say_stop(cancel=bool(self.unanswered))
        until = time.monotonic() + _END_S
        try:
            while time.monotonic() < until and not self._shards.aborted:
                for message in child.receive(TICK_S, _END_S):
                    if isinstance(message, WorkerReport):
                        self._report(message)
                    elif isinstance(message, Bye):
                        return self._discard(within_s=1.0)
        except ChildLost:
            pass
        self._discard(within_s=0 if self._shards.aborted else 1.0)

    def _is_left_idle(self, child: Child[FromWorker]) -> bool:
        """True if the worker is done, and was given away for the next run."""
        idle, begun = self._options.idle, self._begun
        if idle is None or begun is None or self.unanswered or self.draining or self.said_stop or self._shards.stopped:
            return False
        child.send(Rest())
        until, told = time.monotonic() + _END_S, None
        try:
            while time.monotonic() < until and not self._shards.aborted:
                for message in child.receive(TICK_S, _END_S):
                    if isinstance(message, WorkerReport):
                        told = message
                        self._report(message)
                    elif isinstance(message, Rested) and told is not None:
                        limits = self._options.limits
                        idle.put(IdleWorker(child, begun, self._shapes, limits, self._loaded, told))
                        self._child = self._begun = None
                        return True
        except ChildLost:
            pass
        return False

    def _report(self, report: WorkerReport) -> None:
        """Pass on what the worker has counted in this run."""
        self._options.report(report if self._before is None else since(report, self._before))

    def tell(self, resource: str, level: str, detail: str, value: float = 0.0, threshold: float = 0.0) -> None:
        """Log an event of the worker, and keep it with the run."""
        log.warning("%s", detail)
        at_ms = now_ms()
        self._options.alert(
            ResourceAlert(at_ms=at_ms, resource=resource, level=level, value=value, threshold=threshold, detail=detail)
        )

    def _worker(self) -> Child[FromWorker]:
        assert self._child is not None  # noqa: S101 # callers start it before
        return self._child

    def _send(self, tasks: Iterable[Assigned]) -> None:
        child, begun = self._worker(), self._begun
        assert begun is not None  # noqa: S101 # it comes with the worker
        next_number, remembered, skipped = begun.number, self._options.remembered, self._options.skipped
        sent = []
        for assigned in tasks:
            server = assigned.server
            number = assigned.number = next_number()
            sent.append(
                Task(
                    server=server,
                    memory=remembered(server),
                    skip=skipped(server),
                    tries=assigned.tries,
                    share=assigned.share,
                    number=number,
                )
            )
        if sent:
            log.debug("worker %d: %d servers assigned", child.pid, len(sent))
            for message in self._shapes.messages(sent):
                child.send(message)

    def _pass_on(self, batch: Batch) -> None:
        names = as_rows(batch.checks).of_checks(SERVER)  # as long as they are here: the rows are for the sink to change
        self._sink(batch)
        self.answered += len(names)
        for name in names:
            self.unanswered.pop(name, None)

    def _say_whether_to_wait(self, child: Child[FromWorker]) -> None:
        """Send the worker the state of the gate, and the servers to give up, once each."""
        if (open_ := self._shards.gate_open) != self._said_open:
            child.send(Gate(open_))
            self._said_open = open_
        if self._shards.given_up is not None and not self._said_given_up:
            child.send(Drop(self._shards.given_up))
            self._said_given_up = True

    def _look_at(self, child: Child[FromWorker]) -> None:
        """Raise ChildLost for a worker that spins silently or takes far too much memory; replace it before that."""
        if (now := time.monotonic()) - self._looked_at < _LOOK_S or self.said_stop:
            return
        self._looked_at = now
        if child.silent_s > _BEATS_S and (spent_s := cpu_of(child.pid) - self._cpu_heard_s) > _WEDGED_CPU_S:
            raise ChildLost(f"busy without a word for {child.silent_s:.0f} s, in which it used {spent_s:.0f} s of CPU")
        limit = self._options.limits.worker_memory
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


_PARTS = 4
"""Number of parts a group is split into, and of groups that have a worker at the same time."""
_ALONE_TWICE = 2
_SILENCE_S = 5.0
"""Silence after which a group's worker counts as lost: if that is wrong, the group is only split for nothing."""
_TICK_S = 0.1


class Quarantine:
    """The groups of suspects of one runner, each driven by its own thread."""

    def __init__(self, shards: Shards, sink: Sink, options: RunnerOptions) -> None:
        self._shards, self._sink = shards, sink
        self.needs_all = _cannot_be_shared(options.limits)
        """True if a limit is so low that nothing may run beside: then the groups take turns one by one."""
        self._at_once = 1 if self.needs_all else _PARTS
        limits = options.limits if self.needs_all else _part_of(options.limits)
        self._options = replace(options, limits=limits, idle=None)
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[Driver] = []
        self._open, self._change = 0, threading.Condition()

    def take(self, suspects: Sequence[Assigned]) -> None:
        """Retry these separately, in as many groups as may run side by side."""
        tried_again = [replace(assigned, tries=assigned.tries + 1) for assigned in suspects]
        for group in _split(tried_again):
            self._try(group)

    def wait(self) -> None:
        """Return when every suspect is answered, or assignment has stopped; nothing can be retried after it."""
        self.settle()
        if self._threads is not None:
            self._threads.shutdown()

    def settle(self) -> None:
        """Return when every suspect is answered, or assignment has stopped."""
        with self._change:
            while self._open:
                self._change.wait(_TICK_S)

    def _try(self, group: Sequence[Assigned], lost_alone: int = 0) -> None:
        with self._change:
            self._open += 1
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="quarantine")
        self._threads.submit(self._run, group, lost_alone)

    def _run(self, group: Sequence[Assigned], lost_alone: int) -> None:
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

    def _drive(self, group: Sequence[Assigned], lost_alone: int) -> None:
        if self._shards.stopped:
            return
        alone = len(group) == 1
        driver = self._worker_for(fresh=lost_alone > 0)
        patience_s = self._options.limits.heartbeat_timeout
        driver.patience_s = patience_s if alone else min(_SILENCE_S, patience_s)
        kept = False
        driver.assign(group)
        try:
            driver.start()
            while driver.unanswered and not self._shards.aborted:
                driver.listen()
            kept = not (self._shards.stopped or driver.draining)
        except WorkerStartError as error:
            lost = tuple(
                worker_lost(assigned.server, f"no other could be started: {error}", assigned.tries)
                for assigned in group
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
        """An idle worker, or a new one if it is to be ``fresh``: no server from before can be what ends a new one."""
        with self._change:
            if self._idle and not fresh:
                return self._idle.pop()
        return Driver(self._shards, self._sink, self._options)

    def _narrow(self, suspects: Sequence[Assigned], waiting: Sequence[Assigned]) -> None:
        """Servers that had not begun this time are still not cleared, but one step less suspect."""
        again = [replace(assigned, tries=assigned.tries + 1) for assigned in suspects]
        for group in (*_split(again), waiting):
            if group:
                self._try(group)

    def _again_or_answered(self, assigned: Assigned, lost_alone: int, why: str, begun: bool) -> None:
        """Retry once more alone; the second time answer it, as the culprit only if its check had begun."""
        if lost_alone < _ALONE_TWICE:
            self._try([replace(assigned, tries=assigned.tries + 1)], lost_alone)
        elif begun:
            detail = f"checking this server alone ended the worker twice: {why}"
            self._sink(Batch(checks=(at_fault(assigned.server, detail, assigned.tries),)))
        else:
            self._sink(Batch(checks=(worker_lost(assigned.server, why, assigned.tries),)))


def _split(suspects: Sequence[Assigned]) -> list[Sequence[Assigned]]:
    size = -(-len(suspects) // _PARTS) or 1
    return [suspects[start : start + size] for start in range(0, len(suspects), size)]


def _cannot_be_shared(limits: Limits) -> bool:
    """True if a limit of this worker is too low to give each group beside it a share."""
    whole = [limits.attempts_at_origin(kind) for kind in limits.pools] or [limits.per_origin]
    most = [pool.max_connections for pool in limits.pools.values() if pool.when_full == "wait"]
    most += [] if limits.max_connections is None else [limits.max_connections]
    return min(limits.concurrency, *whole, *(limit // limits.workers for limit in most)) < _PARTS


def _part_of(limits: Limits) -> Limits:
    """The limits of each group, so that all groups together keep to the limits of one worker."""
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


_STARTS_IN_A_ROW = 3
_LOST_FOR_NOTHING = 3
"""Consecutive lost workers that had begun and answered nothing: the cause is not a server."""


def run_shards(shards: Shards, sink: Sink, options: RunnerOptions, begin: threading.Event | None = None) -> None:
    """Check servers until there are no more shards; returns when this worker's process has ended.

    The worker is started at once; nothing is assigned before ``begin``, if there is one, is set. Raises
    WorkerStartError if no worker can be started.
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
        """Start the worker before it has any work; a failure is reported by `run`."""
        with suppress(WorkerStartError):
            self._driver.start()

    def run(self) -> None:
        """Assign and listen until everything taken is answered or in quarantine."""
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
        """Let the worker finish its open work, and wait for its end and that of the workers in quarantine."""
        self._driver.end()
        self._quarantine.wait()

    def _refill(self) -> bool:
        """Take shards while the worker could soon begin their servers; True if any was taken."""
        taken = False
        most = 2 * self._options.limits.concurrency  # the worker never runs dry while its results are on their way
        number, driver = self._options.limits.worker, self._driver
        while (
            not driver.draining
            and (held := len(driver.unanswered)) < most
            and (shard := self._shards.take(held, number))
        ):
            driver.assign([Assigned(server, shard.share) for server in shard.servers])
            taken = True
        return taken

    def _go_on(self, why: str, suspects: list[Assigned], waiting: list[Assigned], made_progress: bool) -> None:
        """Continue after a loss: suspects separately, the others in a new worker as if nothing had happened."""
        self._for_nothing = 0 if made_progress else self._for_nothing + 1
        if self._for_nothing == _LOST_FOR_NOTHING:
            self._for_nothing = 0
            return self._give_up(waiting, why)
        self._driver.assign(waiting)
        if suspects:
            self._quarantine.take(suspects)
            if self._quarantine.needs_all:
                self._quarantine.settle()

    def _give_up(self, tasks: list[Assigned], why: str) -> None:
        self._driver.unanswered = {}
        if tasks:
            self._sink(Batch(checks=tuple(worker_lost(assigned.server, why, assigned.tries) for assigned in tasks)))
