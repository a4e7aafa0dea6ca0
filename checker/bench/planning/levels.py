"""How high the load of a plan is, and when: levels of scenarios as straight lines, added up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from checker.bench.arrivals import LevelSpan
from checker.bench.plan import Scenario


def lines(scenario: Scenario) -> list[LevelSpan]:
    """The level of a scenario over time; nothing outside of its stages."""
    found: list[LevelSpan] = []
    at, before = scenario.start_after, 0.0
    for number, stage in enumerate(scenario.stages):
        start = before if stage.kind is None or stage.kind.is_ramp else stage.target
        found.append(LevelSpan(at, at + stage.duration, start, stage.target, number))
        at, before = at + stage.duration, stage.target
    return found


def ends_s(scenario: Scenario) -> float:
    """When its last stage ends, in seconds from the start of the run."""
    return scenario.start_after + sum(stage.duration for stage in scenario.stages)


def peak(some: Iterable[LevelSpan]) -> tuple[float, float]:
    """The highest sum of all lines, and the second at which it is reached first; (0, 0) without lines.

    Sums of straight lines are highest where one of them begins or ends: before a jump and after it.
    """
    there = [line for line in some if line.until_s > line.from_s]
    bounds = sorted({second for line in there for second in (line.from_s, line.until_s)})
    highest, reached = 0.0, 0.0
    for begin, end in itertools.pairwise(bounds):
        under_way = [line for line in there if line.from_s <= begin and line.until_s >= end]
        for second in (begin, end):
            level = sum(line.level(second) for line in under_way)
            if level > highest * (1 + 1e-12):
                highest, reached = level, second
    return highest, reached


def longest_measured_s(scenarios: Sequence[Scenario], stage: str | None = None) -> float:
    """The longest time without a gap that measured stages cover together; of one name, or of all."""
    spans: list[tuple[float, float]] = []
    for scenario in scenarios:
        at = scenario.start_after
        for one in scenario.stages:
            if one.kind is not None and one.kind.is_measured and stage in (None, one.name):
                spans.append((at, at + one.duration))
            at += one.duration
    longest, begun, reached = 0.0, 0.0, float("-inf")
    for begin, end in sorted(spans):
        begun = begin if begin > reached + 1e-9 else begun
        reached = max(reached, end)
        longest = max(longest, reached - begun)
    return longest
