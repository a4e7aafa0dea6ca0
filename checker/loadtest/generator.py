"""The parent of a load test's workers: starts them, sends them plays, collects their samples, and ends them."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from checker.errors import UsageError, WorkerStartError
from checker.loadtest.arrivals import LevelSpan, level_at
from checker.loadtest.messages import (
    ECHO,
    Begin,
    FromWorker,
    Health,
    Part,
    PlayDone,
    PlayRequest,
    Position,
    Ready,
    Replan,
    SampleBatch,
)
from checker.loadtest.plan import LoadLimits, Scenario, StageKind, targets
from checker.loadtest.planning.stages import timetable
from checker.loadtest.protocols import Cell, Second, Watcher
from checker.loadtest.recording import Names, Recording
from checker.loadtest.results import BenchRun, StageSpan, WorkerSecond
from checker.messages import Bye
from checker.model import Server
from checker.probes.libraries import libraries
from checker.processes.child import Child, ChildLost
from checker.wire import reader

log = logging.getLogger(__name__)

_LEAD_S = 0.3
"""Seconds for a play to reach the workers before the first arrival is due."""
_SILENCE_S = 30.0
_WAIT_S = 0.02
_SECOND_S = 1.0
WIND_DOWN_S = 2.0
"""Seconds of the ramp to zero when a run ends early."""
_END_S = 5.0
_NICENESS = 15
_LATE_S = 15.0
"""Seconds after the latest possible end of a play within which a worker must report it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorWorkers:
    """The workers that make the load, and their targets."""

    servers: tuple[Server, ...]
    addresses: Mapping[str, tuple[str, ...]]
    """Host -> the allowed addresses: the workers connect to no others."""
    workers: int
    limits: LoadLimits
    seed: int
    log_level: int = 50


@dataclass(slots=True)
class _PlayUnderWay:
    number: int
    spans: dict[str, list[LevelSpan]]
    open: set[int]
    """Workers that have not reported the end."""
    longest_s: float
    """Time limit of an operation."""
    wound_down: bool = False

    @property
    def until_s(self) -> float:
        return max((spans[-1].until_s for spans in self.spans.values() if spans), default=0.0)


class Generator:
    """Implements `checker.loadtest.protocols.LoadGenerator`; a context manager, used by one thread.

    ``recording`` takes all measurements. Raises WorkerStartError if a worker cannot be started.
    """

    def __init__(
        self, generator_workers: GeneratorWorkers, recording: Recording, watchers: Sequence[Watcher] = ()
    ) -> None:
        self._generator_workers, self._recording, self._watchers = generator_workers, recording, watchers
        self._children: list[Child[FromWorker]] = []
        self._epoch_ns = 0
        self._plays = 0
        self._names = Names()
        self._aside = ThreadPoolExecutor(1, "binning", _yield_to_others)
        self._stopped = ""
        self.aborted = False
        """True if nothing is waited for."""
        self.cpu_s: dict[int, float] = {}
        """Worker -> CPU seconds that it had used at its last report."""

    def __enter__(self) -> Generator:
        try:
            decode = reader(FromWorker)
            self._children = [Child(decode, "checker.loadtest.worker") for _ in range(self._generator_workers.workers)]
            for number, child in enumerate(self._children):
                child.greet()
                child.send(self._first_told(number))
            for child in self._children:  # what takes long to load is not to begin in the first stage
                while not any(isinstance(message, Ready) for message in child.receive(_WAIT_S, _SILENCE_S)):
                    continue
        except ChildLost as lost:
            self._end(0)
            raise WorkerStartError(f"a worker was lost as it began: {lost}") from None
        except BaseException:
            self._end(0)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end(0 if kind is not None or self.aborted else _END_S)

    @property
    def stopped(self) -> str:
        """The reason why the run is to end early; empty if it is not."""
        return self._stopped

    def stop(self, why: str) -> None:
        """End the run early: ramp the load down to zero, and wait for the requests in flight."""
        self._stopped = self._stopped or why

    def abort(self) -> None:
        """End the run at once, without waiting for anything."""
        self._stopped = self._stopped or "interrupted twice"
        self.aborted = True

    def play(self, scenarios: Mapping[str, Scenario], cell: Cell | None = None) -> tuple[int, ...]:
        """Play the scenarios side by side, wait for the requests in flight, and return the indexes of their stages."""
        if self._stopped:
            return ()
        stages = self._begin(scenarios, cell, self._recording)
        self._listen(self._recording, self._watchers)
        return stages

    def aside(self, scenarios: Mapping[str, Scenario], recording: Recording) -> None:
        """Play something that is not part of the run, into its own recording."""
        self._begin(scenarios, None, recording)
        self._listen(recording, ())

    def so_far(self) -> BenchRun:
        """Everything measured until now."""
        return self._recording.run()

    def _begin(self, scenarios: Mapping[str, Scenario], cell: Cell | None, recording: Recording) -> tuple[int, ...]:
        now_ns = time.monotonic_ns()
        if recording.tally is None:
            recording.start(now_ns + round(_LEAD_S * 1e9), time.time_ns() + round(_LEAD_S * 1e9), self._names)
        assert recording.tally is not None  # noqa: S101 # it has just been started
        self._epoch_ns = recording.epoch_ns
        # Whole seconds, so that no slot belongs to two plays.
        from_s = float(max(0, math.ceil((now_ns - self._epoch_ns) / 1e9 + _LEAD_S - 1e-9)))
        parts: list[Part] = []
        spans: dict[str, list[LevelSpan]] = {}
        stages: list[int] = []
        for name, scenario in scenarios.items():
            servers = self._servers_for(scenario)
            if not servers:
                raise UsageError(f"scenario {name}: no server has what {scenario.operation} needs")
            series = {server.name: recording.series(name, scenario, server) for server in servers}
            own = [
                recording.stage(replace(span, **_of_cell(cell)))
                for span in timetable(name, scenario, from_s + scenario.start_after)
            ]
            stages += own
            spans[name] = [_span(recording.stages[at], at) for at in own]
            parts.append(
                Part(
                    name=name,
                    operation=scenario.operation,
                    model=scenario.model,
                    arrivals=scenario.arrivals,
                    think_s=scenario.think_time,
                    timeout_s=scenario.timeout,
                    max_in_flight=scenario.max_in_flight,
                    servers=tuple(series),
                    series=series,
                    tool=scenario.tool,
                    arguments=scenario.arguments,
                )
            )
        recording.tally.exchanges = recording.exchanges
        self._plays += 1
        longest_s = max(scenario.timeout for scenario in scenarios.values())
        self._play = _PlayUnderWay(self._plays, spans, set(range(len(self._children))), longest_s)
        for child in self._children:
            child.send(PlayRequest(self._plays, self._epoch_ns, tuple(parts), spans))
        return tuple(stages)

    def _listen(self, recording: Recording, watchers: Sequence[Watcher]) -> None:
        """Receive messages from the workers until the play is over, and pass on an update once a second."""
        play, told_at, health = self._play, time.monotonic(), list[WorkerSecond]()
        while play.open and not self.aborted:
            for number in sorted(play.open):
                self._receive(number, recording, health)
            now = time.monotonic()
            if now - told_at >= _SECOND_S or not play.open:
                told_at = now
                self._tell(recording, watchers, health)
                health = []
            if self._stopped and not play.wound_down:
                self._wind_down(play, recording)
            # What waits is given up after one time limit, and what was begun last may take another.
            if (time.monotonic_ns() - self._epoch_ns) / 1e9 > play.until_s + 2 * play.longest_s + _LATE_S:
                self.stop(f"workers {sorted(play.open)} came to no end: what they had under way is missing")
                break
        self._tell(recording, watchers, health)

    def _receive(self, number: int, recording: Recording, health: list[WorkerSecond]) -> None:
        assert recording.tally is not None  # noqa: S101 # started before anything is played
        try:
            messages = self._children[number].receive(_WAIT_S, _SILENCE_S)
        except ChildLost as lost:
            self._play.open.discard(number)
            self.stop(f"worker {number} was lost ({lost}): what it had under way is missing")
            return
        for message in messages:
            if isinstance(message, SampleBatch):
                recording.tally.take(number, message)
            elif isinstance(message, Health):
                self.cpu_s[number] = message.cpu_s
                health.append(recording.tally.health(number, message))
            elif isinstance(message, PlayDone) and message.number == self._play.number:
                self._play.open.discard(number)

    def _tell(self, recording: Recording, watchers: Sequence[Watcher], health: list[WorkerSecond]) -> None:
        assert recording.tally is not None  # noqa: S101 # started before anything is played
        slots = self._aside.submit(recording.tally.slots).result()
        recording.add(slots, health)
        at_s = (time.monotonic_ns() - self._epoch_ns) / 1e9
        under_way = tuple(
            span.stage for spans in self._play.spans.values() for span in spans if span.from_s <= at_s < span.until_s
        )
        second = Second(
            run=recording.outline(),
            at_s=at_s,
            until_s=self._play.until_s,
            stages=under_way,
            slots=slots,
            health=health,
            note=self._note(at_s),
        )
        for watcher in watchers:
            if why := watcher(second):
                self.stop(why)

    def _note(self, at_s: float) -> str:
        if self._stopped:
            return f"ramping down: {self._stopped}"
        return "waiting for late answers" if at_s > self._play.until_s else ""

    def _wind_down(self, play: _PlayUnderWay, recording: Recording) -> None:
        """Replace the rest of the plan by a short ramp to zero."""
        play.wound_down = True
        now_s = (time.monotonic_ns() - self._epoch_ns) / 1e9 + _WAIT_S
        for name, spans in play.spans.items():
            level = level_at(spans, now_s)
            for span in spans:
                recording.cut(span.stage, now_s)
            if level <= 0:
                play.spans[name] = []
                continue
            stage = StageSpan(
                scenario=name,
                name="winding down",
                kind=StageKind.RAMP_DOWN,
                measured=False,
                from_s=now_s,
                until_s=now_s + WIND_DOWN_S,
                start_level=level,
                end_level=0.0,
            )
            play.spans[name] = [_span(stage, recording.stage(stage))]
        for number in play.open:
            self._children[number].send(Replan(play.spans))

    def _servers_for(self, scenario: Scenario) -> list[Server]:
        found = targets(self._generator_workers.servers, scenario.operation, scenario.servers)
        return [server for server in found if scenario.servers or server.name != ECHO]

    def _first_told(self, number: int) -> Begin:
        generator_workers = self._generator_workers
        position = Position(
            worker=number,
            workers=generator_workers.workers,
            max_connections=generator_workers.limits.max_connections,
            max_rate=generator_workers.limits.max_rate,
            per_host=generator_workers.limits.per_host,
            seed=generator_workers.seed,
            log_level=generator_workers.log_level,
        )
        servers = generator_workers.servers
        return Begin(position, servers, generator_workers.addresses, libraries(servers))

    def _end(self, within_s: float) -> None:
        for child in self._children:
            child.send(Bye())
        until = time.monotonic() + within_s
        for child in self._children:
            try:
                while time.monotonic() < until:
                    if any(isinstance(message, Bye) for message in child.receive(_WAIT_S, _SILENCE_S)):
                        break
            except ChildLost:
                pass
            child.end(within_s=max(0.2, until - time.monotonic()) if within_s else 0)
        self._children = []
        self._aside.shutdown()


def _yield_to_others() -> None:
    """Let this thread wait when cores are scarce: a worker that it interrupts is late by milliseconds.

    On Linux priorities belong to threads; elsewhere the priority would change for the whole program, for good.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _of_cell(cell: Cell | None) -> dict[str, Any]:
    return {} if cell is None else {"users": cell.users, "servers": cell.servers, "block": cell.block}


def _span(stage: StageSpan, number: int) -> LevelSpan:
    return LevelSpan(stage.from_s, stage.until_s, stage.start_level, stage.end_level, number)
