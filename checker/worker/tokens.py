"""The worker's access tokens: in memory until they expire, encrypted where they are to be stored."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

from gevent.lock import BoundedSemaphore

_EARLY_S = 30.0
"""A token is renewed this long before it expires, or in the last fifth of a short life."""


class TokenStore:
    """Implements `checker.probes.base.Tokens`; one for each worker."""

    def __init__(self, key: str | None) -> None:
        self._cipher = None if key is None else _cipher(key)
        self._tokens: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, BoundedSemaphore] = {}

    def get(self, key: str) -> str | None:
        """The token, unless it expires within moments."""
        token, until_s = self._tokens.get(key, (None, 0.0))
        return token if time.time() < until_s else None

    def put(self, key: str, token: str, expires_at_ms: int) -> str | None:
        """Keep the token; its encrypted form to store, if the user gave a key for that."""
        import orjson

        expires_s, now_s = expires_at_ms / 1000, time.time()
        self._tokens[key] = token, expires_s - min(_EARLY_S, (expires_s - now_s) / 5)
        if self._cipher is None:
            return None
        return str(self._cipher.encrypt(orjson.dumps([key, token, expires_at_ms])).decode())

    def drop(self, key: str, token: str) -> None:
        """Forget the token, if it is still this one."""
        if self._tokens.get(key, ("", 0.0))[0] == token:
            del self._tokens[key]

    def take_stored(self, key: str, encrypted: str) -> None:
        """Take over a stored token, if it can be decrypted, is this one's and has not expired."""
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

    def exclusive(self, key: str) -> AbstractContextManager[Any]:
        """Let one attempt at a time fetch the token."""
        return self._locks.setdefault(key, BoundedSemaphore())


def _cipher(key: str) -> Any:
    """Fernet (AES-128-CBC with HMAC-SHA256) under a key that is derived from the user's text."""
    import base64

    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), length=32, salt=None, info=b"mcp-status-check access tokens").derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
