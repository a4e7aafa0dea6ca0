"""The tool list judged: tools that must be there, names, and input schemas that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from checker.contract.canonical import dumps
from checker.model import Reason, Status
from checker.probes.base import Complaint
from checker.probes.heavy import breathe
from checker.probes.mcp.param_headers import header_fault
from checker.probes.text import excerpt

_MOST_NAMED = 3


def complaints(tools: list[Mapping[str, Any]], expected: tuple[str, ...]) -> list[Complaint]:
    """What is wrong with the list: expected tools that are absent, names and input schemas that are not valid."""
    names = [tool.get("name") for tool in tools]
    found = []
    if missing := [name for name in expected if name not in names]:
        found.append(Complaint(Status.UNHEALTHY, Reason.MCP_MISSING_TOOL, f"not listed: {_some(missing)}", "list"))
    faults = []
    for tool in tools:
        if (fault := _fault(tool)) is not None:
            faults.append(fault)
        breathe()
    if faults:
        found.append(Complaint(Status.DEGRADED, Reason.MCP_SCHEMA_INVALID, _some(faults, "; "), "list"))
    counts = Counter(name for name in names if isinstance(name, str))
    if doubled := sorted(name for name, count in counts.items() if count > 1):
        detail = f"listed more than once: {_some(doubled)}"
        found.append(Complaint(Status.DEGRADED, Reason.MCP_SCHEMA_INVALID, detail, "list"))
    return found


def _fault(tool: Mapping[str, Any]) -> str | None:
    name, schema = tool.get("name"), tool.get("inputSchema")
    if not isinstance(name, str) or not name:
        return "a tool has no name"
    if not isinstance(schema, dict):
        return f"{excerpt(name, 40)}: inputSchema is not an object"
    if schema.get("type") != "object":
        return f'{excerpt(name, 40)}: inputSchema is not of type "object"'
    try:
        fault = _schema_fault(dumps(schema))
    except ValueError as error:
        fault = f"is {error}"
    return f"{excerpt(name, 40)}: inputSchema {fault}" if fault else None


@lru_cache(maxsize=4096)
def _schema_fault(text: bytes) -> str | None:
    """Why the text is no JSON Schema; None where it is one."""
    from checker.probes.mcp.dialects import schema_fault

    schema = orjson.loads(text)
    if b"x-mcp-header" in text and (fault := header_fault(schema)) is not None:
        return f"marks a header that cannot be: {fault}"
    return schema_fault(schema)


def _some(items: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return separator.join(excerpt(item, 120) for item in items[:_MOST_NAMED]) + more
