"""Pairs of runs that are equal or not, played in mixed order, and what the comparison says of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from checker.loadtest.plan import Scenario, Stage, StageKind
from checker.loadtest.protocols import LoadGenerator
from checker.loadtest.results import BenchRun
from checker.stats.compare import CandidateOutcome
from reports.loadtests.compare import Effects, compare_sides
from reports.loadtests.compared_runs import Side

PLAIN, SAME, SLOW = "plain", "same", "slow"
ARMS = (PLAIN, SAME, SLOW)
"""What is played: same is compared with plain and should be the same, slow should be worse."""
_LEAD_S = 1.0
"""Played before each pair, and not measured: connections are opened in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How a pair is played."""

    rate: float = 600.0
    """Arrivals per second."""
    block_s: float = 0.15
    """Many short blocks in mixed order stand a machine that is busy now and then; few long ones do not."""
    blocks: int = 24
    """Of each arm."""
    least_effect_ms: float = 0.1


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What came of a pair: the outcomes of same and of slow against plain, and the ratios of their p50."""

    same: CandidateOutcome
    slow: CandidateOutcome
    same_ratio: float
    slow_ratio: float


def scenarios(design: Design) -> dict[str, Scenario]:
    """One for each arm, side by side; one of them has the load at a time, in the order A B C C B A."""
    order = [arm for block in range(design.blocks) for arm in (ARMS if block % 2 == 0 else ARMS[::-1])]
    return {
        arm: Scenario(
            operation="rest",
            servers=(arm,),
            stages=(
                Stage(duration=_LEAD_S, target=design.rate / len(ARMS), kind=StageKind.WARM_UP),
                *(
                    Stage(duration=design.block_s, target=design.rate if arm == now else 0.0, kind=StageKind.HOLD)
                    for now in order
                ),
            ),
        )
        for arm in ARMS
    }


def judged(run: BenchRun, stages: Sequence[int], design: Design) -> Verdicts:
    """The verdicts of one pair, whose stages are these."""
    place = {at: number for number, at in enumerate(stages)}
    blocks = tuple(
        replace(one, measured=one.measured and one.end_level > 0, block=number)
        for number, one in enumerate(run.stages[at] for at in stages)
    )
    slots = tuple(replace(slot, stage=place[slot.stage]) for slot in run.slots if slot.stage in place)
    part = replace(run, stages=blocks, slots=slots)
    effects = Effects(response_ms=design.least_effect_ms)
    outcomes, ratios = [], []
    for arm in (SAME, SLOW):
        found = compare_sides(Side(PLAIN, (part,), PLAIN), Side(arm, (part,), arm), effects)
        outcomes.append(found.outcome)
        ratios.append(next(row.comparison.ratio for row in found.rows if row.comparison) or 0.0)
    return Verdicts(outcomes[0], outcomes[1], *ratios)


def played(load_generator: LoadGenerator, pairs: int, design: Design) -> Iterator[Verdicts]:
    """Play the pairs one after the other; ends early where the player was stopped."""
    for _ in range(pairs):
        stages = load_generator.play(scenarios(design))
        if load_generator.stopped:
            return
        yield judged(load_generator.so_far(), stages, design)


def summary(found: Sequence[Verdicts]) -> Mapping[str, int]:
    """How many verdicts were wrong, and how many were right of those that had to be found."""
    told = (CandidateOutcome.WORSE, CandidateOutcome.BETTER)
    return {
        "pairs": len(found),
        "equal_told_apart": sum(one.same in told for one in found),
        "slow_found": sum(one.slow is CandidateOutcome.WORSE for one in found),
    }


def timed(found: Iterator[Verdicts], say: Callable[[str], None]) -> list[Verdicts]:
    """All verdicts; a line is said of each as it comes."""
    start, verdicts = time.monotonic(), list[Verdicts]()
    for one in found:
        verdicts.append(one)
        say(
            f"pair {len(verdicts)}: equal {one.same.value} ({one.same_ratio:.3f}), "
            f"slow {one.slow.value} ({one.slow_ratio:.3f}); {time.monotonic() - start:.0f} s"
        )
    return verdicts
