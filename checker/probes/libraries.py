"""Modules that only some checks need: a worker loads them before its first check, not between others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from checker.model import Server
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.probes.option_shapes import OptionShapes


def libraries(servers: Iterable[Server]) -> tuple[str, ...]:
    """Names of the modules that the checks of these servers need, beyond those a worker always loads."""
    needed: set[str] = set()
    shapes, looked_at = OptionShapes(), set()
    for server in servers:
        for kind, options in server.probes.items():
            shape = shapes.of(kind, options)
            if shape is None or (kind, shape) not in looked_at:  # thousands of servers have few shapes
                looked_at.add((kind, shape))
                needed.update((KINDS[kind].module, *probe_of(kind).libraries(options), *_of_every_kind(options)))
    return tuple(sorted(needed))


def load(names: Iterable[str]) -> None:
    """Load these modules: some take tenths of a second, during which a worker does nothing else."""
    for name in names:
        import_module(name)


def _of_every_kind(options: Any) -> Iterator[str]:
    if not options.tls.verify:
        yield "cryptography.x509"
