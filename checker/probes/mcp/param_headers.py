"""Tool arguments that are also sent as HTTP headers (2026-07-28, Custom Headers from Tool Parameters)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from checker.secrets.excerpts import excerpt

_MARK = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_WRAPPED = re.compile(r"=\?base64\?.*\?=", re.DOTALL)
_TYPES = {"string", "integer", "boolean", "number"}  # "number" is not in the text, but the conformance suite has it
_DEEPEST = 50


def header_fault(schema: Any) -> str | None:
    """The fault in the header marks of an input schema, whose tool a client must not offer; None if it is valid."""
    names: set[str] = set()
    for node, reachable in _marked(schema, True, 0):
        name = node[_MARK]
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return f"{_MARK} {excerpt(repr(name), 40)} is no header name"
        if not reachable:
            return f"{_MARK} {name!r} is not reachable through properties alone"
        if not isinstance(node.get("type"), str) or node["type"] not in _TYPES:
            return f"{_MARK} {name!r} is not on a string, integer or boolean"
        if name.lower() in names:
            return f"{_MARK} {name!r} is given twice"
        names.add(name.lower())
    return None


def param_headers(schema: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The headers for a call; the schema must be free of faults. Arguments that are absent or null have none."""
    found: dict[str, str] = {}
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for name, node in properties.items() if isinstance(properties, dict) else ():
        value = arguments.get(name)
        if not isinstance(node, dict) or value is None:
            continue
        if _MARK in node:
            found[f"Mcp-Param-{node[_MARK]}"] = header_value(_text(value))
        elif isinstance(value, Mapping):
            found |= param_headers(node, value)
    return found


def header_value(text: str) -> str:
    """The text as a header value: unchanged if it is plain, else wrapped as base64 of its UTF-8."""
    if not text or (_PLAIN.fullmatch(text) and not _WRAPPED.fullmatch(text)):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _marked(node: Any, reachable: bool, depth: int) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Every schema with a mark, and True if only ``properties`` lead to it."""
    if depth > _DEEPEST or not isinstance(node, dict | list):
        return
    if isinstance(node, list):
        for item in node:
            yield from _marked(item, False, depth + 1)
        return
    if _MARK in node:
        yield node, reachable and depth > 0
    for key, inner in node.items():
        if key == "properties" and isinstance(inner, dict):
            for one in inner.values():
                yield from _marked(one, reachable, depth + 1)
        elif key not in ("const", "default", "enum", "examples"):
            yield from _marked(inner, False, depth + 1)
