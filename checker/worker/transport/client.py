"""The transport of one attempt: exchanges over pooled connections, with limits, clock and reasons."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol

import gevent
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.response import BaseHTTPResponse
from urllib3.util import parse_url

from checker.model import Reason
from checker.probes.base import Background, Command, ProbeFailure, Request, Tokens, Transport
from checker.probes.options import Endpoint
from checker.version import VERSION
from checker.worker.transport.failures import exchange_failure, never_answered
from checker.worker.transport.pools import Pools
from checker.worker.transport.processes import Processes, StartedProcess
from checker.worker.transport.trace import Trace

_CHUNK_BYTES = 65536
_MOST_ASIDE_BYTES = 1024 * 1024
_DRAIN_S = 0.02
"""How long a stream may take to end after its reply, so that its connection can be kept."""
USER_AGENT = f"mcp-status-check/{VERSION}"


class Grace(Protocol):
    """Where work goes that may outlive its attempt."""

    def spawn(self, work: Callable[[], Any]) -> Background:
        """Start the work; it is ended when the worker's grace time is over."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all attempts of one probe kind share in a worker."""

    pools: Pools
    processes: Processes
    tokens: Tokens
    grace: Grace


class Client:
    """Implements `checker.probes.base.Transport` for one attempt."""

    def __init__(self, shared: Shared, options: Endpoint, trace: Trace) -> None:
        self._shared, self._pools, self._options, self._trace = shared, shared.pools, options, trace
        self._open: list[HttpReply] = []
        self._started: list[StartedProcess] = []

    @property
    def tokens(self) -> Tokens:
        """The worker's access tokens."""
        return self._shared.tokens

    @property
    def stderr_tail(self) -> str:
        """The last lines that the program started last wrote to standard error."""
        return self._started[-1].stderr_tail if self._started else ""

    def send(self, request: Request) -> HttpReply:
        """Send the request and read the reply's head; raises ProbeFailure.

        A kept connection that the server has closed meanwhile is replaced once, unless a byte of a reply came.
        """
        try:
            url = parse_url(request.url)
            pool = self._pools.pool(url, self._options.tls)
        except (LocationParseError, UnicodeError) as error:
            raise ProbeFailure(Reason.DNS, f"not a valid address: {error}", "dns") from None
        public_only = request.redirected and bool(self._trace.public_peer)
        headers = {"User-Agent": USER_AGENT, **request.headers}
        connection = pool.lease()
        while True:
            reused = not connection.is_closed
            try:
                response = self._exchange(
                    connection, request.method, url.request_uri, headers, request.body, public_only
                )
            except (HTTPError, http.client.HTTPException, OSError) as error:
                connection.close()
                if reused and never_answered(error):
                    continue
                pool.give_back(connection)
                raise exchange_failure(error, self._trace.step) from None
            except BaseException:  # a deadline or a cancelled run in the middle of an exchange
                connection.close()
                pool.give_back(connection)
                raise
            reply = HttpReply(response, connection, pool.give_back, self._trace, self._options.max_body)
            self._open.append(reply)
            return reply

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Time a stage of the probe's own."""
        return self._trace.timed(stage)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        gevent.sleep(seconds)

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Raise ProbeFailure (mcp_no_reply) where the work inside takes longer."""
        limit = gevent.Timeout(seconds)
        limit.start()
        try:
            yield
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            raise ProbeFailure(Reason.MCP_NO_REPLY, f"no reply within {seconds:g} s") from None
        finally:
            limit.close()

    def in_background(self, work: Callable[[Transport], Any]) -> Background:
        """Start work with a client of its own, whose connections this attempt's end does not touch."""
        return self._shared.grace.spawn(lambda: self._with_another(work, self._options, self._trace))

    def aside(self, work: Callable[[Transport], Any]) -> Any:
        """Do work with a client of its own, whose exchanges are not the probe's: its server name, its certificate."""
        tls = replace(self._options.tls, server_name=None, cert_file=None, key_file=None)
        trace = Trace()
        trace.first_reused, trace.public_peer = False, self._trace.public_peer
        return self._with_another(work, replace(self._options, tls=tls, max_body=_MOST_ASIDE_BYTES), trace)

    def start(self, command: Command) -> StartedProcess:
        """Start a program; raises ProbeFailure where it cannot be started."""
        self._trace.step = "wait"
        process = self._shared.processes.start(command, self._options.max_body)
        self._started.append(process)
        return process

    def close(self, answered: bool = True) -> None:
        """Close what was left half-read, and end the programs that were started."""
        for reply in self._open:
            reply.close()
        for process in self._started:
            process.close(answered)

    def _with_another(self, work: Callable[[Transport], Any], options: Endpoint, trace: Trace) -> Any:
        client = Client(self._shared, options, trace)
        try:
            return work(client)
        finally:
            client.close()

    def _exchange(
        self,
        connection: HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        public_only: bool,
    ) -> BaseHTTPResponse:
        trace = self._trace
        connection.trace, connection.public_only = trace, public_only  # type: ignore[attr-defined]
        reused = not connection.is_closed
        if reused and public_only and not connection.public_peer:  # type: ignore[attr-defined]
            raise ProbeFailure(Reason.REDIRECT_BLOCKED, "redirect from a public host to a private one", "connect")
        if not reused:
            connection.timeout = self._options.connect_timeout
            connection.connect()
        trace.connection(public=connection.public_peer, reused=reused)  # type: ignore[attr-defined]
        if trace.certificate_expires_at_ms is None:
            trace.certificate_expires_at_ms = connection.certificate_expires_at_ms  # type: ignore[attr-defined]
        trace.step = "send"
        connection.timeout = None  # from here on the attempt's deadline is the only limit
        connection.sock.settimeout(None)
        connection.request(method, target, body, headers, preload_content=False, decode_content=True)
        return connection.getresponse()


class HttpReply:
    """Implements `checker.probes.base.Reply`."""

    def __init__(
        self,
        response: BaseHTTPResponse,
        connection: HTTPConnection,
        give_back: Callable[[Any], None],
        trace: Trace,
        max_body: int,
    ) -> None:
        self._response, self._connection, self._give_back = response, connection, give_back
        self._trace, self._max_body, self._received, self._done = trace, max_body, 0, False

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Names are looked up without regard to case."""
        return self._response.headers

    def chunks(self) -> Iterator[bytes]:
        """Decoded body bytes as they arrive; raises ProbeFailure."""
        while not self._done:
            if chunk := self._next_chunk():
                yield chunk

    def read(self) -> bytes:
        """The whole decoded body; raises ProbeFailure."""
        return b"".join(self.chunks())

    def release(self) -> None:
        """Read on for a moment, so that a stream that ends with its reply keeps its connection; else close it."""
        if self._done:
            return
        try:
            with gevent.Timeout(_DRAIN_S, False):  # type: ignore[arg-type] # False means: end the block, raise nothing
                self.read()
        except ProbeFailure:
            pass
        self.close()

    def close(self) -> None:
        """Close the connection if the body was not read to its end."""
        if not self._done:
            self._done = True
            self._connection.close()
            self._give_back(self._connection)

    def _next_chunk(self) -> bytes:
        start = perf_counter()
        try:
            chunk = self._response.read1(_CHUNK_BYTES)
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise exchange_failure(error, "transfer") from None
        finally:
            self._trace.spent("transfer", perf_counter() - start)
        self._received += len(chunk)
        self._trace.received_bytes += len(chunk)
        if self._received > self._max_body:
            self.close()
            raise ProbeFailure(Reason.BODY_TOO_LARGE, f"body of more than {self._max_body} bytes", "transfer")
        if not chunk:
            self._done = True
            self._give_back(self._connection)
        return chunk
