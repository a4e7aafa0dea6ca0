"""Stages of a scenario as stretches of time with a level at either end."""

from __future__ import annotations

from collections.abc import Iterator

from checker.bench.plan import Scenario, StageKind
from checker.bench.planning.stages import settled
from checker.bench.results import StageSpan


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
