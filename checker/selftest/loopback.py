"""The selftest's servers on loopback: REST and both eras of MCP, over HTTP or HTTPS, which count what is asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any

from checker.selftest.mcp_replies import SESSIONLESS_VERSION, refusal, reply, session_reply, sessionless_reply

HOST = "127.0.0.1"
HEALTH, BROKEN, SILENT, SLOW = "/health", "/broken", "/silent", "/slow"
SESSION, SESSIONLESS = "/session", "/sessionless"
_OTHER_ERA = -32000
_SLOW_S = 0.02
_POLL_S = 0.02
_END_S = 5.0


class LoopbackServer:
    """A server in threads of this process, on a free port of loopback; a context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen; raises OSError. With ``tls`` it speaks HTTPS."""
        self.lock = threading.Lock()
        """Held wherever a thread of a connection counts."""
        self.connections = 0
        self.requests: Counter[str] = Counter()
        """Requests by their path."""
        self.most_at_once = 0
        """The largest number of requests that were answered at the same time."""
        self.sessions_opened, self.open_sessions = 0, set[str]()
        self.closing = threading.Event()
        self._at_once = 0
        self._http = _Listener(self)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        serve = {"poll_interval": _POLL_S}
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs=serve, daemon=True)

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(_END_S)
        for kept in self._http.open.copy():
            with suppress(OSError):  # its thread was faster
                kept.shutdown(socket.SHUT_RDWR)

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._http.server_address[1])

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"{self._scheme}://{HOST}:{self.port}{path}"

    def begin(self, path: str) -> None:
        """Count a request that has arrived."""
        with self.lock:
            self.requests[path] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)

    def end(self) -> None:
        """Count a request as about to be answered."""
        with self.lock:
            self._at_once -= 1


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer) -> None:
        self.owner = owner
        self.open: set[Any] = set()
        super().__init__((HOST, 0), _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which waits for a name server where there is none."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that the client hangs up is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Listener

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def setup(self) -> None:
        super().setup()
        with self.server.owner.lock:
            self.server.owner.connections += 1

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.begin(self.path)
        if self.path in (SILENT, SLOW):
            owner.closing.wait(_SLOW_S if self.path == SLOW else None)
        owner.end()
        if self.path == BROKEN:
            return self._answer(503, {"status": "DOWN"})
        return self._answer(200, {"status": "UP"}) if self.path in (HEALTH, SLOW) else self._answer(404)

    def do_POST(self) -> None:
        owner = self.server.owner
        message = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        owner.begin(self.path)
        owner.end()
        if self.path == SESSIONLESS:
            return self._sessionless(message)
        return self._session(message) if self.path == SESSION else self._answer(404)

    def do_DELETE(self) -> None:
        with self.server.owner.lock:
            known = self._session_id in self.server.owner.open_sessions
            self.server.owner.open_sessions.discard(self._session_id)
        self._answer(200 if known else 404)

    @property
    def _session_id(self) -> str:
        return self.headers.get("Mcp-Session-Id") or ""

    def _session(self, message: dict[str, Any]) -> None:
        owner, method = self.server.owner, message["method"]
        if method == "initialize":
            with owner.lock:
                owner.sessions_opened += 1
                name = f"selftest-{owner.sessions_opened}"
                owner.open_sessions.add(name)
            return self._answer(200, reply(message, session_reply(method)), **{"Mcp-Session-Id": name})
        if self._session_id not in owner.open_sessions:
            # as a server of that era answers the first request of the other one
            return self._answer(400, refusal(message, _OTHER_ERA, "no session"))
        if "id" not in message:
            return self._answer(202)
        return self._answer(200, reply(message, session_reply(method)))

    def _sessionless(self, message: dict[str, Any]) -> None:
        if self.headers.get("MCP-Protocol-Version") != SESSIONLESS_VERSION:
            return self._answer(400, refusal(message, _OTHER_ERA, "unsupported version"))
        result = sessionless_reply(message["method"])
        return self._answer(404 if result is None else 200, reply(message, result))

    def _answer(self, status: int, document: dict[str, Any] | None = None, **headers: str) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def tls_context(certificate: Path) -> ssl.SSLContext:
    """The context of an HTTPS server whose certificate, written to this file, only that file makes trusted."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, day = datetime.now(UTC), timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + 30 * day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    keys = certificate.with_suffix(".key")
    keys.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    certificate.write_bytes(signed.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, keys)
    return context
