"""State of the checker's own network, examined after failures it may cause, by means no server can influence.

A failed lookup is blamed on the resolver only if no name server of this machine answers a question about the root, and
a connection without a route is blamed on the link only if there is no way out at all: the kernel is asked for a route,
nothing is sent. Answers from a server's own DNS, or their absence, play no part in either.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from contextlib import suppress
from time import monotonic, perf_counter, time

import gevent
from gevent.event import AsyncResult

from checker.addresses import Scope
from checker.probes.base import OwnFault

_GOOD_FOR_S = 2.0
"""Lifetime of a finding: a fleet that fails at once is examined once."""
_FAR_AWAY = ((socket.AF_INET, ("198.41.0.4", 53)), (socket.AF_INET6, ("2001:503:ba3e::2:30", 53, 0, 0)))
"""The root name server A, as an address that every way out leads to; nothing is sent there."""
_RESOLVERS = "/etc/resolv.conf"
_MOST_RESOLVERS = 3
"""The number that the system uses."""
_ASKED_AT_S = (0.0, 0.5)
_WITHIN_S = 1.5
_ROOT = struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">HH", 2, 1)
"""A question, without its number, for the name servers of the root (RFC 1035 section 4.1), recursion desired."""
_DAY_S = 86_400.0


class Surroundings:
    """The network of this machine, as one worker sees it."""

    def __init__(self) -> None:
        self._findings: dict[OwnFault, tuple[float, AsyncResult[bool]]] = {}
        self._reached: set[int] = set()

    def confirms(self, fault: OwnFault) -> bool:
        """True if this fault exists right now; takes up to a second and a half."""
        at_s, finding = self._findings.get(fault, (0.0, None))
        if finding is None or (finding.ready() and monotonic() - at_s > _GOOD_FOR_S):
            finding = AsyncResult()
            self._findings[fault] = monotonic(), finding
            try:
                finding.set(_LOOK[fault]())
            except BaseException:  # a cancelled run: nobody may wait for this one
                finding.set(False)
                raise
        return bool(finding.get())

    def note_reached(self, scope: Scope, answered_at: float) -> None:
        """Record that a host answered at that `perf_counter` moment; this machine is no evidence about the link."""
        if scope is not Scope.LOOPBACK:
            self._reached.add(int(time() - (perf_counter() - answered_at)))

    def take_reached(self) -> tuple[int, ...]:
        """The seconds (Unix time) in which connections to hosts succeeded, since the last call."""
        reached, self._reached = self._reached, set()
        return tuple(sorted(reached))


def has_way_out() -> bool:
    """True if the kernel has a route to the internet, in either family."""
    for family, address in _FAR_AWAY:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            return True
    return False


def resolver_answers() -> bool:
    """True if a name server of this machine gives any answer to a question about the root."""
    asked = [gevent.spawn(_answers, address) for address in _resolvers()]
    try:
        return any(one.value for one in gevent.iwait(asked, timeout=_WITHIN_S + 0.5))
    finally:
        gevent.killall(asked, block=False)


def _answers(address: str) -> bool:
    number = secrets.token_bytes(2)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    until = monotonic() + _WITHIN_S
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 53))
        for place in range(len(_ASKED_AT_S)):
            sock.send(number + _ROOT)
            wait_until = until if place + 1 == len(_ASKED_AT_S) else monotonic() + _ASKED_AT_S[place + 1]
            while (left_s := wait_until - monotonic()) > 0:
                sock.settimeout(left_s)
                with suppress(TimeoutError):
                    reply = sock.recv(4096)
                    if reply[:2] == number and len(reply) > 2 and reply[2] & 0x80:
                        return True
    return False


def _resolvers() -> list[str]:
    """The system's name servers; this machine if none is configured (resolv.conf(5))."""
    found = []
    with suppress(OSError, UnicodeDecodeError), open(_RESOLVERS, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                found.append(words[1])
    return found[:_MOST_RESOLVERS] or ["127.0.0.1"]


def clock_is_wrong() -> bool:
    """True if the clock shows a time before the day on which this program was installed."""
    try:
        return time() < os.stat(__file__).st_mtime - _DAY_S
    except OSError:
        return False


_LOOK = {
    OwnFault.ROUTE: lambda: not has_way_out(),
    OwnFault.RESOLVER: lambda: not resolver_answers(),
    OwnFault.CLOCK: clock_is_wrong,
}
