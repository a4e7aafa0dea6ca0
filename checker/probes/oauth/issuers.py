"""Trust in authorization servers that get credentials: the configured one, or the one that was pinned (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from checker.addresses import Scope, in_numbers, scope
from checker.cache_keys import endpoint_key
from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.probes.http import origin, shown_url
from checker.probes.oauth.options import OAuth
from checker.secrets.excerpts import excerpt

_MOST_NAMED = 10
_LONGEST = 1000


def issuer_fault(issuer: str) -> str:
    """The reason why a text is not an issuer (RFC 8414 section 2); empty if it is one."""
    try:
        parts, (scheme, host, _) = urlsplit(issuer), origin(issuer)
    except ValueError:
        return "not a valid address"
    if scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", issuer):
        return "not an http or https address"
    if parts.username is not None or "?" in issuer or "#" in issuer:
        return "an issuer has no user, no query and no fragment"
    return ""


def is_same_issuer(one: str, other: object) -> bool:
    """True if two identifiers are identical, character by character (RFC 8414 section 3.3).

    Only a trailing slash is ignored: the official SDKs add one to the issuers they name.
    """
    return isinstance(other, str) and one.removesuffix("/") == other.removesuffix("/")


def named_issuers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The authorization servers that a protected resource names (RFC 9728 section 2), if they are addresses."""
    named = metadata.get("authorization_servers")
    listed = named[:_MOST_NAMED] if isinstance(named, list) else []
    return tuple(one for one in listed if isinstance(one, str) and len(one) <= _LONGEST and not issuer_fault(one))


def trusted_issuer(oauth: OAuth, server: str, named: Sequence[str], pinned: str | None, asked: str = "") -> str:
    """The named issuer that gets credentials; raises ProbeFailure (issuer_not_trusted) if none may.

    An issuer at the origin of the MCP server itself counts as named by the configuration, which has the server's
    address. ``server`` is that address; a server that names no issuer is its own, as in 2025-03-26. ``asked`` holds the
    answers of the addresses at which it could have named one.
    """
    those = list(named) or ["{}://{}".format(*urlsplit(server)[:2])]
    told = ", ".join(excerpt(shown_url(one), 200) for one in those[:3])
    if not oauth.trust_on_first_use:
        if own := next((one for one in those if is_at_own_origin(one, server)), None):
            return own
        who = f"the server names the authorization server {told}"
        if not named:
            who = f"the server names no authorization server{asked}; its own origin would be {told}"
        raise ProbeFailure(
            Reason.ISSUER_NOT_TRUSTED,
            f"no credentials were sent: {who}, which the configuration does not; if it is the right one, add "
            f"`issuer: {excerpt(shown_url(those[0]), 200)}` under `oauth:` (or `trust_on_first_use: true`)",
            "auth",
        )
    if pinned is None:
        first = those[0]
        if is_loopback(first) and origin(server)[0] != "https":
            return first
        if origin(first)[0] != "https":
            raise ProbeFailure(
                Reason.ISSUER_NOT_TRUSTED,
                f"no credentials were sent: the authorization server {excerpt(shown_url(first), 200)} is not https, "
                "and only one that the configuration names (oauth.issuer) may be so",
                "auth",
            )
        return first
    for one in those:
        if is_same_issuer(pinned, one):
            return pinned
    raise ProbeFailure(
        Reason.ISSUER_NOT_TRUSTED,
        f"no credentials were sent: the server now names {told}, and {excerpt(shown_url(pinned), 200)} was pinned on "
        f"first use; if the change is right: mcp-status cache clear oauth_issuer --key {endpoint_key(server)}",
        "auth",
    )


def is_at_own_origin(url: str, server: str) -> bool:
    """True if an address is at the origin of the MCP server, over https or on this machine."""
    return origin(url) == origin(server) and (origin(url)[0] == "https" or is_loopback(url))


def token_endpoint_fault(oauth: OAuth, issuer: str, token_url: object, server: str) -> str:
    """The reason not to send credentials to an issuer's token endpoint; empty if they may be sent.

    If the configuration names only the server, the endpoint has to be at the server's own origin.

    It has to be https (RFC 6749 section 3.2). Below an issuer that is http itself, one on loopback may be http, and so
    may one at the origin of an issuer that the configuration names.
    """
    if not isinstance(token_url, str):
        return "its metadata has no token_endpoint"
    try:
        parts, where = urlsplit(token_url), origin(token_url)
    except ValueError:
        return "its metadata has no valid token_endpoint"
    if where[0] not in ("http", "https") or not where[1] or parts.username is not None or "#" in token_url:
        return "its metadata has no valid token_endpoint"
    if oauth.issuer is None and not oauth.trust_on_first_use and where != origin(server):
        told = excerpt(shown_url(token_url), 100)
        return f"its token endpoint {told} is elsewhere; if it is the right one, add `token_url: {told}` under `oauth:`"
    named = oauth.issuer is not None and where == origin(issuer)
    if where[0] == "http" and not (origin(issuer)[0] == "http" and (named or is_loopback(token_url))):
        return f"its token endpoint {excerpt(shown_url(token_url), 100)} is not https"
    return ""


def is_loopback(url: str) -> bool:
    """True if an address is this machine's by its name or number."""
    host = origin(url)[1].rstrip(".")
    number = in_numbers(host)
    return scope(number) is Scope.LOOPBACK if number else host == "localhost" or host.endswith(".localhost")
