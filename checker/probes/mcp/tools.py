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
from checker.probes.mcp.shapes import TOOL, Refusal, refusals, refused
from checker.probes.text import excerpt

_MOST_NAMED = 3


def complaints(tools: list[Mapping[str, Any]], expected: tuple[str, ...]) -> list[Complaint]:
    """What is wrong with the list: expected tools that are absent, what clients refuse, schemas that are not valid.

    What clients take although it is odd is a complaint too, of status HEALTHY: a remark.
    """
    names = [tool.get("name") for tool in tools]
    found = []
    if missing := [name for name in expected if name not in names]:
        found.append(Complaint(Status.UNHEALTHY, Reason.MCP_MISSING_TOOL, f"not listed: {_some(missing)}", "list"))
    unusable: list[Refusal] = []
    faults = []
    for place, tool in enumerate(tools):
        name = tool.get("name")
        called = excerpt(name, 40) if isinstance(name, str) and name else f"tool {place + 1}"
        before = len(unusable)
        unusable += refusals(tool, TOOL, called)
        if len(unusable) == before and (fault := _fault(tool)) is not None:
            faults.append(f"{called}: {fault}")
        breathe()
    found += refused(unusable, "tools/list", "list", Reason.MCP_SCHEMA_INVALID)
    if faults:
        found.append(Complaint(Status.DEGRADED, Reason.MCP_SCHEMA_INVALID, _some(faults, "; "), "list"))
    counts = Counter(name for name in names if isinstance(name, str))
    odd = sorted(name for name, count in counts.items() if count > 1)
    said = [f"listed more than once: {_some(odd)}"] if odd else []
    if "" in counts:
        said.append("a tool whose name is empty")
    if said:
        found.append(Complaint(Status.HEALTHY, Reason.REMARK, f"tools/list: {'; '.join(said)}", "list"))
    return found


def _fault(tool: Mapping[str, Any]) -> str | None:
    """What is wrong with a tool that clients take: a schema that no model can be given."""
    try:
        fault = _schema_fault(dumps(tool["inputSchema"]))
    except ValueError as error:
        fault = f"is {error}"
    return f"inputSchema {fault}" if fault else None


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
