"""Modules that only some checks need: a worker loads them before its first check, not between others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from checker.model import Server
from checker.probe_kinds import KINDS
from checker.probes import probe_of


def libraries(servers: Iterable[Server]) -> tuple[str, ...]:
    """Names of the modules that the checks of these servers need, beyond those a worker always loads."""
    needed = {
        name
        for server in servers
        for kind, options in server.probes.items()
        for name in (KINDS[kind].module, *probe_of(kind).libraries(options), *_of_every_kind(options))
    }
    return tuple(sorted(needed))


def load(names: Iterable[str]) -> None:
    """Load these modules: some take tenths of a second, during which a worker does nothing else."""
    for name in names:
        import_module(name)


def _of_every_kind(options: Any) -> Iterator[str]:
    if not options.tls.verify:
        yield "cryptography.x509"
