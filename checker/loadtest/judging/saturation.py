"""Saturation of the load generator: when it, and not the server, was the limit, and whether the run is still valid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from checker.loadtest.bottleneck import BoundSpan, Cause, Saturation, WithinNoise
from checker.loadtest.judging.client_symptoms import NEAR, ClientLimits, Symptom, symptoms
from checker.loadtest.judging.lateness import Lateness, claims_of
from checker.loadtest.results import BenchKind, BenchRun, Claims, Told, WorkerSecond
from checker.loadtest.summary import measured_stages
from checker.probe_kinds import KIND_OF
from checker.stats.histogram import Cells

RATIOS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def within_noise(run: BenchRun) -> tuple[WithinNoise, ...]:
    """Percentiles over the measured stages that are not above the calibration's p99; none without a calibration."""
    floors = {calibration.operation: float(calibration.noise_p99_us) for calibration in run.calibrations}
    stages = set(measured_stages(run))
    slots = [slot for slot in run.slots if slot.stage in stages and slot.response] if floors else []
    group = np.array([slot.series for slot in slots], np.int64)
    table = Cells.of_blobs(group, [slot.response for slot in slots]).quantiles(len(run.series), list(RATIOS.values()))
    return tuple(
        WithinNoise(at, name, value, floor)
        for at, (series, row) in enumerate(zip(run.series, table.tolist(), strict=True))
        if (floor := floors.get(KIND_OF.get(series.operation, ""))) is not None
        for name, value in zip(RATIOS, row, strict=True)
        if value <= floor
    )


RUN_RATIO = 0.05
"""Share of the measured seconds: a run with more client-bound seconds is invalid."""
STAGE_RATIO = 0.2
"""Share of a stage: with more client-bound seconds it says nothing about the server."""
ACHIEVED_RATIO = 0.98
"""Share of the offered rate; less is a shortfall, whose cause must be found."""
SILENT_S = 3.0
"""A worker without a report for this many seconds was not running."""


def judge(run: BenchRun, client_limits: ClientLimits | None = None) -> Saturation:
    """The verdict on a run, finished or in progress, by the workers' seconds.

    A second is client-bound by the symptoms of `client_symptoms`, when the workers have used up the local ports, when a
    worker sent nothing for three seconds, or when less than 98% of the offered requests ended although the missing ones
    were neither sent nor queued. Above 5% of the measured seconds, or with a measured stage that is client-bound for
    more than a fifth, the load generator was the limit of the run. In a suite or a stress test such stages are set
    aside instead, and the rest is judged. A load test is invalid only if the lateness of the load generator can have
    changed its claims (`checker.loadtest.judging.lateness`). ``client_limits`` defaults to the limits in the run's
    environment.
    """
    spans = _spans(run, ClientLimits.of_environment(run.environment) if client_limits is None else client_limits)
    stages = {
        at: _worst(spans, [(stage.from_s, stage.until_s)])
        for at, stage in enumerate(run.stages)
        if _bound_s(spans, [(stage.from_s, stage.until_s)]) > STAGE_RATIO * (stage.until_s - stage.from_s)
    }
    counted = measured_stages(run)
    apart = [] if run.kind == BenchKind.LOAD else [at for at in counted if at in stages]
    times = _union([(run.stages[at].from_s, run.stages[at].until_s) for at in counted if at not in apart])
    measured_s, bound_s = sum(end - begin for begin, end in times), _bound_s(spans, times)
    limited = (
        bound_s > RUN_RATIO * measured_s
        or (run.kind == BenchKind.LOAD and any(at in stages for at in counted))
        or (bool(apart) and len(apart) == len(counted))
    )
    lateness = Lateness.of(run, spans) if bound_s else None
    claims = claims_of(run, lateness) if run.kind == BenchKind.LOAD else Claims()
    unfit = limited and (run.kind != BenchKind.LOAD or claims.is_unmade or bool(claims.numbers))
    untold = [
        one for one, claim in zip(run.thresholds, claims.thresholds, strict=False) if claim.told is Told.CANNOT_TELL
    ]
    headline = claims.is_unmade or any(one.percentile == "p95" for one in claims.numbers)
    invalid = bool(untold) if run.thresholds else limited and headline
    if run.kind != BenchKind.LOAD:
        invalid = limited and not _is_capacity_known(run)
    reason = ""
    if untold and not bound_s:
        why = next(claim.why for claim in claims.thresholds if claim.told is Told.CANNOT_TELL)
        reason = f"{why}, which is not less than what a threshold allows"
    elif invalid or (limited and unfit):
        worst = _worst(spans, times or [(run.stages[at].from_s, run.stages[at].until_s) for at in counted])
        reason = f"the load generator, not the server, was the limit: {worst}"
    elif apart:
        whole = [(run.stages[at].from_s, run.stages[at].until_s) for at in apart]
        some = f"in {len(apart)} of {len(counted)} measured stages, which say nothing about the server"
        reason = f"the load generator was the limit {some}: {_worst(spans, whole)}"
    elif bound_s:
        some = f"for {_seconds(bound_s)} of {_seconds(measured_s)} measured seconds, which are marked"
        added = f", and added up to {claims.added_us / 1000:.3g} ms" if limited else ""
        reason = f"the load generator was the limit {some}{added}: {_worst(spans, times)}"
    waits, noise = _waits(run), within_noise(run)
    return Saturation(invalid, reason, spans, stages, bound_s, measured_s, waits, noise, limited, unfit, claims)


def _is_capacity_known(run: BenchRun) -> bool:
    """For a stress test: True if there is a level that the load generator's lateness could not change."""
    return run.capacity is not None and any(not level.client_bound for level in run.capacity.levels)


def _spans(run: BenchRun, client_limits: ClientLimits) -> tuple[BoundSpan, ...]:
    """All client-bound spans in order of time."""
    medians = _medians_us(run)
    found: dict[tuple[int | None, Cause], list[tuple[float, float, Symptom]]] = defaultdict(list)
    for second in run.health:
        for symptom in symptoms(second, medians.get(second.at_s // run.slot_s * run.slot_s), client_limits):
            found[second.worker, symptom.cause].append((second.at_s, second.at_s + 1.0, symptom))
    for begin, end, symptom in (*_ports(run.health, client_limits), *_held(run)):
        found[None, symptom.cause].append((begin, end, symptom))
    for worker, begin, end in _silences(run):
        found[worker, Cause.SILENT].append((begin, end, Symptom(Cause.SILENT, end - begin, "reported nothing")))
    spans = [span for (worker, _), beyond in found.items() for span in _joined(worker, beyond)]
    return tuple(sorted(spans, key=lambda span: (span.from_s, span.cause, -1 if span.worker is None else span.worker)))


def _medians_us(run: BenchRun) -> dict[int, float]:
    """Slot -> lowest median response time of any scenario: lateness is judged by the fastest one."""
    names = {name: at for at, name in enumerate(sorted({series.scenario for series in run.series}))}
    slots = [slot for slot in run.slots if slot.response]
    starts = {at_s: row for row, at_s in enumerate(sorted({slot.at_s for slot in slots}))}
    rows = [starts[slot.at_s] * len(names) + names[run.series[slot.series].scenario] for slot in slots]
    cells = Cells.of_blobs(np.array(rows, np.int64), [slot.response for slot in slots])
    medians = cells.quantiles(len(starts) * len(names), (0.5,)).reshape(len(starts), len(names))
    return {at_s: float(np.nanmin(medians[row])) for at_s, row in starts.items()}


def _ports(health: Iterable[WorkerSecond], client_limits: ClientLimits) -> Iterable[tuple[float, float, Symptom]]:
    """Seconds in which all workers together are near the last local port; their busiest hosts are taken as one."""
    if client_limits.ports is None:
        return
    together: dict[int, int] = defaultdict(int)
    for second in health:
        together[second.at_s] += second.ports
    for at_s, used in together.items():
        if used > NEAR * client_limits.ports:
            what = f"opened {used:,} connections to one host in a minute, with {client_limits.ports:,} local ports"
            yield at_s, at_s + 1.0, Symptom(Cause.PORTS, used, what)


def _held(run: BenchRun) -> Iterable[tuple[float, float, Symptom]]:
    """Slots with a shortfall that is neither in flight nor queued: the load generator holds it.

    A request that is due and has not ended is in flight, queued, or held by the load generator. The workers report
    maxima of the first two, so the remainder is the minimum that was held.
    """
    offered: dict[int, int] = defaultdict(int)
    done: dict[int, int] = defaultdict(int)
    gone: dict[int, int] = defaultdict(int)
    for slot in run.slots:
        offered[slot.at_s] += slot.offered
        done[slot.at_s] += slot.done_ok + slot.done_failed
        gone[slot.at_s] += slot.dropped
    known = _known_places(run)
    outstanding = 0
    for at_s in sorted(offered):
        outstanding += offered[at_s] - done[at_s] - gone[at_s]
        held = outstanding - known.get(at_s, outstanding)
        least = max(1.0, (1 - ACHIEVED_RATIO) * offered[at_s])
        if held > least and done[at_s] < ACHIEVED_RATIO * offered[at_s]:
            what = f"held back up to {held:,} scheduled requests"
            yield at_s, at_s + float(run.slot_s), Symptom(Cause.HELD, held, what)


def _known_places(run: BenchRun) -> dict[int, int]:
    """Slot -> the most requests in flight or queued at its end; only slots for which every worker reported it.

    A worker's seconds have their own offset and are only rounded to those of the run: the seconds on both sides count.
    """
    said: dict[int, dict[int, int]] = defaultdict(dict)
    for second in run.health:
        before = said[second.at_s].get(second.worker, 0)
        said[second.at_s][second.worker] = max(before, second.in_flight + second.backlog)
    workers = {second.worker for second in run.health}
    known = {}
    for last_s in said:
        around = [said.get(at_s, {}) for at_s in (last_s - 1, last_s, last_s + 1)]
        if all(workers <= seconds.keys() for seconds in around[1:]):
            place = last_s // run.slot_s * run.slot_s
            if last_s == place + run.slot_s - 1:
                known[place] = sum(max(seconds.get(worker, 0) for seconds in around) for worker in workers)
    return known


def _silences(run: BenchRun) -> Iterable[tuple[int, float, float]]:
    """Gaps in the seconds of a worker, within measured stages."""
    times = _union([(run.stages[at].from_s, run.stages[at].until_s) for at in measured_stages(run)])
    said: dict[int, list[int]] = defaultdict(list)
    for second in run.health:
        said[second.worker].append(second.at_s)
    for worker, seconds in said.items():
        ordered = sorted(seconds)
        every_s = min((later - sooner for sooner, later in pairwise(ordered) if later > sooner), default=1)
        # Behind the last second as well: a worker that was lost never says another.
        for sooner, later in pairwise([*ordered, max((end for _, end in times), default=0.0)]):
            for begin, end in times:
                low, high = max(begin, sooner + every_s), min(end, later)
                if high - low >= SILENT_S * every_s:
                    yield worker, low, high


def _waits(run: BenchRun) -> tuple[BoundSpan, ...]:
    """Seconds in which arrivals were queued, over all workers."""
    together: dict[int, int] = defaultdict(int)
    for second in run.health:
        together[second.at_s] += second.backlog
    waits = [
        (
            float(at_s),
            at_s + 1.0,
            Symptom(Cause.WAIT, waited, f"had up to {waited:,} arrivals queued (max_in_flight reached)"),
        )
        for at_s, waited in sorted(together.items())
        if waited
    ]
    return tuple(_joined(None, waits))


def _joined(worker: int | None, beyond: Sequence[tuple[float, float, Symptom]]) -> list[BoundSpan]:
    """Neighbouring seconds of one cause merged into one span, described by the worst of them."""
    spans: list[tuple[float, float, Symptom]] = []
    for begin, end, symptom in sorted(beyond, key=lambda one: one[:2]):
        if spans and begin <= spans[-1][1]:
            first, last, worst = spans.pop()
            spans.append((first, max(last, end), max(worst, symptom, key=lambda one: one.value)))
        else:
            spans.append((begin, end, symptom))
    return [BoundSpan(begin, end, worker, symptom.what, symptom.cause) for begin, end, symptom in spans]


def _worst(spans: Sequence[BoundSpan], times: Sequence[tuple[float, float]]) -> str:
    """The span that best explains these times: the longest, or its underlying cause if that is nearly as long."""
    lengths = {span: _overlap_s(span.from_s, span.until_s, times) for span in spans}
    longest = max(lengths.values(), default=0.0)
    worst = min(
        (span for span in spans if lengths[span] and lengths[span] >= longest / 2),
        key=lambda span: (span.cause, -lengths[span]),
        default=None,
    )
    if worst is None:
        return ""
    who = "the workers" if worst.worker is None else f"worker {worst.worker}"
    return f"{who} {worst.what} from {_seconds(worst.from_s)} s to {_seconds(worst.until_s)} s"


def _bound_s(spans: Iterable[BoundSpan], times: Sequence[tuple[float, float]]) -> float:
    """Time within these times that any span covers, in seconds."""
    return sum(_overlap_s(begin, end, times) for begin, end in _union([(span.from_s, span.until_s) for span in spans]))


def _overlap_s(begin: float, end: float, times: Sequence[tuple[float, float]]) -> float:
    return sum(max(0.0, min(end, high) - max(begin, low)) for low, high in times)


def _union(times: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same times without overlaps, in order."""
    union: list[tuple[float, float]] = []
    for begin, end in sorted(times):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        elif end > begin:
            union.append((begin, end))
    return union


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}".removesuffix(".0")
