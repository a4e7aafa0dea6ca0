"""Redirects of REST operations under load: followed within the origin, by the same rules as in a check."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from checker.model import Reason
from checker.probes.base import ProbeFailure, Request
from checker.probes.cookies import Cookies
from checker.probes.http import bare_url, credentials, each_field, first_field, origin
from checker.probes.redirects import redirected
from checker.probes.rest import RestOptions
from checker.worker.transport.http1 import parsed, request_bytes, whole_reply

STATUSES = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Hop:
    """The request of a redirect, also as bytes."""

    request: Request
    cookies: Cookies
    count: int
    """Number of redirects that led to it."""
    data: bytes


def next_hop(options: RestOptions, first: Request, before: Hop | None, status: int, received: bytes) -> Hop | None:
    """The next request that the reply leads to; None if there is none.

    Raises ProbeFailure for a redirect that must not be followed, such as one to another origin: load goes to no server
    that the plan does not name. Raises HTTPException for a reply that is not HTTP.
    """
    request = first if before is None else before.request
    headers, _ = whole_reply(received, request.method)
    location = first_field(headers, "location")
    if location is None:
        return None
    count = 1 if before is None else before.count + 1
    if count > options.max_redirects:
        raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"more than {options.max_redirects} redirects")
    cookies = Cookies() if before is None else before.cookies
    cookies.take(request.url, each_field(headers, "set-cookie"))
    following = redirected(request, status, location, credentials(options))
    if origin(following.url) != origin(bare_url(options.url)):
        raise ProbeFailure(Reason.REDIRECT_BLOCKED, "redirect to another origin")
    going = cookies.header(following.url, following.headers.get("Cookie"))
    sent = following if going is None else replace(following, headers={**following.headers, "Cookie": going})
    return Hop(following, cookies, count, request_bytes(sent.method, parsed(sent.url)[1], sent.headers, sent.body))
