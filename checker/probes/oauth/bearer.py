"""The access token of one attempt: from the worker's memory, or fetched when the server asks; renewed once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

from checker.cache_keys import endpoint_key
from checker.model import Reason, RemarkName
from checker.probes.base import Observation, ProbeFailure, Tokens, Transport
from checker.probes.oauth.discovery import token_source
from checker.probes.oauth.options import OAuth
from checker.probes.oauth.token import fetch_token
from checker.secrets.excerpts import excerpt

AUTH_TOKEN = "auth_tokens"  # noqa: S105 # the name of a cache category
"""Cache category: an encrypted access token."""
ISSUER = "oauth_issuer"
"""Cache category: the authorization server that was trusted on first use."""
_FOR_GOOD_MS = 253_402_300_799_000
"""The end of the year 9999: a pin is removed by the user, not by time."""


class Bearer:
    """Source of the Authorization header; one for each attempt, or each session whose operations `begin`."""

    def __init__(self, oauth: OAuth, url: str, memory: Mapping[str, str]) -> None:
        self._oauth, self._url, self._stored = oauth, url, memory.get(AUTH_TOKEN)
        self._token: str | None = None
        self._fetched = False
        self._endpoint, self._pinned = endpoint_key(url), memory.get(ISSUER) if _pins(oauth) else None
        named = (oauth.issuer, oauth.token_url, oauth.resource, oauth.trust_on_first_use)
        secret = (oauth.client_secret, oauth.private_key, oauth.method)  # a wrong one gets no token by a right one
        self._parts = (url, oauth.client_id, *oauth.scopes, *map(str, named), *map(str, secret))

    def _key(self, tokens: Tokens) -> str:
        """The key under which the token is kept: for this server and these options, and from this issuer."""
        if _pins(self._oauth):
            self._pinned = self._pinned or tokens.pinned(self._endpoint)
        return hashlib.sha256("\0".join((*self._parts, self._pinned or "")).encode()).hexdigest()

    def begin(self) -> None:
        """Begin another operation of the same session: the token may have expired since, and may be renewed again."""
        self._token, self._fetched = None, False

    @property
    def may_renew(self) -> bool:
        """True if a refusal may be answered with a new token: not if the refused one is already new."""
        return not self._fetched

    def headers(self, transport: Transport, seen: Observation) -> dict[str, str]:
        """The header with the token; empty if none is known and the server has not asked yet."""
        if self._token is None:
            key = self._key(transport.tokens)
            if self._stored is not None:
                transport.tokens.take_stored(key, self._stored)
                self._stored = None
            self._take(transport.tokens.get(key), seen)
        if self._token is None and not self._fetched and (self._oauth.token_url or self._oauth.issuer):
            self.renew(transport, seen)
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def renew(self, transport: Transport, seen: Observation) -> None:
        """Fetch a token, unless another attempt has just done so; raises ProbeFailure."""
        refused, self._fetched = self._token, True
        seen.suspicion = ProbeFailure(Reason.AUTH_SERVER, "the authorization server did not answer in time", "auth")
        own = "\0".join(self._parts)
        with transport.uncounted(), transport.timed("auth"), transport.tokens.exclusive(own):
            key = self._key(transport.tokens)
            if refused is not None:
                transport.tokens.drop(key, refused)
            self._take(transport.tokens.get(key, for_certain=True), seen)
            if self._token is None or self._token == refused:
                self._take(transport.aside(lambda aside: self._fetch(aside, seen), self._oauth.issuer), seen)
        seen.suspicion = None

    def _fetch(self, transport: Transport, seen: Observation) -> str:
        try:
            source = token_source(transport, self._oauth, self._url, seen.challenge, self._pinned)
        except ValueError as error:  # no address: what metadata names is anything
            said = excerpt(str(error), 60)
            raise ProbeFailure(Reason.AUTH_SERVER, f"its metadata names what is no address: {said}", "auth") from None
        if _pins(self._oauth) and source.issuer is not None:  # before anything is sent: it is on record whatever comes
            transport.tokens.pin(self._endpoint, source.issuer)
            seen.remember[ISSUER], seen.remember_until_ms[ISSUER] = source.issuer, _FOR_GOOD_MS
        if source.passed_over:
            seen.remark(RemarkName.AUTH_METADATA, "; ".join(source.passed_over[:3]))
        token = fetch_token(transport, self._oauth, source, seen.secrets)
        seen.secrets.add(token.value)
        expires_at_ms = round((time.time() + token.life_s) * 1000)
        if to_store := transport.tokens.put(self._key(transport.tokens), token.value, expires_at_ms):
            seen.remember[AUTH_TOKEN], seen.remember_until_ms[AUTH_TOKEN] = to_store
        return token.value

    def _take(self, token: str | None, seen: Observation) -> None:
        self._token, seen.token_sent = token, token is not None
        if token is not None:
            seen.secrets.add(token)


def _pins(oauth: OAuth) -> bool:
    """True if the authorization server is pinned on first use: one named in the config takes precedence."""
    return oauth.trust_on_first_use and oauth.issuer is None and oauth.token_url is None
