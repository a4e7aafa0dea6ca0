"""Cache keys and lifetimes of facts about endpoints that are remembered between runs."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address
from urllib.parse import urlsplit

from checker.model import CacheEntry
from checker.secrets.fragments import path_secrets

KEEP_MS = 24 * 3600 * 1000
"""A day: an endpoint that is upgraded to another era is asked again by then, even if the old one still works."""

DNS = "dns"
"""Cache category: host name -> its addresses."""


def named_host(pool_name: tuple[str | int, ...]) -> str | None:
    """The host name of an origin (scheme, host, port), used as the cache key of its addresses.

    None for a numeric address, which needs no lookup, and for a lane that is not an origin.
    """
    if len(pool_name) != 3 or not (host := str(pool_name[1])):
        return None
    if not host[-1].isdigit() and ":" not in host:  # what most names look like, and no address
        return host
    try:
        ip_address(host)
    except ValueError:
        return host
    return None


def endpoint_key(url: str) -> str:
    """The address itself, or its SHA-256 if user info, a query or a random part of its path may be a secret."""
    parts = urlsplit(url)
    if parts.username is None and not parts.query and not path_secrets(url):
        return url
    return "sha256:" + hashlib.sha256(url.encode()).hexdigest()


def command_key(program: str, args: tuple[str, ...], cwd: str | None) -> str:
    """The SHA-256 of a command: its arguments may contain a secret."""
    whole = "\0".join((program, *args, cwd or ""))
    return "command:sha256:" + hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()


def entry(category: str, key: str, value: str, now_ms: int, until_ms: int | None = None) -> CacheEntry:
    """The cache entry for a value about an endpoint; it is valid for a day unless an expiry is given."""
    return CacheEntry(
        category=category, key=key, value=value, created_at_ms=now_ms, expires_at_ms=until_ms or now_ms + KEEP_MS
    )
