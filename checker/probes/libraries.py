"""Modules and functions that only some checks need: a worker loads them before its first check, not between others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from checker.messages import Library, SentFunction
from checker.model import Server
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.probes.option_shapes import OptionShapes


def libraries(servers: Iterable[Server]) -> tuple[Library, ...]:
    """The modules and functions that the checks of these servers need, beyond those a worker always loads."""
    needed: set[str] = set()
    functions: list[SentFunction] = []
    shapes, looked_at = OptionShapes(), set[Any]()
    for server in servers:
        for kind, options in server.probes.items():
            shape = shapes.of(kind, options)
            if shape is None or (kind, shape) not in looked_at:  # thousands of servers have few shapes
                looked_at.add((kind, shape))
                if KINDS[kind].function and (kind, None) not in looked_at:
                    looked_at.add((kind, None))
                    functions += _sent(kind)
                    needed.update(filter(None, [KINDS[kind].function.partition(":")[0]]))
                needed.update((KINDS[kind].module, *probe_of(kind).libraries(options), *_of_every_kind(options)))
    return (*sorted(needed), *functions)


def _sent(kind: str) -> Iterator[SentFunction]:
    from checker.probes.functions import registered

    if (found := registered(kind)) is not None:
        yield SentFunction(kind, *found)


def load(needed: Iterable[Library]) -> None:
    """Load these modules and functions: some take tenths of a second, during which a worker does nothing else."""
    for one in needed:
        if isinstance(one, str):
            import_module(one)
        else:
            from checker.probes.functions import take

            take(one.kind, one.pickled, one.paths)


def _of_every_kind(options: Any) -> Iterator[str]:
    if not options.tls.verify:
        yield "cryptography.x509"
