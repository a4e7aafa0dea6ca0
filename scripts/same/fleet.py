"""A generated fleet: which servers it has and how they are configured and served, all of it following from a seed."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

TEMPERS = ("mixed", "healthy", "faulty")
_LOWEST_PORT, _HIGHEST_PORT = 10_000, 32_000
"""Below the ports that the system gives to clients: no connection of anybody takes one of ours by chance."""


@dataclass
class World:
    """What a kind of server is made with; configuring and serving make the same ones of the same random numbers.

    ``contexts`` are empty and nothing is started where the fleet is only configured.
    """

    random: Random
    folder: Path
    ports: Sequence[int]
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    stack: ExitStack | None = None
    """Ends the servers; None starts none."""
    changes: list[Callable[[], None]] = field(default_factory=list)
    """What happens to servers between the first run and the second."""
    shared: dict[str, int] = field(default_factory=dict)
    """Ports of servers that several entries name."""
    _used: int = 0

    def port(self) -> int:
        """A port that nobody else has; nobody listens there until it is given to a server."""
        self._used += 1
        return self.ports[self._used - 1]

    def refusing_port(self) -> int:
        """A port that refuses: it is bound, so that nobody else gets it, and nobody listens there."""
        port = self.port()
        if self.stack is not None:
            kept = self.stack.enter_context(socket.socket())
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", port))
        return port

    def start(self, make: Callable[[int], Any], change: Callable[[Any], None] | None = None) -> int:
        """Start the server made of a port, where it is served; ``change`` happens to it after the first run."""
        port = self.port()
        if self.stack is not None:
            server = self.stack.enter_context(make(port))
            if change is not None:
                self.changes.append(lambda: change(server))
        return port


Kind = Callable[[World], dict[str, Any]]
"""A kind of server: starts it, and tells its entry in a configuration but for the name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet, as it is told to the process that serves it."""

    seed: str
    temper: str
    size: int
    folder: str
    """Where certificates and programs are."""
    ports: list[int]


def fleet(plan: Plan, world: World) -> list[dict[str, Any]]:
    """The entries of its servers; the kinds of its temper, in a random choice where there are more than its size."""
    from same.kinds import kinds

    draw = Random(plan.seed)
    chosen = kinds(plan.temper)
    while len(chosen) < plan.size:
        chosen = chosen + chosen
    entries = []
    for number, (name, kind) in enumerate(draw.sample(chosen, plan.size)):
        world.random = Random(f"{plan.seed} {number}")
        entries.append({"name": f"{number:03} {name}", **kind(world)})
    return entries


def free_ports(count: int) -> list[int]:
    """So many ports that are free now and were not told before, from a place that differs between processes."""
    with _choosing:
        return [next(_ports) for _ in range(count)]


def _free() -> Iterator[int]:
    port = Random(os.urandom(8)).randrange(_LOWEST_PORT, _HIGHEST_PORT)
    while True:
        port = port + 1 if port < _HIGHEST_PORT else _LOWEST_PORT
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        yield port


_ports, _choosing = _free(), threading.Lock()


def configuration(plan: Plan) -> dict[str, Any]:
    """The whole configuration of a fleet."""
    world = World(Random(0), Path(plan.folder), plan.ports)
    draw = Random(f"{plan.seed} run")
    return {
        "run": {
            "workers": draw.choice((1, 2)),
            "concurrency": draw.choice((30, 60, 100)),
            # How late a worker or how busy the machine was is not what two installations are compared by.
            "limits": {"enabled": False, "lag": "10m"},
            "heartbeat_timeout": "2m",
            "pace": {"adaptive": draw.random() < 0.5},
        },
        "defaults": {"group": "generated", "mcp": {"timeout": "60s"}, "rest": {"timeout": "60s"}},
        "servers": fleet(plan, world),
    }
