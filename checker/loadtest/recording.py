"""The recording of a load test: samples of all workers binned into slots of about a second."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from checker.loadtest.messages import (
    ARRIVAL,
    CENSORED,
    DROPPED,
    PHASE,
    PHASES,
    REASONS,
    REFUSED,
    RESENT,
    SAMPLE,
    SHIFT,
    STAGES,
    WAITED,
    Health,
    SampleBatch,
)
from checker.loadtest.plan import Scenario, probe_kind
from checker.loadtest.results import BenchRun, Calibration, Series, Slot, StageSpan, WorkerSecond
from checker.loadtest.summary import merged
from checker.model import Server
from checker.probe_kinds import OPERATIONS
from checker.probes import probe_of
from checker.stats.histogram import Cells, Integers

_SECOND_NS = 1_000_000_000
_MOST_SLOTS = 10_000_000
"""More slots than a run can have: a group is ``key * _MOST_SLOTS + slot``."""
_KEY, _CODE, _INTENDED, _SENT, _FIRST, _DONE, _SIZE = range(SAMPLE)


class Names:
    """Shared numbers of reasons and phases: workers send each name once, for all recordings."""

    def __init__(self) -> None:
        self.reasons, self.phases = Numbered(REASONS), Numbered(PHASES)


class Numbered:
    """Names that each worker numbers on its own, mapped to shared numbers."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self.all = list(known)
        self._known = known
        self._of_worker: dict[int, list[int]] = {}

    def learn(self, worker: int, new: Sequence[str]) -> None:
        """Add the next names that the worker numbers."""
        own = self._of_worker.setdefault(worker, list(range(len(self._known))))
        for name in new:
            if name not in self.all:
                self.all.append(name)
            own.append(self.all.index(name))

    def shared(self, worker: int, numbers: Integers) -> Integers:
        """The shared numbers for those of the worker."""
        own: Integers = np.array(self._of_worker.get(worker, range(len(self._known))), np.int64)
        return own[numbers]


class Tally:
    """A collector of workers' messages that yields slots."""

    def __init__(self, epoch_ns: int, slot_s: int, names: Names) -> None:
        self._epoch_ns, self._slot_ns = epoch_ns, slot_s * _SECOND_NS
        self._slot_s = slot_s
        self._reasons, self._phases = names.reasons, names.phases
        self._samples: list[Integers] = []
        self._arrivals: list[Integers] = []
        self._phase_rows: list[Integers] = []
        self._late_ns: dict[int, list[Integers]] = {}
        self._stretches_ns: dict[int, list[Integers]] = {}
        self.exchanges: Collection[int] = ()
        """Series whose phases follow from their samples."""

    def take(self, worker: int, updates: SampleBatch) -> None:
        """Take the events of a worker."""
        self._reasons.learn(worker, updates.new_reasons)
        self._phases.learn(worker, updates.new_phases)
        samples = _rows(updates.samples, SAMPLE)
        if len(samples):
            samples = samples.copy()
            code = samples[:, _CODE]
            prompt = (code & WAITED == 0) & (samples[:, _SENT] > 0)
            late = samples[prompt, _SENT] - samples[prompt, _INTENDED]
            self._late_ns.setdefault(worker, []).append(late)
            reason = self._reasons.shared(worker, code >> SHIFT)
            samples[:, _CODE] = reason << SHIFT | code & (REFUSED | RESENT)
            self._samples.append(samples)
        self._arrivals.append(_rows(updates.arrivals, ARRIVAL))
        phases = _rows(updates.phases, PHASE)
        if len(phases):
            phases = phases.copy()
            phases[:, 2] = self._phases.shared(worker, phases[:, 2])
            self._phase_rows.append(phases)
        self._stretches_ns.setdefault(worker, []).append(np.frombuffer(updates.stretches, np.int64))

    def health(self, worker: int, health: Health) -> WorkerSecond:
        """A worker's second, with the lateness of its operations and its event loop."""
        late = _joined(self._late_ns.pop(worker, []))
        stretches = _joined(self._stretches_ns.pop(worker, []))
        return WorkerSecond(
            worker=worker,
            at_s=max(0, round((health.at_ns - self._epoch_ns) / _SECOND_NS)),
            cpu_ratio=health.cpu_ratio,
            busy_ratio=health.busy_ratio,
            lag_p99_us=_p99_us(stretches),
            lag_max_us=int(stretches.max(initial=0)) // 1000,
            late_p99_us=_p99_us(late),
            gc_us=health.gc_us,
            in_flight=health.in_flight,
            backlog=health.backlog,
            descriptors=health.descriptors,
            ports=health.ports,
            memory_bytes=health.memory_bytes,
            starved_us=health.starved_us,
        )

    def slots(self) -> list[Slot]:
        """The slots since the last call; an earlier slot may come again, to be added."""
        samples = _table(self._samples, SAMPLE)
        arrivals, phases = _table(self._arrivals, ARRIVAL), _table(self._phase_rows, PHASE)
        self._samples, self._arrivals, self._phase_rows = [], [], []
        if not len(samples) and not len(arrivals) and not len(phases):
            return []
        due = self._groups(samples[:, _KEY], samples[:, _INTENDED])
        done = self._groups(samples[:, _KEY], samples[:, _DONE])
        offered = self._groups(arrivals[:, 0], arrivals[:, 1])
        groups = np.unique(np.concatenate((due, done, offered, self._groups(phases[:, 0], phases[:, 1]))))
        return _Binned(self, groups, samples, arrivals, phases, due, done, offered).slots()

    def _groups(self, keys: Integers, moments_ns: Integers) -> Integers:
        slots = np.maximum(0, (moments_ns - self._epoch_ns) // self._slot_ns)
        return keys * _MOST_SLOTS + slots

    @property
    def reason_names(self) -> list[str]:
        """Reasons by their numbers."""
        return self._reasons.all

    @property
    def phase_names(self) -> list[str]:
        """Phases by their numbers."""
        return self._phases.all

    @property
    def slot_s(self) -> int:
        """The width of a slot in seconds."""
        return self._slot_s


class _Binned:
    """One pass over new samples: all groups are summed at once."""

    def __init__(
        self,
        tally: Tally,
        groups: Integers,
        samples: Integers,
        arrivals: Integers,
        phases: Integers,
        due: Integers,
        done: Integers,
        offered: Integers,
    ) -> None:
        self._tally, self._groups, self._samples, self._phases = tally, groups, samples, phases
        self._count = len(groups)
        self._due = np.searchsorted(groups, due)
        self._done, self._offered = np.searchsorted(groups, done), np.searchsorted(groups, offered)
        self._reason = samples[:, _CODE] >> SHIFT
        dropped = self._reason == tally.reason_names.index(DROPPED)
        self._ok = self._reason == 0
        self._failed = ~self._ok & ~dropped
        self._dropped = dropped

    def slots(self) -> list[Slot]:
        """The slots of this pass."""
        samples, ok, failed = self._samples, self._ok, self._failed
        timeouts = np.array([name in CENSORED for name in self._tally.reason_names])
        refused, resent = ((samples[:, _CODE] & flag).astype(bool) for flag in (REFUSED, RESENT))
        counts = {
            "offered": np.bincount(self._offered, minlength=self._count),
            "dropped": self._counted(self._dropped),
            "ok": self._counted(ok),
            "failed": self._counted(failed),
            "censored": self._counted(timeouts[self._reason]),
            "done_ok": np.bincount(self._done[ok], minlength=self._count),
            "done_failed": np.bincount(self._done[failed], minlength=self._count),
            "received_bytes": self._summed(samples[:, _SIZE]),
            "refused": self._counted(refused),
            "resent": self._counted(resent),
        }
        response_ns = samples[:, _DONE] - samples[:, _INTENDED]
        longest = np.zeros(self._count, np.int64)
        np.maximum.at(longest, self._due[ok], response_ns[ok] // 1000)
        sent = ok | failed
        answered = ok & (samples[:, _FIRST] > 0)
        histograms: dict[str, Any] = {
            "response": self._histogram(response_ns, ok),
            "service": self._histogram(samples[:, _DONE] - samples[:, _SENT], ok),
            "first_byte": self._histogram(samples[:, _FIRST] - samples[:, _SENT], answered),
            "late": self._histogram(samples[:, _SENT] - samples[:, _INTENDED], sent),
            "failed_response": self._histogram(response_ns, failed),
        }
        reasons, (phases, connections) = self._reasons(), self._phase_sums()
        numbers: dict[str, Any] = {name: values.astype(np.int64).tolist() for name, values in counts.items()}
        keys, slots = (self._groups // _MOST_SLOTS).tolist(), (self._groups % _MOST_SLOTS).tolist()
        return [
            Slot(
                series=keys[place] // STAGES,
                stage=keys[place] % STAGES,
                at_s=slots[place] * self._tally.slot_s,
                connections=connections[place],
                max_us=int(longest[place]),
                reasons=reasons.get(place, {}),
                phases_us=phases.get(place, {}),
                **{name: values[place] for name, values in numbers.items()},
                **{name: blobs[place] for name, blobs in histograms.items()},
            )
            for place in range(self._count)
        ]

    def _counted(self, which: npt.NDArray[np.bool_]) -> Integers:
        return np.bincount(self._due[which], minlength=self._count)

    def _summed(self, values: Integers) -> Integers:
        return np.bincount(self._due, values, self._count).astype(np.int64)

    def _histogram(self, nanoseconds: Integers, which: npt.NDArray[np.bool_]) -> list[bytes]:
        return Cells.of_values(self._due[which], nanoseconds[which] // 1000).blobs(self._count)

    def _reasons(self) -> dict[int, dict[str, int]]:
        """Index of a group -> count of its failures by reason."""
        names = self._tally.reason_names
        pairs, times = np.unique(self._due[self._failed] * len(names) + self._reason[self._failed], return_counts=True)
        found: dict[int, dict[str, int]] = {}
        for pair, count in zip(pairs.tolist(), times.tolist(), strict=True):
            found.setdefault(pair // len(names), {})[names[pair % len(names)]] = count
        return found

    def _phase_sums(self) -> tuple[dict[int, dict[str, int]], list[int]]:
        """Index of a group -> time in each phase, and number of opened connections."""
        tally, rows = self._tally, self._phases
        names = tally.phase_names
        place = np.searchsorted(self._groups, tally._groups(rows[:, 0], rows[:, 1]))
        opened = np.bincount(place[rows[:, 2] == 0], minlength=self._count).tolist()
        sums = np.bincount(place * len(names) + rows[:, 2], rows[:, 3] // 1000, self._count * len(names))
        table = sums.reshape(self._count, len(names)).astype(np.int64)
        found = {
            group: {name: value for name, value in zip(names, table[group].tolist(), strict=True) if value}
            for group in np.flatnonzero(table.any(axis=1)).tolist()
        }
        samples, answered = self._samples, self._ok & (self._samples[:, _FIRST] > 0)
        waited = np.bincount(
            self._due[answered], (samples[answered, _FIRST] - samples[answered, _SENT]) // 1000, self._count
        )
        moved = np.bincount(
            self._due[answered], (samples[answered, _DONE] - samples[answered, _FIRST]) // 1000, self._count
        )
        series = self._groups // _MOST_SLOTS // STAGES
        for group in np.flatnonzero(np.isin(series, list(tally.exchanges)) & (waited + moved > 0)).tolist():
            own = found.setdefault(group, {})
            own["wait"] = max(0, int(waited[group]) - sum(own.values()))
            own["transfer"] = int(moved[group])
        return found, opened


def _rows(data: bytes, width: int) -> Integers:
    return np.frombuffer(data, np.int64).reshape(-1, width)


def _table(rows: list[Integers], width: int) -> Integers:
    return np.concatenate(rows) if rows else np.zeros((0, width), np.int64)


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _p99_us(nanoseconds: Integers) -> int:
    if not len(nanoseconds):
        return 0
    rank = min(len(nanoseconds) - 1, len(nanoseconds) * 99 // 100)
    return int(np.partition(nanoseconds, rank)[rank]) // 1000


_MERGE_AT = 20_000
"""Number of slots after which those of equal keys are added together."""


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
        """Begin the recording at this monotonic moment and time of day."""
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
        """Numbers of the series whose operation is a single request and its reply."""
        return {number for number, one in enumerate(self._known) if OPERATIONS[one.operation].is_exchange}

    def stage(self, stage: StageSpan) -> int:
        """Add a stage and return its number."""
        self.stages.append(stage)
        return len(self.stages) - 1

    def cut(self, number: int, at_s: float) -> None:
        """End a stage, in progress or still to come, now."""
        stage = self.stages[number]
        if stage.until_s > at_s:
            self.stages[number] = replace(stage, until_s=max(stage.from_s, at_s))

    def add(self, slots: Iterable[Slot], health: Iterable[WorkerSecond]) -> None:
        """Add new updates."""
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
        """The run so far."""
        self._slots = list(merged(self._slots))
        return replace(self.outline(), slots=tuple(self._slots), health=tuple(self._health))


def without_unplayed(run: BenchRun) -> BenchRun:
    """The run without the stages that were never reached."""
    used = {slot.stage for slot in run.slots}
    kept = [at for at, stage in enumerate(run.stages) if stage.until_s > stage.from_s or at in used]
    place: Mapping[int, int] = {at: number for number, at in enumerate(kept)}
    if len(kept) == len(run.stages):
        return run
    slots: Sequence[Slot] = [replace(slot, stage=place[slot.stage]) for slot in run.slots]
    return replace(run, stages=tuple(run.stages[at] for at in kept), slots=tuple(slots))
