"""The command line in a process of its own, as a user starts it: with its output in a pipe, or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from checker.structs import Record

COLUMNS, _ROWS = 80, 50
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_END_S = 3.0
_READ_BYTES = 65536


class EndedCommand(Record, frozen=True, kw_only=True):
    """A command that has ended."""

    code: int | None
    """Its exit code; None if it had to be ended because its time was over."""
    printed: str
    errors: str


def program(module: str) -> list[str]:
    """The words that run one of our modules in a fresh interpreter."""
    # -P: a folder named checker or storage where the user happens to stand must not be imported
    return [sys.executable, "-P", "-m", module]


def environment(**changed: str) -> dict[str, str]:
    """The user's environment without what would change a run of this program, and with these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_STATUS_")}
    for name in ("COLUMNS", "LINES"):
        kept.pop(name, None)
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_parent, kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, **changed}


def command(arguments: Sequence[str], folder: Path, wait_s: float) -> EndedCommand:
    """Run `mcp-status` with these arguments; what it prints is UTF-8."""
    with _running(arguments, folder, environment(PYTHONUTF8="1"), subprocess.PIPE) as process:
        return _ended(process, wait_s)


def command_on_terminal(arguments: Sequence[str], folder: Path, wait_s: float) -> EndedCommand:
    """Run `mcp-status` with standard output on a terminal of `COLUMNS` columns, in the user's own locale."""
    ours, its = pty.openpty()
    parts: list[bytes] = []
    try:
        with open(its, "wb", buffering=0) as output:
            fcntl.ioctl(output, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
            # while the command runs: it waits once the terminal's buffer is full
            reader = threading.Thread(target=_read_all, args=(ours, parts), daemon=True)
            reader.start()
            with _running(arguments, folder, environment(TERM="xterm"), output) as process:
                ended = _ended(process, wait_s)
        reader.join(_END_S)
    finally:
        os.close(ours)
    return EndedCommand(code=ended.code, printed=b"".join(parts).decode(errors="replace"), errors=ended.errors)


def _read_all(terminal: int, parts: list[bytes]) -> None:
    with suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(terminal, _READ_BYTES):
            parts.append(part)


def _ended(process: subprocess.Popen[bytes], wait_s: float) -> EndedCommand:
    code: int | None
    try:
        printed, errors = process.communicate(timeout=wait_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        end(process)
        printed, errors = process.communicate()
        code = None
    text = (printed or b"").decode(errors="replace")
    return EndedCommand(code=code, printed=text, errors=errors.decode(errors="replace"))


@contextmanager
def _running(
    arguments: Sequence[str], folder: Path, variables: dict[str, str], output: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    # in a session of its own: Ctrl-C reaches this program alone, which then ends the command
    process = subprocess.Popen(  # noqa: S603 # our own interpreter and module
        [*program("checker"), *arguments],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command as Ctrl-C does, which ends its workers and programs too, and kill it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also where Ctrl-C is pressed again
            process.kill()
            process.wait()


def words_of(printed: str) -> list[str]:
    """The lines that a terminal shows, without colours and the spaces at their ends."""
    return [line.rstrip() for line in _SEQUENCE.sub("", printed).replace("\r\n", "\n").split("\n") if line.strip()]
