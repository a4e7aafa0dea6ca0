"""Real loopback servers: a scripted REST server and a scripted MCP server that counts its sessions."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN = "2026-07-28"


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break off are what is being tested."""


class _Running:
    """A server in a thread; a context manager."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self.lock = threading.Lock()
        """Held wherever a thread of a connection counts."""
        self.connections = 0
        self.closing = threading.Event()
        self.http = _Quiet(("127.0.0.1", port), handler)
        self.http.owner = self  # type: ignore[attr-defined] # how the handler finds it
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and hang up on those who kept their connection."""
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()
        self._thread.join(5)
        for kept in self.http.open.copy():
            with suppress(OSError):  # its thread was faster
                kept.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # what is written is sent, also in tiny pieces

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def setup(self) -> None:
        super().setup()
        owner = self.server.owner  # type: ignore[attr-defined]
        with owner.lock:
            owner.connections += 1

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@dataclass
class Scripted:
    """What a path answers."""

    status: int = 200
    body: bytes = b'{"status": "UP"}'
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    delay_s: float = 0.0
    fail_first: int = 0
    """So many requests are answered with 503 before the first good one."""


class RestServer(_Running):
    """Answers paths as scripted, and keeps what it was asked."""

    def __init__(self, paths: dict[str, Scripted] | None = None, port: int = 0) -> None:
        self.paths = {"/health": Scripted(), **(paths or {})}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(_RestHandler, port)

    def url(self, path: str = "/health") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _RestHandler(_Handler):
    def _do(self) -> None:
        owner = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner.requests.append((self.command, self.path, headers, body))
        scripted = owner.paths.get(self.path.partition("?")[0])
        if scripted is None:
            return self.answer(404, b"no such path")
        if scripted.delay_s:
            owner.closing.wait(scripted.delay_s)
        with owner.lock:
            early = scripted.fail_first > 0
            scripted.fail_first -= early
        if early:
            return self.answer(503, b"not yet")
        return self.answer(scripted.status, scripted.body, **scripted.headers)

    do_GET = do_HEAD = do_POST = _do  # noqa: N815 # names http.server looks for


def tool(name: str, **schema: Any) -> dict[str, Any]:
    """A tool as tools/list has it."""
    return {"name": name, "description": f"does {name}", "inputSchema": {"type": "object", **schema}}


@dataclass
class McpFaults:
    """How the server differs from a good one."""

    eras: tuple[str, ...] = ("session",)
    """session, sessionless, or both."""
    version: str | None = None
    """Answered to initialize instead of the version asked for."""
    sse: bool = False
    before_reply: list[dict[str, Any]] = field(default_factory=list)
    """Messages sent on the stream before each reply."""
    hold_open_s: float = 0.0
    """The stream stays open so long after the reply, or until the server closes."""
    line_end: bytes = b"\r\n"
    """How lines of the stream end."""
    segment_bytes: int = 0
    """The stream's bytes are sent in pieces of this size, each in a segment of its own; 0 sends each event at once."""
    raw: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    """Method -> status, content type and body to answer with as they are."""
    patch: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Method -> members laid over the JSON-RPC reply; a member that is `...` is left out."""
    errors: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """Method -> HTTP status, JSON-RPC code and message."""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Method -> result, for methods that the server does not know by itself, and instead of what it would say."""
    ask_before: dict[str, list[str]] = field(default_factory=dict)
    """Method -> methods that the server asks its client on the stream, and waits for the answers before it replies."""
    cut_streams: int = 0
    """So many streams end before the reply, which comes on the GET that takes one up again."""
    delay_s: dict[str, float] = field(default_factory=dict)
    refuse: tuple[int, dict[str, str]] | None = None
    """Status and headers for requests without the token."""
    refuse_first: int | None = None
    """Only so many requests are refused."""
    lose_first_session: bool = False
    """The first session is forgotten before its list is asked for."""
    token: str | None = None
    capabilities: dict[str, Any] = field(default_factory=lambda: {"tools": {}})
    tools: list[Any] = field(default_factory=lambda: [tool("add"), tool("search")])
    page: int = 0
    """Tools on a page; 0 puts all on one."""
    cursor_loop: bool = False
    batch: bool = False
    delete_status: int = 200
    """Answered to DELETE; only a success ends the session."""
    stateless: bool = False
    session_requests: int | None = None
    """The session is gone after so many requests: the next is answered with 404."""
    redirect_to: str | None = None


class McpServer(_Running):
    """Speaks MCP over Streamable HTTP in either era; counts requests by method and sessions."""

    def __init__(self, port: int = 0, **faults: Any) -> None:
        self.faults = McpFaults(**faults)
        self.methods: Counter[str] = Counter()
        self.opened = 0
        self.deleted = 0
        self.open_sessions: set[str] = set()
        self.session_requests: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.messages: list[dict[str, Any]] = []
        """Requests and notifications in the order they came."""
        self.client_answers: dict[Any, Any] = {}
        """Id of a request of ours -> result or error code of the client's answer."""
        self.answered = threading.Condition()
        self.cut_off: list[dict[str, Any]] = []
        super().__init__(_McpHandler, port)

    def url(self, path: str = "/mcp") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _McpHandler(_Handler):
    @property
    def owner(self) -> McpServer:
        found: McpServer = self.server.owner  # type: ignore[attr-defined]
        return found

    def do_DELETE(self) -> None:
        status, session = self.owner.faults.delete_status, self.headers.get("Mcp-Session-Id") or ""
        with self.owner.lock:
            self.owner.methods["DELETE"] += 1
            known = session in self.owner.open_sessions
            if known and status < 300:
                self.owner.open_sessions.discard(session)
                self.owner.deleted += 1
        self.answer(status if known or status >= 300 else 404)

    def do_GET(self) -> None:
        with self.owner.lock:
            self.owner.methods["GET"] += 1
            reply = (
                self.owner.cut_off.pop() if self.owner.cut_off and self.headers.get("Last-Event-ID") == "7" else None
            )
        if reply is None:
            return self.answer(405)
        text = f"event: message\ndata: {json.dumps(reply)}\n\n".encode()
        return self.answer(200, text, Content_Type="text/event-stream")

    def do_POST(self) -> None:
        faults = self.owner.faults
        message = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if "method" not in message:
            return self._note_answer(message)
        method = message["method"]
        with self.owner.lock:
            self.owner.methods[method] += 1
            self.owner.messages.append(message)
            self.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        if faults.redirect_to and self.path == "/mcp":
            return self.answer(307, Location=faults.redirect_to)
        if faults.refuse_first is not None:
            with self.owner.lock:
                faults.refuse = faults.refuse if faults.refuse_first > 0 else None
                faults.refuse_first -= 1
        if faults.refuse and (faults.token is None or self.headers.get("Authorization") != f"Bearer {faults.token}"):
            return self.answer(faults.refuse[0], b'{"error": "invalid_token"}', **faults.refuse[1])
        if method in faults.delay_s:
            self.owner.closing.wait(faults.delay_s[method])
        if method in faults.raw:
            status, kind, body = faults.raw[method]
            body = body.replace(b"@id@", str(message.get("id")).encode())
            return self.answer(status, body, **({"Content_Type": kind} if kind else {}))
        if method in faults.errors:
            status, code, text = faults.errors[method]
            return self._error(message, status, code, text)
        return self._by_era(message, method)

    def _note_answer(self, message: dict[str, Any]) -> None:
        with self.owner.answered:
            said = message.get("result") if "result" in message else message["error"]["code"]
            self.owner.client_answers[message["id"]] = said
            self.owner.answered.notify_all()
        self.answer(202)

    def _by_era(self, message: dict[str, Any], method: str) -> None:
        faults = self.owner.faults
        if self.headers.get("MCP-Protocol-Version") == MODERN:
            if "sessionless" not in faults.eras:
                return self._error(message, 400, -32000, "Bad Request: no valid session ID")
            return self._sessionless(message, method)
        if "session" not in faults.eras:
            return self._error(message, 400, -32022, "unsupported version", {"supported": [MODERN]})
        return self._session(message, method)

    def _sessionless(self, message: dict[str, Any], method: str) -> None:
        if self.headers.get("Mcp-Method") != method:
            return self._error(message, 400, -32020, "header and body differ")
        if "io.modelcontextprotocol/protocolVersion" not in message.get("params", {}).get("_meta", {}):
            return self._error(message, 400, -32602, "_meta is missing")
        hints = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if method in self.owner.faults.answers:
            return self._result(message, {**hints, **self.owner.faults.answers[method]})
        if method == "server/discover":
            info = {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "9"}}
            found = {"supportedVersions": [MODERN], "capabilities": self.owner.faults.capabilities, "_meta": info}
            return self._result(message, {**hints, **found})
        if method == "tools/list":
            return self._result(message, {**hints, **self._page(message)})
        return self._error(message, 404, -32601, "Method not found")

    def _session(self, message: dict[str, Any], method: str) -> None:
        faults = self.owner.faults
        if method == "initialize":
            asked = message["params"]["protocolVersion"]
            session: dict[str, str] = {}
            if not faults.stateless:
                session = {"Mcp_Session_Id": uuid.uuid4().hex}
                with self.owner.lock:
                    self.owner.opened += 1
                    self.owner.open_sessions.add(session["Mcp_Session_Id"])
            version = faults.version or (asked if asked in LEGACY else LEGACY[0])
            result = {
                "protocolVersion": version,
                "capabilities": faults.capabilities,
                "serverInfo": {"name": "scripted", "version": "1.2"},
            }
            return self._result(message, result, **session)
        if not faults.stateless and not self._session_lives():
            return self._error(message, 404, -32001, "Session not found")
        if "id" not in message:
            return self.answer(202)
        if faults.lose_first_session and method == "tools/list":
            faults.lose_first_session = False
            with self.owner.lock:
                self.owner.open_sessions.clear()
            return self._error(message, 404, -32001, "Session not found")
        if method in faults.answers:
            return self._result(message, faults.answers[method])
        if method == "ping":
            return self._result(message, {})
        if method == "tools/list":
            return self._result(message, self._page(message))
        return self._error(message, 200, -32601, "Method not found")

    def _session_lives(self) -> bool:
        session, limit = self.headers.get("Mcp-Session-Id") or "", self.owner.faults.session_requests
        with self.owner.lock:
            self.owner.session_requests[session] += 1
            if limit is not None and self.owner.session_requests[session] > limit:
                self.owner.open_sessions.discard(session)
            return session in self.owner.open_sessions

    def _page(self, message: dict[str, Any]) -> dict[str, Any]:
        faults = self.owner.faults
        if not faults.page:
            return {"tools": faults.tools}
        start = int((message.get("params") or {}).get("cursor") or 0)
        end = start + faults.page
        page: dict[str, Any] = {"tools": faults.tools[start:end]}
        if faults.cursor_loop:
            page["nextCursor"] = "0"
        elif end < len(faults.tools):
            page["nextCursor"] = str(end)
        return page

    def _result(self, message: dict[str, Any], result: dict[str, Any], **headers: str) -> None:
        faults = self.owner.faults
        reply: Any = {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
        reply |= faults.patch.get(message["method"], {})
        reply = {name: value for name, value in reply.items() if value is not ...}
        if faults.batch:
            reply = [reply]
        if not faults.sse:
            return self.answer(200, json.dumps(reply).encode(), Content_Type="application/json", **headers)
        self.send_response(200)
        for name, value in {**headers, "Content_Type": "text/event-stream", "Transfer_Encoding": "chunked"}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self._stream("id: 1", "data:", "", ": a comment", "")
        if faults.cut_streams and message["method"] == "tools/list":
            faults.cut_streams -= 1
            self.owner.cut_off.append(reply)
            self._stream("id: 7", "retry: 50", "data:", "")
            self.wfile.write(b"0\r\n\r\n")
            return None
        self._ask_client(faults.ask_before.get(message["method"], []))
        for one in [*faults.before_reply, reply]:
            self._stream("event: message", f"data: {json.dumps(one)}", "")
        self.owner.closing.wait(faults.hold_open_s)
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _ask_client(self, methods: list[str]) -> None:
        for method in methods:
            self._stream(f'data: {{"jsonrpc": "2.0", "id": "ask {method}", "method": "{method}", "params": {{}}}}', "")
        wanted = {f"ask {method}" for method in methods}
        with self.owner.answered:
            self.owner.answered.wait_for(lambda: wanted <= self.owner.client_answers.keys(), 5)

    def _stream(self, *lines: str) -> None:
        faults = self.owner.faults
        text = b"".join(line.encode() + faults.line_end for line in lines)
        data = f"{len(text):x}\r\n".encode() + text + b"\r\n"
        for start in range(0, len(data), faults.segment_bytes or len(data)):
            self.wfile.write(data[start : start + (faults.segment_bytes or len(data))])

    def _error(self, message: dict[str, Any], status: int, code: int, text: str, data: Any = None) -> None:
        error = {"code": code, "message": text} | ({"data": data} if data is not None else {})
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": error}).encode()
        self.answer(status, body, Content_Type="application/json")
