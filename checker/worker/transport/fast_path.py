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
from checker.probes.base import Probe, ProbeFailure
from checker.probes.http import bare_url
from checker.version import USER_AGENT
from checker.worker.greenlets import Deadlines
from checker.worker.transport.client import Begun, Shared, opened
from checker.worker.transport.http1 import parsed, request_bytes
from checker.worker.transport.known_heads import KnownHead
from checker.worker.transport.sockets import exchanged
from checker.worker.transport.trace import Trace


class Get(NamedTuple):
    """The only request of an attempt."""

    url: Url
    message: bytes
    """All of it."""
    any_success: bool


class Whole(NamedTuple):
    """The whole reply."""

    head: KnownHead
    body: bytes
    duration_us: int
    """Of the attempt."""


def single_get(probe: Probe, options: Any) -> Get | None:
    """The request of an attempt that may go the fast way; None for any other."""
    if options.http != "fast" or options.proxy is not None or not options.url.startswith("http://"):
        return None
    asked = probe.single_get(options)
    return None if asked is None else _get(options.url, *asked)


@lru_cache(maxsize=1024)
def _get(address: str, headers: tuple[tuple[str, str], ...], any_success: bool) -> Get | None:
    """The request; None for headers that replace the Host line, and for what cannot be sent."""
    if any(name.lower() == "host" for name, _ in headers):
        return None
    try:
        url, target = parsed(bare_url(address))
        message = request_bytes("GET", target, {"User-Agent": USER_AGENT, **dict(headers)}, None)
    except (LocationParseError, UnicodeError, ProbeFailure):
        return None
    return Get(url, message, any_success)


def attempt(get: Get, options: Any, shared: Shared, deadlines: Deadlines, trace: Trace) -> Whole | Begun:
    """Make the attempt: the whole reply if all was usual, else what has been begun."""
    pools = shared.pools
    start = perf_counter()
    deadline = deadlines.set(options.timeout, start)
    origin = pools.origin(get.url, options.tls)
    connection = origin.lease()
    reused, received = connection.sock is not None, b""
    try:
        if reused:  # where the configuration leads, whatever it is, is allowed
            pools.counts.reused += 1
            trace.first_reused, trace.reached = True, connection.peer
        else:
            opened(connection, pools, options.connect_timeout, trace, CONFIGURED)
        received = exchanged(connection, get.message, trace)
    except (Exception, gevent.Timeout) as error:  # also its own deadline
        return Begun(start, deadline, origin, connection, reused, received, error)
    except BaseException:  # a cancelled run
        deadline.cancel()
        connection.close()
        origin.give_back(connection)
        raise
    known = pools.heads.find(received) or pools.heads.parsed(received)
    if known is None or not known[0].is_plain:
        return Begun(start, deadline, origin, connection, reused, received)
    head, body = known
    if len(body) > options.max_body or (options.max_total is not None and len(received) > options.max_total):
        return Begun(start, deadline, origin, connection, reused, received)
    deadline.cancel()
    now = perf_counter()
    trace.spent("transfer", now - trace.answered_at)
    trace.received_bytes = len(body)
    if not head.keeps_connection:
        connection.close()
    origin.give_back(connection)
    return Whole(head, body, round((now - start) * 1e6))
