"""A small process beside each worker that starts the programs of stdio servers, each under its own supervisor.

A supervisor is the first process of a session and adopts every orphan of its program's tree (PR_SET_CHILD_SUBREAPER),
so that a process that detached itself, changed its session and cleared its environment is still below it. When it is
told to, or when the worker is gone, it kills everything below it until nothing is left. The keeper is small so that it
forks quickly, and in turn adopts whatever a supervisor leaves behind if the very program it watched kills it.

Standard input is a Unix socket that brings requests, each with four descriptors: the program's standard streams and the
supervisor's end of a socket pair. Over that pair the supervisor writes lines of JSON (``pid`` or ``error``, then
``code``) and reads single bytes: `TERMINATE`, `KILL`. The end of the pair, which is the end of the worker, also means
kill.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from checker.processes.orphans import (
    adopt_orphans,
    children_of,
    die_with,
    kill,
    kill_descendants,
    kill_group,
    wake_without_parent,
)

TERMINATE = b"T"
"""SIGTERM for the program's process group."""
KILL = b"K"
"""SIGKILL for everything below the supervisor, which then ends."""
HEAD = struct.Struct(">I")
DESCRIPTORS = 4
_MOST_S = 10.0
"""Time after which even processes that cannot be killed, such as another user's program, are left behind."""
_GRACE_S = 2.0
"""Time allowed for supervisors after the worker's end, before the keeper does their work."""
_PAUSE_S = 0.002
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Start programs until the worker is gone, then make sure that nothing is left."""
    adopt_orphans()
    wake_without_parent()
    woken = _wake_on_signals()
    requests = socket.socket(fileno=os.dup(0))
    supervisors: set[int] = set()
    watched: list[Any] = [requests, woken]
    while True:
        readable, _, _ = select.select(watched, [], [])
        _drain(woken)
        _bury(supervisors)
        if requests in readable and not _begin(requests, supervisors):
            break
    until, patient_until = time.monotonic() + _MOST_S, time.monotonic() + _GRACE_S
    while _bury(supervisors) and time.monotonic() < until:
        if time.monotonic() > patient_until:  # stopped, or whatever else their programs did to them
            for supervisor in supervisors:
                kill_descendants(supervisor)
                kill(supervisor)
        select.select([woken], [], [], 0.05)
        _drain(woken)


def _begin(requests: socket.socket, supervisors: set[int]) -> bool:
    """Take a request and fork its supervisor; False if the worker is gone."""
    head, descriptors, _, _ = socket.recv_fds(requests, HEAD.size, DESCRIPTORS)
    body = _exactly(requests, HEAD.unpack(head)[0]) if len(head) == HEAD.size else None
    if body is None:
        return False
    if len(descriptors) == DESCRIPTORS:
        pid = os.fork()
        if pid == 0:
            try:
                requests.close()
                _supervise(json.loads(body), socket.socket(fileno=descriptors[3]), descriptors[:3])
            except Exception:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        supervisors.add(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    return True


def _exactly(requests: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        piece = requests.recv(size - len(received))
        if not piece:
            return None
        received += piece
    return bytes(received)


def _bury(supervisors: set[int]) -> bool:
    """Reap children that have ended, and kill what dead supervisors left behind; True if any child remains."""
    while True:
        there = _reap(lambda pid, _: supervisors.discard(pid))
        strays = [child for child in children_of(os.getpid()) if child not in supervisors] if there else []
        if not strays:
            return there
        if not kill_descendants(os.getpid(), spare=supervisors):
            return there
        time.sleep(_PAUSE_S)


def _reap(note: Callable[[int, int], None]) -> bool:
    """Pass pid and status of ended children to ``note``; True if any child remains."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        note(pid, status)


def _supervise(request: dict[str, Any], control: socket.socket, streams: list[int]) -> None:
    """Start the program, report its end, and kill everything below on request or when the worker is gone."""
    with suppress(OSError):
        os.setsid()
    adopt_orphans()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    wake_without_parent()
    woken = _wake_on_signals()
    try:
        started = subprocess.Popen(  # noqa: S603 # the config names it: that is what a stdio server is
            request["arguments"],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            cwd=request["cwd"],
            env=request["env"],
            process_group=0,  # so that it can be sent SIGTERM with what it has started
            preexec_fn=die_with(os.getpid()),  # there is no other thread
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return _say(control, {"error": getattr(error, "strerror", None) or str(error)})
    program = started.pid
    started.returncode = 0  # else the object itself might take the exit code, which is told below
    for stream in streams:
        os.close(stream)
    _say(control, {"pid": program, "supervisor": os.getpid()})
    ended = False
    watched: list[Any] = [control, woken]

    def note(pid: int, status: int) -> None:
        nonlocal ended
        if pid == program:
            ended = True
            _say(control, {"code": os.waitstatus_to_exitcode(status)})

    while True:
        _reap(note)
        readable, _, _ = select.select(watched, [], [])
        _drain(woken)
        if control in readable:
            told = _received(control)
            if not told or KILL in told:
                break
            if TERMINATE in told and not ended:
                kill_group(program, signal.SIGTERM)
    until = time.monotonic() + _MOST_S
    # Once it has ended its number may be another's; but elsewhere its group is all that can be found.
    if not ended or sys.platform != "linux":
        kill_group(program)
    while _reap(note) and time.monotonic() < until:
        if not kill_descendants(os.getpid()):
            time.sleep(_PAUSE_S)


def _received(control: socket.socket) -> bytes:
    try:
        return control.recv(64)
    except OSError:
        return b""


def _say(control: socket.socket, said: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody is there any more, which is noticed by reading
        control.sendall(json.dumps(said).encode() + b"\n")


def _wake_on_signals() -> int:
    """A descriptor that becomes readable on every signal; signals that would end this process do nothing else.

    They get handlers instead of being ignored, because a started program would inherit that.
    """
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_OURS):
        signal.signal(number, lambda *_: None)
    return read


def _drain(woken: int) -> None:
    with suppress(BlockingIOError):
        while os.read(woken, 4096):
            pass


if __name__ == "__main__":
    main()
