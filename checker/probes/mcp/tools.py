"""The tool list: read to its last page, validated, and made canonical."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from checker.model import Reason, Status, ToolSnapshot
from checker.probes.base import Complaint, ProbeFailure
from checker.probes.mcp.exchange import Answer
from checker.probes.text import excerpt

_DRAFTS = ("draft-04", "draft-06", "draft-07", "2019-09", "2020-12")
_MOST_NAMED = 3


def read_all(list_page: Callable[[dict[str, Any]], Answer], max_pages: int) -> list[Mapping[str, Any]]:
    """All tools; raises ProbeFailure for an error, a malformed page, a cursor that comes back, or too many pages."""
    tools: list[Mapping[str, Any]] = []
    cursors: set[str] = set()
    params: dict[str, Any] = {}
    for _ in range(max_pages):
        answer = list_page(params)
        if answer.result is None:
            raise answer.refused("tools/list")
        page = answer.result.get("tools")
        if not isinstance(page, list) or not all(isinstance(tool, dict) for tool in page):
            raise ProbeFailure(Reason.MCP_INVALID_RESULT, "tools/list: tools is not a list of objects")
        tools += page
        cursor = answer.result.get("nextCursor")
        if cursor is None:  # an empty string does not end the list
            return tools
        if not isinstance(cursor, str):
            raise ProbeFailure(Reason.MCP_PAGINATION, "tools/list: nextCursor is not a string")
        if cursor in cursors:
            raise ProbeFailure(Reason.MCP_PAGINATION, f"tools/list: cursor {excerpt(cursor, 40)!r} came a second time")
        cursors.add(cursor)
        params = {"cursor": cursor}
    raise ProbeFailure(Reason.MCP_PAGINATION, f"tools/list: more than {max_pages} pages")


def snapshot(tools: list[Mapping[str, Any]]) -> ToolSnapshot:
    """The list as canonical text with its SHA-256: order of tools and of keys does not change it."""
    ordered = sorted(tools, key=lambda tool: str(tool.get("name")))
    text = orjson.dumps(ordered, option=orjson.OPT_SORT_KEYS)
    return ToolSnapshot(digest=hashlib.sha256(text).hexdigest(), tools=text.decode(), tool_count=len(tools))


def complaints(tools: list[Mapping[str, Any]], expected: tuple[str, ...]) -> list[Complaint]:
    """What is wrong with the list: expected tools that are absent, names and input schemas that are not valid."""
    names = [tool.get("name") for tool in tools]
    found = []
    if missing := [name for name in expected if name not in names]:
        found.append(Complaint(Status.UNHEALTHY, Reason.MCP_MISSING_TOOL, f"not listed: {_some(missing)}", "list"))
    if faults := [fault for tool in tools if (fault := _fault(tool))]:
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
    fault = _schema_fault(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
    return f"{excerpt(name, 40)}: inputSchema {fault}" if fault else None


@lru_cache(maxsize=4096)
def _schema_fault(text: bytes) -> str | None:
    """Why the text is no JSON Schema; None where it is one. An unknown dialect is read as 2020-12."""
    import jsonschema_rs

    schema = orjson.loads(text)
    if not any(draft in str(schema.get("$schema", "")) for draft in _DRAFTS):
        schema.pop("$schema", None)  # the validator would fetch a dialect it does not know
    try:
        jsonschema_rs.meta.validate(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return f"is not a JSON Schema: {excerpt(getattr(error, 'message', str(error)), 80)}"
    return None


def _some(items: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return separator.join(excerpt(item, 120) for item in items[:_MOST_NAMED]) + more
