"""Stages as they are written into stages as they are played: each with a kind and a name of its own."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from checker.bench.plan import Stage, StageKind

Fault = tuple[tuple[str | int, ...], str]
"""Keys that lead to what is wrong, and what to do about it."""


def shorthand(
    level: float,
    duration: float,
    *,
    ramp_up: float = 0.0,
    warm_up: float = 0.0,
    ramp_down: float = 0.0,
    cool_down: float = 0.0,
) -> tuple[Stage, ...]:
    """One hold with what comes before and after it, durations in seconds.

    The warm-up comes after the ramp: it is at the level that is then measured, which is what it is to warm up for.
    In the cool-down nothing is sent.
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

    Kinds that are not given follow from the levels as in k6: a straight line from the level before (0 at the start) to
    the target, a hold where they are equal. Where both are 0 nothing is sent and nothing can be measured: a cool-down.
    A stage without a kind that takes no time is a jump: it is left out, and the next one holds its target.
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
    """What is wrong with stages as they are written; keys begin with the number of the stage."""
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
"""What to write instead of what is no name of a scenario or a stage."""


def is_name(text: str) -> bool:
    """Whether a scenario or a stage can be called so, and still be chosen in a threshold: ``failed{stage:peak}``."""
    printable = text.isprintable() and text == text.strip() and 0 < len(text) <= 100
    return printable and not set(text) & set('{},:"')


def _inferred(before: float, target: float) -> StageKind:
    if target == before:
        return StageKind.HOLD if target else StageKind.COOL_DOWN
    return StageKind.RAMP_UP if target > before else StageKind.RAMP_DOWN


def _named(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Those without a name are called by their kind, with a number where there are several of it."""
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
