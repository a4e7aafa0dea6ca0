"""What a server says about credentials: WWW-Authenticate read (RFC 9110 section 11.6.1), and a token's own end."""

from __future__ import annotations

import base64
import re

_PARAMETER = re.compile(r'([A-Za-z0-9_-]{1,64})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LONGEST = 8192


def challenge(header: str | None) -> dict[str, str]:
    """The parameters of a challenge by their names in lower case; of several challenges those of the first win."""
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall((header or "")[:_LONGEST]):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted else bare)
    return found


def says_expired(text: str) -> bool:
    """Whether a text says that credentials have expired, and not only that they may have, among other faults."""
    words = text.lower()
    return "expired" in words and not re.search(r"invalid|\bor\b|malformed|revoked", words)


def token_has_expired(token: str | None, now_s: float) -> bool:
    """Whether a token is a JWT whose ``exp`` (RFC 7519 section 4.1.4) has passed; False for what is none."""
    import orjson

    parts = (token or "").split(".")
    if len(parts) != 3:
        return False
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"]) < now_s
    except (ValueError, TypeError, LookupError):
        return False
