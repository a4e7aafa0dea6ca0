"""A server of single bytes: each mode breaks HTTP, TLS or time in one way."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status": "UP"}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_LONGEST_S = 30.0


def _drip(sock: socket.socket, data: bytes, every_s: float = 1.0) -> None:
    until = time.monotonic() + _LONGEST_S
    for byte in data:
        if time.monotonic() > until:
            return
        sock.sendall(bytes([byte]))
        time.sleep(every_s)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _reset_after(data: bytes) -> Callable[[socket.socket], None]:
    def run(sock: socket.socket) -> None:
        sock.sendall(data)
        time.sleep(0.05)
        _reset(sock)

    return run


def _endless(sock: socket.socket) -> None:
    sock.sendall(_HEAD + b"\r\n")
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        sock.sendall(b"x" * 65536)


def _endless_comments(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        sock.sendall(b": still here\n\n")
        time.sleep(0.05)


def _tiny_segments(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in OK:
        sock.sendall(bytes([byte]))
        time.sleep(0.001)


def _stay(sock: socket.socket) -> None:
    """Say nothing until the client hangs up."""
    while sock.recv(65536):
        pass


@cache
def _bomb() -> bytes:
    return gzip.compress(b"\0" * 50_000_000)


def _with_body(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    return _HEAD + lines + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


MODES: dict[str, Callable[[socket.socket], None]] = {
    "ok": lambda sock: sock.sendall(OK),
    "silent": _stay,
    "drip_head": lambda sock: _drip(sock, OK),
    "drip_body": lambda sock: (sock.sendall(_HEAD + b"Content-Length: 100\r\n\r\n"), _drip(sock, b"x" * 100))[1],
    "reset_before_head": lambda sock: _reset(sock),
    "reset_in_body": _reset_after(_HEAD + b"Content-Length: 100\r\n\r\nabc"),
    "closed": lambda sock: None,
    "garbage": lambda sock: sock.sendall(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "short_body": lambda sock: sock.sendall(_HEAD + b"Content-Length: 100\r\n\r\nabc"),
    "broken_chunks": lambda sock: sock.sendall(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
    "endless": _endless,
    "gzip_bomb": lambda sock: sock.sendall(_with_body(_bomb(), "Content-Encoding: gzip")),
    "bad_gzip": lambda sock: sock.sendall(_with_body(b"this is no gzip", "Content-Encoding: gzip")),
    "gzip": lambda sock: sock.sendall(_with_body(gzip.compress(b'{"status": "UP"}'), "Content-Encoding: gzip")),
    "deflate": lambda sock: sock.sendall(_with_body(zlib.compress(b'{"status": "UP"}'), "Content-Encoding: deflate")),
    "huge_headers": lambda sock: sock.sendall(_HEAD + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n"),
    "many_headers": lambda sock: sock.sendall(_HEAD + b"X-A: a\r\n" * 1000 + b"\r\n"),
    "interim": lambda sock: sock.sendall(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    ),
    "until_closed": lambda sock: sock.sendall(_HEAD + b'\r\n{"status": "UP"}'),
    "no_content": lambda sock: sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "bad_utf8": lambda sock: sock.sendall(_with_body(b'{"status": "\xff\xfe"}')),
    "tiny_segments": _tiny_segments,
    "endless_comments": _endless_comments,
}

# What a GET of a health endpoint over plain HTTP does not come across.
OTHER_MODES: dict[str, Callable[[socket.socket], None]] = {
    "not_modified": lambda sock: sock.sendall(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'),
    "head": lambda sock: sock.sendall(_HEAD + b"Content-Length: 16\r\n\r\n"),
    "head_with_body": lambda sock: sock.sendall(OK),
    "to_http": lambda sock: sock.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    ),
    "no_handshake": _stay,
}


class FaultServer:
    """Reads a request and answers in its mode, then closes, for each connection anew; a context manager."""

    def __init__(
        self, mode: str | Callable[[socket.socket], None], context: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self._mode = {**MODES, **OTHER_MODES}[mode] if isinstance(mode, str) else mode
        self._context = context
        self._reads = mode != "no_handshake"
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, path: str = "/health", host: str = "127.0.0.1") -> str:
        scheme = "https" if self._context or not self._reads else "http"
        return f"{scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        # A close alone leaves the port open for as long as a thread is in accept().
        _shut(self._listener)
        self._thread.join(5)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                _shut(sock)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with self._lock:
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        sock = accepted
        try:
            sock.settimeout(_LONGEST_S)
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._open.add(sock)
            if not self._reads or _request_read(sock):
                self._mode(sock)
        except OSError:  # the client has seen enough
            return
        finally:
            with self._lock:
                self._open -= {accepted, sock}
            sock.close()


def _request_read(sock: socket.socket) -> bool:
    """Read the request to its last byte: closing on unread bytes would send a reset where an end is meant."""
    request, length = b"", 0
    while b"\r\n\r\n" not in request or len(request) < length:
        if not (piece := sock.recv(65536)):
            return False
        request += piece
        head, end, _ = request.partition(b"\r\n\r\n")
        declared = re.search(rb"(?im)^content-length: *(\d+)", head)
        length = len(head) + len(end) + (int(declared[1]) if declared else 0)
    return True


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def certificates(folder: Path) -> dict[str, ssl.SSLContext]:
    """TLS contexts by what is wrong with their certificate; ``folder``/ca.pem is the authority of all but one."""
    import trustme

    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    issued = {
        "good": authority.issue_cert("127.0.0.1", "localhost"),
        "expired": authority.issue_cert("127.0.0.1", not_before=yesterday - timedelta(days=30), not_after=yesterday),
        "expires_soon": authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=3)),
        "wrong_host": authority.issue_cert("example.org"),
        "unknown_authority": stranger.issue_cert("127.0.0.1"),
    }
    contexts = {}
    for name, certificate in issued.items():
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(contexts[name])
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    return contexts


def self_signed(folder: Path) -> ssl.SSLContext:
    """A TLS context whose certificate nobody but itself has signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = folder / "self_signed.pem"
    file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()) + signed.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
