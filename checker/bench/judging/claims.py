"""What the client's own lateness can change of what a run claims: of each threshold, and of each number."""

from __future__ import annotations

import math

import numpy as np

from checker.bench.judging.client import late_limit_us
from checker.bench.judging.lateness import Lateness, without_client
from checker.bench.results import Affected, BenchRun, Claim, Claims, ThresholdResult, Told
from checker.bench.summary import measured_stages
from checker.bench.thresholds.grammar import Aggregate, Condition, Metric, parsed
from checker.bench.thresholds.watch import value_over
from storage.rollups.histogram import Cells

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_UNMADE_RATIO = 0.05
"""Of the measured seconds: with more in which the load was not made, nothing is known of times under it."""


def claims_of(run: BenchRun, lateness: Lateness | None) -> Claims:
    """What is left of the claims of a run; ``lateness`` is None where the client was never the limit while measured."""
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
    """The threshold against the run as measured, as it would be without the client, and as it might be under load."""
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
    """A limit that the client cannot keep against an echo, and that is missed by no more than that; else None."""
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
    """The percentiles that move by more than what is late."""
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
