"""Measurements that a worker takes of itself: event loop use, open operations, and time of garbage collection."""

from __future__ import annotations

import gc
import os
import resource
from time import monotonic_ns

import gevent

from checker.loadtest.messages import Health
from checker.loadtest.worker.target import Notes

_PAGE_BYTES = resource.getpagesize()
_BUSY_ENOUGH_NS = 1000


class HealthMeter:
    """A meter of the event loop by its own callbacks: wake-up, work, and polling again."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._awake_ns = 0
        self._busy_ns = 0
        self._gc_ns = self._gc_from_ns = 0
        self._cpu_s, self._at_ns, self._starved_ns = _cpu_s(), monotonic_ns(), _starved_ns()
        loop = gevent.get_hub().loop
        self._watchers = [loop.check(), loop.prepare()]
        for watcher, callback in zip(self._watchers, (self._wakes, self._sleeps), strict=True):
            watcher.start(callback)
        gc.callbacks.append(self._collecting)

    def second(self, in_flight: int, backlog: int, ports: int) -> Health:
        """The measurements since the last call."""
        now_ns = monotonic_ns()
        elapsed_s = max(1e-3, (now_ns - self._at_ns) / 1e9)
        cpu_s, starved_ns = _cpu_s(), _starved_ns()
        health = Health(
            at_ns=self._at_ns,
            cpu_ratio=round((cpu_s - self._cpu_s) / elapsed_s, 4),
            busy_ratio=round(min(1.0, self._busy_ns / 1e9 / elapsed_s), 4),
            cpu_s=cpu_s,
            gc_us=self._gc_ns // 1000,
            in_flight=in_flight,
            backlog=backlog,
            ports=ports,
            descriptors=_descriptors(),
            memory_bytes=_memory_bytes(),
            starved_us=(starved_ns - self._starved_ns) // 1000,
        )
        self._cpu_s, self._at_ns, self._busy_ns, self._gc_ns = cpu_s, now_ns, 0, 0
        self._starved_ns = starved_ns
        return health

    def _wakes(self) -> None:
        self._awake_ns = monotonic_ns()

    def _sleeps(self) -> None:
        if self._awake_ns:
            worked_ns = monotonic_ns() - self._awake_ns
            self._busy_ns += worked_ns
            if worked_ns > _BUSY_ENOUGH_NS:
                self._notes.stretches.append(worked_ns)

    def _collecting(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_from_ns = monotonic_ns()
        else:
            self._gc_ns += monotonic_ns() - self._gc_from_ns


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _starved_ns() -> int:
    """Time spent waiting for a CPU while ready to run, in ns (Linux, Documentation/scheduler/sched-stats)."""
    try:
        with open("/proc/self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _memory_bytes() -> int:
    """Resident memory; the peak where the system does not report the present value."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
