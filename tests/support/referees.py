"""What the official clients say of odd servers: scripted servers, the SDKs as referees, and their recorded verdicts.

``python tests/support/referees.py`` asks them anew and writes tests/data/referees/verdicts.json.
"""

from __future__ import annotations

import copy
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from real_servers import COMPONENTS, NotInstalled, folder_of, node_folder

FOLDER = Path(__file__).parent.parent / "data" / "referees"
VERDICTS = FOLDER / "verdicts.json"
CLIENTS = {"python": "python-sdk-2", "typescript-1": "typescript-sdk-1", "typescript-2": "typescript-client-2"}
"""Referee -> the component that it is."""
_ABSENT: Any = object()
_VALUES = {"missing": _ABSENT, "null": None, "7": 7, "[]": []}
_TOOL = {
    "name": "echo",
    "description": "Echo",
    "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}},
}
_LISTED: dict[str, Any] = {
    "tools/list": {"tools": [_TOOL]},
    "resources/list": {"resources": [{"uri": "a://b", "name": "b"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "a://{b}", "name": "b"}]},
    "prompts/list": {"prompts": [{"name": "b", "arguments": [{"name": "c"}]}]},
}
_INITIALIZED: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "demo", "version": "1"},
}
_INITIALIZE = (
    "protocolVersion capabilities serverInfo serverInfo.name serverInfo.version serverInfo.title serverInfo.websiteUrl "
    "serverInfo.description serverInfo.icons instructions _meta unknown capabilities.tools "
    "capabilities.tools.listChanged capabilities.resources capabilities.resources.subscribe capabilities.prompts "
    "capabilities.logging capabilities.completions capabilities.experimental capabilities.experimental.hello "
    "capabilities.extensions capabilities.extensions.hello capabilities.tasks capabilities.tasks.requests "
    "capabilities.unknown"
)
_TOOLS = (
    "name description title inputSchema inputSchema.type inputSchema.properties inputSchema.required outputSchema "
    "annotations annotations.title annotations.readOnlyHint annotations.idempotentHint icons _meta execution "
    "execution.taskSupport unknown"
)
_OTHERS = {
    "resources/list": "name uri title description mimeType size icons _meta",
    "resources/templates/list": "name uriTemplate mimeType",
    "prompts/list": "name title description arguments arguments.0.name arguments.0.description arguments.0.required",
}


@dataclass(frozen=True)
class Odd:
    """A server: proper but for what is given, by method."""

    results: Mapping[str, Any] = field(default_factory=dict)
    message: Callable[[dict[str, Any]], Any] = lambda message: message
    """What is sent instead of the message with the result of tools/list."""
    answer: Callable[[bytes], tuple[int, str | None, bytes]] = lambda body: (200, "application/json", body)
    """Status, media type and body of the reply to tools/list."""
    notified: tuple[int, str | None, bytes] = (202, None, b"")
    lists: tuple[str, ...] = ("tools",)


def _changed(document: Any, path: str, value: Any) -> Any:
    document = copy.deepcopy(document)
    *front, last = path.split(".")
    inner = document
    for name in front:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    if value is _ABSENT:
        inner.pop(last, None)
    else:
        inner[last] = value
    return document


def _initialize(path: str, value: Any) -> Odd:
    return Odd({"initialize": _changed(_INITIALIZED, path, value)})


def _tool(path: str, value: Any) -> Odd:
    return Odd({"tools/list": {"tools": [_changed(_TOOL, path, value)]}})


def _events(*events: str) -> Callable[[bytes], tuple[int, str, bytes]]:
    def answer(body: bytes) -> tuple[int, str, bytes]:
        text = "".join(event.replace("REPLY", body.decode()) for event in events)
        return 200, "text/event-stream", text.encode()

    return answer


_REPLY = "event: message\ndata: REPLY\n\n"
_WIRE = {
    "good": Odd(),
    "id as text": Odd(message=lambda one: {**one, "id": str(one["id"])}),
    "id null": Odd(message=lambda one: {**one, "id": None}),
    "id of another": Odd(message=lambda one: {**one, "id": 999}),
    "no jsonrpc": Odd(message=lambda one: {"id": one["id"], "result": one["result"]}),
    "jsonrpc 1.0": Odd(message=lambda one: {**one, "jsonrpc": "1.0"}),
    "unknown member beside the result": Odd(message=lambda one: {**one, "took": 3}),
    "result null": Odd(message=lambda one: {**one, "result": None}),
    "batch of one": Odd(message=lambda one: [one]),
    "status 201": Odd(answer=lambda body: (201, "application/json", body)),
    "status 203": Odd(answer=lambda body: (203, "application/json", body)),
    "status 299": Odd(answer=lambda body: (299, "application/json", body)),
    "status 202": Odd(answer=lambda body: (202, "application/json", body)),
    "status 400": Odd(answer=lambda body: (400, "application/json", body)),
    "media type in capitals": Odd(answer=lambda body: (200, "Application/JSON; Charset=UTF-8", body)),
    "media type application/json-rpc": Odd(answer=lambda body: (200, "application/json-rpc", body)),
    "media type text/plain": Odd(answer=lambda body: (200, "text/plain", body)),
    "media type text/json": Odd(answer=lambda body: (200, "text/json", body)),
    "media type application/vnd.api+json": Odd(answer=lambda body: (200, "application/vnd.api+json", body)),
    "no media type": Odd(answer=lambda body: (200, None, body)),
    "byte order mark": Odd(answer=lambda body: (200, "application/json", b"\xef\xbb\xbf" + body)),
    "stream": Odd(answer=_events(_REPLY)),
    "stream without type": Odd(answer=_events("data: REPLY\n\n")),
    "stream with a ping before": Odd(answer=_events("event: ping\ndata: {}\n\n", _REPLY)),
    "stream whose reply has another type": Odd(answer=_events("event: reply\ndata: REPLY\n\n")),
    "stream with text before": Odd(answer=_events("event: message\ndata: hello\n\n", _REPLY)),
    "stream with JSON before": Odd(answer=_events("event: message\ndata: {}\n\n", _REPLY)),
    "stream with an error without id before": Odd(
        answer=_events('data: {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}\n\n', _REPLY)
    ),
    "stream with another reply before": Odd(answer=_events('data: {"jsonrpc":"2.0","id":77,"result":{}}\n\n', _REPLY)),
    "stream in capitals": Odd(
        answer=lambda body: (200, "Text/Event-Stream", b"event: message\ndata: " + body + b"\n\n")
    ),
    "notified 200": Odd(notified=(200, None, b"")),
    "notified 200 {}": Odd(notified=(200, "application/json", b"{}")),
    "notified 200 result": Odd(notified=(200, "application/json", b'{"jsonrpc":"2.0","id":null,"result":{}}')),
    "notified 200 error": Odd(
        notified=(200, "application/json", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"x"}}')
    ),
    "notified 200 text": Odd(notified=(200, "text/plain", b"ok")),
    "notified 204": Odd(notified=(204, None, b"")),
    "notified 400": Odd(notified=(400, "text/plain", b"no")),
    "notified 404": Odd(notified=(404, "text/plain", b"no")),
    "notified 500": Odd(notified=(500, "text/plain", b"no")),
}


def cases() -> dict[str, Odd]:
    """Every odd server by its name."""
    found = {f"wire: {name}": odd for name, odd in _WIRE.items()}
    for path in _INITIALIZE.split():
        found |= {f"initialize: {path} {word}": _initialize(path, value) for word, value in _VALUES.items()}
    for version in ("2024-10-07", "1999-01-01", "2026-07-28", "2025-11-25"):
        found[f"initialize: version {version}"] = _initialize("protocolVersion", version)
    found["initialize: listChanged as text"] = _initialize("capabilities.tools.listChanged", "true")
    found["initialize: listChanged as number"] = _initialize("capabilities.tools.listChanged", 1)
    for path in _TOOLS.split():
        found |= {f"tools: {path} {word}": _tool(path, value) for word, value in _VALUES.items()}
    for name, path, value in (
        ("name empty", "name", ""),
        ("required of numbers", "inputSchema.required", [1]),
        ("inputSchema of an array", "inputSchema.type", "array"),
        ("property true", "inputSchema.properties.a", True),
        ("property of text", "inputSchema.properties.a", "string"),
        ("property null", "inputSchema.properties.a", None),
        ("outputSchema of an array", "outputSchema", {"type": "array"}),
        ("icon without src", "icons", [{"mimeType": "image/png"}]),
        ("taskSupport of another word", "execution.taskSupport", "perhaps"),
    ):
        found[f"tools: {name}"] = _tool(path, value)
    for member in ("nextCursor", "_meta"):
        for word, value in _VALUES.items():
            found[f"tools: page {member} {word}"] = Odd({"tools/list": _changed(_LISTED["tools/list"], member, value)})
    found["tools: twice"] = Odd({"tools/list": {"tools": [_TOOL, _TOOL]}})
    found["tools: of texts"] = Odd({"tools/list": {"tools": ["echo"]}})
    found["tools: no list"] = Odd({"tools/list": {}})
    for method, paths in _OTHERS.items():
        member = next(iter(_LISTED[method]))
        capability = method.partition("/")[0]
        announced = _changed(_INITIALIZED, f"capabilities.{capability}", {})
        name = "resource_templates" if "templates" in method else capability
        for path in paths.split():
            for word, value in _VALUES.items():
                listed = _changed(_LISTED[method], f"{member}.0.{path}", value)
                odd = Odd({"initialize": announced, method: listed}, lists=("tools", name))
                found[f"{name}: {path} {word}"] = odd
    return found


@contextmanager
def serving(odd: Mapping[str, Odd]) -> Iterator[dict[str, str]]:
    """The address of each of the servers, which are one."""
    listed = list(odd.values())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            self._say(405, None, b"")

        do_DELETE = do_GET  # noqa: N815 # as the base class calls it

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            one, method = listed[int(self.path[1:])], asked["method"]
            if "id" not in asked:
                self._say(*one.notified)
                return
            known = {"initialize": _INITIALIZED, "ping": {}, **_LISTED, **one.results}
            message: Any = {"jsonrpc": "2.0", "id": asked["id"]}
            if method not in known:
                message["error"] = {"code": -32601, "message": "Method not found"}
            else:
                message["result"] = known[method]
            if method == "tools/list":
                self._say(*one.answer(json.dumps(one.message(message)).encode()))
            else:
                self._say(200, "application/json", json.dumps(message).encode())

        def _say(self, status: int, kind: str | None, body: bytes) -> None:
            self.send_response(status)
            if kind is not None:
                self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    class Server(ThreadingHTTPServer):
        request_queue_size = 512

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is none."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield {name: f"http://127.0.0.1:{server.server_port}/{place}" for place, name in enumerate(odd)}
    finally:
        server.shutdown()
        server.server_close()


def asked_of(referee: str, odd: Mapping[str, Odd], urls: Mapping[str, str]) -> dict[str, str | None]:
    """Name of a server -> why the referee refuses it, None where it takes it; raises NotInstalled."""
    component = COMPONENTS[CLIENTS[referee]]
    folder = folder_of(component)
    if not (folder / ".installed").exists():
        raise NotInstalled(f"{component.name} is not installed; scripts/mcp_servers install {component.name}")
    if component.node:
        command = [str(node_folder() / "node"), str(FOLDER / "typescript_client.mjs"), str(folder)]
    else:
        command = [str(folder / "venv/bin/python"), str(FOLDER / "python_client.py")]
    given = json.dumps([[name, urls[name], one.lists] for name, one in odd.items()])
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=True)
    found = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith('["'))
    assert found.keys() == odd.keys(), done.stderr[-500:]
    return found


def verdicts(every: int = 1) -> dict[str, list[str]]:
    """Name of a server, of all or of every so many -> the referees that refuse it; raises NotInstalled."""
    odd = dict(list(cases().items())[::every])
    with serving(odd) as urls, ThreadPoolExecutor(len(CLIENTS)) as executor:
        found = dict(zip(CLIENTS, executor.map(lambda one: asked_of(one, odd, urls), CLIENTS), strict=True))
    return {name: [one for one in CLIENTS if found[one][name] is not None] for name in odd}


def recorded() -> dict[str, list[str]]:
    """The same, as it was when they were asked last."""
    kept: dict[str, list[str]] = json.loads(VERDICTS.read_text())
    return kept


if __name__ == "__main__":
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(refusing)}" for name, refusing in verdicts().items())
    VERDICTS.write_text("{\n" + lines + "\n}\n")
