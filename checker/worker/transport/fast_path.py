"""The fast path of an attempt: one GET over plain HTTP, for as long as everything about it is usual.

The one decision is in `attempt`: the whole reply has arrived in one piece, succeeds, and asks for nothing. Anything
else, and every failure, goes the way of all other attempts (`checker.worker.attempts`) from where this one is: with its
connection, its clock, its deadline, and the bytes that have arrived (`Begun`).
"""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

import gevent
from urllib3.exceptions import LocationParseError
from urllib3.util import Url

from checker.addresses import CONFIGURED
from checker.probes.base import Observation, Probe, ProbeFailure
from checker.probes.http import bare_url
from checker.version import USER_AGENT
from checker.worker.greenlets import Deadlines
from checker.worker.transport.client import Begun, Shared, opened
from checker.worker.transport.http1 import parsed, request_bytes
from checker.worker.transport.sockets import exchanged
from checker.worker.transport.trace import Trace


class Get(NamedTuple):
    """The only request of an attempt."""

    url: Url
    message: bytes
    """All of it."""


def single_get(probe: Probe, options: Any) -> Get | None:
    """The request of an attempt that may go the fast way; None for any other."""
    if options.http != "fast" or options.proxy is not None or not options.url.startswith("http://"):
        return None
    headers = probe.single_get(options)
    fields = None if headers is None else _fields(headers)
    if fields is None:
        return None
    try:
        url, target = parsed(bare_url(options.url))
    except (LocationParseError, UnicodeError):
        return None
    return Get(url, b"GET" + target + fields)


@lru_cache(maxsize=1024)
def _fields(headers: tuple[tuple[str, str], ...]) -> bytes | None:
    """The header lines, as they are sent; None if they replace the Host line, or cannot be sent."""
    if any(name.lower() == "host" for name, _ in headers):
        return None
    try:
        return request_bytes("", b"", {"User-Agent": USER_AGENT, **dict(headers)}, None)
    except ProbeFailure:
        return None


def attempt(
    get: Get, options: Any, shared: Shared, deadlines: Deadlines, seen: Observation, trace: Trace
) -> Begun | None:
    """Make the attempt: None if all was usual and ``seen`` has its facts, else what has been begun of it."""
    pools = shared.pools
    start = perf_counter()
    deadline = deadlines.set(options.timeout)
    origin = pools.origin(get.url, options.tls)
    connection = origin.lease()
    reused, received = not connection.is_closed, b""
    try:
        opened(connection, pools, options.connect_timeout, trace, CONFIGURED)
        received = exchanged(connection, get.message, trace)
    except (Exception, gevent.Timeout) as error:  # also its own deadline
        return Begun(start, deadline, origin, connection, reused, received, error)
    except BaseException:  # a cancelled run
        deadline.cancel()
        connection.close()
        origin.give_back(connection)
        raise
    if (known := pools.heads.find(received)) is None:
        known = pools.heads.parsed(received)
    if known is None or not known[0].is_plain or not seen.budget.has(len(received)):
        return Begun(start, deadline, origin, connection, reused, received)
    head, body = known
    if len(body) > options.max_body:
        return Begun(start, deadline, origin, connection, reused, received)
    deadline.cancel()
    now = perf_counter()
    trace.spent("transfer", now - trace.answered_at)
    trace.received_bytes = len(body)
    seen.http_status, seen.headers, seen.body = head.status, head.headers, body
    seen.duration_us = round((now - start) * 1e6)
    seen.budget.take(len(received))
    if not head.keeps_connection:
        connection.close()
    origin.give_back(connection)
    return None
