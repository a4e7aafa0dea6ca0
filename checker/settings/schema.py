"""The JSON Schema of a configuration file, made from the options classes, for editors."""

from __future__ import annotations

from typing import Any

from checker.kinds import KINDS
from checker.limits import Keep
from checker.probes import probe_of
from checker.queries import Query
from checker.settings.benchmarking import Benchmarking
from checker.settings.performance import PerformanceOptimization
from checker.settings.shapes import RunOptions, ServerEntry
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
    """What an environment may say about servers: by name, none of their keys required, a kind switched off by null."""
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
    """A reference to the class's schema, which is put among the definitions."""
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
