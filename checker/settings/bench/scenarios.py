"""The ``scenarios`` block: entries into scenarios, with stages made of what is written short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.bench.plan import Model, Scenario
from checker.bench.planning.stages import settled, shorthand, stage_faults
from checker.settings.bench.shapes import AROUND, LEVELS, ScenarioEntry
from checker.settings.validate import Source, validated


def read_scenarios(values: Any, source: Source) -> dict[str, Scenario]:
    """The scenarios by name, in the order of the file; what is wrong with them is added to the problems."""
    if not isinstance(values, Mapping) or not values:
        source.complain((), "write names of scenarios, each with what it does, indented below")
        return {}
    found = {name: _scenario(entry, source.below(name)) for name, entry in values.items()}
    return {name: scenario for name, scenario in found.items() if scenario is not None}


def _scenario(values: Any, source: Source) -> Scenario | None:
    if not isinstance(values, Mapping):
        source.complain((), "not a scenario; write operation: and rate: with duration:, indented below")
        return None
    before = len(source.problems)
    for key in values:
        if key in _K6:
            source.complain((key,), f"k6's word; here it is {_K6[key]}")
    entry = validated(ScenarioEntry, {key: value for key, value in values.items() if key not in _K6}, source)
    if entry is None:
        return None
    level = _level(entry, values, source)
    for keys, text in stage_faults(entry.stages):
        source.complain(("stages", *keys), text)
    if len(source.problems) > before:
        return None
    same = {name: getattr(entry, name) for name in Scenario.__struct_fields__}
    if level is None:
        return Scenario(**{**same, "stages": settled(entry.stages)})
    around = {name: getattr(entry, name) for name in AROUND}
    model = Model.CLOSED if entry.users is not None else Model.OPEN
    return Scenario(**{**same, "model": model, "stages": shorthand(level, **around)})


_K6 = {
    "executor": "rate:, users: or stages: with model:",
    "vus": "users:",
    "startTime": "start_after:",
    "startRate": "a first stage of kind: warm_up",
    "startVUs": "a first stage of kind: warm_up",
    "timeUnit": "left out: rates are per second",
    "preAllocatedVUs": "max_in_flight:",
    "maxVUs": "max_in_flight:",
    "gracefulStop": "timeout:, for which late answers are waited for",
}
"""What a scenario of k6 has -> what it is here."""


def _level(entry: ScenarioEntry, values: Mapping[str, Any], source: Source) -> float | None:
    """The level that is held, None for one in stages; complains of what does not go together."""
    given = [key for key in LEVELS if getattr(entry, key) is not None]
    if entry.stages:
        for key in (*LEVELS, *AROUND):
            if values.get(key) is not None:
                source.complain((key,), "cannot be combined with stages:, which say the same; keep one of them")
        return None
    if not given:
        source.complain((), "no load; add rate: or users: with duration:, or stages:")
        return None
    if len(given) > 1:
        source.complain(("users",), "cannot be combined with rate:; a load is either a rate (open) or users (closed)")
        return None
    if not entry.duration:
        source.complain(("duration",), "missing; add how long the level is measured, such as 30s")
    model = Model.OPEN if entry.rate is not None else Model.CLOSED
    if "model" in values and entry.model is not model:
        source.complain(("model",), f"{given[0]}: makes it {model}; remove one of them")
    if entry.users is not None:
        return float(entry.users)
    return entry.rate
