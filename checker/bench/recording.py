"""What a load test has measured so far, as it grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from checker.bench.merge import merged
from checker.bench.plan import Scenario
from checker.bench.planning.targets import probe_kind
from checker.bench.results import BenchRun, Calibration, Series, Slot, StageSpan, WorkerSecond
from checker.bench.tally import Names, Tally
from checker.kinds import OPERATIONS
from checker.model import Server
from checker.probes import probe_of

_MERGE_AT = 20_000
"""Slots that are kept before those of equal keys are added together."""


class Recording:
    """Series, stages, slots and health; ``blank`` is the run without any of them."""

    def __init__(self, blank: BenchRun) -> None:
        self._blank = blank
        self._series: dict[tuple[str, str], int] = {}
        self._known: list[Series] = []
        self.stages: list[StageSpan] = []
        self.calibrations: tuple[Calibration, ...] = ()
        self._slots: list[Slot] = []
        self._merge_at = _MERGE_AT
        self._health: list[WorkerSecond] = []
        self.tally: Tally | None = None
        """Bins the samples; None before the epoch is known."""
        self.epoch_ns = 0
        """On the clock of `time.monotonic_ns`."""

    def start(self, epoch_ns: int, wall_ns: int, names: Names) -> None:
        """Begin at this moment, which is that time of day."""
        self.epoch_ns = epoch_ns
        self.tally = Tally(epoch_ns, self._blank.slot_s, names)
        self._blank = replace(self._blank, started_at_ms=wall_ns // 1_000_000)

    def series(self, name: str, scenario: Scenario, server: Server) -> int:
        """The number of a scenario's series at a server."""
        key = name, server.name
        if key not in self._series:
            kind = probe_kind(scenario.operation)
            url = probe_of(kind).address(server.probes[kind]).shown
            self._series[key] = len(self._known)
            self._known.append(
                Series(scenario=name, operation=scenario.operation, model=scenario.model, server=server.name, url=url)
            )
        return self._series[key]

    @property
    def exchanges(self) -> set[int]:
        """Numbers of the series whose operation is one request and its reply."""
        return {number for number, one in enumerate(self._known) if OPERATIONS[one.operation].is_exchange}

    def stage(self, stage: StageSpan) -> int:
        """Add a stage; its number."""
        self.stages.append(stage)
        return len(self.stages) - 1

    def cut(self, number: int, at_s: float) -> None:
        """A stage that is under way, or still to come, ends now."""
        stage = self.stages[number]
        if stage.until_s > at_s:
            self.stages[number] = replace(stage, until_s=max(stage.from_s, at_s))

    def add(self, slots: Iterable[Slot], health: Iterable[WorkerSecond]) -> None:
        """Take what is new."""
        self._slots += slots
        self._health += health
        if len(self._slots) > self._merge_at:
            self._slots = list(merged(self._slots))
            self._merge_at = max(_MERGE_AT, 2 * len(self._slots))

    def outline(self) -> BenchRun:
        """The run without slots and health."""
        return replace(
            self._blank, series=tuple(self._known), stages=tuple(self.stages), calibrations=self.calibrations
        )

    def run(self) -> BenchRun:
        """The run as far as it has come."""
        self._slots = list(merged(self._slots))
        return replace(self.outline(), slots=tuple(self._slots), health=tuple(self._health))


def without_unplayed(run: BenchRun) -> BenchRun:
    """The run without the stages that it never came to."""
    used = {slot.stage for slot in run.slots}
    kept = [at for at, stage in enumerate(run.stages) if stage.until_s > stage.from_s or at in used]
    place: Mapping[int, int] = {at: number for number, at in enumerate(kept)}
    if len(kept) == len(run.stages):
        return run
    slots: Sequence[Slot] = [replace(slot, stage=place[slot.stage]) for slot in run.slots]
    return replace(run, stages=tuple(run.stages[at] for at in kept), slots=tuple(slots))
