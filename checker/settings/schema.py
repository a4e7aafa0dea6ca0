"""The JSON Schemas of configuration files and of load test plans, made from their classes, for editors."""

from __future__ import annotations

from typing import Any

from checker.limits import Keep, RunOptions
from checker.loadtest.plan import LoadLimits, Output, Stress, Suite
from checker.named_query import Query
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.settings.blocks import ServerEntry
from checker.settings.legacy_options import Benchmarking, PerformanceOptimization
from checker.settings.loadtests.blocks import SPELLINGS, PlanEntry, ScenarioEntry, ThresholdEntry
from checker.settings.validate import adapter


def json_schema() -> dict[str, Any]:
    """The schema (2020-12)."""
    definitions: dict[str, Any] = {}
    entry = schema_of(ServerEntry, definitions)
    kinds = {kind: schema_of(probe_of(kind).options, definitions) for kind in KINDS}
    server = definitions[entry["$ref"].rpartition("/")[2]]
    for kind, reference in kinds.items():
        either = [{"type": "string", "description": "The address alone."}, reference]
        server["properties"][kind] = {"anyOf": either, "description": f"The {kind} probe."}
    server["anyOf"] = [{"required": [kind]} for kind in KINDS]
    inherited = {key: server["properties"][key] for key in server["properties"] if key not in ("name", *KINDS)}
    defaults = {kind: _partly(definitions, reference) for kind, reference in kinds.items()}
    blocks = {
        "run": schema_of(RunOptions, definitions),
        "history": schema_of(Keep, definitions),
        "performance_optimization": schema_of(PerformanceOptimization, definitions),
        "benchmarking": schema_of(Benchmarking, definitions),
        "queries": {
            "type": "object",
            "description": "Name of a query -> its SQL; `mcp-status sql @name --config FILE` asks it.",
            "propertyNames": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$"},
            "additionalProperties": {
                "anyOf": [{"type": "string", "description": "The SQL alone."}, schema_of(Query, definitions)]
            },
        },
        "defaults": {
            "type": "object",
            "description": "What every server is laid over.",
            "properties": {**inherited, **defaults},
            "additionalProperties": False,
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of mcp-status-check",
        "type": "object",
        "required": ["servers"],
        "additionalProperties": False,
        "patternProperties": {"^x-": {"description": "Free, for YAML anchors."}},
        "properties": {
            "$schema": {"type": "string"},
            "servers": {"type": "array", "minItems": 1, "items": entry, "description": "The servers to check."},
            **blocks,
            "environments": {
                "type": "object",
                "description": "Name of an environment -> what is different in it; servers by name.",
                "additionalProperties": {
                    "type": ["object", "null"],
                    "properties": {**blocks, "servers": _changes(server, defaults)},
                    "additionalProperties": False,
                },
            },
        },
        "$defs": definitions,
    }


def _changes(server: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    """Changes to servers in an environment: by name, none of their keys required, a kind switched off by null."""
    address = {"type": "string", "description": "The address alone."}
    partly = {kind: {"anyOf": [address, whole, {"type": "null"}]} for kind, whole in kinds.items()}
    return {
        "type": "object",
        "description": "Name of a server -> what is different about it.",
        "additionalProperties": {
            "type": ["object", "null"],
            "properties": {**server["properties"], **partly},
            "additionalProperties": False,
        },
    }


def schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to the class's schema, which is added to the definitions."""
    schema = adapter(kind).json_schema(ref_template="#/$defs/{model}")
    definitions |= schema.pop("$defs", {})
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    definitions[kind.__name__] = schema
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _partly(definitions: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """The same properties with none of them required."""
    whole = definitions[reference["$ref"].rpartition("/")[2]]
    return {key: value for key, value in whole.items() if key != "required"}


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
    """A threshold given as an object, with our keys or k6's."""
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
