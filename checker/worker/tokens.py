"""The worker's access tokens: in memory until they expire, encrypted if they are to be stored."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import Any

from gevent.lock import BoundedSemaphore

from checker.limits import CacheLimits
from checker.metrics import CacheMeasures

_EARLY_S = 30.0
"""A token is renewed this long before it expires, or in the last fifth of a short life."""


class TokenStore:
    """Implements `checker.probes.base.Tokens`; one for each worker."""

    def __init__(self, key: str | None, limits: CacheLimits) -> None:
        self._cipher = None if key is None or not limits.enabled else _cipher(key)
        self._limits = limits
        self._tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """The one that was used last is the last."""
        self._locks: dict[str, BoundedSemaphore] = {}
        self._pinned: dict[str, str] = {}
        self._hits, self._misses, self._evicted = 0, 0, 0

    def get(self, key: str, for_certain: bool = False) -> str | None:
        """The token, unless it expires within moments.

        ``for_certain``: the caller fetches a token if none is here. A caller that finds none looks again when it is its
        turn to fetch, because another may have fetched one meanwhile: only the second look is counted as a miss.
        """
        token, until_s = self._tokens.get(key, (None, 0.0))
        if token is None or time.time() >= until_s:
            self._misses += for_certain
            return None
        self._hits += 1
        self._tokens.move_to_end(key)
        return token

    def put(self, key: str, token: str, expires_at_ms: int) -> tuple[str, int] | None:
        """Keep the token, for the configured time at most.

        Returns its encrypted form to store and its expiry, if there is a key for it.
        """
        import orjson

        if not self._limits.enabled:
            return None
        now_s = time.time()
        expires_s = min(expires_at_ms / 1000, now_s + self._limits.ttl)
        self._tokens[key] = token, expires_s - min(_EARLY_S, (expires_s - now_s) / 5)
        self._tokens.move_to_end(key)
        while len(self._tokens) > self._limits.size:
            self._tokens.popitem(last=False)
            self._evicted += 1
        if self._cipher is None:
            return None
        until_ms = int(expires_s * 1000)  # rounded up it would outlive its time
        return str(self._cipher.encrypt(orjson.dumps([key, token, until_ms])).decode()), until_ms

    def drop(self, key: str, token: str) -> None:
        """Forget the token, if it is still this one."""
        if self._tokens.get(key, ("", 0.0))[0] == token:
            del self._tokens[key]

    def take_stored(self, key: str, encrypted: str) -> None:
        """Take over a stored token if it can be decrypted, belongs to this server and has not expired."""
        if self._cipher is None or key in self._tokens:
            return
        import orjson
        from cryptography.fernet import InvalidToken

        try:
            stored_key, token, expires_at_ms = orjson.loads(self._cipher.decrypt(encrypted.encode()))
        except (InvalidToken, ValueError, TypeError):  # written with another key, or by another version
            return
        if stored_key == key:
            self.put(key, token, expires_at_ms)

    def pinned(self, endpoint: str) -> str | None:
        """The issuer that was trusted on first use for this endpoint in this run."""
        return self._pinned.get(endpoint)

    def pin(self, endpoint: str, issuer: str) -> None:
        """Trust the issuer for this endpoint; the first one stays."""
        self._pinned.setdefault(endpoint, issuer)

    def measures(self) -> CacheMeasures:
        """Number of lookups that found a token, and of evictions."""
        return CacheMeasures(
            category="auth_tokens",
            hits=self._hits,
            misses=self._misses,
            evicted=self._evicted,
            entries=len(self._tokens),
        )

    def exclusive(self, key: str) -> AbstractContextManager[Any]:
        """Let one attempt at a time fetch the token."""
        return self._locks.setdefault(key, BoundedSemaphore())


def _cipher(key: str) -> Any:
    """Fernet (AES-128-CBC with HMAC-SHA256) with a key that is derived from the user's text."""
    import base64

    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), length=32, salt=None, info=b"mcp-status-check access tokens").derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
