"""The token request of OAuth 2.1 client credentials (RFC 6749 section 4.4), its answer, and option faults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

from checker.model import Reason
from checker.probes.base import ProbeFailure, Request, Transport
from checker.probes.bodies import loads
from checker.probes.http import origin, says_expired, shown_url
from checker.probes.oauth.discovery import TokenSource
from checker.probes.oauth.issuers import is_same_issuer, issuer_fault
from checker.probes.oauth.options import Method, OAuth
from checker.secrets.excerpts import excerpt
from checker.secrets.known_secrets import acquire

_USUAL_LIFE_S = 300.0
"""Lifetime of a token if the authorization server states none."""
_LONGEST_LIFE_S = 24 * 3600.0
_LONGEST = 64 * 1024
"""Maximum characters of a token: it is sent with every request, and servers accept no head of that size."""
_KEY_TYPES = {"E": "EC", "R": "RSA", "P": "RSA"}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and its lifetime."""

    value: str
    life_s: float


def fetch_token(transport: Transport, oauth: OAuth, source: TokenSource, secrets: set[str]) -> Token:
    """Request a token; raises ProbeFailure: auth_server for an improper answer, else the reason of the refusal.

    Parts of the request and the answer that must not be shown are added to ``secrets``.
    """
    form = {"grant_type": "client_credentials"}
    if source.resource:
        form["resource"] = source.resource
    if source.scopes:
        form["scope"] = " ".join(source.scopes)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    url, headers, body = _identified(oauth, source, headers, urlencode(form))
    where = excerpt(shown_url(source.token_url), 100)
    sent = set(_sent_secrets(oauth, headers, body))
    acquire(sent)
    secrets |= sent
    request = Request(
        "POST",
        url,
        headers,
        body.encode(),
        redirected=not source.configured,
        private_allowed=oauth.allow_private,
    )
    try:
        reply = transport.send(request)
        text = reply.read()
    except ProbeFailure as failure:
        raise ProbeFailure(
            Reason.AUTH_SERVER, f"{where} cannot be reached: {failure.reason}, {failure.detail}"
        ) from None
    try:
        answer = loads(text)
    except ValueError:
        answer = None
    if 300 <= reply.status < 400:
        said = f"{where} answered HTTP {reply.status}: credentials are not sent on to where it redirects"
        raise ProbeFailure(Reason.AUTH_SERVER, said)
    if isinstance(answer, dict):
        secrets |= {text for name, text in answer.items() if name.endswith("_token") and isinstance(text, str)}
    if not isinstance(answer, dict) or reply.status >= 500:
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where} answered HTTP {reply.status} without a token")
    if "error" in answer or reply.status >= 400:
        raise _refused(where, reply.status, answer, secrets)
    _judge_answer(where, source, answer)
    value, life = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where} answered without an access_token")
    if len(value) > _LONGEST:
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where} gave a token of more than {_LONGEST} characters")
    try:
        life_s = _USUAL_LIFE_S if life is None else float(life)
    except (TypeError, ValueError):
        life_s = _USUAL_LIFE_S
    return Token(value, max(0.0, min(life_s, _LONGEST_LIFE_S)))


def chosen_method(oauth: OAuth, offered: tuple[str, ...]) -> Method:
    """The client authentication method: as configured, else as offered, else the secret in a header."""
    if oauth.method is not None:
        return oauth.method
    if oauth.private_key is not None:
        return "private_key_jwt"
    if "client_secret_post" in offered and "client_secret_basic" not in offered:
        return "client_secret_post"
    return "client_secret_basic"


def signing_key(oauth: OAuth) -> Any:
    """The private key in the library's form; raises ValueError if the text is not a key for the algorithm."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kind: Any = OKPKey if oauth.algorithm == "EdDSA" else {"EC": ECKey, "RSA": RSAKey}[_KEY_TYPES[oauth.algorithm[0]]]
    try:
        return kind.import_key(str(oauth.private_key or ""))
    except (ValueError, TypeError, JoseError):
        raise ValueError(f"not a PEM private key for {oauth.algorithm}") from None


def _identified(
    oauth: OAuth, source: TokenSource, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    """The request with the client's identity in it."""
    from authlib.oauth2.auth import ClientAuth
    from authlib.oauth2.rfc7523 import PrivateKeyJWT

    method: Any = chosen_method(oauth, source.methods)
    secret: Any = str(oauth.client_secret or "")
    if method == "private_key_jwt":
        try:
            secret = signing_key(oauth)
        except ValueError as error:
            raise ProbeFailure(Reason.AUTH_REJECTED, f"oauth.private_key: {error}") from None
        header = {"kid": oauth.key_id} if oauth.key_id else None
        method = PrivateKeyJWT(source.audience, headers=header, alg=oauth.algorithm)
    name = oauth.client_id
    if method == "client_secret_basic":  # form-encoded first (RFC 6749 section 2.3.1), which the library leaves out
        name, secret = quote_plus(name), quote_plus(secret)
    client = ClientAuth(name, secret, method)
    url, sent, signed = client.prepare("POST", source.token_url, headers, body)  # type: ignore[no-untyped-call] # no stub
    return str(url), dict(sent), str(signed)


def _judge_answer(where: str, source: TokenSource, answer: dict[str, Any]) -> None:
    """Raise ProbeFailure for a token of another issuer (``iss``, as in RFC 9207), or one that is not a bearer token."""
    issuer, kind = answer.get("iss"), answer.get("token_type")
    if issuer is not None and source.issuer is not None and not is_same_issuer(source.issuer, issuer):
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where} answered for another issuer, {excerpt(str(issuer), 100)}")
    if kind is not None and str(kind).lower() != "bearer":  # the official SDKs take a missing one for Bearer
        raise ProbeFailure(Reason.AUTH_SERVER, f"{where} gave a token of type {excerpt(str(kind), 40)}, not Bearer")


def _sent_secrets(oauth: OAuth, headers: dict[str, str], body: str) -> Iterator[str]:
    """The credentials of a request in the forms in which they were sent, which an answer may repeat."""
    for secret in (oauth.client_secret, oauth.private_key):
        if secret:
            yield from (str(secret), quote_plus(str(secret)))
    for name, value in headers.items():
        if name.lower() == "authorization":
            yield from (value, value.partition(" ")[2])
    yield from (value for name, value in parse_qsl(body) if name in ("client_secret", "client_assertion"))


def _refused(where: str, status: int, answer: dict[str, Any], secrets: Iterable[str]) -> ProbeFailure:
    """The failure for an error answer (RFC 6749 section 5.2); secrets repeated in it are masked before cutting."""
    error, description = str(answer.get("error")), str(answer.get("error_description") or "")
    for value in sorted(filter(None, secrets), key=len, reverse=True):
        error, description = error.replace(value, "***"), description.replace(value, "***")
    said = f"{where} refused a token: {excerpt(error, 60)}" + (f", {excerpt(description, 120)}" if description else "")
    if error == "invalid_target" or "resource" in description.lower():
        said += '; `resource: ""` under `oauth:` leaves `resource` out of the request'
    if error == "invalid_scope":
        return ProbeFailure(Reason.AUTH_SCOPE, said)
    if says_expired(description) or says_expired(error):
        return ProbeFailure(Reason.AUTH_EXPIRED, said)
    if error in ("server_error", "temporarily_unavailable") or status == 429:
        return ProbeFailure(Reason.AUTH_SERVER, said)
    return ProbeFailure(Reason.AUTH_REJECTED, said)


Fault = tuple[tuple[str, ...], str]


def oauth_faults(options: OAuth) -> Iterator[Fault]:
    """Contradictions in the options, below the ``oauth`` block."""
    if not options.client_id:
        yield ("client_id",), "write the identifier that the authorization server gave"
    if (options.client_secret is None) == (options.private_key is None):
        yield ("client_secret",), "give one of client_secret and private_key (or their _file)"
    if options.method == "private_key_jwt" and options.private_key is None:
        yield ("method",), "private_key_jwt needs private_key or private_key_file"
    elif options.method not in (None, "private_key_jwt") and options.client_secret is None:
        yield ("method",), f"{options.method} needs client_secret or client_secret_file"
    if options.private_key is not None:
        try:
            signing_key(options)
        except ValueError as error:
            yield ("private_key",), f"the key (not shown) is {error}; check it, and algorithm"
    if options.issuer is not None and (fault := issuer_fault(options.issuer)):
        yield ("issuer",), f"{fault}; write it like https://host/path, as its metadata names itself"
    if options.token_url is not None and not _is_address(options.token_url):
        yield ("token_url",), "not a valid address; write it like https://host/path"
    if options.trust_on_first_use and (options.issuer or options.token_url):
        yield ("trust_on_first_use",), "issuer or token_url names whom to trust already; remove it"


def withheld(options: OAuth) -> str:
    """The warning if the options do not say which issuer to trust with credentials; empty if they do."""
    if options.issuer or options.token_url or options.trust_on_first_use:
        return ""
    return (
        "credentials will be sent to an authorization server at the server's own origin alone: for any other, add "
        "issuer: (or token_url:), or trust_on_first_use: true (`mcp-status docs mcp`)"
    )


def _is_address(url: str) -> bool:
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        return False
    return scheme in ("http", "https") and bool(host)
