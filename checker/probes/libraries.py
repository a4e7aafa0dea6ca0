"""Libraries that only some checks need: a worker loads them before its first check, not in the midst of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from checker.model import Server
from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions

_SIGNING = ("authlib.oauth2.auth", "authlib.oauth2.rfc7523", "joserfc.jwk")
"""With what the keys and signatures of `joserfc.jwk` load in their turn."""


def libraries(servers: Iterable[Server]) -> tuple[str, ...]:
    """Names of the modules that the checks of these servers take, beside what a worker has loaded anyway."""
    return tuple(sorted({name for server in servers for one in server.probes.values() for name in _needed(one)}))


def load(names: Iterable[str]) -> None:
    """Load these modules: some take tenths of a second, in which nothing else goes on in a worker."""
    for name in names:
        import_module(name)


def _needed(options: Any) -> Iterator[str]:
    if isinstance(options, McpOptions):
        yield from ("checker.probes.mcp.dialects", "checker.probes.mcp.large")
    if not options.tls.verify:
        yield "cryptography.x509"
    if getattr(options, "oauth", None) is not None:
        yield from _SIGNING
    for expect in _expected(options):
        if expect.json:
            yield "checker.probes.jsonpaths"
        if expect.json or any(getattr(expect, name, None) for name in ("headers", "body_regex", "text_regex")):
            yield "checker.probes.patterns"


def _expected(options: Any) -> list[Any]:
    if isinstance(options, RestOptions):
        return [options.expect]
    return [call.expect for call in options.calls] if isinstance(options, McpOptions) else []
