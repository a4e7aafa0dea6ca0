"""Stages of scenarios: as written, as run, and the total level of load over time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from checker.loadtest.arrivals import LevelSpan
from checker.loadtest.plan import Scenario, Stage, StageKind
from checker.loadtest.results import StageSpan

Fault = tuple[tuple[str | int, ...], str]
"""Keys that lead to the fault, and the remedy."""


def shorthand(
    level: float,
    duration: float,
    *,
    ramp_up: float = 0.0,
    warm_up: float = 0.0,
    ramp_down: float = 0.0,
    cool_down: float = 0.0,
) -> tuple[Stage, ...]:
    """A single hold with the stages before and after it, durations in seconds.

    The warm-up comes after the ramp: it runs at the level that is measured next. In the cool-down nothing is sent.
    """
    parts = (
        (StageKind.RAMP_UP, ramp_up, level),
        (StageKind.WARM_UP, warm_up, level),
        (StageKind.HOLD, duration, level),
        (StageKind.RAMP_DOWN, ramp_down, 0.0),
        (StageKind.COOL_DOWN, cool_down, 0.0),
    )
    return settled([Stage(duration=length, target=target, kind=kind) for kind, length, target in parts if length > 0])


def settled(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages with a kind and a name for each.

    A missing kind follows from the levels as in k6: a linear ramp from the level before (0 at the start) to the target,
    or a hold if they are equal. If both are 0 nothing is sent and nothing can be measured: a cool-down. A stage without
    a kind and without duration is a jump: it is left out, and the next one holds its target.
    """
    kinded: list[Stage] = []
    before = 0.0
    for stage in stages:
        if stage.kind is not None:
            kinded.append(stage)
        elif stage.duration > 0:
            kinded.append(replace(stage, kind=_inferred(before, stage.target)))
        before = stage.target
    return _named(kinded)


def stage_faults(stages: Sequence[Stage]) -> Iterator[Fault]:
    """Faults of stages as written; keys begin with the number of the stage."""
    before = 0.0
    names: set[str] = set()
    for number, stage in enumerate(stages):
        if stage.kind is not None and stage.duration == 0:
            yield (number, "duration"), f"a {stage.kind} takes time; write how long, or leave kind: out for a jump"
        after = stages[number + 1] if number + 1 < len(stages) else None
        if stage.duration == 0 and after is not None and after.kind is None and after.target != stage.target:
            yield (number, "duration"), "a jump goes before a stage that stays at its level; write 1s and kind: warm_up"
        if stage.kind is StageKind.RAMP_UP and stage.target <= before:
            yield (number, "target"), f"a ramp_up from {before:g} goes higher; write more, or another kind"
        if stage.kind is StageKind.RAMP_DOWN and stage.target >= before:
            yield (number, "target"), f"a ramp_down from {before:g} goes lower; write less, or another kind"
        if stage.name and not is_name(stage.name):
            yield (number, "name"), NAME_REMEDY
        elif stage.name and stage.name in names:
            yield (number, "name"), f'"{stage.name}" is used by another stage too; names must be unique in a scenario'
        names.add(stage.name)
        before = stage.target


NAME_REMEDY = 'write up to 100 printable characters without { } , : and "'
"""The remedy for an invalid name of a scenario or a stage."""


def is_name(text: str) -> bool:
    """True if a scenario or a stage may have this name and still be selected in a threshold: ``failed{stage:peak}``."""
    printable = text.isprintable() and text == text.strip() and 0 < len(text) <= 100
    return printable and not set(text) & set('{},:"')


def _inferred(before: float, target: float) -> StageKind:
    if target == before:
        return StageKind.HOLD if target else StageKind.COOL_DOWN
    return StageKind.RAMP_UP if target > before else StageKind.RAMP_DOWN


def _named(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages with names: those without one are named by kind, numbered if there are several of that kind."""
    taken = {stage.name for stage in stages}
    unnamed = Counter(stage.kind for stage in stages if not stage.name)
    found: list[Stage] = []
    for stage in stages:
        name = stage.name or str(stage.kind)
        if not stage.name and (unnamed[stage.kind] > 1 or name in taken):
            numbered = (f"{stage.kind} {number}" for number in itertools.count(1))
            name = next(one for one in numbered if one not in taken)
        taken.add(name)
        found.append(replace(stage, name=name))
    return tuple(found)


def lines(scenario: Scenario) -> list[LevelSpan]:
    """The level of a scenario over time, none outside of its stages."""
    found: list[LevelSpan] = []
    at, before = scenario.start_after, 0.0
    for number, stage in enumerate(scenario.stages):
        start = before if stage.kind is None or stage.kind.is_ramp else stage.target
        found.append(LevelSpan(at, at + stage.duration, start, stage.target, number))
        at, before = at + stage.duration, stage.target
    return found


def ends_s(scenario: Scenario) -> float:
    """The end of its last stage, in seconds from the start of the run."""
    return scenario.start_after + sum(stage.duration for stage in scenario.stages)


def peak(some: Iterable[LevelSpan]) -> tuple[float, float]:
    """The highest sum of all lines, and the first second at which it is reached; (0, 0) without lines.

    Sums of straight lines peak where one of them begins or ends: before a jump or after it.
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
    """The longest contiguous time that measured stages cover together, in seconds; of one name, or of all."""
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


def timetable(name: str, scenario: Scenario, from_s: float) -> Iterator[StageSpan]:
    """The stages of a scenario that begins at this offset from the epoch."""
    level, at_s = 0.0, from_s
    for stage in settled(scenario.stages):
        kind = stage.kind or StageKind.HOLD
        yield StageSpan(
            scenario=name,
            name=stage.name,
            kind=kind.value,
            measured=kind.is_measured,
            from_s=at_s,
            until_s=at_s + stage.duration,
            start_level=level if kind.is_ramp else stage.target,
            end_level=stage.target,
        )
        level, at_s = stage.target, at_s + stage.duration
