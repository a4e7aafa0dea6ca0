"""What the selftest's MCP servers answer, in both eras; run as a program, it is such a server over stdio.

Only the standard library is imported: the program is started by its path, whatever is installed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

SESSION_VERSION, SESSIONLESS_VERSION = "2025-11-25", "2026-07-28"
TOOL = {"name": "echo", "description": "Gives back nothing.", "inputSchema": {"type": "object", "properties": {}}}
_INFO = {"name": "selftest", "version": "1"}
_OFFERED: dict[str, Any] = {"capabilities": {"tools": {}}}
_NOT_FOUND = -32601


def session_reply(method: str) -> dict[str, Any] | None:
    """The result of a request in the session era, from 2024-11-05 to 2025-11-25; None for an unknown method."""
    if method == "initialize":
        return {"protocolVersion": SESSION_VERSION, "serverInfo": _INFO, **_OFFERED}
    return {"ping": {}, "tools/list": {"tools": [TOOL]}}.get(method)


def sessionless_reply(method: str) -> dict[str, Any] | None:
    """The result of a request in the sessionless era, from 2026-07-28; None for an unknown method."""
    whole = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    if method == "server/discover":
        about = {"io.modelcontextprotocol/serverInfo": _INFO}
        return {**whole, "supportedVersions": [SESSIONLESS_VERSION], "_meta": about, **_OFFERED}
    return {**whole, "tools": [TOOL]} if method == "tools/list" else None


def reply(message: dict[str, Any], result: dict[str, Any] | None) -> dict[str, Any]:
    """The JSON-RPC message that answers a request with this result, or says that its method is unknown."""
    if result is None:
        return refusal(message, _NOT_FOUND, "Method not found")
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": result}


def refusal(message: dict[str, Any], code: int, text: str) -> dict[str, Any]:
    """The JSON-RPC message that answers a request with an error."""
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": text}}


def main() -> None:
    """Answer the messages on standard input, a line each, until it ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            sys.stdout.write(json.dumps(reply(message, session_reply(message["method"]))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
