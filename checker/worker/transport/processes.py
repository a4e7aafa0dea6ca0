"""Programs of stdio servers: started in a minimal environment, spoken to in lines, and gone without a trace."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import signal
import subprocess
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
from gevent.os import make_nonblocking, nb_read, nb_write

from checker.model import Reason
from checker.orphans import adopt_orphans, children_of, die_with, marked
from checker.probes.base import Command, ProbeFailure

_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER", "TZ")
_MARK = "MCP_STATUS_STARTED"
_READ_BYTES = 65536
_STDERR_BYTES = 4096
_QUICK_S = 0.3
"""How long a program that has not answered may take to end, before the next way of ending it."""
_EXIT_CODE_S = 1.0
_DRAIN_S = 0.05


class Processes:
    """The programs that a worker has started, so that none survives it."""

    def __init__(self) -> None:
        self._live: dict[int, str] = {}
        adopt_orphans()

    def start(self, command: Command, max_line: int) -> StartedProcess:
        """Start a program; raises ProbeFailure where it cannot be started."""
        mark = secrets.token_hex(8)
        environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environ |= {**command.env, _MARK: mark}
        program = shutil.which(command.program, path=environ.get("PATH"))
        if program is None and command.cwd is not None and os.sep in command.program:
            program = shutil.which(str(Path(command.cwd) / command.program))
        if program is None:
            raise ProbeFailure(
                Reason.PROCESS_START, f"{command.program}: no such program in PATH; install it, or write its path"
            )
        try:
            started = subprocess.Popen(  # noqa: S603 # the config names it: that is what a stdio server is
                [program, *command.args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=command.cwd,
                env=environ,
                bufsize=0,
                process_group=0,  # a group of its own, in the worker's session: both can be ended as a whole
                preexec_fn=die_with(os.getpid()),  # the worker has no thread that holds a lock
            )
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise ProbeFailure(Reason.PROCESS_START, f"{command.program}: cannot be started: {said}") from None
        self._live[started.pid] = mark
        return StartedProcess(started, mark, command, max_line, self)

    def forget(self, pid: int, mark: str) -> None:
        """Kill what is left of a program that has ended: its group, and what left the group and was adopted."""
        _kill_group(pid)
        for _ in range(3):  # what an adopted process has started is adopted in its turn
            left = [child for child in children_of(os.getpid()) if child not in self._live and marked(child, mark)]
            for child in left:
                _kill_group(child)
                _kill(child)
            if not left:
                break
            gevent.sleep(0.01)
        self._live.pop(pid, None)

    def kill_all(self) -> None:
        """Kill every program and whatever they started: the worker is about to be gone."""
        for pid in (*self._live, *children_of(os.getpid())):
            _kill_group(pid)
            _kill(pid)


class StartedProcess:
    """Implements `checker.probes.base.Process`."""

    def __init__(self, process: Any, mark: str, command: Command, max_line: int, owner: Processes) -> None:
        self._process, self._mark, self._command, self._max_line = process, mark, command, max_line
        self._owner = owner
        self._stderr = b""
        self._pending, self._lines = bytearray(), deque[bytes]()
        self._in, self._out, self._err = (
            os.dup(pipe.fileno()) for pipe in (process.stdin, process.stdout, process.stderr)
        )
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        for descriptor in (self._in, self._out, self._err):
            make_nonblocking(descriptor)
        self._reader = gevent.spawn(self._keep_stderr)

    @property
    def stderr_tail(self) -> str:
        """The last lines of standard error."""
        text = self._stderr.decode("utf-8", "replace")
        lines = ["".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines()]
        return "\n".join(lines[-20:]).strip()

    def send(self, line: bytes) -> None:
        """Write a line to its standard input; raises ProbeFailure where it does not read any more."""
        view = memoryview(line + b"\n")
        try:
            while view:
                view = view[nb_write(self._in, view) :]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            raise self._ended() from None

    def read_line(self) -> bytes:
        """The next line of its standard output; raises ProbeFailure past the size limit or when it has ended."""
        while not self._lines:
            chunk = nb_read(self._out, _READ_BYTES)
            if not chunk:
                if self._pending.strip():
                    self._lines.append(bytes(self._pending))
                    self._pending.clear()
                    break
                raise self._ended()
            self._pending += chunk
            if b"\n" in chunk:
                *whole, rest = self._pending.split(b"\n")
                self._lines.extend(map(bytes, whole))
                self._pending = rest
            elif len(self._pending) > self._max_line:
                raise ProbeFailure(
                    Reason.BODY_TOO_LARGE, f"a line of more than {self._max_line} bytes on standard output"
                )
        return self._lines.popleft()

    def close(self, answered: bool) -> None:
        """Shut it down as the specification says: close its input, wait, SIGTERM, wait, SIGKILL; then the rest of it.

        A program that has not ``answered`` is given less time.
        """
        patience_s = self._command.shutdown_s if answered else min(_QUICK_S, self._command.shutdown_s)
        try:
            _close(self._in)
            if not self._gone_within(patience_s):
                _signal_group(self._process.pid, signal.SIGTERM)
                self._gone_within(patience_s)
        finally:
            _kill_group(self._process.pid)
            self._gone_within(_EXIT_CODE_S)
            self._owner.forget(self._process.pid, self._mark)
            with gevent.Timeout(_DRAIN_S, False):  # type: ignore[arg-type] # False means: end the block, raise nothing
                self._reader.join()
            self._reader.kill()
            _close(self._out)
            _close(self._err)

    def _ended(self) -> ProbeFailure:
        """The failure of a program that closed its output: with its exit code, if it has ended."""
        if not self._gone_within(_EXIT_CODE_S):
            return ProbeFailure(Reason.PROCESS_EXITED, "closed its standard output without ending")
        code = self._process.returncode
        ended = f"ended by signal {-code}" if code < 0 else f"exited with code {code}"
        return ProbeFailure(Reason.PROCESS_EXITED, f"{ended} before it answered")

    def _gone_within(self, seconds: float) -> bool:
        """Whether the program ends in time; its output is read meanwhile, which a full pipe would hold up."""
        draining = gevent.spawn(self._drain)
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            draining.kill()
        return True

    def _drain(self) -> None:
        with suppress(OSError):
            while nb_read(self._out, _READ_BYTES):
                pass

    def _keep_stderr(self) -> None:
        with suppress(OSError):
            while chunk := nb_read(self._err, _READ_BYTES):
                self._stderr = (self._stderr + chunk)[-_STDERR_BYTES:]


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_group(pid: int) -> None:
    _signal_group(pid, signal.SIGKILL)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
