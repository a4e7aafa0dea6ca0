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

    def url(self, number: int) -> str:
        """The address of a check."""
        scheme = "http" if self.authority is None else "https"
        return f"{scheme}://127.0.0.1:{self.ports[number % len(self.ports)]}{self.path}"

    def text(self) -> str:
        """The order as a command-line argument."""
        return json.dumps(asdict(self))


def read_order() -> Order:
    """The order in the command line."""
    return Order(**json.loads(sys.argv[1]))


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
