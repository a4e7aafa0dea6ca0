"""The probes that a run would make: what each asks of whom, and what of ours it sends, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from checker.model import Server
from checker.probes import probe_of
from checker.probes.http import credentials, shown_endpoint
from checker.secrets.redactor import MASK


class PlannedProbe(Struct, frozen=True):
    """One probe of one server as it would be made."""

    server: str
    kind: str
    target: str
    """Address or command, without what may be secret."""
    requests: list[str]
    sends: list[str]
    """Names of headers, variables and the like that carry something of ours; values are masked."""
    timeout_s: float
    attempts: int


def planned(servers: Sequence[Server]) -> Iterator[PlannedProbe]:
    """The probes of the servers, in their order."""
    for server in servers:
        for kind, options in server.probes.items():
            probe = probe_of(kind)
            yield PlannedProbe(
                server=server.name,
                kind=kind,
                target=probe.address(options).shown,
                requests=list(probe.requests(options)),
                sends=list(_sent(options)),
                timeout_s=options.timeout,
                attempts=options.retry.max_attempts,
            )


def _sent(options: Any) -> Iterator[str]:
    """What goes to the server beside the request itself."""
    if options.url:
        for name in credentials(options):
            yield f"{name}: {MASK}"
    for name in getattr(options, "env", ()):
        yield f"{name}={MASK}"
    if (oauth := getattr(options, "oauth", None)) is not None:
        named = oauth.token_url or oauth.issuer
        yield f"a token of {shown_endpoint(named) if named else 'the issuer that the server names'}"
    if options.tls.cert_file is not None:
        yield "a client certificate"
    if options.proxy is not None:
        yield "by way of a proxy"
