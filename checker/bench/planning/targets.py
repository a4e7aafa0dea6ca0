"""Which servers of a plan an operation goes to, and where each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checker.bench.plan import Operation
from checker.kinds import KIND_OF
from checker.model import Server
from checker.probes.http import origin


def probe_kind(operation: Operation) -> str:
    """The kind of probe whose options say how a server is reached for this operation."""
    return KIND_OF[operation]


def options_of(server: Server, operation: Operation) -> Any | None:
    """The options of the server's probe that the operation goes to; None where it has no address for it.

    A server that is started by a command has none: load is put on what others use too.
    """
    options = server.probes.get(probe_kind(operation))
    return options if options is not None and options.url else None


def targets(servers: Sequence[Server], operation: Operation, names: Sequence[str] = ()) -> tuple[Server, ...]:
    """The servers of these names that have an address for the operation, in the plan's order; all without names."""
    return tuple(
        server
        for server in servers
        if (not names or server.name in names) and options_of(server, operation) is not None
    )


def host_of(server: Server, operation: Operation) -> str:
    """The host that the operation connects to or has a proxy connect to, in lower case, without a dot at its end."""
    options = options_of(server, operation)
    return plain_host(origin(options.url)[1]) if options is not None else ""


def plain_host(host: str) -> str:
    """A host as it is compared: without brackets, in lower case, without a dot at its end."""
    return host.strip().removeprefix("[").removesuffix("]").lower().rstrip(".")
