"""The transport of one attempt: exchanges over pooled connections, with limits, clock and reasons."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from socket import socket
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import gevent
from msgspec.structs import replace
from urllib3.exceptions import HTTPError, LocationParseError

from checker.addresses import CONFIGURED, AddressPolicy, Scope, named_by
from checker.model import Reason
from checker.probes.base import Background, Command, OnLateHead, ProbeFailure, Request, Tokens, Transport
from checker.probes.http import origin as origin_of
from checker.probes.options import Endpoint
from checker.secrets.known_secrets import current, go_on
from checker.version import USER_AGENT
from checker.worker.greenlets import Deadline, Deadlines
from checker.worker.transport.failures import exchange_failure, never_answered
from checker.worker.transport.http1 import IncomingResponse, parsed, request_bytes
from checker.worker.transport.known_heads import WholeReply, first_reply
from checker.worker.transport.own_network import Surroundings
from checker.worker.transport.pools import Connected, OriginConnections, Pools
from checker.worker.transport.programs import Processes
from checker.worker.transport.reply import ArrivedReply, HttpReply, Response
from checker.worker.transport.sockets import exchanged, send_all
from checker.worker.transport.tls import tls_for
from checker.worker.transport.trace import Trace
from checker.worker.transport.urllib3_exchange import PlainHttp

if TYPE_CHECKING:
    from checker.worker.transport.stdio_programs import StartedProcess

_MOST_ASIDE_BYTES = 1024 * 1024
_SENT = ("wait", "transfer")
"""Steps of an exchange whose request has been sent."""
_GRACE_S = 5.0
"""Extra time that background work gets beyond its attempt."""


class Grace(Protocol):
    """A holder for work that may outlive its attempt."""

    def spawn(self, work: Callable[[], Any]) -> Background:
        """Start the work; it is ended when the worker's grace time is over."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """Everything that all attempts of one probe kind share in a worker."""

    pools: Pools
    plain: PlainHttp
    processes: Processes
    tokens: Tokens
    grace: Grace
    surroundings: Surroundings = field(default_factory=Surroundings)
    deadlines: Deadlines = field(default_factory=Deadlines)


class _Limit:
    """The limit of `Client.at_most`, which begins with its block."""

    __slots__ = ("_client", "_deadline", "_ends_at", "_outer", "_seconds")

    def __init__(self, client: Client, seconds: float) -> None:
        self._client, self._seconds = client, seconds

    def __enter__(self) -> None:
        self._outer, self._client.limit = self._client.limit, self
        self.begin(self._seconds)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        passed = self._deadline.raised
        self._deadline.cancel()
        self._client.limit = self._outer
        if error is not None and error is passed:
            raise ProbeFailure(Reason.MCP_NO_REPLY, f"no reply within {self._seconds:.3g} s") from None

    def begin(self, seconds: float) -> None:
        """Let it pass in so many seconds."""
        self._ends_at = perf_counter() + seconds
        self._deadline = self._client.deadlines.set(seconds)

    def pause(self) -> float:
        """Let it not pass until it begins again; returns the seconds that are left."""
        self._deadline.cancel()
        return self._ends_at - perf_counter()


class Begun(NamedTuple):
    """A first exchange that was begun without a client, up to where it was no longer usual."""

    start: float
    """The `perf_counter` moment at which the attempt began."""
    deadline: Deadline
    origin: OriginConnections
    connection: Any
    reused: bool
    received: bytes
    """The first bytes of the reply."""
    error: BaseException | None = None
    """The reason why there are none."""


def opened(connection: Any, pools: Pools, connect_timeout_s: float, trace: Trace, policy: AddressPolicy) -> None:
    """Connect if needed, and note the connection that is used; a kept one is judged like a new one.

    Raises ProbeFailure.
    """
    reused = connection.sock is not None
    if reused and connection.peer > policy.inmost:
        raise ProbeFailure(Reason.REDIRECT_BLOCKED, policy.refusal(connection.sock.getpeername()[0]), "connect")
    if reused:
        pools.counts.reused += 1
    else:
        pools.make_room()
        if connection.is_tls:
            connection.trace, connection.policy, connection.timeout = trace, policy, connect_timeout_s
            connection.connect()
            connection.sock.settimeout(None)  # from here on the attempt's deadline is the only limit
        else:
            connection.connect(connect_timeout_s, trace, policy)
    trace.connection(peer=connection.peer, reused=reused)
    if connection.expiry is not None:
        trace.note_certificate(connection.expiry, connection.host)


class Client:
    """Implements `checker.probes.base.Transport` for one attempt, which may have begun its first exchange."""

    def __init__(self, shared: Shared, options: Endpoint, trace: Trace, begun: Begun | None = None) -> None:
        self._begun = begun
        self._shared, self._pools, self._options, self._trace = shared, shared.pools, options, trace
        self._open: list[HttpReply] = []
        self._held: Any = None
        """The connection to the address called last, while nothing else is done than to call it."""
        self._arrived: ArrivedReply | None = None
        """The last reply on it."""
        self._started: list[StartedProcess] = []
        self._sockets: list[Connected] = []
        self._way: tuple[str, bytes, Any] = "", b"", None
        """The address called last, with its target and connections: an MCP session calls the same one all the time."""
        self.deadlines = shared.deadlines
        self.limit: _Limit | None = None

    @property
    def tokens(self) -> Tokens:
        """The worker's access tokens."""
        return self._shared.tokens

    @property
    def stderr_tail(self) -> str:
        """The last lines that the most recently started program wrote to standard error."""
        return self._started[-1].stderr_tail if self._started else ""

    @property
    def last_words(self) -> str:
        """The line in which the most recently started program explains its silence; empty if there is none."""
        return self._started[-1].last_words if self._started else ""

    @property
    def has_output(self) -> bool:
        """True if a started program has written anything."""
        return any(process.has_output for process in self._started)

    @property
    def keeps_waiting(self) -> bool:
        """True, unless urllib3 waits."""
        return self._options.proxy is None and self._options.http == "fast"

    def send(self, request: Request, on_late_head: OnLateHead | None = None) -> HttpReply | ArrivedReply:
        """Send the request and read the reply's head; raises ProbeFailure.

        A kept connection that the server has closed meanwhile is replaced once, unless a byte of a reply arrived.
        """
        policy = self._policy(request) if request.redirected else CONFIGURED
        if self._options.proxy is not None or self._options.http != "fast":
            headers = {"User-Agent": USER_AGENT, **request.headers}
            reply = self._shared.plain.exchange(request, headers, self._options, self._trace, policy)
            self._open.append(reply)
            return reply
        known, target, origin = self._way
        if known != request.url:
            target, origin = self._way_to(request.url)
        begun, self._begun = self._begun, None
        if begun is not None:
            connection = begun.connection
        elif (connection := self._held) is None:
            connection = origin.lease()
        else:
            self._held = None
            self._pools.look_at(connection)
        while True:
            try:
                if begun is None:
                    reused = not connection.is_closed
                    response = self._exchange(connection, request, target, policy)
                else:
                    reused, continued, begun = begun.reused, begun, None
                    response = self._continued(continued)
            except (HTTPError, http.client.HTTPException, OSError) as error:
                connection.close()
                if reused and never_answered(error):
                    self._pools.counts.reused -= 1
                    self._pools.counts.closed_by_peer += 1
                    self._trace.resent += self._trace.step != "send"  # else it had been closed before
                    continue
                origin.give_back(connection)
                raise exchange_failure(error, self._trace.step) from None
            except BaseException:  # a deadline or a cancelled run in the middle of an exchange
                if on_late_head is not None and self._trace.step in _SENT:
                    self._leave(connection, origin, request.method, on_late_head)
                    raise
                connection.close()
                origin.give_back(connection)
                raise
            return self._reply(response, connection, origin)

    def _reply(self, response: Response, connection: Any, origin: OriginConnections) -> HttpReply | ArrivedReply:
        """The reply, whose connection goes back with its end: at once if all of it has arrived, as most have."""
        head = response.head if type(response) is WholeReply else None
        if head is not None and not head.is_encoded and head.body_bytes <= self._options.max_body:
            self._arrived = arrived = ArrivedReply(response, self._trace)
            if head.keeps_connection and self._pools.may_keep_one:
                connection.idle_since = monotonic()
                self._held = connection
            else:
                connection.close()
                origin.give_back(connection)
            return arrived
        reply = HttpReply(response, connection, origin.give_back, self._trace, self._options.max_body)
        self._open.append(reply)
        return reply

    def _let_go(self) -> None:
        """Give the held connection back: somebody else may need it, or the room that it takes."""
        if (connection := self._held) is not None:
            self._held = None
            if self._arrived is not None and not self._arrived.is_taken:  # as with every reply that is left
                connection.close()
            self._way[2].give_back(connection)

    def connect(self, host: str, port: int) -> socket:
        """A connection to the host, closed when the attempt is over; raises ProbeFailure."""
        self._let_go()
        self._pools.make_room()
        opened = self._pools.connect(host, port, self._options.connect_timeout, self._trace)
        self._sockets.append(opened)
        self._trace.step = "wait"
        return opened.sock

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Time a stage of the probe's own."""
        return self._trace.timed(stage)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._let_go()
        gevent.sleep(seconds)

    def at_most(self, seconds: float) -> AbstractContextManager[None]:
        """Raise ProbeFailure (mcp_no_reply) if the work inside takes longer."""
        return _Limit(self, seconds)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Exclude the time inside from `at_most`: it is spent waiting for something else."""
        self._let_go()
        if (limit := self.limit) is None:
            yield
            return
        left_s = limit.pause()
        try:
            yield
        finally:
            limit.begin(max(0.001, left_s))

    def in_background(self, work: Callable[[Transport], Any]) -> Background:
        """Start work with its own client, whose connections are not touched by the end of this attempt.

        It has a limit too: work left behind by an attempt must not read for as long as a server sends.
        """
        self._let_go()
        masking, seconds = current(), self._options.timeout + _GRACE_S

        def done() -> Any:
            go_on(masking)  # a new greenlet begins with nothing of what was set in this one
            with gevent.Timeout(seconds, ProbeFailure(Reason.DEADLINE, f"not done within {seconds:g} s")):
                return self._with_another(work, self._options, self._trace)

        return self._shared.grace.spawn(done)

    def aside(self, work: Callable[[Transport], Any], begins_at: str | None = None) -> Any:
        """Do work with its own client, whose exchanges are not the probe's: without its server name and certificate."""
        self._let_go()
        tls = replace(self._options.tls, server_name=None, cert_file=None, key_file=None)
        trace = Trace(self._trace.budget)
        trace.first_reused, trace.reached = False, self._trace.reached if begins_at is None else None
        url = self._options.url if begins_at is None else begins_at
        return self._with_another(work, replace(self._options, url=url, tls=tls, max_body=_MOST_ASIDE_BYTES), trace)

    def start(self, command: Command) -> StartedProcess:
        """Start a program; raises ProbeFailure if it cannot be started."""
        self._trace.step = "wait"
        process = self._shared.processes.start(command, self._options.max_body, self._trace.budget)
        self._started.append(process)
        return process

    def go_on(self, trace: Trace) -> None:
        """Begin another attempt under another clock; started programs keep running."""
        self._let_go()
        for reply in self._open:
            reply.close()
        for opened in self._sockets:
            opened.close()
        self._open.clear()
        self._sockets.clear()
        self._trace = trace
        for process in self._started:
            process.budget = trace.budget

    def close(self, answered: bool = True) -> None:
        """Close replies that were left half-read, and end the started programs."""
        self._let_go()
        for reply in self._open:
            reply.close()
        for opened in self._sockets:
            opened.close()
        for process in self._started:
            process.close(answered)

    def _leave(self, connection: Any, origin: OriginConnections, method: str, on_late_head: OnLateHead) -> None:
        """Leave the wait for the head of a reply to the background."""
        trace, max_body = Trace(self._trace.budget), self._options.max_body

        def read_on(later: Transport) -> None:
            try:
                response = connection.begun or _response(connection, method, trace)
                response.read_head()
            except BaseException:
                connection.close()
                origin.give_back(connection)
                raise
            reply = HttpReply(response, connection, origin.give_back, trace, max_body)
            try:
                on_late_head(reply, later)
            finally:
                reply.close()

        self.in_background(read_on)

    def _policy(self, request: Request) -> AddressPolicy:
        """The addresses that a request may lead to if a server named its address."""
        reached = self._trace.reached
        if reached is Scope.GUARDED and origin_of(request.url) == origin_of(self._options.url):
            return CONFIGURED  # it stays where the configuration sends it
        return named_by(reached, request.private_allowed)

    def _way_to(self, address: str) -> tuple[bytes, Any]:
        try:
            url, target = parsed(address)
            connections = self._pools.origin(url, tls_for(address, self._options))
        except (LocationParseError, UnicodeError) as error:
            raise ProbeFailure(Reason.DNS, f"not a valid address: {error}", "dns") from None
        self._let_go()
        self._way = address, target, connections
        return target, connections

    def _with_another(self, work: Callable[[Transport], Any], options: Endpoint, trace: Trace) -> Any:
        client = Client(self._shared, options, trace)
        try:
            return work(client)
        finally:
            client.close()

    def _exchange(self, connection: Any, request: Request, target: bytes, policy: AddressPolicy) -> Response:
        """Connect if needed, send, and read the head."""
        trace = self._trace
        opened(connection, self._pools, self._options.connect_timeout, trace, policy)
        trace.step, connection.begun = "send", None
        message, method = _written(request, target), request.method
        if connection.is_tls:
            send_all(connection.sock, message)
            response = _response(connection, method, trace)
            response.read_head()
            connection.begun = None
            return response
        return first_reply(connection, exchanged(connection, message, trace), method, trace, self._pools.heads)

    def _continued(self, begun: Begun) -> Response:
        """The reply to the first request, from where it was begun."""
        if begun.error is not None:
            raise begun.error
        return first_reply(begun.connection, begun.received, "GET", self._trace, self._pools.heads)


def _response(connection: Any, method: str, trace: Trace) -> IncomingResponse:
    """The next response on the connection, of which not a byte has been read."""
    sock = connection.sock if connection.is_tls else connection.with_greenlets()
    connection.begun = response = IncomingResponse(sock, method, trace)
    return response


def _written(request: Request, target: bytes) -> bytes:
    """The whole request; raises ProbeFailure for a header that cannot be sent."""
    if request.head is None:
        return request_bytes(request.method, target, {"User-Agent": USER_AGENT, **request.headers}, request.body)
    return b"".join((request.method.encode(), target, request.head, request.body or b""))
