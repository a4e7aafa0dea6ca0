"""A player of load tests whose server is a queueing model: first come, first served, by some equal places.

It takes no time: seconds pass by computation. What is due, waits and ends is reckoned arrival by arrival.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace

from checker.loadtest.plan import Model, Scenario
from checker.loadtest.protocols import Cell
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Series, Slot, StageSpan, WorkerSecond
from checker.stats.histogram import Cells


@dataclass
class QueueServer:
    """Places that each serve one operation at a time, in ``service_ms`` on average: capacity is places / service."""

    places: int = 1
    service_ms: float = 10.0
    spread: float = 0.0
    """Standard deviation of the service time's logarithm; 0 for always the same."""
    slower: Callable[[float, int], float] = lambda at_s, in_flight: 1.0
    """Factor of the service time, by the time of the run and by how many others are served or wait."""
    failing: Callable[[float], bool] = lambda at_s: False


@dataclass
class Ended:
    """One operation."""

    stage: int
    due_s: float
    done_s: float
    failed: bool
    censored: bool


@dataclass
class QueuePlayer:
    """Plays scenarios, one at a time, against one `QueueServer`."""

    server: QueueServer = field(default_factory=QueueServer)
    kind: BenchKind = BenchKind.STRESS
    cpu_us: float = 50.0
    """CPU time of the client for one operation; its only worker cannot do more than fills a core."""
    by_active_stage: bool = False
    """Whether what ends is counted in the stage that is under way then, or in the one that it was due in."""
    seed: int = 1
    stop_after: int | None = None
    """Plays, after which it is interrupted."""
    stopped: str = ""
    now_s: float = 0.0
    plays: list[tuple[Scenario, Cell | None]] = field(default_factory=list)
    stages: list[StageSpan] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._free_s = [0.0] * self.server.places
        heapq.heapify(self._free_s)
        self._made = 0, self._run()

    def play(self, scenarios: Mapping[str, Scenario], cell: Cell | None = None) -> tuple[int, ...]:
        ((name, scenario),) = scenarios.items()
        if self.stopped:
            return ()
        if not self.series:
            self.series.append(
                Series(scenario=name, operation=scenario.operation, model=scenario.model, server="a", url="http://a/")
            )
        self.plays.append((scenario, cell))
        first, level = len(self.stages), 0.0
        for stage in scenario.stages:
            assert stage.kind is not None
            self.stages.append(
                StageSpan(
                    scenario=name,
                    name=stage.name,
                    kind=stage.kind,
                    measured=stage.kind.is_measured,
                    from_s=self.now_s,
                    until_s=self.now_s + stage.duration,
                    start_level=level if stage.kind.is_ramp else stage.target,
                    end_level=stage.target,
                    users=cell.users if cell else None,
                    servers=cell.servers if cell else None,
                    block=cell.block if cell else None,
                )
            )
            self.now_s, level = self.now_s + stage.duration, stage.target
        played = tuple(range(first, len(self.stages)))
        if scenario.model is Model.OPEN:
            self._open(played, scenario)
        else:
            self._closed(played, scenario)
        self.now_s = float(int(max(self.now_s, max((one.done_s for one in self.ended), default=0.0))) + 1)
        if self.stop_after is not None and len(self.plays) >= self.stop_after:
            self.stopped = "interrupted"
        return played

    def so_far(self) -> BenchRun:
        if self._made[0] != len(self.plays):
            self._made = len(self.plays), self._run()
        return self._made[1]

    def _run(self) -> BenchRun:
        return BenchRun(
            id=None,
            name="model",
            kind=self.kind,
            state=BenchState.RUNNING,
            started_at_ms=0,
            finished_at_ms=None,
            checker_version="0",
            plan={},
            plan_digest="",
            seed=self.seed,
            workers=1,
            slot_s=1,
            environment={},
            series=tuple(self.series),
            stages=tuple(self.stages),
            slots=self._slots(),
            health=self._health(),
        )

    def _open(self, played: tuple[int, ...], scenario: Scenario) -> None:
        for at in played:
            span = self.stages[at]
            due_s, step_s = span.from_s, 1 / span.end_level
            while due_s < span.until_s - 1e-9:
                self._serve(at, due_s, scenario.timeout)
                due_s += step_s

    def _closed(self, played: tuple[int, ...], scenario: Scenario) -> None:
        turn = itertools.count()
        users: list[tuple[float, int]] = []
        for at in played:
            span = self.stages[at]
            heapq.heapify(users := sorted(users)[: int(span.end_level)])
            for _ in range(int(span.end_level) - len(users)):
                heapq.heappush(users, (span.from_s, next(turn)))
            while users and users[0][0] < span.until_s:
                due_s, _ = heapq.heappop(users)
                heapq.heappush(users, (self._serve(at, due_s, scenario.timeout) + scenario.think_time, next(turn)))

    def _serve(self, stage: int, due_s: float, timeout_s: float) -> float:
        free_s = heapq.heappop(self._free_s)
        begun_s = max(due_s, free_s)
        busy = sum(1 for other_s in self._free_s if other_s > due_s)
        waiting = int(max(0.0, free_s - due_s) * self.server.places * 1000 / self.server.service_ms)
        service_s = self.server.service_ms / 1000 * self.server.slower(due_s, busy + waiting)
        if self.server.spread:
            service_s *= float(self._rng.lognormal(-(self.server.spread**2) / 2, self.server.spread))
        heapq.heappush(self._free_s, begun_s + service_s)
        late = begun_s + service_s - due_s > timeout_s
        done_s = due_s + timeout_s if late else begun_s + service_s
        self.ended.append(Ended(stage, due_s, done_s, late or self.server.failing(due_s), late))
        return done_s

    def _slots(self) -> list[Slot]:
        found: dict[tuple[int, int], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
        times: dict[tuple[int, int], list[int]] = defaultdict(list)
        for one in self.ended:
            due = found[one.stage, int(one.due_s)]
            due["offered"] += 1
            due["failed" if one.failed else "ok"] += 1
            due["censored"] += one.censored
            if not one.failed:
                times[one.stage, int(one.due_s)].append(round((one.done_s - one.due_s) * 1e6))
            stage = self._active(one) if self.by_active_stage else one.stage
            found[stage, int(one.done_s)]["done_failed" if one.failed else "done_ok"] += 1
        return [
            Slot(
                series=0,
                stage=stage,
                at_s=at_s,
                response=_blob(times[stage, at_s]),
                max_us=max(times[stage, at_s], default=0),
                reasons={"timeout": counts["failed"]} if counts["failed"] else {},
                **counts,
            )
            for (stage, at_s), counts in sorted(found.items())
        ]

    def _active(self, one: Ended) -> int:
        there = [at for at, span in enumerate(self.stages) if span.from_s <= one.done_s < span.until_s]
        return there[-1] if there else one.stage

    def _health(self) -> list[WorkerSecond]:
        """A worker that uses ``cpu_us`` for each operation, late beyond a core, with what has not ended in flight."""
        seconds = int(self.now_s) + 1
        due, done = np.zeros(seconds, int), np.zeros(seconds, int)
        for one in self.ended:
            due[int(one.due_s)] += 1
            done[min(seconds - 1, int(one.done_s))] += 1
        before = np.concatenate(([0], np.cumsum(due - done)[:-1]))
        quiet = WorkerSecond(
            worker=0,
            at_s=0,
            cpu_ratio=0.0,
            lag_p99_us=100,
            lag_max_us=100,
            late_p99_us=100,
            gc_us=0,
            in_flight=0,
            backlog=0,
            descriptors=10,
            ports=10,
            memory_bytes=0,
        )
        return [
            replace(
                quiet,
                at_s=at_s,
                cpu_ratio=min(1.0, float(due[at_s]) * self.cpu_us / 1e6),
                lag_p99_us=800 if float(due[at_s]) * self.cpu_us > 850_000 else 100,
                late_p99_us=100 + max(0, int(5e6 * (float(due[at_s]) * self.cpu_us / 1e6 - 1))),
                in_flight=int(before[at_s] + due[at_s]),
            )
            for at_s in range(seconds)
        ]


def _blob(values_us: list[int]) -> bytes:
    return Cells.of_values(np.zeros(len(values_us), np.int64), np.array(values_us, np.int64)).blobs(1)[0]
