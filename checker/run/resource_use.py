"""What processes and the machine use, from Linux's own files; elsewhere by psutil, which takes long to load."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from checker.processes.orphans import children_of

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_IDLE, _WAITS = 3, 4
"""Places of the times in which a core had nothing to do, in the first line of /proc/stat."""
_GUESTS = 8
"""Times from this place on are counted before it already (proc(5))."""
_KIB = 1024


class System(Protocol):
    """The measurements of one operating system. Those of a process are None if it has ended."""

    def family(self, pid: int) -> Sequence[int]:
        """The process, its children, and theirs."""
        ...

    def cpu_s(self, pid: int) -> float | None:
        """CPU seconds used by a process."""
        ...

    def memory_bytes(self, pid: int) -> int | None:
        """Resident memory of a process."""
        ...

    def descriptors_percent(self, pid: int) -> float | None:
        """Open descriptors of a process, of as many as it may have."""
        ...

    def machine_cpu_percent(self) -> float:
        """Use of all cores since the call before; 0 the first time."""
        ...

    def machine_memory_percent(self) -> float:
        """Share of the memory that is not available."""
        ...


class Linux:
    """The files of proc(5), by which psutil measures as well."""

    def __init__(self) -> None:
        self._ticks, self._page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        self._times: list[int] = []

    def family(self, pid: int) -> Sequence[int]:
        """The process, its children, and theirs."""
        found, parents = [pid], [pid]
        while parents:
            children = children_of(parents.pop())
            found += children
            parents += children
        return found

    def cpu_s(self, pid: int) -> float | None:
        """CPU seconds used by a process."""
        try:
            after_name = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()  # a name may have spaces
            return (int(after_name[11]) + int(after_name[12])) / self._ticks
        except (OSError, IndexError, ValueError):
            return None

    def memory_bytes(self, pid: int) -> int | None:
        """Resident memory of a process."""
        try:
            return int(_read(f"/proc/{pid}/statm").split()[1]) * self._page_bytes
        except (OSError, IndexError, ValueError):
            return None

    def descriptors_percent(self, pid: int) -> float | None:
        """Open descriptors of a process, of as many as it may have."""
        try:
            most, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            return 100.0 * len(os.listdir(f"/proc/{pid}/fd")) / most if most > 0 else None
        except (OSError, ValueError):
            return None

    def machine_cpu_percent(self) -> float:
        """Use of all cores since the call before; 0 the first time."""
        times = [int(ticks) for ticks in _read("/proc/stat").split(b"\n", 1)[0].split()[1:]]
        before, self._times = self._times, times
        spent = [max(0, now - then) for now, then in zip(times, before, strict=False)][:_GUESTS]
        whole = sum(spent)
        return round(100.0 * (whole - spent[_IDLE] - spent[_WAITS]) / whole, 1) if whole else 0.0

    def machine_memory_percent(self) -> float:
        """Share of the memory that is not available."""
        said = dict(line.split(b":", 1) for line in _read("/proc/meminfo").splitlines() if b":" in line)
        total, free = (int(said[name].split()[0]) * _KIB for name in (b"MemTotal", b"MemAvailable"))
        return round(100.0 * (total - min(free, total)) / total, 1)


class OtherSystem:
    """Any system that psutil knows."""

    def __init__(self) -> None:
        import psutil

        self._psutil: Any = psutil

    def family(self, pid: int) -> Sequence[int]:
        """The process, its children, and theirs; psutil looks through all processes of the machine for them."""
        return [pid, *(child.pid for child in self._psutil.Process(pid).children(recursive=True))]

    def cpu_s(self, pid: int) -> float | None:
        """CPU seconds used by a process."""
        try:
            times = self._psutil.Process(pid).cpu_times()
        except self._psutil.Error:
            return None
        return float(times.user + times.system)

    def memory_bytes(self, pid: int) -> int | None:
        """Resident memory of a process."""
        try:
            return int(self._psutil.Process(pid).memory_info().rss)
        except self._psutil.Error:
            return None

    def descriptors_percent(self, pid: int) -> float | None:
        """Open descriptors of a process, of as many as it may have."""
        try:
            process = self._psutil.Process(pid)
            most, _ = process.rlimit(self._psutil.RLIMIT_NOFILE)
            return 100.0 * process.num_fds() / most if most > 0 else None
        except (self._psutil.Error, AttributeError, OSError):  # ended, or a system without these
            return None

    def machine_cpu_percent(self) -> float:
        """Use of all cores since the call before; 0 the first time."""
        return float(self._psutil.cpu_percent(None))

    def machine_memory_percent(self) -> float:
        """Share of the memory that is not available."""
        return float(self._psutil.virtual_memory().percent)


def this_system() -> System:
    """The measurements of this machine."""
    linux = Linux()
    try:
        linux.machine_cpu_percent()
        linux.machine_memory_percent()
    except (OSError, LookupError, ValueError):  # another system, or files that a container hides
        return OtherSystem()
    return linux if linux.cpu_s(os.getpid()) is not None else OtherSystem()


def memory_of(pid: int) -> int:
    """Resident memory of a process in bytes; 0 if it has ended."""
    return this_system().memory_bytes(pid) or 0


def cpu_of(pid: int) -> float:
    """CPU seconds used by a process; 0 if it has ended."""
    return this_system().cpu_s(pid) or 0.0


class Meter:
    """Takes samples; CPU is the use since the previous sample, so the first sample has none."""

    def __init__(self, system: System | None = None) -> None:
        self._system = system or this_system()
        self._cores = os.cpu_count() or 1
        self._cpu_s: dict[int, float] = {}
        self._at = time.monotonic()
        self._system.machine_cpu_percent()
        self._own_cpu_percent(self._system.family(os.getpid()))

    def sample(self, workers: Collection[int], ports: int) -> dict[str, float]:
        """Resource -> value: percent, except bytes for ``memory``.

        ``workers`` are the ids of the worker processes; ``ports`` is the number of ports in use by their connections to
        the busiest origin.
        """
        system = self._system
        own = system.family(os.getpid())
        found = {
            "cpu": self._own_cpu_percent(own),
            "memory": sum(system.memory_bytes(pid) or 0 for pid in own),
            "machine_cpu": system.machine_cpu_percent(),
            "machine_memory": system.machine_memory_percent(),
        }
        descriptors = [share for pid in workers if (share := system.descriptors_percent(pid)) is not None]
        if descriptors:
            found["descriptors"] = max(descriptors)
        with suppress(OSError, ValueError):  # not Linux
            first, last = map(int, _PORT_RANGE.read_text().split())
            found["ports"] = 100.0 * ports / max(1, last - first + 1)
        return found

    def _own_cpu_percent(self, processes: Sequence[int]) -> float:
        """CPU use of these processes since the last call, in percent of all cores."""
        now = time.monotonic()
        used_s = {pid: spent_s for pid in processes if (spent_s := self._system.cpu_s(pid)) is not None}
        spent_s = sum(seconds - self._cpu_s.get(pid, 0.0) for pid, seconds in used_s.items())
        elapsed_s = max(1e-3, now - self._at)
        self._cpu_s, self._at = used_s, now
        return 100.0 * max(0.0, spent_s) / elapsed_s / self._cores


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
