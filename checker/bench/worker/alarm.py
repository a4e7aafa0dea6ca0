"""Waking the loop at a moment: to some ten microseconds, where the loop's own timers know whole milliseconds."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import gevent

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_PR_SET_TIMERSLACK = 29
_READ = 1


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: the interval, which stays 0, and the moment."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls ``ring`` in the hub at the moment it was set to, on the clock of `time.monotonic_ns`.

    With a timer of the kernel that the loop watches like a socket (timerfd_create(2)); without it, with the loop's own.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring, self._loop = ring, gevent.get_hub().loop
        self._fd = _timer_descriptor()
        self._is_set = False
        self._watcher: Any = None
        if self._fd is not None:
            self._settime = ctypes.CDLL(None).timerfd_settime
            self._spec = _TimerSpec()
            self._pointer = ctypes.byref(self._spec)
            self._watcher = self._loop.io(self._fd, _READ)
            self._watcher.start(self._fired)

    def set(self, at_ns: int) -> None:
        """Ring at this moment instead of whatever was set before; at once where it has passed."""
        if self._fd is None:
            self.stop()
            self._watcher = self._loop.timer(max(0.0, (at_ns - monotonic_ns()) / 1e9))
            self._watcher.start(self._ring, update=True)
            return
        self._is_set = True
        spec = self._spec
        spec.value_s, spec.value_ns = divmod(max(1, at_ns), 1_000_000_000)  # all zero would switch it off
        self._settime(self._fd, _ABSOLUTE, self._pointer, None)

    def stop(self) -> None:
        """Do not ring."""
        if self._fd is None:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
            return
        self._spec.value_s = self._spec.value_ns = 0
        self._settime(self._fd, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        """Stop for good."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _fired(self) -> None:
        """Setting the timer makes its descriptor unreadable as reading from it would, and saves a system call."""
        self._is_set = False
        self._ring()
        if not self._is_set and self._fd is not None:
            self.stop()


def _timer_descriptor() -> int | None:
    try:
        system = ctypes.CDLL(None)
        fd = int(system.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        system.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # else the kernel may let 50 us more pass
    except (AttributeError, OSError):
        return None
    return fd if fd >= 0 else None
