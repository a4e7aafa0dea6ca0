"""One check of hostile servers beside healthy ones, by the command line: what was found, and whether it may be so."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fleets import Fleet
from hostile.fleet import HostileFleet
from hostile.kinds import KINDS
from hostile.messages import CANARY
from hostile.peer import PAUSE_S

ROOT = Path(__file__).resolve().parents[2]
MOST_LAG_P99_MS, MOST_LAG_MS, MOST_MEMORY_BYTES = 100.0, 500.0, 250_000_000
HEALTHY_ANSWER_AFTER_S = 0.2
"""So that healthy servers are being checked all the while that hostile ones are."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one hostile server."""

    name: str
    status: str
    reason: str
    """``healthy`` where there is none."""
    detail: str
    took_s: float
    bound_s: float
    faults: tuple[str, ...]
    """What is not as it should be."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one run came to."""

    rows: Sequence[Row]
    healthy: int
    """Healthy servers that were found HEALTHY, of `healthy_asked`."""
    healthy_asked: int
    unhealthy_said: Sequence[str]
    """What was said of the first of those that were not."""
    suspect: int
    lag_p99_ms: float
    lag_longest_ms: float
    memory_bytes: int
    workers: int
    """Worker processes that it took: more than one where one was lost or replaced."""
    machine_lag_ms: float
    """How late this process itself was at most: where it is much, the machine was busy with something else."""
    took_s: float
    faults: Sequence[str] = field(default=())
    """What is not as it should be with the fleet; faults of rows are there."""

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong at all."""
        return not self.faults and not any(row.faults for row in self.rows)


def checked_beside(names: Sequence[str], healthy: int, folder: Path, pause_s: float = PAUSE_S) -> Round:
    """Check the hostile servers of these names and so many healthy ones in one worker; files go to the folder.

    ``pause_s`` is between two blocks of what floods.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shares = {"ok": healthy - healthy // 2, "mcp": healthy // 4, "mcp_stream": healthy // 2 - healthy // 4}
    with Fleet(delay_s=HEALTHY_ANSWER_AFTER_S, **shares) as fleet, HostileFleet(names, folder, pause_s) as hostile:
        servers = [
            {"name": f"healthy {behaviour} {number}", ("rest" if behaviour == "ok" else "mcp"): url}
            for behaviour in shares
            for number, url in enumerate(fleet.urls(behaviour))
        ]
        servers += hostile.configured()
        random.Random(14).shuffle(servers)
        config = {"run": {"workers": 1, "processes": 4}, "servers": servers}
        file = folder / "fleet.yaml"
        file.write_text(yaml.safe_dump(config, allow_unicode=True))
        watched = _Lateness()
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "checker", "check", str(file), "--format", "json", "-v"],
            cwd=ROOT,
            env={**os.environ, "MCP_STATUS_DB": str(folder / "history.db")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        took_s, machine_lag_s = time.monotonic() - start, watched.ended()
        caught = hostile.caught()
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise RuntimeError(f"check ended with {done.returncode}: {done.stderr[-2000:]}") from None
    leaks = [
        name for name, text in (("standard output", done.stdout), ("standard error", done.stderr)) if CANARY in text
    ]
    leaks += [one.name for one in folder.glob("history.db*") if CANARY.encode() in one.read_bytes()]
    return _round(names, healthy, document, caught, leaks, machine_lag_s, took_s)


def _round(
    names: Sequence[str],
    healthy: int,
    document: Mapping[str, Any],
    caught: Sequence[str],
    leaks: Sequence[str],
    machine_lag_s: float,
    took_s: float,
) -> Round:
    checks = {check["server"]: check for check in document["checks"]}
    others = [check for name, check in checks.items() if name not in KINDS]
    sick = [check for check in others if check["status"] != "HEALTHY"]
    workers = document["measures"]["workers"]
    p99_ms = max((worker["lag_p99_us"] for worker in workers), default=0) / 1000
    longest_ms = max((worker["longest_lag_us"] for worker in workers), default=0) / 1000
    memory = max((worker["peak_memory_bytes"] for worker in workers), default=0)
    suspect = sum(check["suspect"] for check in checks.values())
    faults = []
    if len(others) - len(sick) != healthy:
        faults.append(f"{len(others) - len(sick)} of {healthy} healthy servers are HEALTHY")
    if suspect:
        faults.append(f"{suspect} results are suspect")
    if p99_ms >= MOST_LAG_P99_MS:
        faults.append(f"loop lag p99 {p99_ms:.0f} ms, bound {MOST_LAG_P99_MS:.0f}")
    if longest_ms >= MOST_LAG_MS:
        faults.append(f"longest loop lag {longest_ms:.0f} ms, bound {MOST_LAG_MS:.0f}")
    if memory >= MOST_MEMORY_BYTES:
        faults.append(f"worker memory {memory / 1e6:.0f} MB, bound {MOST_MEMORY_BYTES / 1e6:.0f}")
    faults += [f"an address was called that nobody has a reason to call: {one[:120]!r}" for one in caught]
    faults += [f"the credential is in {place}" for place in leaks]
    return Round(
        rows=[_row(name, checks.get(name)) for name in names],
        healthy=len(others) - len(sick),
        healthy_asked=healthy,
        unhealthy_said=[f"{one['server']}: {one['status']} {one['reason']} {one['detail']}" for one in sick[:5]],
        suspect=suspect,
        lag_p99_ms=p99_ms,
        lag_longest_ms=longest_ms,
        memory_bytes=memory,
        workers=len(workers),
        machine_lag_ms=machine_lag_s * 1000,
        took_s=took_s,
        faults=faults,
    )


def _row(name: str, check: Mapping[str, Any] | None) -> Row:
    one = KINDS[name]
    if check is None:
        return Row(name, "missing", "", "", 0.0, one.bound_s, ("no result",))
    reason, took_s = check["reason"] or "healthy", check["duration_ms"] / 1000
    faults = []
    if not one.may_be(check["status"], reason):
        faults.append(f"expected {' or '.join(sorted(one.reasons))}")
    if took_s > one.bound_s:
        faults.append("too late")
    return Row(name, check["status"], reason, check["detail"] or "", took_s, one.bound_s, tuple(faults))


class _Lateness:
    """How late a thread of this process wakes up, from now on."""

    def __init__(self) -> None:
        self._stop, self._longest_s = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def ended(self) -> float:
        """The most, in seconds."""
        self._stop.set()
        self._thread.join()
        return self._longest_s

    def _watch(self) -> None:
        while True:
            before = time.monotonic()
            if self._stop.wait(0.02):
                return
            self._longest_s = max(self._longest_s, time.monotonic() - before - 0.02)
