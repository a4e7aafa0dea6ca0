"""Faults of what is said in JSON-RPC, whatever carries it: each makes the bytes of one message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from typing import Any

Message = dict[str, Any]
Say = Callable[[Message], bytes]
"""A request -> the bytes that are said to it."""

TRAP = "http://trap.invalid"
"""Stands in what is said for the address that nobody has a reason to call."""
CANARY = "canary-4f9aK2mX7qLw8ZtR"
"""The credential that the probes of these servers carry; it is to be seen nowhere."""
CONTROLS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066[red]<script>=cmd|'|\r\n"
_INFO = {"name": "hostile", "version": "1"}
_numbers = count()


def result(message: Message, said: Any) -> bytes:
    """A proper reply."""
    return json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": said}).encode()


def error(message: Message, text: Any, code: Any = -32603) -> bytes:
    """A proper error."""
    said = {"code": code, "message": text}
    return json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": said}).encode()


def good(message: Message) -> bytes:
    """What a proper server of the session era says."""
    method = message.get("method")
    if method == "initialize":
        version = message["params"]["protocolVersion"]
        known = version if version in ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05") else "2025-11-25"
        return result(message, {"protocolVersion": known, "capabilities": {"tools": {}}, "serverInfo": _INFO})
    if method == "ping":
        return result(message, {})
    if method == "tools/list":
        return result(message, {"tools": [tool("add")]})
    return error(message, "Method not found", -32601)


def tool(name: Any, **schema: Any) -> Message:
    """A tool as tools/list has it."""
    return {"name": name, "description": "a tool", "inputSchema": {"type": "object", **schema}}


def tools(*listed: Any, **more: Any) -> Say:
    """A list of tools."""
    return lambda message: result(message, {"tools": list(listed), **more})


def raw(before: bytes, after: bytes = b"}") -> Say:
    """A reply to the request, its members written as they are."""
    return lambda message: b'{"jsonrpc": "2.0", "id": %d, ' % message["id"] + before + after


@cache
def _many(size: int) -> bytes:
    return b'"result": {"tools": ' + json.dumps([tool(f"tool{n}") for n in range(size)]).encode() + b"}"


@cache
def _objects(size: int) -> bytes:
    return b'"result": {"tools": [' + b"{}," * size + b"{}]}"


def _page(message: Message) -> bytes:
    number = next(_numbers)
    return result(message, {"tools": [tool(f"tool{number}")], "nextCursor": f"page{number}"})


def _large_page(message: Message) -> bytes:
    number = next(_numbers)
    listed = [{**tool(f"tool{number}_{at}"), "description": "x" * 4000} for at in range(400)]
    return result(message, {"tools": listed, "nextCursor": f"page{number}"})


def _changing(message: Message) -> bytes:
    number = next(_numbers)
    return result(message, {"tools": [tool(f"tool{number}_{at}") for at in range(100)]})


@cache
def _deep_schema() -> bytes:
    """Written by hand: `json` itself gives up before."""
    levels = 400
    opened = b'{"type": "object", "properties": {"a": ' * levels
    return b'"result": {"tools": [{"name": "a", "inputSchema": ' + opened + b"{}" + b"}}" * levels + b"}]}"


_DEEP = b"[" * 100_000 + b"]" * 100_000
_MANY_KEYS = {f"p{number}": {"$ref": f"#/properties/p{number + 1}"} for number in range(2000)}
_STRANGE = "mcp_schema_invalid healthy"
_NOT_A_REPLY = "mcp_not_jsonrpc mcp_no_reply deadline"

TOOL_LISTS: dict[str, tuple[Say, str]] = {
    "JSON of 100,000 levels": (raw(b'"result": {"tools": ' + _DEEP + b"}"), "mcp_not_jsonrpc mcp_invalid_result"),
    "number of half a million digits": (
        raw(b'"result": {"tools": 1' + b"0" * 500_000 + b"}"),
        "mcp_not_jsonrpc mcp_invalid_result",
    ),
    "list of three million objects": (
        lambda message: raw(_objects(2_800_000))(message),
        "body_too_large mcp_not_jsonrpc mcp_invalid_result mcp_pagination mcp_schema_invalid deadline",
    ),
    "not JSON": (lambda message: b"I beg your pardon?", "mcp_not_jsonrpc"),
    "JSON that is cut off": (lambda message: good(message)[:-20], "mcp_not_jsonrpc"),
    "not text": (raw(b'"result": {"tools": "\xff\xfe\xed\xa0\x80"}'), "mcp_not_jsonrpc"),
    "neither result nor error": (lambda message: b'{"jsonrpc": "2.0", "id": %d}' % message["id"], "mcp_not_jsonrpc"),
    "result and error": (raw(b'"result": {}, "error": {"code": 1, "message": "x"}'), "mcp_not_jsonrpc"),
    "result that is a list": (lambda message: result(message, [1]), "mcp_not_jsonrpc"),
    "tools that are an object": (lambda message: result(message, {"tools": {"a": 1}}), "mcp_invalid_result"),
    "tools that are numbers": (tools(1, None, "a"), "mcp_invalid_result"),
    "error that is a number": (raw(b'"error": 7'), "mcp_not_jsonrpc"),
    "error with a code of 400 digits": (raw(b'"error": {"code": 1' + b"0" * 400 + b', "message": "x"}'), _NOT_A_REPLY),
    "error without an end of text": (lambda message: error(message, "x" * 3_000_000), "mcp_error deadline"),
    "reply to another request": (lambda message: good({**message, "id": 4711}), _NOT_A_REPLY),
    "id that is a list": (lambda message: good({**message, "id": [message["id"]]}), _NOT_A_REPLY),
    "batch of 200,000 replies to others": (
        lambda message: b"[" + b'{"jsonrpc":"2.0","id":99,"result":{}},' * 200_000 + b"{}]",
        f"{_NOT_A_REPLY} body_too_large",
    ),
    "tool with a name that is an object": (tools(tool({"a": 1})), "mcp_schema_invalid"),
    "tool without anything": (tools({}), "mcp_schema_invalid"),
    "schema that is a number": (tools({"name": "a", "inputSchema": 7}), "mcp_schema_invalid"),
    "schema with types of its own": (tools(tool("a", properties={"x": {"type": ["a", 1]}})), "mcp_schema_invalid"),
    "schema of 400 levels": (
        lambda message: raw(_deep_schema())(message),
        f"{_STRANGE} mcp_not_jsonrpc mcp_invalid_result",
    ),
    "schema whose dialect is at an address": (tools(tool("a", **{"$schema": f"{TRAP}/draft-07/schema#"})), _STRANGE),
    "schema whose dialect is a file": (tools(tool("a", **{"$schema": "file:///etc/passwd?draft-07"})), _STRANGE),
    "schema with a reference to an address": (
        tools(tool("a", properties={"x": {"$ref": f"{TRAP}/schema.json"}}, **{"$id": f"{TRAP}/id"})),
        _STRANGE,
    ),
    "schema that refers to itself": (tools(tool("a", **{"$ref": "#"}, allOf=[{"$ref": "#"}])), _STRANGE),
    "schema of 2,000 references in a row": (tools(tool("a", properties=_MANY_KEYS)), _STRANGE),
    "schema with a pattern that goes back": (
        tools(tool("a", properties={"x": {"pattern": "^(a+)+$", "default": "a" * 64 + "!"}})),
        _STRANGE,
    ),
    "50,000 tools": (
        lambda message: raw(_many(50_000))(message),
        "healthy body_too_large mcp_invalid_result mcp_pagination deadline",
    ),
    "pages without end": (_page, "mcp_pagination deadline first_byte_timeout"),
    "large pages without end": (_large_page, "mcp_pagination body_too_large deadline first_byte_timeout"),
    "the same cursor again": (tools(tool("a"), nextCursor="again"), "mcp_pagination"),
    "cursor of a megabyte": (tools(tool("a"), nextCursor="x" * 1_000_000), "mcp_pagination body_too_large"),
    "cursor that is a number": (tools(tool("a"), nextCursor=7), "mcp_pagination"),
    "other tools with every check": (_changing, "healthy"),
    "terminal controls and markup in names": (tools(tool(f"a{CONTROLS}")), _STRANGE),
    "terminal controls and markup in an error": (lambda message: error(message, f"no {CONTROLS}"), "mcp_error"),
}
"""Fault -> what is said to tools/list, and the reasons that are true of it; ``healthy`` is one of them where a check
may pass it over: nothing is wrong that a client would notice."""

INITIALIZE: dict[str, tuple[Say, str]] = {
    "version that does not exist": (
        lambda message: result(message, {"protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": _INFO}),
        "mcp_version",
    ),
    "version of a megabyte": (
        lambda message: result(message, {"protocolVersion": "9" * 10**6, "capabilities": {}, "serverInfo": _INFO}),
        "mcp_version",
    ),
    "capabilities that are a number": (
        lambda message: result(message, {"protocolVersion": "2025-11-25", "capabilities": 7, "serverInfo": _INFO}),
        "mcp_invalid_result",
    ),
    "initialize answered with nothing in it": (lambda message: result(message, {}), "mcp_version mcp_invalid_result"),
}
"""Fault -> what is said to initialize."""


OVER_STDIO = (
    "JSON of 100,000 levels",
    "list of three million objects",
    "not JSON",
    "JSON that is cut off",
    "result and error",
    "tools that are numbers",
    "50,000 tools",
    "large pages without end",
    "the same cursor again",
    "other tools with every check",
    "terminal controls and markup in an error",
    "version of a megabyte",
)
"""Faults that are asked over standard input and output as well: each is an interpreter to start."""


def prepare() -> None:
    """Make what takes a while before it is asked for."""
    _many(50_000)
    _objects(2_800_000)


def said_to(fault: str, message: Message, faults: Mapping[str, tuple[Say, str]], method: str, trap: str) -> bytes:
    """What a server with this fault says to the message."""
    if message.get("method") != method:
        return good(message)
    return faults[fault][0](message).replace(TRAP.encode(), trap.encode())
