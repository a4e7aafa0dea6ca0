"""What a client of the benchmark is told as its only argument, and what it says when it is done."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """What to check and how."""

    ports: list[int]
    """Check number i goes to port i modulo their number."""
    path: str
    checks: int
    concurrency: int
    folder: str
    """Where the client may keep files; a client that is run again finds what it left."""
    authority: str | None = None
    """PEM file of the authority to trust, where the ports speak TLS."""
    own_origins: bool = False
    """Each check goes to an address of its own: the ports are open at every loopback address."""

    @property
    def is_mcp(self) -> bool:
        """Whether an MCP server is checked, and no REST service."""
        return self.path.startswith(("/mcp", "/modern"))

    @property
    def origins(self) -> int:
        """How many origins there are."""
        return self.checks if self.own_origins else len(self.ports)

    def host(self, number: int) -> str:
        """The loopback address of a check."""
        if not self.own_origins:
            return "127.0.0.1"
        return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def url(self, number: int) -> str:
        """The address of a check; ``{number}`` in the path becomes its number."""
        scheme = "http" if self.authority is None else "https"
        port = self.ports[number % len(self.ports)]
        return f"{scheme}://{self.host(number)}:{port}{self.path.replace('{number}', str(number))}"

    @classmethod
    def read(cls, text: str) -> Order:
        """The order that a command-line argument is."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """The order as a command-line argument."""
        return json.dumps(asdict(self))


def read_order() -> Order:
    """The order in the command line."""
    return Order.read(sys.argv[1])


def exit_when_terminated() -> None:
    """Make SIGTERM end the client as Ctrl-C does, so that what it started is ended too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def report(good: int, *packages: str, programs: Mapping[str, str] | None = None, **measured: Any) -> None:
    """Print how many checks found what they should, the versions of packages and programs, and what was measured."""
    versions = {name: version(name) for name in packages} | dict(programs or {})
    print(json.dumps({"good": good, "versions": versions, **measured}))


def peak_bytes_of(pid: int) -> int | None:
    """Most memory a live process had resident; unlike ru_maxrss without what its parent had when it forked."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # not Linux, or it is gone
        pass
    return None
