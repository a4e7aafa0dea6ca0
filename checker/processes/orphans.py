"""Linux's means against processes that outlive their starter; on other systems these do nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MOST_LOOKS = 200
"""Rounds of a pass to find processes started while it stopped the others; the rest is left to the next pass."""


def _of_system() -> Any:
    import ctypes  # takes a while to load, and few runs start programs

    return ctypes.CDLL(None)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    with suppress(AttributeError, OSError):
        _of_system().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wake_without_parent() -> None:
    """Get SIGCONT when the parent ends, so that a stopped process can clean up (PR_SET_PDEATHSIG)."""
    with suppress(AttributeError, OSError):
        _of_system().prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def die_with(parent: int) -> Callable[[], None] | None:
    """A function that a new process calls to be killed when ``parent`` ends (prctl(2), PR_SET_PDEATHSIG), or None."""
    try:
        prctl = _of_system().prctl
    except (AttributeError, OSError):
        return None

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before it was asked
            os._exit(1)

    return ask


def children_of(pid: int) -> list[int]:
    """The current child processes of a process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                found += map(int, children.read().split())
    except OSError:  # gone, or a kernel without such files (CONFIG_PROC_CHILDREN)
        return found or _children_by_look(pid)
    return found


def _children_by_look(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:
                    if int(stat.read().rpartition(b")")[2].split()[1]) == pid:
                        found.append(int(name))
    return found


def descendants_of(pid: int, spare: Collection[int] = ()) -> list[int]:
    """The processes below this one, without those to ``spare`` and their descendants."""
    found: list[int] = []
    front = [pid]
    while front:
        front = [child for one in front for child in children_of(one) if child not in spare]
        found += front
    return found


def kill_descendants(pid: int, spare: Collection[int] = ()) -> bool:
    """Stop all processes below a process, so that none can start another, and kill them; True if there were any.

    One pass: a process started at that very moment is found by the next. Groups are killed as a whole, which no fork in
    them can escape; the caller's own group is spared.
    """
    seen: set[int] = set()
    for _ in range(_MOST_LOOKS):
        fresh = [one for one in descendants_of(pid, spare) if one not in seen]
        if not fresh:
            break
        seen.update(fresh)
        for one in fresh:
            kill(one, signal.SIGSTOP)
    groups: set[int] = set()
    for one in seen:
        with suppress(OSError):
            groups.add(os.getpgid(one))
    for group in groups - {os.getpgrp()}:
        kill_group(group)
    for one in seen:
        kill(one, signal.SIGKILL)
    return bool(seen)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process, if it exists and may be signalled."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to all processes of a group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_session(session: int) -> None:
    """Kill the processes of a session, whatever their groups."""
    with suppress(OSError):
        for name in os.listdir("/proc"):
            with suppress(OSError, ValueError):
                if os.getsid(int(name)) == session:
                    os.kill(int(name), signal.SIGKILL)
