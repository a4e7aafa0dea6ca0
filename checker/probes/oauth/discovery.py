"""Discovery of a protected server's token endpoint: RFC 9728 metadata of the server, RFC 8414 of its issuer.

Metadata is read only at the address constructed for it: a redirect is no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from checker.model import Reason
from checker.probes.base import ProbeFailure, Request, Transport
from checker.probes.bodies import loads
from checker.probes.http import bare_url, origin, shown_url
from checker.probes.oauth.issuers import is_same_issuer, named_issuers, token_endpoint_fault, trusted_issuer
from checker.probes.oauth.options import OAuth
from checker.secrets.excerpts import excerpt

_PROTECTED = "oauth-protected-resource"
_SERVER = ("oauth-authorization-server", "openid-configuration")
_MOST_TOLD = 3
"""Addresses that a detail names with their answers."""
_NOT_PASSED_OVER = {Reason.REDIRECT_BLOCKED, Reason.BODY_TOO_LARGE, Reason.DEADLINE, Reason.FIRST_BYTE_TIMEOUT}
"""Outcomes after which no further address is tried: the address is forbidden, or its reply has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource:
    """The endpoint to request a token from, and the parameters to request."""

    issuer: str | None
    """The trusted issuer; None if only the token endpoint is configured."""
    token_url: str
    configured: bool
    """The origin of the token endpoint is one that the config names."""
    audience: str
    """The audience of a signed assertion: the trusted issuer, else the configured token endpoint."""
    resource: str
    scopes: tuple[str, ...]
    methods: tuple[str, ...]
    """Client authentication methods that the server offers; empty if it does not state any."""
    passed_over: tuple[str, ...] = ()
    """Answers of well-known addresses that did not have the metadata; a 404 is usual."""


def token_source(
    transport: Transport, oauth: OAuth, url: str, challenge: Mapping[str, str], pinned: str | None
) -> TokenSource:
    """Find the token endpoint for the server at ``url``; raises ProbeFailure (auth_server, issuer_not_trusted).

    Values named in the config are not looked up. Otherwise the server is asked for its issuer, which is used only if it
    is trusted: ``pinned`` is the one that was trusted before. A server without any metadata is treated as one of
    2025-03-26, whose authorization server is at its own origin.
    """
    server = bare_url(url)
    if oauth.token_url:
        return TokenSource(
            issuer=oauth.issuer,
            token_url=oauth.token_url,
            configured=True,
            audience=oauth.issuer or oauth.token_url,
            resource=server if oauth.resource is None else oauth.resource,
            scopes=oauth.scopes,
            methods=(),
        )
    named: tuple[str, ...] = ()
    before = _FoundDocument(None, ())
    issuer = oauth.issuer
    if issuer is None:
        urls = _resource_urls(server, challenge.get("resource_metadata"))
        before = _first(transport, oauth, server, urls, (server,), "resource")
        wanted = _wanted(oauth, before.document or {}, server)
        named = named_issuers(before.document or {})
        issuer = trusted_issuer(oauth, server, named, pinned, "" if named else before.said)
    else:
        wanted = server if oauth.resource is None else oauth.resource
    own = (server,) if oauth.issuer is None else (server, oauth.issuer)
    where = excerpt(shown_url(issuer), 100)
    at = _first(transport, oauth, server, _issuer_urls(issuer), own, "token_endpoint")
    if (found := at.document) is None:
        alone = oauth.issuer is None and not named
        said = "the server names no authorization server, and there is none at its origin" if alone else "no metadata"
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where}: {said}{at.said}{before.said if alone else ''}")
    if not is_same_issuer(issuer, found.get("issuer")):
        other = excerpt(shown_url(str(found.get("issuer"))), 100)
        raise ProbeFailure(
            Reason.AUTH_SERVER, f"metadata of {where} names another issuer, {other}; credentials go to neither"
        )
    token_url = found.get("token_endpoint")
    if fault := token_endpoint_fault(oauth, issuer, token_url, server):
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where}: {fault}")
    return TokenSource(
        issuer=issuer,
        token_url=str(token_url),
        configured=not _elsewhere(str(token_url), own),
        audience=str(found["issuer"]),
        resource=wanted,
        scopes=oauth.scopes,
        methods=_texts(found.get("token_endpoint_auth_methods_supported")),
        passed_over=tuple(one for one in (*before.refused, *at.refused) if not one.endswith("HTTP 404")),
    )


def _wanted(oauth: OAuth, metadata: Mapping[str, Any], server: str) -> str:
    return _resource(metadata, server) if oauth.resource is None else oauth.resource


def _resource(metadata: Mapping[str, Any], server: str) -> str:
    """The resource that the token is for; metadata of another resource must not be used (RFC 9728 section 3.3)."""
    named = metadata.get("resource")
    if not isinstance(named, str):
        return server
    try:
        same, path = origin(named) == origin(server), urlsplit(named).path.rstrip("/")
    except ValueError:  # no address at all
        same, path = False, ""
    if not same or not f"{urlsplit(server).path}/".startswith(f"{path}/"):
        raise ProbeFailure(
            Reason.AUTH_SERVER,
            f"metadata of another resource, {excerpt(shown_url(named), 100)}; if it is right, set oauth.resource",
        )
    return named


def _resource_urls(server: str, challenged: str | None) -> Iterator[str]:
    """Metadata addresses (RFC 9728 section 3.1): from the challenge, then well-known with and without the path."""
    scheme, netloc, path, _, _ = urlsplit(server)
    known = [urlunsplit((scheme, netloc, f"/.well-known/{_PROTECTED}", "", ""))]
    if path.strip("/"):
        known.insert(0, urlunsplit((scheme, netloc, f"/.well-known/{_PROTECTED}{path.rstrip('/')}", "", "")))
    yield from dict.fromkeys([challenged, *known] if challenged else known)


def _issuer_urls(issuer: str) -> Iterator[str]:
    """Metadata addresses (RFC 8414 section 3.1, OpenID Connect Discovery section 4), ordered as MCP specifies."""
    scheme, netloc, path, _, _ = urlsplit(issuer)
    path = path.rstrip("/")
    for name in _SERVER:
        yield urlunsplit((scheme, netloc, f"/.well-known/{name}{path}", "", ""))
    if path:
        yield urlunsplit((scheme, netloc, f"{path}/.well-known/{_SERVER[1]}", "", ""))


@dataclass(frozen=True, slots=True)
class _FoundDocument:
    """A document, and the answers of the addresses that were tried before it."""

    document: Mapping[str, Any] | None
    """The document; None if it is at none of the addresses."""
    refused: tuple[str, ...]

    @property
    def said(self) -> str:
        """The answers of the addresses, to be added to a detail."""
        return f": {'; '.join(self.refused[:_MOST_TOLD])}" if self.refused else ""


def _first(
    transport: Transport, oauth: OAuth, server: str, urls: Iterator[str], own: Sequence[str], wanted: str
) -> _FoundDocument:
    """The first document that exists and has the required member.

    An address that answers anything else, or nothing, is skipped for the next, as in the official clients: proxies
    before an authorization server answer unknown addresses in many ways. Raises ProbeFailure if none of them could be
    reached. ``own`` are the addresses named in the config: their origins are called wherever they are.
    """
    refused: list[str] = []
    answered = False
    for url in urls:
        where = excerpt(shown_url(url), 100)
        elsewhere = _elsewhere(url, own)
        if elsewhere and not _may_follow(server, url):
            raise ProbeFailure(Reason.AUTH_SERVER, f"metadata at {where} is not to be followed")
        try:
            reply = transport.send(
                Request(
                    "GET",
                    url,
                    {"Accept": "application/json"},
                    redirected=elsewhere,
                    private_allowed=oauth.allow_private,
                )
            )
            body = reply.read()
        except ProbeFailure as failure:
            refused.append(f"{where} cannot be reached: {failure.reason}, {failure.detail}")
            if failure.reason in _NOT_PASSED_OVER:
                break
            continue
        answered = True
        document = _document(body) if reply.status == 200 else None
        if document is not None and (wanted in document or "error" not in document):
            return _FoundDocument(document, tuple(refused))
        said = "" if reply.status != 200 else " without metadata"
        refused.append(f"{where} answered HTTP {reply.status}{said}")
    if not answered and refused:
        raise ProbeFailure(Reason.AUTH_SERVER, refused[0])
    return _FoundDocument(None, tuple(refused))


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _may_follow(server: str, url: str) -> bool:
    """True if an address named by a server is http or https, and not a downgrade from https."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        return False
    return bool(host) and (scheme == "https" or (scheme == "http" and origin(server)[0] != "https"))


def _elsewhere(url: str, own: Sequence[str]) -> bool:
    """True if an address is at none of the configured origins; an invalid address is left for others to refuse."""
    try:
        return origin(url) not in map(origin, own)
    except ValueError:
        return True


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
