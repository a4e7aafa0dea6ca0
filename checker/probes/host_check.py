"""A server that refuses by whom it was called as: its check of the Host header against DNS rebinding (pure)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from checker.model import Reason
from checker.probes.base import ProbeFailure

_REFUSALS = (400, 403, 421)
"""421 is RFC 9110 section 15.5.20; the others are what SDKs, frameworks and development servers answer."""
_BY_HOST = re.compile(
    r"\b(?:invalid|bad|disallowed|forbidden|unknown|untrusted|unexpected|blocked|illegal)\b[\s\w'\"-]{0,20}"
    r"\b(?:http_)?hosts?(?:name)?\b(?! (?:key|certificate))"
    r"|\b(?:http_)?host(?:name)?\b[^\n]{0,80}\b(?:(?:is |was )?not (?:allowed|permitted|trusted|recogni[sz]ed|valid)|"
    r"mismatch|rejected|denied|forbidden)\b"
    r"|\bonly (?:allowed|permitted|available|accessible) (?:at|on|from|via|through|as) \S"
    r"|\ballowed[_ -]?hosts?\b|\bdns[ -]?rebinding\b",
    re.IGNORECASE,
)
_BY_ORIGIN = re.compile(r"\borigin\b(?! server)", re.IGNORECASE)
_NAMED = re.compile(
    r"\bonly (?:allowed|permitted|available|accessible) (?:at|on|from|via|through|as) (?:https?://)?"
    r"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,200}[A-Za-z0-9])?)(?::(\d{1,5}))?(?![\w.-])"
)
_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}|::1|localhost", re.IGNORECASE)


def host_refusal(
    url: str, status: int, said: str, challenged: bool, own_host: str | None = None
) -> ProbeFailure | None:
    """The failure of a server that refuses the Host it was sent; None for any other refusal.

    ``said`` is the start of the body without secrets, ``challenged`` whether the reply asks for credentials, which is
    then what it is about. ``own_host`` is the Host header of the configuration, where there is one.
    """
    if status not in _REFUSALS or challenged:
        return None
    by_host = _BY_HOST.search(said) is not None
    if not by_host and (status != 421 or _BY_ORIGIN.search(said)):
        return None
    host = own_host or urlsplit(url).netloc.rpartition("@")[2]
    quoted = f": {said[:120]}" if said else ""
    return ProbeFailure(
        Reason.HTTP_STATUS,
        f"HTTP {status}: refuses the Host header {host}, a check against DNS rebinding{quoted}; {_remedy(url, said)}",
    )


def _remedy(url: str, said: str) -> str:
    """The address that would do, as far as that is known, or what to change."""
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
    """Whether a word of the server's is a name or an address that a user may try."""
    return text.lower() == "localhost" or "." in text
