"""The MCP messages that a client without an MCP library sends to learn what this checker's probe learns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

VERSION, MODERN = "2025-11-25", "2026-07-28"
_INFO = {"name": "benchmark", "version": "1.0"}
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": _INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}

Send = Callable[[str, bytes | None, Mapping[str, str]], tuple[int, Mapping[str, str], bytes]]
"""HTTP method, body and headers -> status, headers and body."""


def session_check(send: Send) -> bool:
    """Ask for the era, shake hands, ping, list the tools and end the session: six requests."""
    discovered, _, _ = _modern(send, "server/discover")
    params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": _INFO}
    status, headers, begun = _call(send, {"id": 1, "method": "initialize", "params": params}, {})
    own = {"MCP-Protocol-Version": VERSION, "Mcp-Session-Id": headers["Mcp-Session-Id"]}
    noted, _, _ = _call(send, {"method": "notifications/initialized"}, own)
    _, _, pinged = _call(send, {"id": 2, "method": "ping"}, own)
    _, _, listed = _call(send, {"id": 3, "method": "tools/list"}, own)
    ended, _, _ = send("DELETE", None, {**_HEADERS, **own})
    answered = (discovered, status, noted, ended) == (400, 200, 202, 200)
    return answered and "result" in pinged and begun["id"] == 1 and len(listed["result"]["tools"]) == 5


def sessionless_check(send: Send) -> bool:
    """Discover and list the tools: two requests."""
    _, _, discovered = _modern(send, "server/discover")
    _, _, listed = _modern(send, "tools/list")
    return MODERN in discovered["result"]["supportedVersions"] and len(listed["result"]["tools"]) == 5


def _modern(send: Send, method: str) -> tuple[int, Mapping[str, str], Any]:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    return _call(send, {"id": 1, "method": method, "params": {"_meta": _META}}, headers)


def _call(send: Send, message: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], Any]:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    status, answered, answer = send("POST", body, {**_HEADERS, **headers})
    return status, answered, json.loads(answer) if answer else None
