"""HTTP rules shared by both probes: address, credentials, challenges, and explanations of refusals."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from time import time
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from checker.cache_keys import endpoint_key
from checker.late_patterns import late
from checker.model import Reason
from checker.probes.base import Address, Observation, ProbeFailure, Reply
from checker.secrets.excerpts import excerpt
from checker.secrets.fragments import path_secrets
from checker.secrets.redactor import MASK

_PARAMETER = late(r'([A-Za-z0-9_-]{1,64})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LONGEST = 8192


def challenge(header: str | None) -> dict[str, str]:
    """The parameters of a challenge by their lower-case names; of several challenges, the first one wins."""
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall((header or "")[:_LONGEST]):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted else bare)
    return found


def says_expired(text: str) -> bool:
    """True if a text states that credentials have expired, not only that they may have, among other faults."""
    words = text.lower()
    return "expired" in words and not re.search(r"invalid|\bor\b|malformed|revoked", words)


def token_has_expired(token: str | None, now_s: float) -> bool:
    """True if a token is a JWT whose ``exp`` (RFC 7519 section 4.1.4) has passed; False if it is not a JWT."""
    import orjson

    parts = (token or "").split(".")
    if len(parts) != 3:
        return False
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"]) < now_s
    except (ValueError, TypeError, LookupError):
        return False


_REFUSALS = (400, 403, 421)
"""421 is RFC 9110 section 15.5.20; the others are answers of SDKs, frameworks and development servers."""
_BY_HOST = late(
    r"\b(?:invalid|bad|disallowed|forbidden|unknown|untrusted|unexpected|blocked|illegal)\b[\s\w'\"-]{0,20}"
    r"\b(?:http_)?hosts?(?:name)?\b(?! (?:key|certificate))"
    r"|\b(?:http_)?host(?:name)?\b[^\n]{0,80}\b(?:(?:is |was )?not (?:allowed|permitted|trusted|recogni[sz]ed|valid)|"
    r"mismatch|rejected|denied|forbidden)\b"
    r"|\bonly (?:allowed|permitted|available|accessible) (?:at|on|from|via|through|as) \S"
    r"|\ballowed[_ -]?hosts?\b|\bdns[ -]?rebinding\b",
    re.IGNORECASE,
)
_BY_ORIGIN = late(r"\borigin\b(?! server)", re.IGNORECASE)
_NAMED = late(
    r"\bonly (?:allowed|permitted|available|accessible) (?:at|on|from|via|through|as) (?:https?://)?"
    r"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,200}[A-Za-z0-9])?)(?::(\d{1,5}))?(?![\w.-])"
)
_LOOPBACK = late(r"127(?:\.\d{1,3}){3}|::1|localhost", re.IGNORECASE)


def host_refusal(
    url: str, status: int, said: str, challenged: bool, own_host: str | None = None
) -> ProbeFailure | None:
    """The failure of a server that refuses the Host header it was sent; None for any other refusal.

    ``said`` is the start of the body without secrets, ``challenged`` is true if the reply asks for credentials, in
    which case the refusal is about those. ``own_host`` is the Host header of the configuration, if there is one.
    """
    if status not in _REFUSALS or challenged:
        return None
    by_host = _speaks_of_host(said)
    if not by_host and (status != 421 or _BY_ORIGIN.search(said)):
        return None
    host = own_host or urlsplit(url).netloc.rpartition("@")[2]
    quoted = f": {said[:120]}" if said else ""
    return ProbeFailure(
        Reason.HTTP_STATUS,
        f"HTTP {status}: refuses the Host header {host}, a check against DNS rebinding{quoted}; {_remedy(url, said)}",
    )


@lru_cache(maxsize=256)  # servers of one kind refuse a first request in the same words
def _speaks_of_host(said: str) -> bool:
    return _BY_HOST.search(said) is not None


def _remedy(url: str, said: str) -> str:
    """The address that would work, as far as known, or the setting to change."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    named = _NAMED.search(said)
    if named and named[1].lower() != host and _is_host(named[1]):
        name = named[1].lower()
    elif _LOOPBACK.fullmatch(host):
        name = "127.0.0.1" if host == "localhost" else "localhost"
    else:
        return f"call it by the name that it expects, or add {host} to its allowed hosts"
    port = f":{parts.port}" if parts.port else ""
    known = urlunsplit((parts.scheme, f"{name}{port}", parts.path, "", ""))
    return f"{known} may do, or add {host} to its allowed hosts"


def _is_host(text: str) -> bool:
    """True if a word from the server is a name or an address that a user may try."""
    return text.lower() == "localhost" or "." in text


DEFAULT_PORTS = {"http": 80, "https": 443}
"""Scheme -> its default port."""
_USUAL_SPELLING = {
    name.lower(): name
    for name in ("User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Cookie", "Authorization")
}
_LONGEST_WAIT_S = 10**9
_CREDENTIAL_NAME = late(r"authorization|cookie|token|secret|password|auth|api-?_?key|^x-.*-key$", re.IGNORECASE)


_PLAIN = late(r"(https?)://([a-z0-9][a-z0-9.-]*)(?::([1-9][0-9]{0,4}))?(?:/[A-Za-z0-9._~-]{0,7})*")
"""An address that says nothing secret and is its own form to show: segments as short as these are none of path_secrets.

Taking any address apart costs ten times as much, and a fleet has one for each probe.
"""
_LARGEST_PORT = 65535


def http_address(options: Any) -> Address:
    """The address of an endpoint that has a url."""
    return _address(options.url)


@lru_cache(maxsize=32768)  # a fleet is gone through several times: one that does not fit would be parsed each time
def _address(url: str) -> Address:
    plain = _PLAIN.fullmatch(url)
    if plain is None or int(plain[3] or 0) > _LARGEST_PORT:
        return Address(endpoint_key(url), shown_endpoint(url), origin(url))
    scheme, host, port = plain.groups()
    return Address(url, url, (scheme, host, int(port or DEFAULT_PORTS[scheme])))


def credentials(options: Any) -> dict[str, str]:
    """Request headers from the config, including credentials; empty if it has none.

    Headers that a probe also sends by itself use the probe's spelling, so that each is sent once.
    """
    configured = options.headers.items() if options.headers else ()
    sent = {_USUAL_SPELLING.get(name.lower(), name): str(value) for name, value in configured}
    if options.bearer:
        sent["Authorization"] = f"Bearer {options.bearer}"
    if options.api_key is not None:
        sent[options.api_key.header] = str(options.api_key.value)
    if options.basic is not None:
        pair = f"{options.basic.username}:{options.basic.password}"
        sent["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    if "@" in options.url and (parts := urlsplit(options.url)).username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent.setdefault("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    return sent


def header_lines(headers: Mapping[str, str]) -> bytes | None:
    """The headers as they go over the wire; None if the transport has to see to them."""
    if not headers:
        return b""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or "\0" in text or "\nhost: " in f"\n{text.lower()}":
        return None
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def carries_credentials(options: Any) -> bool:
    """True if the probe identifies itself: a 401 then means refused, not merely protected."""
    return options.api_key is not None or any(_CREDENTIAL_NAME.search(name) for name in credentials(options))


def bare_url(url: str) -> str:
    """The address without user info and fragment: the form that is requested."""
    if "@" not in url and "#" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def shown_url(url: str) -> str:
    """The address in a form to store and print: no user info, no fragment, and no query values."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a server may name what is no address
        return "an address that is not valid"
    query = "&".join(f"{pair.partition('=')[0]}=***" if "=" in pair else pair for pair in parts.query.split("&"))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def shown_endpoint(url: str) -> str:
    """A configured address in a form to store and print: like `shown_url`, without random parts of its path.

    The name of an unset variable stays.
    """
    shown = shown_url(url)
    for start, end in reversed(path_secrets(shown)):
        if "$" not in shown[start:end]:
            shown = shown[:start] + MASK + shown[end:]
    return shown


_WELL_KNOWN = late(r"/\.well-known/(?:oauth-protected-resource|oauth-authorization-server|openid-configuration)")


def told_url(url: str) -> str:
    """An address named by a server, in a form to store and print: parts that the server chose freely are not shown.

    Raises ValueError for text that is not an address.
    """
    parts = urlsplit(url)
    if not parts.scheme:
        raise ValueError("no address")
    known = _WELL_KNOWN.match(parts.path)
    path = known[0] if known else ""
    rest = parts.path[len(path) :].strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}{'/…' if rest else '' if path else parts.path}"


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host in lower case, and port, with the scheme's default filled in."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), _port(parts)


def _port(parts: SplitResult) -> int:
    return DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port


def each_field(headers: Mapping[str, str], name: str) -> list[str]:
    """The fields of a header, each separately."""
    several = getattr(headers, "getlist", None)
    if several is not None:
        found: list[str] = several(name)
        return found
    return [headers[name]] if name in headers else []


def first_field(headers: Mapping[str, str], name: str) -> str | None:
    """The first field of a header that should have only one; None if there is none."""
    return fields[0] if (fields := each_field(headers, name)) else None


def note_refusal(reply: Reply, seen: Observation) -> None:
    """Record the credentials that the reply's headers ask for, and the time to wait."""
    if asked := reply.headers.get("www-authenticate"):
        seen.challenge = challenge(asked)
        if url := seen.challenge.get("resource_metadata"):
            with suppress(ValueError):  # what the server wrote there may be no address at all
                seen.auth_metadata_url = excerpt(told_url(url), 500)
    elif seen.challenge:
        seen.challenge = {}
    if reply.headers.get("retry-after") and (wait := first_field(reply.headers, "retry-after")):
        seen.retry_after_s = _seconds(wait)


def refusal(options: Any, status: int, seen: Observation, said: str = "") -> ProbeFailure | None:
    """The failure for 401, 403 and 429, and for a refusal of the Host header; None for every other status.

    ``said`` is the start of the body, in which some servers put what belongs in the challenge.
    """
    if status in (400, 403, 421) and (found := _refuses_host(options, status, seen, said)):
        return found
    if status == 429:
        wait = f"; asks to wait {seen.retry_after_s} s" if seen.retry_after_s is not None else ""
        return ProbeFailure(Reason.RATE_LIMITED, f"HTTP 429{wait}")
    if status not in (401, 403):
        return None
    if not seen.token_sent and not carries_credentials(options):
        where = f"; metadata at {seen.auth_metadata_url}" if seen.auth_metadata_url else ""
        return ProbeFailure(Reason.AUTH_REQUIRED, f"HTTP {status}: reachable, protected, nothing verified{where}")
    if seen.challenge.get("error") == "insufficient_scope":
        scope, why = seen.challenge.get("scope"), seen.challenge.get("error_description")
        wanted = f"; asks for {excerpt(scope, 200)}" if scope else f": {excerpt(why, 120)}" if why else ""
        return ProbeFailure(Reason.AUTH_SCOPE, f"HTTP {status}: the credentials work, but lack a scope{wanted}")
    why = excerpt(seen.challenge.get("error_description") or "", 120)
    told = f": {why}" if why else ""
    if status == 401 and (says_expired(why) or says_expired(said) or token_has_expired(options.bearer, time())):
        return ProbeFailure(Reason.AUTH_EXPIRED, f"HTTP 401: the credentials that were sent have expired{told}")
    return ProbeFailure(Reason.AUTH_REJECTED, f"HTTP {status} although credentials were sent{told}")


def _refuses_host(options: Any, status: int, seen: Observation, said: str) -> ProbeFailure | None:
    own = next((str(value) for name, value in options.headers.items() if name.lower() == "host"), None)
    return host_refusal(bare_url(options.url), status, said, bool(seen.challenge), own)


def _seconds(retry_after: str) -> int | None:
    """Seconds to wait, for either form of Retry-After (RFC 9110 section 10.2.3)."""
    seconds = retry_after.strip()
    if seconds.isascii() and seconds.isdigit():  # a superscript two is a digit too, but no number
        return min(int(seconds[:20]), _LONGEST_WAIT_S)
    from email.utils import parsedate_to_datetime  # takes a while to load, and few servers name a time

    try:
        return min(max(0, round(parsedate_to_datetime(retry_after).timestamp() - time())), _LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError):
        return None
