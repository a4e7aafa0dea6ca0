"""The JSON-RPC loop that the faulty servers of this folder share: a proper server over stdio with one tool, ``add``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

SESSION_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
INFO = {"name": "add", "version": "1"}
_NUMBERS = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}
TOOL = {"name": "add", "description": "Add two numbers.", "inputSchema": _NUMBERS}

Message = dict[str, Any]
Answer = Callable[[str, Message], Message | None]
"""Method and params to ``result(...)`` or ``error(...)``; None says nothing."""


def result(**members: Any) -> Message:
    return {"result": members}


def error(code: int, message: str, **data: Any) -> Message:
    return {"error": {"code": code, "message": message, **({"data": data} if data else {})}}


def say(message: Message) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def messages() -> Iterator[Message]:
    """What the client says, until it closes its end."""
    for line in sys.stdin:
        yield json.loads(line)


def session_era(method: str, params: Message) -> Message | None:
    """Answers of a server that speaks 2024-11-05 to 2025-11-25."""
    if method == "initialize":
        asked = params["protocolVersion"]
        version = asked if asked in SESSION_VERSIONS else SESSION_VERSIONS[0]
        return result(protocolVersion=version, capabilities={"tools": {}}, serverInfo=INFO)
    if method == "ping":
        return result()
    if method == "tools/list":
        return result(tools=[TOOL])
    if method == "tools/call":
        return called(params)
    return error(-32601, f"no method {method}")


def called(params: Message, **more: Any) -> Message:
    if params.get("name") != TOOL["name"]:
        return error(-32602, "no such tool")
    values = params.get("arguments", {})
    text = str(values.get("a", 0) + values.get("b", 0))
    return result(content=[{"type": "text", "text": text}], isError=False, **more)


def speak(answer: Answer = session_era) -> None:
    """Answer every request until the client closes its end; notifications and responses are passed over."""
    for message in messages():
        if "id" in message and "method" in message:
            reply = answer(message["method"], message.get("params") or {})
            if reply is not None:
                say({"id": message["id"], **reply})


if __name__ == "__main__":
    speak()
