"""What the checker's processes and their machine use right now; what a system cannot tell is left out."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Meter:
    """Takes samples; CPU is what was used since the sample before, so that the first one has none."""

    def __init__(self) -> None:
        self._self = psutil.Process()
        self._cores = os.cpu_count() or 1
        self._cpu_s: dict[int, float] = {}
        self._at = time.monotonic()
        psutil.cpu_percent(None)
        self._own_cpu_percent([self._self, *self._self.children(recursive=True)])

    def sample(self, workers: Collection[int], ports: int) -> dict[str, float]:
        """Resource -> value: percent, but bytes for ``memory``.

        ``workers`` are the ids of the worker processes; ``ports`` is how many ports their connections to the busiest
        origin take.
        """
        own = [self._self, *self._self.children(recursive=True)]
        found = {
            "cpu": self._own_cpu_percent(own),
            "memory": sum(_memory_bytes(process) for process in own),
            "machine_cpu": psutil.cpu_percent(None),
            "machine_memory": psutil.virtual_memory().percent,
        }
        descriptors = [share for pid in workers if (share := _descriptors_percent(pid)) is not None]
        if descriptors:
            found["descriptors"] = max(descriptors)
        with suppress(OSError, ValueError):  # not Linux
            first, last = map(int, _PORT_RANGE.read_text().split())
            found["ports"] = 100.0 * ports / max(1, last - first + 1)
        return found

    def _own_cpu_percent(self, processes: list[psutil.Process]) -> float:
        """CPU of these processes since the last time, in percent of all cores."""
        now, used_s = time.monotonic(), {}
        for process in processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                used_s[process.pid] = times.user + times.system
        spent_s = sum(seconds - self._cpu_s.get(pid, 0.0) for pid, seconds in used_s.items())
        elapsed_s = max(1e-3, now - self._at)
        self._cpu_s, self._at = used_s, now
        return 100.0 * max(0.0, spent_s) / elapsed_s / self._cores


def memory_of(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used; 0 when it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _memory_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0


def _descriptors_percent(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        most, _ = process.rlimit(psutil.RLIMIT_NOFILE)
        return 100.0 * process.num_fds() / most if most > 0 else None
    except (psutil.Error, AttributeError, OSError):  # ended, or a system without these
        return None
