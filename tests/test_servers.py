"""The test servers themselves: each does what its name says, seen by plain sockets and urllib3."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from servers import LEGACY, MODERN, McpServer, RestServer, Scripted, tool
from servers_faults import MODES, OTHER_MODES, FaultServer, certificates, closed_port, self_signed

HEAD_OK = b"HTTP/1.1 200 OK\r\n"


def ask(port: int, within_s: float = 0.4, method: str = "GET") -> tuple[bytes, str]:
    """What the server sends to a request, and how it ends: closed, reset, or open for longer than asked."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        until = time.monotonic() + within_s
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                piece = sock.recv(65536)
            except ConnectionResetError:
                return received, "reset"
            except TimeoutError:
                break
            if not piece:
                return received, "closed"
            received = (received + piece)[:1_000_000]
    return received, "open"


FAULTS: dict[str, tuple[str, Callable[[bytes], bool]]] = {
    # mode: how the connection ends, and what its bytes are
    "ok": ("closed", lambda got: got.endswith(b'{"status": "UP"}')),
    "silent": ("open", lambda got: got == b""),
    "drip_head": ("open", lambda got: got == b"H"),
    "drip_body": ("open", lambda got: got.endswith(b"\r\n\r\nx")),
    "reset_before_head": ("reset", lambda got: got == b""),
    "reset_in_body": ("reset", lambda got: got.endswith(b"\r\n\r\nabc")),
    "closed": ("closed", lambda got: got == b""),
    "garbage": ("closed", lambda got: not got.startswith(b"HTTP")),
    "short_body": ("closed", lambda got: b"Content-Length: 100" in got and got.endswith(b"\r\n\r\nabc")),
    "broken_chunks": ("closed", lambda got: got.endswith(b"\r\n\r\nzz\r\nabc\r\n")),
    "endless": ("open", lambda got: b"Content-Length" not in got and len(got) == 1_000_000),
    "gzip_bomb": ("closed", lambda got: len(got) < 100_000),
    "bad_gzip": ("closed", lambda got: b"Content-Encoding: gzip" in got and b"no gzip" in got),
    "gzip": ("closed", lambda got: b"\r\n\r\n\x1f\x8b" in got),
    "deflate": ("closed", lambda got: b"\r\n\r\n\x78" in got),
    "huge_headers": ("closed", lambda got: len(got) > 200_000),
    "many_headers": ("closed", lambda got: got.count(b"\r\nX-A:") == 1000),
    "interim": ("closed", lambda got: got.startswith(b"HTTP/1.1 100") and b"HTTP/1.1 103" in got and HEAD_OK in got),
    "until_closed": ("closed", lambda got: b"Content-Length" not in got and got.endswith(b"}")),
    "no_content": ("closed", lambda got: got.startswith(b"HTTP/1.1 204") and got.endswith(b"\r\n\r\n")),
    "bad_utf8": ("closed", lambda got: b"\xff\xfe" in got),
    "tiny_segments": ("closed", lambda got: got.startswith(HEAD_OK) and got.endswith(b"}")),
    "endless_comments": ("open", lambda got: b"text/event-stream" in got and got.count(b": still here\n\n") > 2),
    "not_modified": ("closed", lambda got: got.startswith(b"HTTP/1.1 304") and got.endswith(b"\r\n\r\n")),
    "head": ("closed", lambda got: b"Content-Length: 16" in got and got.endswith(b"\r\n\r\n")),
    "head_with_body": ("closed", lambda got: got.endswith(b"}")),
    "to_http": ("closed", lambda got: b"Location: http://" in got),
    "no_handshake": ("open", lambda got: got == b""),
}


def test_every_mode_is_tried() -> None:
    assert set(FAULTS) == {*MODES, *OTHER_MODES}


@pytest.mark.parametrize("mode", FAULTS)
def test_fault_server_breaks_as_its_mode_says(mode: str) -> None:
    ends, right = FAULTS[mode]
    with FaultServer(mode) as server:
        got, end = ask(server.port, 0.4 if ends == "open" else 10.0, "HEAD" if mode.startswith("head") else "GET")
        assert server.connections == 1
    assert end == ends
    assert right(got), got[:200]


def test_tiny_segments_are_tiny() -> None:
    with FaultServer("tiny_segments") as server, socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sizes = [len(piece) for piece in iter(lambda: sock.recv(65536), b"")]
    assert len(sizes) > 30


def test_bomb_is_large_once_it_is_unpacked() -> None:
    with FaultServer("gzip_bomb") as server:
        assert len(urllib3.request("GET", server.url(), retries=False).data) == 50_000_000


def test_closed_servers_leave_neither_port_nor_thread() -> None:
    before = threading.active_count()
    with FaultServer("silent") as silent, RestServer() as rest:
        kept = socket.create_connection(("127.0.0.1", rest.port), timeout=5)
        waiting = socket.create_connection(("127.0.0.1", silent.port), timeout=5)
        waiting.sendall(b"GET / HTTP/1.1\r\n\r\n")
        kept.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert kept.recv(100).startswith(HEAD_OK)
        time.sleep(0.05)
        ports = (silent.port, rest.port)
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before
    for sock in (kept, waiting):
        sock.close()
    for port in (*ports, closed_port()):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("good", None),
        ("expires_soon", None),
        ("expired", "certificate has expired"),
        ("wrong_host", "IP address mismatch"),
        ("unknown_authority", "unable to get local issuer certificate"),
        ("self_signed", "self-signed certificate"),
    ],
)
def test_certificates_are_wrong_in_the_way_they_are_named(tmp_path: Path, name: str, says: str | None) -> None:
    contexts = {**certificates(tmp_path), "self_signed": self_signed(tmp_path)}
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    found = None
    with FaultServer("ok", contexts[name]) as server:
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        try:
            trusting.wrap_socket(plain, server_hostname="127.0.0.1").close()
        except ssl.SSLCertVerificationError as error:
            found = error.verify_message
        plain.close()
    assert found is None if says is None else says in (found or "")


def test_no_handshake_keeps_a_tls_client_waiting() -> None:
    with FaultServer("no_handshake") as server, socket.create_connection(("127.0.0.1", server.port), 0.3) as plain:
        assert server.url().startswith("https://")
        with pytest.raises(TimeoutError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")


def test_rest_server_answers_its_script_and_keeps_what_it_was_asked() -> None:
    script = {"/down": Scripted(503, b"no"), "/soon": Scripted(fail_first=2), "/late": Scripted(delay_s=0.2)}
    with RestServer(script) as server, urllib3.HTTPConnectionPool("127.0.0.1", server.port) as pool:
        paths = ("/health", "/down", "/soon", "/soon", "/soon", "/nowhere", "/health?full=1")
        statuses = [pool.urlopen("GET", path, headers={"X-A": "1"}, retries=False).status for path in paths]
        assert pool.urlopen("HEAD", "/health", retries=False).data == b""
        start = time.monotonic()
        pool.urlopen("POST", "/late", body=b"{}", retries=False)
        assert time.monotonic() - start >= 0.2
        assert server.connections == 1
    assert statuses == [200, 503, 503, 503, 200, 404, 200]
    assert [path for _, path, _, _ in server.requests] == [*paths, "/health", "/late"]
    assert server.requests[0][2]["x-a"] == "1"
    assert server.requests[-1][0] == "POST"
    assert server.requests[-1][3] == b"{}"


class Client:
    """A client of an `McpServer`, as simple as the protocol allows; remembers the session it was given."""

    def __init__(self, server: McpServer) -> None:
        self.server, self.pool = server, urllib3.HTTPConnectionPool("127.0.0.1", server.port)
        self.headers: dict[str, str] = {}

    def post(self, method: str, **params: Any) -> Any:
        """The reply's status and its JSON; the events of a stream as a list."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            message["id"] = 7
        reply = self.pool.urlopen("POST", "/mcp", body=json.dumps(message), headers=self.headers, retries=False)
        if session := reply.headers.get("Mcp-Session-Id"):
            self.headers["Mcp-Session-Id"] = session
        if reply.headers.get("Content-Type") == "text/event-stream":
            lines = reply.data.splitlines()
            return reply.status, [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
        return reply.status, json.loads(reply.data) if reply.data else None

    def initialize(self, version: str = LEGACY[0]) -> Any:
        return self.post("initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "t"})

    def modern(self, method: str, **params: Any) -> Any:
        self.headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        return self.post(method, _meta={"io.modelcontextprotocol/protocolVersion": MODERN}, **params)

    def delete(self) -> int:
        return self.pool.urlopen("DELETE", "/mcp", headers=self.headers, retries=False).status


def client(**faults: Any) -> Any:
    """A server with these faults, and a client of it."""
    server = McpServer(**faults)
    return server, Client(server)


def test_session_is_opened_used_and_deleted_once() -> None:
    server, caller = client()
    with server:
        status, hello = caller.initialize("2025-06-18")
        assert (status, hello["result"]["protocolVersion"]) == (200, "2025-06-18")
        assert (server.opened, len(server.open_sessions)) == (1, 1)
        assert caller.post("notifications/initialized") == (202, None)
        assert caller.post("ping")[1]["result"] == {}
        assert [one["name"] for one in caller.post("tools/list")[1]["result"]["tools"]] == ["add", "search"]
        assert caller.post("no/such")[1]["error"]["code"] == -32601
        assert (caller.delete(), caller.delete()) == (200, 404)
        assert caller.post("ping")[0] == 404
        assert (server.opened, server.deleted, server.open_sessions) == (1, 1, set())
        assert server.connections == 1
    assert server.methods["ping"] == 2
    assert server.methods["DELETE"] == 2


def test_sessionless_era_wants_its_headers() -> None:
    server, caller = client(eras=("sessionless",))
    with server:
        status, found = caller.modern("server/discover")
        assert (status, found["result"]["supportedVersions"]) == (200, [MODERN])
        assert caller.modern("tools/list")[1]["result"]["resultType"] == "complete"
        assert caller.modern("ping")[0] == 404
        caller.headers["Mcp-Method"] = "other"
        assert caller.post("tools/list")[1]["error"]["code"] == -32020
        caller.headers = {}
        status, refused = caller.initialize()
        assert (status, refused["error"]["code"], refused["error"]["data"]) == (400, -32022, {"supported": [MODERN]})
        assert server.opened == 0


def test_session_expires_after_its_requests() -> None:
    server, caller = client(session_requests=2)
    with server:
        caller.initialize()
        assert [caller.post("ping")[0] for _ in range(3)] == [200, 200, 404]
        assert (server.opened, server.deleted, server.open_sessions) == (1, 0, set())


@pytest.mark.parametrize(("status", "left"), [(200, 0), (204, 0), (404, 1), (405, 1)])
def test_only_a_successful_delete_ends_a_session(status: int, left: int) -> None:
    server, caller = client(delete_status=status)
    with server:
        caller.initialize()
        assert caller.delete() == status
        assert len(server.open_sessions) == left


def test_late_initialize_opens_its_session_although_nobody_waits() -> None:
    server, caller = client(delay_s={"initialize": 0.3})
    with server:
        caller.pool.timeout = urllib3.Timeout(total=0.05)
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            caller.initialize()
        assert server.opened == 0
        time.sleep(0.5)
        assert (server.opened, len(server.open_sessions)) == (1, 1)


def test_pages_follow_their_cursors_or_run_in_a_circle() -> None:
    server, caller = client(stateless=True, page=2, tools=[tool(name) for name in "abcde"])
    with server:
        first = caller.post("tools/list")[1]["result"]
        last = caller.post("tools/list", cursor="4")[1]["result"]
        assert (len(first["tools"]), first["nextCursor"]) == (2, "2")
        assert [one["name"] for one in last["tools"]] == ["e"]
        assert "nextCursor" not in last
        server.faults.cursor_loop = True
        assert caller.post("tools/list", cursor="0")[1]["result"]["nextCursor"] == "0"


def test_replies_are_broken_as_told() -> None:
    faults = {
        "patch": {"tools/list": {"id": 9, "jsonrpc": ...}, "ping": {"result": ..., "error": "no"}},
        "errors": {"initialize": (200, -32603, "broken")},
        "raw": {"prompts/list": (200, "text/html", b'"<html>"')},
    }
    server, caller = client(stateless=True, **faults)
    with server:
        assert caller.post("tools/list")[1].keys() == {"id", "result"}
        assert caller.post("tools/list")[1]["id"] == 9
        assert caller.post("ping")[1] == {"jsonrpc": "2.0", "id": 7, "error": "no"}
        assert caller.initialize()[1]["error"] == {"code": -32603, "message": "broken"}
        assert caller.post("prompts/list") == (200, "<html>")
        server.faults.patch, server.faults.batch = {}, True
        assert caller.post("ping") == (200, [{"jsonrpc": "2.0", "id": 7, "result": {}}])


def test_token_is_wanted_and_accepted() -> None:
    server, caller = client(refuse=(401, {"WWW-Authenticate": 'Bearer resource_metadata="http://a/m"'}), token="open")
    with server:
        assert caller.initialize()[0] == 401
        reply = caller.pool.urlopen("POST", "/mcp", body='{"method": "ping"}', retries=False)
        assert "resource_metadata" in reply.headers["WWW-Authenticate"]
        caller.headers["Authorization"] = "Bearer open"
        assert caller.initialize()[0] == 200
        assert server.headers[-1]["authorization"] == "Bearer open"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_stream_has_its_line_ends_and_what_comes_before_the_reply(line_end: bytes) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
    server, caller = client(stateless=True, sse=True, before_reply=[note], line_end=line_end, segment_bytes=3)
    with server:
        status, events = caller.post("ping")
        raw = caller.pool.urlopen("POST", "/mcp", body='{"method": "ping", "id": 1}', retries=False).data
    assert (status, events) == (200, [note, {"jsonrpc": "2.0", "id": 7, "result": {}}])
    assert raw.endswith(line_end * 2)
    assert {b"\n": b"\r" not in raw, b"\r": b"\n" not in raw, b"\r\n": raw.count(b"\r") == raw.count(b"\n")}[line_end]


def test_stream_stays_open_after_the_reply_until_the_server_closes() -> None:
    server, caller = client(stateless=True, sse=True, hold_open_s=30.0)
    message = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    with server:
        reply = caller.pool.urlopen("POST", "/mcp", body=message, preload_content=False, retries=False)
        got = b""
        while b'"result"' not in got:
            got += reply.read1()
        start = time.monotonic()
    reply.close()
    assert time.monotonic() - start < 5


def test_counts_are_exact_with_many_clients_at_once() -> None:
    with McpServer() as server:

        def work() -> None:
            for _ in range(20):
                caller = Client(server)
                caller.initialize()
                caller.post("ping")
                caller.delete()
                caller.pool.close()

        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (server.opened, server.deleted, server.open_sessions) == (200, 200, set())
        assert server.connections == 200
        assert server.methods == {"initialize": 200, "ping": 200, "DELETE": 200}
