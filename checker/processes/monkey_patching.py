"""The first step of a worker process: make the standard library yield to other greenlets."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

from checker.lean_start import load_msgspec, load_when_used

LOADED_TOO_EARLY = 4
"""Exit code: a module was imported before the patch, so its sockets would block every greenlet."""


def patch(program: str) -> None:
    """Patch everything, and end the process if ``ssl``, ``urllib3`` or ``requests`` are already imported.

    What starts programs is patched with the first one (`checker.worker.programs_patched`).
    """
    for name in ("ssl", "urllib3", "requests"):
        if name in sys.modules:
            sys.stderr.write(f"{program}: {name} was imported before the worker could patch it\n")
            sys.exit(LOADED_TOO_EARLY)
    import gevent.events
    from gevent import monkey

    # For each of its patches gevent reads the metadata of every distribution that is installed, in search of plugins:
    # half of the time that a worker took to start, and a way for others to be in it unasked.
    gevent.events.notify_and_call_entry_points = gevent.events.notify  # type: ignore[attr-defined] # no stub has it
    monkey.patch_all(subprocess=False, signal=False)
    load_when_used("inspect")  # dataclasses would load it, for classes that say nothing of themselves
    _leave_out_http2()
    load_msgspec()


def _leave_out_http2() -> None:
    """Let urllib3 load of its HTTP/2, which nobody speaks here, only the part that it asks for at a TLS connection.

    The package around that part reads the version of h2 from the metadata of distributions, and loading what reads
    those takes a twentieth of a worker's start.
    """
    urllib3 = find_spec("urllib3")
    around = ModuleType("urllib3.http2")
    around.__path__ = [f"{folder}/http2" for folder in (urllib3 and urllib3.submodule_search_locations) or ()]
    sys.modules[around.__name__] = around
