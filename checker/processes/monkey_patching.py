"""The first step of a worker process: make the standard library yield to other greenlets."""

from __future__ import annotations

import sys

import gevent.events
from gevent import monkey

LOADED_TOO_EARLY = 4
"""Exit code: a module was imported before the patch, so its sockets would block every greenlet."""


def patch(program: str) -> None:
    """Patch everything, and end the process if ``ssl``, ``urllib3`` or ``requests`` are already imported."""
    for name in ("ssl", "urllib3", "requests"):
        if name in sys.modules:
            sys.stderr.write(f"{program}: {name} was imported before the worker could patch it\n")
            sys.exit(LOADED_TOO_EARLY)
    # For each of its patches gevent reads the metadata of every distribution that is installed, in search of plugins:
    # half of the time that a worker takes to start, and a way for others to be in it that nobody asked for.
    gevent.events.notify_and_call_entry_points = gevent.events.notify  # type: ignore[attr-defined] # no stub has it
    monkey.patch_all()
