"""A stress test: plays levels until it is known between which two the objective breaks, then watches the recovery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checker.bench.judging.client import Room
from checker.bench.judging.knee import Knee, knee
from checker.bench.judging.level import SCENARIO, judged, recovery_s, scenario_of, shown
from checker.bench.judging.monotone import better_under_more_load
from checker.bench.judging.saturation import judge
from checker.bench.judging.search import LevelVerdict, Purpose, Search
from checker.bench.judging.usl import Fit, fit
from checker.bench.plan import Model, Plan, Stress
from checker.bench.player import Player
from checker.bench.results import BenchRun, Capacity, LevelResult


@dataclass(frozen=True, slots=True)
class StressResult:
    """What came of a stress test."""

    capacity: Capacity
    notes: tuple[str, ...]
    """For the run's notes: why the search ended where it did, what contradicts itself, why the knee is a knee."""


def find_capacity(player: Player, plan: Plan, room: Room | None = None) -> StressResult:
    """Play levels of ``plan.stress``, each after a moment to settle, until the search is over or the player stopped.

    ``room`` is what the system allows the client, by default what the run's environment says of it. Raises ValueError
    for a plan without a stress test.
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
    """Without those that the client was late in: what they say of times and throughput is the client's, too."""
    recovery: float | None = None
    while (step := search.next_step()) is not None:
        watched = step.purpose is Purpose.CONFIRM_BAD and stress.recovery > 0
        recovery_level = _recovery_level(search, stress) if watched else None
        scenario = scenario_of(step.level, stress, plan.limits, recovery_level)
        settle, hold, *behind = player.play({SCENARIO: scenario}) or (None, None)
        if player.stopped or settle is None or hold is None:
            break
        run = player.so_far()
        client = judge(run, room)
        result = judged(run, settle, hold, step.level, stress, client)
        if hold not in client.stages:
            clear.append(result)
        levels.append(result)
        search = search.then(step, _verdict(result))
        if behind and _verdict(result) is LevelVerdict.BAD:
            recovery = recovery_s(run, behind[0], stress)
    bend = knee(clear, noise_ms=_noise_ms(player.so_far()))
    law = _law(clear) if users else None
    capacity = Capacity(
        last_good=search.last_good,
        first_bad=search.first_bad,
        knee=bend.level if bend else None,
        recovery_s=recovery,
        levels=tuple(levels),
        usl=law.usl.figures() if law and law.usl else None,
    )
    return StressResult(capacity, tuple(_notes(search, capacity, stress, bend, law, player.stopped)))


def _recovery_level(search: Search, stress: Stress) -> float | None:
    """The first level, or the best that there is if that was bad; None where none was good."""
    good = search.last_good
    return None if good is None else min(good, stress.start)


def _verdict(result: LevelResult) -> LevelVerdict:
    if result.client_bound:
        return LevelVerdict.CLIENT_BOUND
    return LevelVerdict.GOOD if result.good else LevelVerdict.BAD


def _noise_ms(run: BenchRun) -> float:
    """What the client adds to an echo on loopback (p99)."""
    return max((one.noise_p99_us / 1000 for one in run.calibrations), default=0.0)


def _law(levels: list[LevelResult]) -> Fit:
    return fit([(result.level, result.achieved_per_s) for result in levels if not result.client_bound])


def _notes(
    search: Search, capacity: Capacity, stress: Stress, bend: Knee | None, law: Fit | None, stopped: str
) -> Iterator[str]:
    """What a reader of the capacity must know, the end of the search first."""
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
