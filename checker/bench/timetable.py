"""Stages of a scenario as stretches of time with a level at either end."""

from __future__ import annotations

from collections.abc import Iterator

from checker.bench.plan import Scenario, Stage, StageKind
from checker.bench.results import StageSpan


def timetable(name: str, scenario: Scenario, from_s: float) -> Iterator[StageSpan]:
    """The stages of a scenario that begins at this offset from the epoch."""
    level, at_s = 0.0, from_s
    for number, stage in enumerate(scenario.stages, 1):
        kind = stage.kind or kind_of(stage, level)
        yield StageSpan(
            scenario=name,
            name=stage.name or f"{kind.value} {number}",
            kind=kind.value,
            measured=kind.is_measured,
            from_s=at_s,
            until_s=at_s + stage.duration,
            start_level=level if kind.is_ramp else stage.target,
            end_level=stage.target,
        )
        level, at_s = stage.target, at_s + stage.duration


def kind_of(stage: Stage, level_before: float) -> StageKind:
    """What a stage is that does not say it: in k6 the level moves to the target in a straight line."""
    if stage.target == level_before:
        return StageKind.HOLD
    return StageKind.RAMP_UP if stage.target > level_before else StageKind.RAMP_DOWN
