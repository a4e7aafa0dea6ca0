"""What can be wrong with TLS before the first byte of HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable

from hostile.peer import Peer


def _half_a_hello(peer: Peer) -> None:
    peer.sock.recv(65536)
    peer.say(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03")
    peer.stay()


def _endless_records(peer: Peer) -> None:
    peer.sock.recv(65536)
    peer.flood((b"\x16\x03\x03\x40\x00" + bytes(16384)) * 4)


def _hang_up(peer: Peer) -> None:
    peer.sock.recv(65536)


HANDSHAKES: dict[str, tuple[Callable[[Peer], None], str]] = {
    "plain text on the TLS port": (lambda peer: peer.say(b"HTTP/1.1 200 OK\r\n\r\n"), "tls_handshake"),
    "handshake never answered": (Peer.stay, "tls_handshake"),
    "handshake that is begun and not ended": (_half_a_hello, "tls_handshake"),
    "handshake of endless records": (_endless_records, "tls_handshake"),
    "closes in the handshake": (_hang_up, "tls_handshake"),
    "resets in the handshake": (Peer.reset, "tls_handshake connection_closed connect_failed"),
    "handshake never read": (lambda peer: time.sleep(5), "tls_handshake"),
}
"""Fault -> what the server does with the bare connection, and the reasons that are true of it."""

CERTIFICATES = {
    "certificate has expired": ("expired", "tls_expired"),
    "certificate of another name": ("wrong_host", "tls_verify"),
    "certificate of an unknown authority": ("unknown_authority", "tls_verify"),
    "certificate signed by itself": ("self_signed", "tls_verify"),
}
"""Fault -> certificate of `servers_faults.certificates`, and the reason."""
