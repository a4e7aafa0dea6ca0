"""A worker process from its parent's side: start, non-blocking messages, and end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Generic, TypeVar

from checker.errors import WorkerStartError
from checker.messages import Hello
from checker.probe_packages import VARIABLE, as_variable
from checker.processes.orphans import kill_session
from checker.wire import PROTOCOL, Frames, frame, reader

Message = TypeVar("Message")

_READ_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20
_START_S = 30.0
_LATE_S = 0.2
"""Delay of a look at the pipe that shows it was held up, as the worker may have been."""
_QUIET_S = 0.5
"""Silence after which it is checked if the worker waits for a core of a busy machine."""
_STARVED = 5
"""Factor on the time given to a worker that waits for a core all the time."""


class ChildLost(Exception):
    """The worker ended, fell silent, or sent bytes that are not a frame."""


class Silent(ChildLost):
    """The worker sent nothing for too long."""


def start_process(module: str, descriptors: Collection[int]) -> subprocess.Popen[bytes]:
    """Run one of our modules in its own interpreter and session, with pipes and these descriptors."""
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(  # noqa: S603 # our own interpreter and module
        # -P: a folder named checker or storage where the user happens to stand must not be imported
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, VARIABLE: as_variable()},
        bufsize=0,
        pass_fds=tuple(descriptors),
        start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
    )


class Child(Generic[Message]):
    """One worker process, whichever module it runs; used by one thread."""

    def __init__(
        self, decode: Callable[[bytes], Message], module: str = "checker.worker", descriptors: Collection[int] = ()
    ) -> None:
        """Start it; it keeps these ``descriptors`` open under their numbers, and ``decode`` reads its messages."""
        self._decode = decode
        self._process = start_process(module, descriptors)
        assert self._process.stdin is not None  # noqa: S101 # it is a PIPE
        assert self._process.stdout is not None  # noqa: S101 # it is a PIPE
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        _widen(self._in)
        _widen(self._out)
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._frames, self._unsent = Frames(), bytearray()
        self._silent_s, self._looked_at = 0.0, time.monotonic()
        self._had_waited_s: float | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def greet(self) -> None:
        """Wait for the worker's greeting; raises WorkerStartError if it does not arrive or does not fit."""
        try:
            while True:
                for body in self._bodies(0.1, _START_S):
                    if not _is_of_this_version(body):
                        raise WorkerStartError("the worker is of another version than this program; reinstall it")
                    return
        except Silent:
            raise WorkerStartError(f"a worker did not start within {_START_S:g} s") from None
        except ChildLost:
            code = self._process.wait()
            raise WorkerStartError(f"a worker ended with code {code} as it started; its message is above") from None

    def send(self, message: Any) -> None:
        """Queue a message; `receive` does the writing."""
        if not self._unsent:
            self._selector.register(self._in, selectors.EVENT_WRITE)
        self._unsent += frame(message)

    def receive(self, wait_s: float, silence_s: float) -> list[Message]:
        """Messages that arrived within ``wait_s``; raises ChildLost, also after ``silence_s`` without any."""
        bodies = self._bodies(wait_s, silence_s)
        try:
            return [self._decode(body) for body in bodies]
        except ValueError as error:
            raise ChildLost(str(error)) from None

    def _bodies(self, wait_s: float, silence_s: float) -> list[bytes]:
        bodies: list[bytes] = []
        for key, _ in self._selector.select(wait_s):
            if key.fd == self._in:
                self._write()
            else:
                bodies += self._read()
        now, since = time.monotonic(), self._looked_at
        self._looked_at = now
        if bodies:
            self._silent_s, self._had_waited_s = 0.0, None
        else:
            self._silent_s += min(now - since, wait_s + _LATE_S)
            if self.silent_s > silence_s:
                raise Silent(f"silent for {silence_s:g} s")
        return bodies

    @property
    def silent_s(self) -> float:
        """Seconds since the last message, without time in which the worker or the listener could not get a core."""
        if self._silent_s < _QUIET_S:
            return self._silent_s
        waited_s = _waited_for_core_s(self.pid)
        if self._had_waited_s is None:
            self._had_waited_s = waited_s
        return max(_QUIET_S, self._silent_s - (waited_s - self._had_waited_s), self._silent_s / _STARVED)

    @property
    def how_it_ended(self) -> str:
        """The cause of the process's end in words, once it has ended."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code >= 0:
            return f"exited with code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by signal {-code}, {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    def end(self, within_s: float) -> None:
        """Wait for the process to end by itself, and kill it if it does not."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0:  # it had no time to end the programs of stdio servers
            kill_session(self._process.pid)
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _write(self) -> None:
        try:
            sent = os.write(self._in, self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            raise ChildLost(str(error)) from None
        del self._unsent[:sent]
        if not self._unsent:
            self._selector.unregister(self._in)

    def _read(self) -> list[bytes]:
        try:
            piece = os.read(self._out, _READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChildLost(str(error)) from None
        if not piece:
            raise ChildLost("ended")
        try:
            return list(self._frames.feed(piece))
        except ValueError as error:
            raise ChildLost(str(error)) from None


def _is_of_this_version(greeting: bytes) -> bool:
    try:
        return bool(reader(Hello)(greeting).protocol == PROTOCOL)
    except ValueError:
        return False


def _widen(pipe: int) -> None:
    """Let the pipe hold more than a frame if the system can: neither side then waits for the other so often."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a user may have only so much of it
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _waited_for_core_s(pid: int) -> float:
    """Seconds that a process was ready to run but had no core (sched_debug(5)); 0 if the system does not report it."""
    try:
        with open(f"/proc/{pid}/schedstat") as stat:
            return int(stat.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
