"""The load generator's own lateness: the latency that it added, and the claims of a run that it can change."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from checker.loadtest.bottleneck import BoundSpan, Cause
from checker.loadtest.judging.client_symptoms import late_limit_us
from checker.loadtest.results import Affected, BenchRun, Claim, Claims, Slot, ThresholdResult, Told
from checker.loadtest.summary import measured_stages
from checker.loadtest.thresholds.grammar import Aggregate, Condition, Metric, parsed
from checker.loadtest.thresholds.watch import value_over
from checker.stats.histogram import Cells, middle_us

UNMADE = frozenset({Cause.HELD, Cause.SILENT, Cause.DESCRIPTORS, Cause.PORTS})
"""With these causes the server did not get the load that the run reports."""
UNMADE_US = 1_000_000
"""Arrivals that are later than a slot are a different load."""
_TIMES = ("response", "failed_response")


@dataclass(frozen=True, slots=True)
class Lateness:
    """The most that the load generator may have added to a response time, in each second."""

    begin_us: dict[int, int]
    """Second -> lateness of starts (p99)."""
    answer_us: dict[int, int]
    """Second -> possible lateness of reading replies."""
    unmade: frozenset[int]
    """Seconds in which the server did not get the planned load."""

    @classmethod
    def of(cls, run: BenchRun, spans: Iterable[BoundSpan]) -> Lateness:
        """The lateness from the workers' seconds. A reply can wait as long as a start: both wait for the same loop.

        The time from the scheduled start contains the late start and the late read of the reply, each once. A worker's
        seconds have their own offset, so the seconds on both sides of a slot count.
        """
        begin: dict[int, int] = defaultdict(int)
        answer: dict[int, int] = defaultdict(int)
        for second in run.health:
            for at_s in (second.at_s - 1, second.at_s, second.at_s + 1):
                begin[at_s] = max(begin[at_s], second.late_p99_us)
                answer[at_s] = max(answer[at_s], second.lag_p99_us, second.late_p99_us)
        unmade = {at_s for at_s, late_us in begin.items() if late_us >= UNMADE_US}
        for span in spans:
            if span.cause in UNMADE:
                unmade |= set(range(int(span.from_s), int(np.ceil(span.until_s))))
        return cls(dict(begin), dict(answer), frozenset(unmade))

    def added_us(self, at_s: int, slot_s: int = 1) -> int:
        """The largest share of the load generator in a response time of this slot, in microseconds."""
        seconds = range(at_s, at_s + slot_s)
        return max((self.begin_us.get(one, 0) + self.answer_us.get(one, 0) for one in seconds), default=0)

    def answer_added_us(self, at_s: int, slot_s: int = 1) -> int:
        """The same for a service time, which begins when the request is sent."""
        return max((self.answer_us.get(one, 0) for one in range(at_s, at_s + slot_s)), default=0)

    def most_us(self, run: BenchRun, stages: Collection[int]) -> int:
        """The largest share of the load generator in a response time of these stages, in microseconds."""
        return max((self.added_us(slot.at_s, run.slot_s) for slot in run.slots if slot.stage in stages), default=0)


def without_client(run: BenchRun, lateness: Lateness, stages: Collection[int]) -> BenchRun:
    """The run as if the load generator had never been late: a claim must hold here, too.

    In these stages response times are shorter by all that the load generator can have added, timeouts are no failures,
    and what ended late ended in time.
    """
    there = [place for place, slot in enumerate(run.slots) if slot.stage in stages]
    changed = [_quicker(run.slots[place], lateness, run) for place in there]
    for name in ("response", "service", "first_byte", "failed_response"):
        of_slot = lateness.added_us if name in _TIMES else lateness.answer_added_us
        shifts = np.array([of_slot(slot.at_s, run.slot_s) for slot in changed], np.int64)
        blobs = _shifted([getattr(slot, name) for slot in changed], shifts)
        given: list[dict[str, Any]] = [{name: blob} for blob in blobs]
        changed = [replace(slot, **values) for slot, values in zip(changed, given, strict=True)]
    slots = list(run.slots)
    for place, slot in zip(there, changed, strict=True):
        slots[place] = slot
    return replace(run, slots=slots)


def _quicker(slot: Slot, lateness: Lateness, run: BenchRun) -> Slot:
    """The counts and the longest time of a slot, without the possible share of the load generator."""
    added_us = lateness.added_us(slot.at_s, run.slot_s)
    is_unmade = any(at_s in lateness.unmade for at_s in range(slot.at_s, slot.at_s + run.slot_s))
    lost = slot.failed if is_unmade else slot.censored
    due = slot.offered - slot.done_failed + lost
    more = slot.offered if is_unmade else int(np.ceil(slot.offered * min(1.0, added_us / 1e6 / run.slot_s)))
    done_ok = max(slot.done_ok, min(due, slot.done_ok + more + min(lost, slot.done_failed)))
    return replace(
        slot,
        ok=slot.ok + lost,
        failed=slot.failed - lost,
        censored=0,
        refused=0 if is_unmade else slot.refused,
        dropped=0 if is_unmade else slot.dropped,
        done_ok=done_ok,
        done_failed=max(0, slot.done_failed - lost),
        max_us=max(1, slot.max_us - added_us) if slot.max_us else 0,
    )


def _shifted(blobs: list[bytes], shifts_us: np.typing.NDArray[np.int64]) -> list[bytes]:
    """Packed histograms with all samples shortened by this much, to no less than a microsecond."""
    if not blobs:
        return []
    cells = Cells.of_blobs(np.arange(len(blobs)), blobs)
    moved = np.maximum(1, (middle_us(cells.bin) - shifts_us[cells.group]).astype(np.int64))
    repeated = np.repeat(np.arange(len(moved)), cells.count)
    return Cells.of_values(cells.group[repeated], moved[repeated]).blobs(len(blobs))


PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_UNMADE_RATIO = 0.05
"""Share of the measured seconds: if the load was not made in more, nothing is known about times under it."""


def claims_of(run: BenchRun, lateness: Lateness | None) -> Claims:
    """The claims of a run that stand; ``lateness`` is None if the load generator was never the limit while measured."""
    noisy = [_below_noise(run, one) for one in run.thresholds]
    if lateness is None:
        told = tuple(noise or _plain(one) for noise, one in zip(noisy, run.thresholds, strict=True))
        return Claims(told if any(noisy) else ())
    stages = measured_stages(run)
    best = without_client(run, lateness, stages)
    seconds = {
        at_s for at in stages for at_s in range(math.floor(run.stages[at].from_s), math.ceil(run.stages[at].until_s))
    }
    is_unmade = len(seconds & lateness.unmade) > _UNMADE_RATIO * len(seconds)
    added_us = lateness.most_us(run, stages)
    thresholds = tuple(
        noise or _judged(run, best, one, added_us, is_unmade) for noise, one in zip(noisy, run.thresholds, strict=True)
    )
    return Claims(thresholds, _affected(run, best, is_unmade), added_us, is_unmade)


def _plain(one: ThresholdResult) -> Claim:
    return Claim(Told.PASSED if one.passed else Told.FAILED, one.value, one.value, "")


def _condition(one: ThresholdResult) -> Condition | None:
    try:
        return parsed(one.metric, one.expression)
    except ValueError:  # of another version of the grammar: the result stands as it was stored
        return None


def _judged(run: BenchRun, best: BenchRun, one: ThresholdResult, added_us: int, is_unmade: bool) -> Claim:
    """The threshold judged on the run as measured, as it would be without lateness, and as it might be under load."""
    condition = _condition(one)
    if condition is None or one.value is None or condition.metric is Metric.LATE:
        return _plain(one)
    better = value_over(best, condition, one.over_s)
    ends = [one.value, one.value if better is None else better]
    closed = any(series.model == "closed" for series in run.series)
    if condition.metric.is_time and condition.aggregate is not Aggregate.COUNT:
        if closed:  # without its own pauses the client would ask more often
            ends.append(one.value + added_us / 1000)
        if is_unmade:
            ends.append(math.inf)
    elif is_unmade:
        ends += [0.0, 1.0 if condition.metric.is_share and condition.aggregate is not Aggregate.COUNT else math.inf]
    elif closed and not condition.metric.is_share:
        ends.append(math.inf)
    low, high = min(ends), max(ends)
    limit, operator = condition.limit, condition.operator
    if operator.is_upper or operator.is_lower:
        holds = {condition.holds(low), condition.holds(high)}
    else:
        inside = low <= limit <= high
        holds = {condition.holds(limit)} if low == high == limit else {True, False}
        holds = holds if inside else {condition.holds(low)}
    why = "the server did not get the full load" if is_unmade else f"the client added up to {_ms(added_us)}"
    if low == high:
        why = ""
    # One that holds and has not passed had a window without a value, which is not the client's doing.
    alike = Told.PASSED if holds == {True} and one.passed else Told.FAILED
    told = alike if len(holds) == 1 else Told.CANNOT_TELL
    return Claim(told, low, None if math.isinf(high) else high, why)


def _below_noise(run: BenchRun, one: ThresholdResult) -> Claim | None:
    """A limit that the load generator misses even against an echo, and that the run misses by no more; else None."""
    condition = _condition(one)
    if one.passed or one.value is None or condition is None or not condition.operator.is_upper:
        return None
    if condition.metric is not Metric.RESPONSE_TIME or condition.aggregate is Aggregate.COUNT:
        return None
    is_median = 0 < condition.quantile <= PERCENTILES["p50"]
    noises_ms = [(each.noise_p50_us if is_median else each.noise_p99_us) / 1000 for each in run.calibrations]
    noise_ms = max(noises_ms, default=0.0)
    if noise_ms < condition.limit or not condition.holds(one.value - noise_ms):
        return None
    why = f"the client adds up to {_ms(1000 * noise_ms)} even to an echo on loopback"
    return Claim(Told.CANNOT_TELL, max(0.0, one.value - noise_ms), one.value, why)


def _affected(run: BenchRun, best: BenchRun, is_unmade: bool) -> tuple[Affected, ...]:
    """The percentiles that shift by more than the lateness."""
    tables = []
    for one in (run, best):
        stages = set(measured_stages(one))
        slots = [slot for slot in one.slots if slot.stage in stages and slot.response]
        group = np.array([slot.series for slot in slots], np.int64)
        cells = Cells.of_blobs(group, [slot.response for slot in slots])
        tables.append(cells.quantiles(len(run.series), list(PERCENTILES.values())).tolist())
    return tuple(
        Affected(place, name, value, low, is_unmade)
        for place, (values, lows) in enumerate(zip(*tables, strict=True))
        for name, value, low in zip(PERCENTILES, values, lows, strict=True)
        if value == value and (is_unmade or value - low > late_limit_us(value))
    )


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.3g} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:.3g} s"
