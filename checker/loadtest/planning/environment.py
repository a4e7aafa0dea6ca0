"""The environment of a load test, on which comparability depends: machine, system, versions, clock, commit."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from checker.version import VERSION

LIBRARIES = ("gevent", "greenlet", "httptools", "urllib3", "orjson", "numpy")
"""Libraries whose version changes the cost of the load generator itself."""
_CONTAINER_FILES = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
_GIT_SECONDS = 2.0
_MOST_DESCRIPTORS = 65_536  # as far as a worker raises its own limit
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes a number near 2**63 for no limit


def environment(folder: Path | None = None, git: bool = True) -> Mapping[str, str]:
    """Name -> value of everything here that affects a measurement; values that the system lacks are left out.

    The git commit of ``folder``, by default the working one, is included, followed by "dirty" if files differ from it;
    ``git=False`` skips git. Unreadable values raise nothing. `load_average` is the load of the machine at the time of
    the call: call this before the load begins.
    """
    found: dict[str, str | None] = {
        "checker_version": VERSION,
        "machine": platform.node(),
        "architecture": platform.machine(),
        "cpu_model": _cpu_model(),
        "cores": str(os.cpu_count() or 1),
        "cores_usable": f"{usable_cores():g}",
        "memory_bytes": _asked(lambda: str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))),
        "memory_limit_bytes": _memory_limit(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: _version(name) for name in LIBRARIES},
        "clock_source": _line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "cpu_governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "container": _container(),
        "descriptor_limit": _asked(_descriptor_limit),
        "local_ports": _local_ports(),
        "load_average": _asked(lambda: f"{os.getloadavg()[0]:.2f}"),
        "git_commit": commit(folder or Path.cwd()) if git else None,
    }
    return {name: value for name, value in found.items() if value}


def usable_cores() -> float:
    """Number of cores that this process may use: its affinity, or fewer if its control group has a CPU quota."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = _quota_cores()
    return cores if quota is None else min(cores, quota)


def commit(folder: Path) -> str | None:
    """The short git commit of a folder, followed by " dirty" if tracked files differ from it; None outside of git.

    Neither locks nor programs that the repository's own configuration names are used.
    """
    program = shutil.which("git")
    if program is None:
        return None
    quiet = ("-c", "core.fsmonitor=false", "-C", str(folder))

    def said(*words: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603 # fixed words, and git as the PATH has it
                [program, *quiet, *words],
                capture_output=True,
                text=True,
                timeout=_GIT_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = said("rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    changed = said("status", "--porcelain", "--untracked-files=no")
    return f"{head} dirty" if changed else head


def _cpu_model() -> str | None:
    with suppress(OSError, UnicodeError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.processor() or None


def _quota_cores() -> float | None:
    """The CPU quota of control groups (version 2 or 1), read from the folder of this process's own group."""
    v2 = (_line("/sys/fs/cgroup/cpu.max") or "").split()
    v1 = [_line(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    for quota, period in (pair for pair in (v2, v1) if len(pair) == 2):
        with suppress(ValueError):
            if int(quota) > 0 and int(period) > 0:
                return int(quota) / int(period)
    return None


def _memory_limit() -> str | None:
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(ValueError):
            if 0 < (limit := int(_line(file) or "")) < _UNLIMITED_BYTES:
                return str(limit)
    return None


def _container() -> str | None:
    for file, name in _CONTAINER_FILES.items():
        if Path(file).exists():
            return name
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    return os.environ.get("container") or None  # noqa: SIM112 # so spelled by systemd-nspawn, podman and LXC


def _descriptor_limit() -> str:
    """The limit of open files in a worker, which raises its soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    return str(max(soft, highest))


def _local_ports() -> str | None:
    """Maximum number of simultaneous connections to one address and port, by the range of local ports."""
    with suppress(ValueError):
        first, last = map(int, (_line("/proc/sys/net/ipv4/ip_local_port_range") or "").split())
        return str(last - first + 1)
    return None


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _line(file: str) -> str | None:
    """The first line of a small file; None where it cannot be read."""
    with suppress(OSError, UnicodeError), open(file, encoding="utf-8") as lines:
        return lines.readline().strip() or None
    return None


def _asked(ask: Callable[[], str]) -> str | None:
    """The result of a system call; None if the system does not have it."""
    try:
        return ask()
    except (OSError, ValueError, AttributeError):
        return None
