"""Programs spoken to over their standard input and output: `python programs.py FAULT TRAP` is one of them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    _TESTS = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(_TESTS), str(_TESTS / "support")]

from hostile.messages import INITIALIZE, TOOL_LISTS, good, said_to

LONGEST_S = 8.0


def _flood(block: bytes, pause_s: float = 0.002, to: int = 1) -> None:
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        os.write(to, block)
        time.sleep(pause_s)


def _speak(method: str | None = None, instead: Callable[[], None] = lambda: None) -> None:
    """A proper server up to this method, and then something else."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("method") == method:
            return instead()
        if "id" in message and "method" in message:
            os.write(1, good(message) + b"\n")
    return None


def _daemon() -> None:
    """Leave a daemon behind that has a session of its own and an empty environment; speak properly."""
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.execve("/bin/sleep", ["sleep", "120"], {})
    os.waitpid(child, 0)
    _speak()


def _deaf() -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _speak()
    time.sleep(60)


def _closed() -> None:
    sys.stdin.buffer.readline()
    os.close(1)
    time.sleep(30)


def _message(message: dict[str, object], times: int) -> bytes:
    return (json.dumps(message).encode() + b"\n") * times


_NOTE: dict[str, object] = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 50}}
_REQUEST: dict[str, object] = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}}
_ENDLESS = "deadline first_byte_timeout body_too_large mcp_not_jsonrpc mcp_no_reply"

PROGRAMS: dict[str, tuple[Callable[[], None], str]] = {
    "silent": (lambda: time.sleep(60), "deadline first_byte_timeout mcp_no_reply"),
    "line without end": (lambda: _flood(b"x" * 65536), _ENDLESS),
    "empty lines without end": (lambda: _flood(b"\n" * 65536), _ENDLESS),
    "garbage without end": (lambda: _flood(b"Welcome to the server!\n" * 2000), _ENDLESS),
    "notifications without end": (lambda: _speak("tools/list", lambda: _flood(_message(_NOTE, 300))), _ENDLESS),
    "requests of its own without end": (
        lambda: _speak("tools/list", lambda: _flood(_message(_REQUEST, 100))),
        _ENDLESS,
    ),
    "standard error without end": (
        lambda: _flood(b"y" * 65536, to=2),
        "body_too_large deadline first_byte_timeout mcp_no_reply",
    ),
    "exits at once": (lambda: sys.exit(3), "process_exited"),
    "is killed while it is asked": (lambda: _speak("tools/list", lambda: os.kill(os.getpid(), 9)), "process_exited"),
    "closes its standard output": (_closed, "process_exited"),
    "leaves a daemon behind": (_daemon, "healthy"),
    "ignores signals": (_deaf, "healthy"),
}
"""Fault -> what the program does, and the reasons that are true of it."""


def main() -> None:
    """Be the program with the fault that the first argument names."""
    fault, trap = sys.argv[1:]
    if fault in PROGRAMS:
        return PROGRAMS[fault][0]()
    faults, method = (TOOL_LISTS, "tools/list") if fault in TOOL_LISTS else (INITIALIZE, "initialize")
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" in message and "method" in message:
            sys.stdout.buffer.write(said_to(fault, message, faults, method, trap) + b"\n")
            sys.stdout.buffer.flush()
    return None


if __name__ == "__main__":
    main()
