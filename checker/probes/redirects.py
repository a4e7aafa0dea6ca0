"""Redirects: the request to make next, or the reason not to follow one (RFC 9110 section 15.4)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urljoin

from msgspec.structs import replace

from checker.late_patterns import late
from checker.model import Reason
from checker.probes.base import ProbeFailure, Request
from checker.probes.http import DEFAULT_PORTS, bare_url, origin, told_url
from checker.secrets.excerpts import excerpt

_GO_ALONG = {"user-agent", "accept"}
"""Configured headers that describe the client, and are sent to any host a redirect leads to."""
_AUTHORITY = late(rb"(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//[^/?#]*")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


def redirected(request: Request, status: int, location: str, secrets: Mapping[str, str]) -> Request:
    """The request to make next (RFC 9110 section 15.4); raises ProbeFailure if it must not be followed.

    ``secrets`` are the configured headers: none of them except User-Agent and Accept goes to another host, and no body
    is sent again to one. The step from port 80 of a host to TLS at its port 443 is not a change of host.
    """
    try:
        target = bare_url(urljoin(request.url, _written_in_ascii(location)))
        before, after = origin(request.url), origin(target)
    except ValueError:
        raise ProbeFailure(Reason.REDIRECT_BLOCKED, "redirect to an address that is not valid") from None
    if after[0] not in DEFAULT_PORTS or not after[1]:
        raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"redirect to {excerpt(told_url(target))}: not http or https")
    if before[0] == "https" and after[0] == "http":
        raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"redirect from https to {excerpt(told_url(target))}")
    headers, method, body = dict(request.headers), request.method, request.body
    upgraded = before[1] == after[1] and (before[2], after[2]) == (80, 443)
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers.pop("Content-Type", None)
    if before != after and not upgraded:
        if method == "POST" or body is not None:
            told = excerpt(told_url(target))
            raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"HTTP {status} asks to send the body again to {told}")
        headers = {n: value for n, value in headers.items() if n not in secrets or n.lower() in _GO_ALONG}
    return replace(request, method=method, url=target, headers=headers, body=body, redirected=True, head=None)


def _written_in_ascii(location: str) -> str:
    """An address from a header with its raw bytes escaped as they arrived, as browsers do; its host as UTF-8."""
    if location.isascii() and location.isprintable() and " " not in location:
        return location
    raw = location.strip().encode("latin-1", "replace")
    authority = match[0] if (match := _AUTHORITY.match(raw)) else b""
    return authority.decode("utf-8", "replace") + quote(raw[len(authority) :], safe=_ASCII)
