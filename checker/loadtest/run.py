"""One load test in its steps: safety, workers, calibration, scenarios, verdicts, storage."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from checker.clock import now_ms
from checker.errors import StorageBusy, StorageError
from checker.loadtest.bottleneck import Saturation
from checker.loadtest.calibrate import calibrated, echo_server
from checker.loadtest.generator import Generator, GeneratorWorkers
from checker.loadtest.judging.saturation import judge
from checker.loadtest.judging.stress import find_capacity
from checker.loadtest.judging.suite import run_suite
from checker.loadtest.plan import LoadLimits, Model, Operation, Plan
from checker.loadtest.planning.environment import environment, usable_cores
from checker.loadtest.planning.safety import approved
from checker.loadtest.planning.stages import ends_s
from checker.loadtest.protocols import Second, Watcher
from checker.loadtest.recording import Recording, without_unplayed
from checker.loadtest.results import (
    BenchKind,
    BenchRun,
    BenchState,
    Calibration,
    Capacity,
    Slot,
    WorkerSecond,
    plan_digest,
)
from checker.loadtest.thresholds.watch import Watch
from checker.probe_kinds import OPERATIONS
from checker.processes.signals import Interrupts
from checker.version import VERSION

if TYPE_CHECKING:
    from storage.loadtests.write import RecordingWriter as Stored


_FEWEST_REPLIES = 20
"""Replies in the window: a few refusals are no storm."""


class Storm:
    """A `Watcher` that ends the run when servers signal overload by 429, 503 or Retry-After."""

    def __init__(self, limits: LoadLimits) -> None:
        self._limits = limits
        self._refused: Counter[int] = Counter()
        self._replies: Counter[int] = Counter()

    def __call__(self, second: Second) -> str | None:
        """The reason to end the run, once most replies in the window are refusals."""
        for slot in second.slots:
            self._refused[slot.at_s] += slot.refused
            self._replies[slot.at_s] += slot.ok + slot.failed
        since = second.at_s - self._limits.refusals_over
        for at_s in [one for one in self._replies if one < since - 1]:
            del self._refused[at_s], self._replies[at_s]
        refused, replies = self._refused.total(), self._replies.total()
        if replies < _FEWEST_REPLIES or refused < self._limits.refusals * replies:
            return None
        return (
            f"{refused} of the last {replies} replies were 429, 503 or asked to come back later (Retry-After): "
            "the servers refuse the load; lower the rate, or raise limits.refusals"
        )


class Total:
    """A `checker.loadtest.protocols.Watcher` that ends the run after the plan's maximum number of operations."""

    def __init__(self, limits: LoadLimits) -> None:
        self._most, self._offered = limits.max_total, 0

    def __call__(self, second: Second) -> str | None:
        """The reason to end the run, once the maximum number of operations is reached."""
        self._offered += sum(slot.offered for slot in second.slots)
        if self._offered < self._most:
            return None
        return f"{self._offered} operations were begun and limits.max_total is {self._most}"


log = logging.getLogger(__name__)

_MOST_SLOTS = 40_000
"""Series times seconds above which slots are ten seconds wide."""
_HOUR_S = 3600.0
_WAIT_S = 0.2
"""Seconds to wait for another process that writes to the database, during the load."""
_LONGEST_WAIT_S = 60.0
"""The same after the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A load test to play, and where to store it."""

    plan: Plan
    database: Path | None = None
    """None stores nothing."""
    watchers: Sequence[Watcher] = ()
    """Receivers of every second; see `checker.loadtest.protocols.Watcher`."""
    log_level: int = 50


@dataclass(frozen=True, slots=True)
class LoadEnd:
    """The result of a load test."""

    run: BenchRun
    saturation: Saturation
    signal: int | None = None
    """The signal that interrupted it."""
    unstored: str = ""
    """The reason why the run could not be stored, if it was to be."""


def load_test(request: LoadRequest) -> LoadEnd:
    """Play the plan and return the measurements; stored if there is a database.

    On Ctrl-C the load ramps down within two seconds and the run is kept up to that point; a second one does not wait.
    Raises UsageError for a plan that must not be played, WorkerStartError and StorageError.
    """
    plan = request.plan
    addresses = approved(plan)
    blank = _blank(plan)
    with ExitStack() as stack:
        servers = plan.servers
        if plan.calibrate:
            servers = (*servers, stack.enter_context(echo_server()))
        generator_workers = GeneratorWorkers(
            servers=servers,
            addresses=addresses,
            workers=blank.workers,
            limits=plan.limits,
            seed=plan.seed,
            log_level=request.log_level,
        )
        recording, watch = Recording(blank), Watch(plan.thresholds)
        keep = _RunWriter(request, blank)
        watchers: tuple[Watcher, ...] = (keep, Storm(plan.limits), Total(plan.limits), watch, *request.watchers)
        generator = stack.enter_context(Generator(generator_workers, recording, watchers))
        with Interrupts(lambda: generator.stop("interrupted"), generator.abort) as interrupts:
            if plan.calibrate:
                _say(request.watchers, blank, "calibrating")
                recording.calibrations = calibrated(generator, blank, _operations(plan))
            capacity, notes = _play(generator, plan)
        run = _finished(recording, generator, capacity, notes, watch, interrupts.received is not None)
        saturation = judge(run)
        stored, unstored = keep.finish(run, saturation, 0.0 if generator.aborted else _LONGEST_WAIT_S)
        return LoadEnd(stored, saturation, interrupts.received, unstored)


def _play(generator: Generator, plan: Plan) -> tuple[Capacity | None, tuple[str, ...]]:
    """Play all parts of the plan; gives the result of a stress test, and notes."""
    if plan.stress is not None:
        found = find_capacity(generator, plan)
        return found.capacity, found.notes
    if plan.suite is not None:
        return None, run_suite(generator, plan).notes
    generator.play(plan.scenarios)
    return None, ()


def _finished(
    recording: Recording,
    generator: Generator,
    capacity: Capacity | None,
    notes: tuple[str, ...],
    watch: Watch,
    interrupted: bool,
) -> BenchRun:
    """The run after all parts have been played."""
    state = BenchState.FINISHED
    if generator.stopped:
        state = BenchState.INTERRUPTED if interrupted else BenchState.ABORTED
        notes = (*notes, f"ended early: {generator.stopped}")
    run = replace(
        without_unplayed(recording.run()),
        state=state,
        finished_at_ms=now_ms(),
        capacity=capacity,
        notes=notes,
    )
    return replace(run, thresholds=watch.results(run))


class _RunWriter:
    """A watcher that writes the run to the database, while it runs and completely at its end.

    A database that another process is writing to, or that fails, does not stop the load: updates wait, and a run that
    cannot be stored at the end has a note about it.
    """

    def __init__(self, request: LoadRequest, blank: BenchRun) -> None:
        self._path, self._stack = request.database, ExitStack()
        self._stored: Stored | None = None
        self._slots: list[Slot] = []
        self._health: list[WorkerSecond] = []
        if self._path is not None:
            from storage.loadtests.write import RecordingWriter as Stored
            from storage.store import open_store

            with open_store(self._path):
                pass  # whoever writes now is waited for before the load, and never in it
            self._stored = Stored(self._stack.enter_context(open_store(self._path, wait_s=_WAIT_S)), blank)

    def __call__(self, second: Second) -> None:
        """Store the update, and those that could not be stored before."""
        if self._stored is None:
            return
        self._slots += second.slots
        self._health += second.health
        try:
            self._stored.append(second.run, self._slots, self._health)
        except StorageError as error:
            log.warning("not stored yet: %s", error)
            return
        self._slots, self._health = [], []

    def finish(self, run: BenchRun, saturation: Saturation, wait_s: float) -> tuple[BenchRun, str]:
        """Store the whole run: the run with its number, or the reason why it could not be stored."""
        if self._stored is None:
            return run, ""
        until = time.monotonic() + wait_s
        with self._stack:
            while True:
                try:
                    return self._stored.finish(
                        run, saturation.reason if saturation.invalid or saturation.unfit else ""
                    ), ""
                except StorageBusy as error:
                    if time.monotonic() > until:
                        return run, str(error)
                    time.sleep(_WAIT_S)
                except StorageError as error:
                    return run, str(error)


def _blank(plan: Plan) -> BenchRun:
    """The run before anything has been played."""
    kind = BenchKind.STRESS if plan.stress else BenchKind.SUITE if plan.suite else BenchKind.LOAD
    return BenchRun(
        id=None,
        name=plan.name,
        kind=kind,
        state=BenchState.RUNNING,
        started_at_ms=now_ms(),
        finished_at_ms=None,
        checker_version=VERSION,
        plan=plan.source,
        plan_digest=plan_digest(plan.source),
        seed=plan.seed,
        workers=plan.workers or _workers_for(plan),
        slot_s=_slot_s(plan),
        environment=environment(),
        series=(),
        stages=(),
        slots=(),
        health=(),
    )


def _workers_for(plan: Plan) -> int:
    """The number of workers: more than one if the planned rate needs them and enough cores remain for the rest."""
    spare = max(1, int(usable_cores()) - 1)
    needed = 0.0
    for scenario in plan.scenarios.values():
        highest = max((stage.target for stage in scenario.stages), default=0.0)
        per_worker = OPERATIONS[scenario.operation].per_worker
        needed += 0.0 if scenario.model is Model.CLOSED else highest / per_worker
    if plan.stress is not None and plan.stress.model is Model.OPEN:
        per_worker = OPERATIONS[plan.stress.operation].per_worker
        needed = min(plan.stress.maximum, plan.limits.max_rate) / per_worker
    return max(1, min(spare, math.ceil(needed)))


def _slot_s(plan: Plan) -> int:
    """Seconds per slot: 1, or 10 for a long run, or if a slot a second would be too much data for so many series."""
    seconds = max(map(ends_s, plan.scenarios.values()), default=0.0)
    series = sum(len(scenario.servers) or len(plan.servers) for scenario in plan.scenarios.values())
    return 10 if seconds > _HOUR_S or seconds * series > _MOST_SLOTS else 1


def _operations(plan: Plan) -> list[Operation]:
    """The operations to play, without duplicates."""
    every = [scenario.operation for scenario in plan.scenarios.values()]
    every += [one.operation for one in (plan.suite, plan.stress) if one is not None]
    return list(dict.fromkeys(every))


def _say(watchers: Sequence[Watcher], blank: BenchRun, note: str) -> None:
    """Report a step before the first stage."""
    for watcher in watchers:
        watcher(Second(run=blank, at_s=0.0, until_s=0.0, stages=(), slots=(), health=(), note=note))


def calibration() -> tuple[Calibration, ...]:
    """The limits of one worker on this machine, REST and MCP; raises WorkerStartError."""
    blank = _blank(Plan(name="calibration", servers=(), workers=1))
    with echo_server() as server:
        generator_workers = GeneratorWorkers(servers=(server,), addresses={}, workers=1, limits=LoadLimits(), seed=1)
        with Generator(generator_workers, Recording(blank)) as generator:
            return calibrated(generator, blank, ("rest", "mcp_ping"))
