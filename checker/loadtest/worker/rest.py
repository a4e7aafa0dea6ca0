"""REST requests to one server: the request as bytes, its connections, and the verdict on its reply."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from http.client import HTTPException
from ipaddress import ip_address
from time import monotonic_ns
from typing import Any

from checker.loadtest.messages import PHASES, RESENT
from checker.loadtest.worker.connection import (
    HEAD_BYTES,
    Connection,
    HeadConnection,
    Place,
    ReadingConnection,
    SecureConnection,
    SecureHeadConnection,
    SecureReadingConnection,
    SecureUnreadConnection,
    UnreadConnection,
)
from checker.loadtest.worker.redirects import STATUSES, next_hop
from checker.loadtest.worker.target import Load, Notes, OpenedConnections, Target, TargetOrder
from checker.model import Reason
from checker.probes import rest
from checker.probes.base import Observation, ProbeFailure, Request
from checker.probes.conditions import status_accepted
from checker.probes.http import bare_url, credentials
from checker.version import USER_AGENT
from checker.worker.transport import reply
from checker.worker.transport.http1 import parsed, request_bytes, whole_reply
from checker.worker.transport.tls import TlsContexts

_SECURED: dict[type[Connection], type[Connection]] = {
    Connection: SecureConnection,
    HeadConnection: SecureHeadConnection,
    ReadingConnection: SecureReadingConnection,
    UnreadConnection: SecureUnreadConnection,
}


def target(order: TargetOrder) -> Target:
    """Requests to a server."""
    part = order.part
    return RestTarget(
        order.series, order.options, order.addresses(), order.most, part.timeout_s, order.notes, order.load
    )


class RestTarget:
    """Implements `checker.loadtest.worker.target.Target`."""

    def __init__(
        self,
        series: int,
        options: rest.RestOptions,
        addresses: Sequence[str],
        most: int,
        timeout_s: float,
        notes: Notes,
        load: Load,
    ) -> None:
        self.series, self.samples = series, notes.samples
        self.idle: list[Connection] = []
        self.busy: set[Connection] = set()
        self._first = _first(options)
        self.request, self.addresses, self.tls = _request(options, self._first, addresses)
        expect = options.expect
        self.most_bytes = options.max_body + HEAD_BYTES
        self.looks_inside = bool(expect.json or expect.headers or expect.body_regex)
        self.codes: dict[int, int] = {}
        """Status -> code, for statuses seen so far."""
        self._options, self._notes, self._load = options, notes, load
        self._most, self._timeout_ns = most, round(timeout_s * 1e9)
        self._opened = OpenedConnections()
        kind = ReadingConnection if self.looks_inside else Connection
        if options.method == "HEAD":
            kind = HeadConnection
        elif not options.read_body:
            kind = UnreadConnection
        self._kind = _SECURED[kind] if self.tls is not None else kind

    def begin(self, key: int, intended_ns: int, waited: int, user: int) -> bool:
        """Send the request, over an idle kept connection if there is one."""
        if self.idle:
            connection = self.idle.pop()
            is_open = True
        elif len(self.busy) < self._most:
            connection = self._kind(self)
            is_open = False
        else:
            return False
        self.busy.add(connection)
        connection.key, connection.intended_ns, connection.code, connection.user = key, intended_ns, waited, user
        connection.sent_ns = monotonic_ns()
        if is_open:
            connection.send()
        else:
            self._opened.note(connection.sent_ns)
            connection.open()
        return True

    def prefer(self, place: Place) -> None:
        """Prefer the address that answered first from now on."""
        if place != self.addresses[0]:
            self.addresses.sort(key=lambda one: one != place)

    def expire(self, now_ns: int) -> None:
        """Fail requests that have exceeded their timeout; their time is the limit."""
        before = now_ns - self._timeout_ns
        for connection in [one for one in self.busy if one.sent_ns < before]:
            self._failed(connection, connection.timeout_reason.value, connection.sent_ns + self._timeout_ns)

    def opened_recently(self) -> int:
        """Connections opened in the last minute."""
        return self._opened.recently()

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self.idle, *self.busy):
            self._tell_phases(connection)
            connection.close()
        self.idle.clear()
        self.busy.clear()

    def is_free(self, connection: Connection, keep: bool) -> None:
        """Make the connection idle after a reply, or close it if it cannot be kept."""
        if connection.phases:
            self._tell_phases(connection)
        self.busy.remove(connection)
        connection.hop = None
        if keep:
            self.idle.append(connection)
        else:
            connection.close()
        self._load.ended(connection.user)

    def has_lost(self, connection: Connection, reason: str) -> None:
        """Handle a broken connection; an unanswered request on a kept connection is sent again over another one.

        A server may close a kept connection at any time; a client that repeats the request gets the answer.
        """
        if not reason:
            self.idle.remove(connection)
            connection.close()
            return
        if connection not in self.busy:  # it has expired meanwhile
            return
        stale = connection.used and not connection.size and reason == Reason.CONNECTION_CLOSED.value
        if not stale:
            self._failed(connection, reason, monotonic_ns())
            return
        connection.code |= RESENT if connection.has_sent else 0
        self._go_elsewhere(connection)

    def _go_elsewhere(self, connection: Connection) -> None:
        """Send the request of the operation over a new connection."""
        connection.close()
        self.busy.remove(connection)
        other = self._kind(self)
        for name in ("key", "intended_ns", "code", "user", "sent_ns", "hop", "phases"):
            setattr(other, name, getattr(connection, name))
        self.busy.add(other)
        self._opened.note(monotonic_ns())
        other.open()

    def note_phase(self, name: str, connection: Connection, nanoseconds: int) -> None:
        """Note the time of opening a connection for the operation that waited for it, to be told with its sample.

        What is told before it would be counted twice: it is a part of the sample's time to the first byte as well.
        """
        connection.phases += (connection.key, connection.intended_ns, PHASES.index(name), nanoseconds)

    def _tell_phases(self, connection: Connection) -> None:
        self._notes.phases.extend(connection.phases)
        connection.phases = []

    def led_on(self, connection: Connection, status: int, received: bytes, keep: bool) -> int | None:
        """The code of a new status; None for a redirect that is followed."""
        if status not in STATUSES or self._options.max_redirects == 0:
            return self.code_of(status)
        try:
            hop = next_hop(self._options, self._first, connection.hop, status, received)
        except HTTPException:
            return self._notes.code(Reason.HTTP_MALFORMED.value)
        except ProbeFailure as failure:
            return self._notes.code(failure.reason.value)
        except ValueError:  # no address
            return self._notes.code(Reason.DNS.value)
        if hop is None:
            return self.code_of(status)
        connection.hop = hop
        if keep:
            connection.send_on()
        else:
            self._go_elsewhere(connection)
        return None

    def code_of(self, status: int) -> int:
        """The code of a status, cached unless it depends on the redirect's destination."""
        accepted = status_accepted(status, self._options.expect.status)
        code = 0 if accepted else self._notes.code(f"{Reason.HTTP_STATUS.value} {status}")
        if status not in STATUSES:
            self.codes[status] = code
        return code

    def code_inside(self, status: int, received: bytes, body: list[bytes], size: int) -> int:
        """The code of a reply with an accepted status, by the conditions on its headers and body, as in a check.

        ``received`` is the reply as received, up to the length that is kept; ``body`` its body, if there is one to
        check.
        """
        method, read_body = self._options.method, self._options.read_body
        try:
            headers, kept = whole_reply(received, method)
            coded = b"".join(body) if body else kept if read_body and size == len(received) else b""
            whole = reply.decoded(headers.get("content-encoding", ""), coded, self.most_bytes)
        except HTTPException:
            return self._notes.code(Reason.HTTP_MALFORMED.value)
        except ProbeFailure as failure:
            return self._notes.code(failure.reason.value)
        if len(whole) > self._options.max_body:
            return self._notes.code(Reason.BODY_TOO_LARGE.value)
        if not self.looks_inside:
            return 0
        seen = Observation(http_status=status, headers=headers, body=whole)
        try:
            complaints = rest.judge(self._options, seen)
        except ProbeFailure as failure:
            return self._notes.code(failure.reason.value)
        return self._notes.code(complaints[0].reason.value) if complaints else 0

    def _failed(self, connection: Connection, reason: str, done_ns: int) -> None:
        self._tell_phases(connection)
        self.busy.remove(connection)
        connection.close()
        self.samples.extend((
            connection.key,
            self._notes.code(reason) | connection.code,
            connection.intended_ns,
            connection.sent_ns,
            connection.first_ns,
            done_ns,
            connection.size,
        ))  # fmt: skip
        self._load.ended(connection.user)


def _first(options: rest.RestOptions) -> Request:
    """The first request of an operation."""
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json, */*;q=0.5", **credentials(options)}
    body = options.body.encode() if options.body is not None else None
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return Request(options.method, bare_url(options.url), headers, body)


def _request(
    options: rest.RestOptions, first: Request, addresses: Sequence[str]
) -> tuple[bytes, list[tuple[socket.AddressFamily, tuple[Any, ...]]], tuple[ssl.SSLContext, str] | None]:
    """The request, the address to connect to, and the context and name for TLS."""
    url, target = parsed(first.url)
    secure = url.scheme == "https"
    port = (443 if secure else 80) if url.port is None else url.port
    places = [_place(address, port) for address in addresses]
    tls = (TlsContexts().get(options.tls), options.tls.server_name or str(url.host).strip("[]")) if secure else None
    return request_bytes(first.method, target, first.headers, first.body), places, tls


def _place(address: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    if ip_address(address.partition("%")[0]).version == 4:
        return socket.AF_INET, (address, port)
    return socket.AF_INET6, (address, port, 0, 0)
