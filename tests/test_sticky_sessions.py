"""A session behind a load balancer that keeps it at one server by a cookie."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from checker.model import Server
from checker.probes.mcp.options import McpOptions
from conftest import check_all

_RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "demo", "version": "1"},
    },
    "ping": {},
    "tools/list": {"tools": [{"name": "a", "inputSchema": {"type": "object"}}]},
}


class Balanced(BaseHTTPRequestHandler):
    """Two servers in turn, of which each knows its own sessions; a cookie keeps to one of them."""

    protocol_version = "HTTP/1.1"
    turns = itertools.count()
    homes: dict[str, str]

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_DELETE(self) -> None:
        self._say(200 if self._is_at_home() else 404, b"")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        result = _RESULTS.get(asked["method"])
        message = {"jsonrpc": "2.0", "id": asked.get("id")}
        message |= {"error": {"code": -32601, "message": "unknown"}} if result is None else {"result": result}
        if asked["method"] == "initialize":
            home, session = "ab"[next(self.turns) % 2], f"s{len(self.homes)}"
            self.homes[session] = home
            self._say(200, json.dumps(message).encode(), ("Mcp-Session-Id", session), ("Set-Cookie", f"at={home}"))
        elif "mcp-session-id" in self.headers and not self._is_at_home():
            self._say(404, b"")
        else:
            self._say(202 if "id" not in asked else 200, b"" if "id" not in asked else json.dumps(message).encode())

    def _is_at_home(self) -> bool:
        kept = (self.headers["cookie"] or "").partition("at=")[2]
        return self.homes.get(self.headers["mcp-session-id"]) == (kept or "ab"[next(self.turns) % 2])

    def _say(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def test_cookie_of_a_load_balancer_is_sent_back_within_the_attempt() -> None:
    Balanced.homes = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Balanced) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listening.server_port}/mcp"
        servers = [Server(name=f"s{number}", probes={"mcp": McpOptions(url=url)}) for number in range(4)]
        found = check_all(servers)
        listening.shutdown()
    told = {(one.status, one.reason, one.probes[0].sessions_closed) for one in found.values()}
    assert told == {("HEALTHY", None, 1)}
