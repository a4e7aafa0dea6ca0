"""Worker processes that are forked from one in which their modules are loaded already.

A worker, of checks or of load tests, takes half a second of CPU to start, and most tests are not about that. What is
forked is a worker in all but this: it is no child of the process that drives it, so that tests of process trees, of
what a checker takes of the machine, and of interpreters that start otherwise ask for fresh ones (`FRESH` in the
environment).
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from os import close, fork, waitpid  # those of the system: gevent has others, and closes later
from pathlib import Path
from select import select
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FRESH = "TESTS_FRESH_WORKERS"
"""Where it is set workers are started as users start them."""
_SERVED_BY = {"checker.worker": "checker.worker.pipe", "checker.loadtest.worker": "checker.loadtest.worker.pipe"}
"""Module that is started as a worker -> the one whose `serve` it calls once everything is patched and loaded."""
_AT_START = ("PYTHON", "LD_", "GEVENT", "MALLOC")
"""Variables that mean something to an interpreter as it starts: where they differ it takes a fresh one."""
_LARGEST = 1 << 18
_NUMBER = struct.Struct("i")
_MOST_DESCRIPTORS = 16
_OWN = 800
"""From this number on are the descriptors of the template's loop: a fork closes them, whatever they are by then."""

Start = Callable[[str, Collection[int]], subprocess.Popen[bytes]]
_template: Template | None = None


@contextmanager
def forked_workers() -> Iterator[None]:
    """Let workers that are started meanwhile, by this process or by its forks, be forked where that is the same."""
    import checker.processes.child

    global _template
    if os.environ.get(FRESH):
        yield
        return
    usual = checker.processes.child.start_process
    if _template is None:
        _template = Template(usual)
        atexit.register(_template.end, os.getpid())
    checker.processes.child.start_process = _template.start_process  # type: ignore[assignment] # as far as `Child` needs it
    try:
        yield
    finally:
        checker.processes.child.start_process = usual


class Template:
    """The process in which everything is loaded, as those who ask it for workers see it."""

    def __init__(self, usual: Start) -> None:
        self._usual, self._environment = usual, _at_start()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-P", __file__], stdin=theirs, cwd=ROOT)

    def start_process(self, module: str, descriptors: Collection[int]) -> Any:
        """In place of `checker.processes.child.start_process`."""
        if module not in _SERVED_BY or os.environ.get(FRESH) or _at_start() != self._environment:
            return self._usual(module, descriptors)
        try:
            return Forked(self._requests, module, descriptors)
        except (OSError, struct.error):  # the template has ended
            return self._usual(module, descriptors)

    def end(self, owner: int) -> None:
        """End the template, in the process that has started it."""
        self._requests.close()
        if os.getpid() == owner:
            self._process.wait(10)


class Forked:
    """A forked worker: what `checker.processes.child.Child` needs of a `subprocess.Popen`."""

    def __init__(self, requests: socket.socket, module: str, descriptors: Collection[int]) -> None:
        self._module = module
        control, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()
        numbers = [0, 1, 2, *descriptors]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}
        asked = {"module": module, "numbers": numbers, "environment": environment, "folder": os.getcwd()}
        sent = [theirs.fileno(), in_read, out_write, 2, *descriptors]
        socket.send_fds(requests, [json.dumps(asked).encode()], sent)
        theirs.close()
        close(in_read)
        close(out_write)
        self.stdin, self.stdout = os.fdopen(in_write, "wb", 0), os.fdopen(out_read, "rb", 0)
        self.returncode: int | None = None
        self._control = control
        (self.pid,) = _NUMBER.unpack(control.recv(_NUMBER.size))

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises TimeoutExpired."""
        if self.returncode is None:
            self._control.settimeout(timeout)
            try:
                told = self._control.recv(_NUMBER.size)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self._module, timeout or 0) from None
            self.returncode = _NUMBER.unpack(told)[0] if told else -signal.SIGKILL  # the template has ended
            self._control.close()
        return self.returncode or 0

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _at_start() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_AT_START)}


def _serve() -> None:
    """Fork for each request; tell the number of the process, and how it ended."""
    requests = socket.socket(fileno=os.dup(0))
    gc.disable()  # as workers do
    sys.path.insert(0, str(ROOT))
    from checker.processes.monkey_patching import patch

    fillers = [os.open(os.devnull, os.O_RDONLY)]
    while fillers[-1] < _OWN:
        fillers.append(os.dup(fillers[0]))
    patch(__file__)
    import checker.probes.libraries
    import checker.probes.mcp.schema_dialects
    import checker.probes.patterns  # noqa: F401

    for name in _SERVED_BY.values():
        import_module(name)
    for filler in fillers:
        close(filler)
    running: dict[int, int] = {}
    while True:
        # gevent has taken the signal of a child's end for itself
        if select([requests.fileno()], [], [], 0.01 if running else None)[0]:
            body, descriptors, _, _ = socket.recv_fds(requests, _LARGEST, _MOST_DESCRIPTORS)
            if not body:
                return
            if (pid := fork()) == 0:
                for other in (requests.fileno(), descriptors[0], *running.values()):
                    close(other)
                _become(json.loads(body), descriptors[1:])
            for other in descriptors[1:]:
                close(other)
            running[pid] = descriptors[0]
            with suppress(OSError):  # who asked for it was killed meanwhile
                os.write(descriptors[0], _NUMBER.pack(pid))
        with suppress(ChildProcessError):
            while running:
                pid, status = waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                with suppress(OSError):  # who started it has ended
                    os.write(running[pid], _NUMBER.pack(os.waitstatus_to_exitcode(status)))
                close(running.pop(pid))


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Be the worker: never returns."""
    code: Any = 1
    try:
        os.setsid()
        import random

        import gevent

        random.seed()
        wanted = asked["numbers"]
        above = [_above(descriptor, max(wanted)) for descriptor in descriptors]
        for number in wanted:  # taken, so that the loop gets another one for what it opens
            os.dup2(above[0], number)
        gevent.reinit(gevent.get_hub())
        gevent.sleep(0)
        for descriptor, number in zip(above, wanted, strict=True):
            os.dup2(descriptor, number)
            close(descriptor)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        code = import_module(_SERVED_BY[asked["module"]]).serve()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _above(descriptor: int, number: int) -> int:
    """The same file under a number above that one."""
    import fcntl

    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number + 1)
    close(descriptor)
    return moved


if __name__ == "__main__":
    _serve()
