"""A stress test: levels until it is known between which two the objective breaks, then the recovery."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from checker.loadtest.bottleneck import Saturation
from checker.loadtest.judging.client_symptoms import ClientLimits
from checker.loadtest.judging.lateness import Lateness, without_client
from checker.loadtest.judging.saturation import RUN_RATIO, judge
from checker.loadtest.judging.search import Knee, LevelVerdict, Purpose, Search, knee
from checker.loadtest.plan import LoadLimits, Model, Plan, Scenario, Stage, StageKind, Stress
from checker.loadtest.protocols import LoadGenerator
from checker.loadtest.results import BenchRun, Capacity, LevelResult
from checker.loadtest.summary import Summary, of_stage, summarize
from checker.stats.scalability import Fit, fit

_TIMES = 2.0
_P99_MS = 1.0
_FAILED_RATIO = 0.01


def better_under_more_load(levels: Sequence[LevelResult]) -> str:
    """A description of the pair of levels that contradicts most; empty if none does.

    Less load was worse if its p99 was more than twice that of a higher level, and by more than 1 ms, or if its failure
    rate was more than twice as high, and by more than 1 percentage point. Causes are a cold server at the first level,
    a cache that fills, or a server that scales out under load. Levels at which the load generator was the limit are
    left out.
    """
    counted = sorted((result for result in levels if not result.client_bound), key=lambda result: result.level)
    pairs = [(low, high) for low, high in combinations(counted, 2) if low.level < high.level]
    failing = max(pairs, key=lambda pair: pair[0].failed_ratio - pair[1].failed_ratio, default=None)
    if failing is not None:
        less, more = failing
        if less.failed_ratio > max(_TIMES * more.failed_ratio, more.failed_ratio + _FAILED_RATIO):
            rates = f"{_percent(less.failed_ratio)} failed at {less.level:,g}, {_percent(more.failed_ratio)} at"
            return f"more load was not always worse: {rates} {more.level:,g}"
    slower = [
        (less.p99_ms / more.p99_ms, less, more)
        for less, more in pairs
        if less.p99_ms and more.p99_ms and less.p99_ms > max(_TIMES * more.p99_ms, more.p99_ms + _P99_MS)
    ]
    if not slower:
        return ""
    _, less, more = max(slower, key=lambda one: one[0])
    times = f"p99 was {less.p99_ms:,.3g} ms at {less.level:,g} and {more.p99_ms:,.3g} ms at {more.level:,g}"
    return f"more load was not always worse: {times}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g}%"


SCENARIO = "stress"
_SETTLE_S = 2.0
_SETTLE_RATIO = 0.25
_PLACES = 1000
_OFFERED_RATIO = 0.98
"""Share of the level's own rate: with fewer arrivals the level was not played."""


def scenario_of(level: float, stress: Stress, limits: LoadLimits, recovery_level: float | None = None) -> Scenario:
    """The scenario of a level: unmeasured settling, the level held, and for the recovery a lower level after it.

    The limit on concurrent operations is twice the number needed when each takes as long as the objective allows, so
    that the plan does not make arrivals wait.
    """
    # Whole seconds, so that no slot belongs to two stages where the level's own duration is whole, too.
    settle_s = float(max(1, round(min(_SETTLE_S, _SETTLE_RATIO * stress.level_duration))))
    stages = [
        Stage(duration=settle_s, target=level, kind=StageKind.WARM_UP, name=f"settle at {shown(level, stress)}"),
        Stage(duration=stress.level_duration, target=level, kind=StageKind.HOLD, name=shown(level, stress)),
    ]
    if recovery_level is not None:
        name = f"recovery at {shown(recovery_level, stress)}"
        stages.append(Stage(duration=stress.recovery, target=recovery_level, kind=StageKind.COOL_DOWN, name=name))
    needed = level if stress.model is Model.CLOSED else min(2 * level * stress.p99, limits.max_connections)
    return Scenario(
        operation=stress.operation,
        model=stress.model,
        stages=tuple(stages),
        servers=stress.servers,
        timeout=stress.timeout,
        max_in_flight=max(_PLACES, math.ceil(needed)),
        tool=stress.tool,
        arguments=stress.arguments,
    )


def shown(level: float, stress: Stress) -> str:
    """A level with its unit."""
    return f"{level:,.6g} users" if stress.model is Model.CLOSED else f"{level:,.6g}/s"


def judged(run: BenchRun, settle: int, hold: int, level: float, stress: Stress, client: Saturation) -> LevelResult:
    """The verdict on a level; ``settle`` and ``hold`` are the indexes of its stages.

    Lateness of the load generator in more than 5% of the level can only have made the result worse: a level that looks
    good is good, and one that is bad even without the load generator's share is bad. Where that could change the
    verdict, where the load was not made, and where there were fewer arrivals than planned, the load generator is the
    limit: the level is neither good nor bad.
    """
    summary = of_stage(run, hold)
    achieved_per_s = _achieved_per_s(run, settle, hold, summary)
    broken = _broken(summary, achieved_per_s, stress)
    client_bound = _client_bound(run, (settle, hold), level, stress, summary, client, bool(broken))
    p50_us, p99_us = summary.quantile_us(0.5), summary.quantile_us(0.99)
    return LevelResult(
        stage=hold,
        level=level,
        good=not broken and not client_bound,
        why=client_bound or "; ".join(broken),
        offered_per_s=summary.offered_per_s,
        achieved_per_s=achieved_per_s,
        p50_ms=None if p50_us is None else p50_us / 1000,
        p99_ms=None if p99_us is None else p99_us / 1000,
        failed_ratio=summary.failed_ratio,
        client_bound=bool(client_bound),
    )


def recovery_s(run: BenchRun, stage: int, stress: Stress) -> float | None:
    """Seconds into a stage after which the objective held for three slots in a row; None if it never did."""
    span = run.stages[stage]
    slots: dict[int, list[int]] = {}
    for at, slot in enumerate(run.slots):
        if slot.stage == stage:
            slots.setdefault(slot.at_s, []).append(at)
    width_s = 3 * run.slot_s
    for begin in sorted(slots):
        if begin + width_s > math.ceil(span.until_s):
            break
        window = [run.slots[at] for at_s in range(begin, begin + width_s, run.slot_s) for at in slots.get(at_s, ())]
        summary = summarize(window, width_s)
        if summary.ok and not broken_objectives(summary, stress):
            return max(0.0, begin - span.from_s)
    return None


def broken_objectives(summary: Summary, stress: Stress) -> Sequence[str]:
    """A description of the parts of the objective (latency, failures) that are broken."""
    broken = []
    p99_us = summary.quantile_us(0.99)
    if not summary.ok:
        broken.append("nothing succeeded" if summary.offered else "nothing was sent")
    if p99_us is not None and p99_us >= stress.p99 * 1e6:
        broken.append(f"p99 {p99_us / 1000:,.4g} ms, not below {stress.p99 * 1000:,.6g} ms")
    if summary.failed_ratio and summary.failed_ratio >= stress.failed:
        most = max(summary.reasons, key=summary.reasons.__getitem__, default="")
        reason = f", most of them {most}" if most else ""
        broken.append(f"{100 * summary.failed_ratio:.3g}% failed, not below {100 * stress.failed:g}%{reason}")
    return broken


def _broken(summary: Summary, achieved_per_s: float, stress: Stress) -> list[str]:
    """A description of the parts of the objective that are broken."""
    broken = [*broken_objectives(summary, stress)]
    # One that is on its way at the end of a level of few arrivals is no shortfall.
    if achieved_per_s + 1 / max(1.0, summary.seconds) < stress.achieved * summary.offered_per_s:
        rates = f"{achieved_per_s:,.4g} of {summary.offered_per_s:,.4g}/s"
        broken.append(f"achieved {rates}, less than {100 * stress.achieved:g}%")
    return broken


def _achieved_per_s(run: BenchRun, settle: int, hold: int, summary: Summary) -> float:
    """Operations per second that ended while the level was held, including those begun before."""
    span = run.stages[hold]
    ended = sum(
        slot.done_ok + slot.done_failed
        for slot in run.slots
        if (slot.stage == hold and slot.at_s < span.until_s) or (slot.stage == settle and slot.at_s >= span.from_s)
    )
    return ended / summary.seconds if summary.seconds else 0.0


def _client_bound(
    run: BenchRun,
    stages: tuple[int, int],
    level: float,
    stress: Stress,
    summary: Summary,
    client: Saturation,
    bad: bool,
) -> str:
    """The reason why the level says nothing about the server; empty if it does."""
    settle, hold = stages
    if stress.model is Model.OPEN and summary.offered + 1 < _OFFERED_RATIO * level * summary.seconds:
        return f"only {summary.offered_per_s:,.4g} of {level:,.6g} arrivals per second were made"
    stage = run.stages[hold]
    spans = [span for span in client.spans if span.from_s < stage.until_s and stage.from_s < span.until_s]
    seconds = {second for span in spans for second in range(math.floor(span.from_s), math.ceil(span.until_s))}
    inside = [second for second in seconds if stage.from_s <= second + 0.5 < stage.until_s]
    if len(inside) <= RUN_RATIO * summary.seconds:
        return ""
    lateness = Lateness.of(run, spans)
    is_unmade = len(lateness.unmade & set(inside)) > RUN_RATIO * summary.seconds
    if not bad and not is_unmade and (stress.model is Model.OPEN or _holds_later(summary, lateness, inside, stress)):
        return ""
    if bad and not is_unmade:
        best = without_client(run, lateness, (settle, hold))
        best_summary = of_stage(best, hold)
        if _broken(best_summary, _achieved_per_s(best, settle, hold, best_summary), stress):
            return ""
    if hold in client.stages:
        return f"the load generator was the limit: {client.stages[hold]}"
    worst = min(spans, key=lambda span: span.cause)
    who = "the workers" if worst.worker is None else f"worker {worst.worker}"
    return f"the load generator may have been the limit: {who} {worst.what}"


def _holds_later(summary: Summary, lateness: Lateness, seconds: Sequence[int], stress: Stress) -> bool:
    """For the closed model: True if users who never wait for a late client, and so send more, are served in time."""
    added_us = max(map(lateness.added_us, seconds), default=0)
    return (summary.quantile_us(0.99) or 0.0) + added_us < stress.p99 * 1e6


@dataclass(frozen=True, slots=True)
class StressResult:
    """The result of a stress test."""

    capacity: Capacity
    notes: tuple[str, ...]
    """For the run's notes: the reason for the end of the search, contradictions, and the sign of the knee."""


def find_capacity(load_generator: LoadGenerator, plan: Plan, client_limits: ClientLimits | None = None) -> StressResult:
    """Play levels of ``plan.stress``, each after settling, until the search is over or the load generator has stopped.

    ``client_limits`` are the load generator's limits by the system, by default those in the run's environment. Raises
    ValueError for a plan without a stress test.
    """
    stress = plan.stress
    if stress is None:
        raise ValueError(f"the plan {plan.name} has no stress test")
    users = stress.model is Model.CLOSED
    highest = max(1.0, float(int(stress.maximum))) if users else min(stress.maximum, plan.limits.max_rate)
    search = Search(
        start=stress.start,
        factor=stress.factor,
        maximum=highest,
        precision=stress.precision,
        whole=users,
    )
    levels: list[LevelResult] = []
    clear: list[LevelResult] = []
    """Levels without lateness of the load generator, which would change their times and throughput."""
    recovery: float | None = None
    while (step := search.next_step()) is not None:
        watched = step.purpose is Purpose.CONFIRM_BAD and stress.recovery > 0
        recovery_level = _recovery_level(search, stress) if watched else None
        scenario = scenario_of(step.level, stress, plan.limits, recovery_level)
        settle, hold, *behind = load_generator.play({SCENARIO: scenario}) or (None, None)
        if load_generator.stopped or settle is None or hold is None:
            break
        run = load_generator.so_far()
        client = judge(run, client_limits)
        result = judged(run, settle, hold, step.level, stress, client)
        if hold not in client.stages:
            clear.append(result)
        levels.append(result)
        search = search.then(step, _verdict(result))
        if behind and _verdict(result) is LevelVerdict.BAD:
            recovery = recovery_s(run, behind[0], stress)
    bend = knee(clear, noise_ms=_noise_ms(load_generator.so_far()))
    law = _law(clear) if users else None
    capacity = Capacity(
        last_good=search.last_good,
        first_bad=search.first_bad,
        knee=bend.level if bend else None,
        recovery_s=recovery,
        levels=tuple(levels),
        usl=law.usl.figures() if law and law.usl else None,
    )
    return StressResult(capacity, tuple(_notes(search, capacity, stress, bend, law, load_generator.stopped)))


def _recovery_level(search: Search, stress: Stress) -> float | None:
    """The first level, or the best level if the first was bad; None if none was good."""
    good = search.last_good
    return None if good is None else min(good, stress.start)


def _verdict(result: LevelResult) -> LevelVerdict:
    if result.client_bound:
        return LevelVerdict.CLIENT_BOUND
    return LevelVerdict.GOOD if result.good else LevelVerdict.BAD


def _noise_ms(run: BenchRun) -> float:
    """The latency that the load generator adds against a loopback echo (p99)."""
    return max((one.noise_p99_us / 1000 for one in run.calibrations), default=0.0)


def _law(levels: list[LevelResult]) -> Fit:
    return fit([(result.level, result.achieved_per_s) for result in levels if not result.client_bound])


def _notes(
    search: Search, capacity: Capacity, stress: Stress, bend: Knee | None, law: Fit | None, stopped: str
) -> Iterator[str]:
    """Notes that a reader of the capacity needs, the end of the search first."""
    good, bad = capacity.last_good, capacity.first_bad
    last = capacity.levels[-1] if capacity.levels else None
    if stopped:
        yield f"the search did not come to its end: {stopped}"
    elif search.ended_by_client and last is not None:
        beyond = f"above {shown(good, stress)}" if good is not None else "at all"
        unknown = f"what the server can do {beyond} is not known"
        yield f"the search ended at {shown(last.level, stress)}: {last.why}; {unknown}"
    elif bad is None and good is not None:
        yield f"no level was bad up to {shown(good, stress)}, the highest that was allowed: the server can do more"
    if good is None and bad is not None:
        yield f"no level was good down to {shown(bad, stress)}"
    for level in search.unsteady:
        whys = "; ".join(result.why for result in capacity.levels if result.level == level and result.why)
        yield f"{shown(level, stress)} was good once and bad once ({whys}): the server is not steady there"
    if contradiction := better_under_more_load(capacity.levels):
        yield contradiction
    if bend is not None:
        yield f"knee at {shown(bend.level, stress)}: {bend.why}"
    if law is not None and law.refused:
        yield law.refused
    confirmed = any(step.purpose is Purpose.CONFIRM_BAD for step, _ in search.tried)
    if confirmed and stress.recovery > 0 and capacity.recovery_s is None and good is not None and last is not None:
        if last.good:
            yield f"no recovery to watch: {shown(last.level, stress)} was good when it was played again"
        elif not last.client_bound:
            yield f"the objective did not hold again within {stress.recovery:g} s after {shown(last.level, stress)}"
