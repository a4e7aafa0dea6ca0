"""The JSON Schema of a plan's file, made from its classes, for editors."""

from __future__ import annotations

from typing import Any

from checker.bench.plan import LoadLimits, Output, Stress, Suite
from checker.settings.bench.shapes import SPELLINGS, PlanEntry, ScenarioEntry, ThresholdEntry
from checker.settings.schema import json_schema, schema_of
from checker.settings.validate import adapter


def plan_schema() -> dict[str, Any]:
    """The schema (2020-12)."""
    configuration = json_schema()
    definitions: dict[str, Any] = {}
    scenario = schema_of(ScenarioEntry, definitions)
    written = definitions[scenario["$ref"].rpartition("/")[2]]
    written["anyOf"] = [
        {"required": ["rate", "duration"]},
        {"required": ["users", "duration"]},
        {"required": ["stages"]},
    ]
    blocks = {key: schema_of(kind, definitions) for key, kind in _BLOCKS.items()}
    head = adapter(PlanEntry).json_schema()["properties"]
    conditions = [{"type": "string", "description": "The expression alone."}, _threshold(definitions)]
    servers = configuration["properties"]["servers"]
    definitions |= _needed(configuration["$defs"], [servers, configuration["properties"]["defaults"]])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Load test plan of mcp-status-check",
        "type": "object",
        "required": ["servers"],
        "oneOf": [{"required": [key]} for key in ("scenarios", "suite", "stress")],
        "additionalProperties": False,
        "patternProperties": {"^x-": {"description": "Free, for YAML anchors."}},
        "properties": {
            "$schema": {"type": "string"},
            **head,
            "servers": {
                "anyOf": [{"type": "string", "description": "Path of a configuration that has them."}, servers],
                "description": "The servers that load is put on.",
            },
            "defaults": configuration["properties"]["defaults"],
            "scenarios": {
                "type": "object",
                "minProperties": 1,
                "description": "Name of a scenario -> what it does; all run side by side.",
                "additionalProperties": scenario,
            },
            **blocks,
            "thresholds": {
                "type": ["object", "null"],
                "description": "Metric -> what must hold of it, such as response_time: [p(95)<500].",
                "additionalProperties": {"anyOf": [*conditions, {"type": "array", "items": {"anyOf": conditions}}]},
            },
        },
        "$defs": definitions,
    }


_BLOCKS = {"suite": Suite, "stress": Stress, "limits": LoadLimits, "output": Output}


def _threshold(definitions: dict[str, Any]) -> dict[str, Any]:
    """A condition with more to it, under our keys or k6's."""
    found = schema_of(ThresholdEntry, definitions)
    written = definitions[found["$ref"].rpartition("/")[2]]
    written["properties"] |= {theirs: written["properties"][ours] for theirs, ours in SPELLINGS.items()}
    written["anyOf"] = [{"required": ["expression"]}, {"required": ["threshold"]}]
    del written["required"]
    return found


def _needed(definitions: dict[str, Any], used: Any) -> dict[str, Any]:
    """The definitions that the schemas refer to, directly or through others."""
    found: dict[str, Any] = {}
    waiting: list[Any] = [used]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = definitions[name]
                waiting.append(definitions[name])
    return found
