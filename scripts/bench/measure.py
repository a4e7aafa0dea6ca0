"""Samples: a contestant's process run to its end against the target, with what it used and what the target saw."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.certificate import made_certificate
from bench.clients.order import Order
from bench.contestants import Contestant

ROOT = Path(__file__).resolve().parent.parent.parent
_HERE = Path(__file__).resolve().parent
_PORTS = 4
_LEAST_SHARE = 0.25
"""Of a large sample, what it has over the small one; with less, the rate would tell of starting up and of chance."""
_MOST_S = 600.0
"""A client that takes longer is ended."""


class MeasureFailed(Exception):
    """A client ended with an error, or a check was not answered as it should; the figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process that made ``checks`` checks."""

    contestant: str
    checks: int
    good: int
    """Checks that the client found to be answered as they should."""
    counted: int
    """Checks that the target answered."""
    requests: int
    connections: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    target_cpu_s: float
    workers_cpu_s: float | None = None
    """Of all workers of a whole run together; the rest of ``cpu_s`` is the parent's."""
    parent_peak_bytes: int | None = None
    worker_peak_bytes: int | None = None
    """Of the largest worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median and range over the repeats."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What all samples of a contestant say; rates are marginal, so that starting up is not in them."""

    contestant: str
    per_cpu_s: Spread | None
    """Checks per CPU second; None where the samples are too small to tell."""
    per_s: Spread | None
    """Checks per second of wall clock, beside the target on the same machine."""
    start_cpu_s: Spread
    """CPU seconds of the run with few checks."""
    peak_bytes: int
    """Of the largest process, median over the runs with many checks."""
    requests_per_check: float
    connections_per_check: float
    target_busy_ratio: float
    """Share of the time that the target was busy with the checks that the large samples have more: below 1 it was not
    what was waited for."""
    parent_us: Spread | None = None
    """Microseconds that a check costs the parent of a whole run."""
    workers_us: Spread | None = None
    """Microseconds that a check costs all workers together."""
    parent_peak_bytes: int | None = None
    worker_peak_bytes: int | None = None


class Target:
    """The target as its own process."""

    def __init__(self, process: subprocess.Popen[bytes], authority: str) -> None:
        assert process.stdout is not None
        self.authority = authority
        said = json.loads(process.stdout.readline())
        self.ports: list[int] = said["ports"]
        self.tls_ports: list[int] = said["tls_ports"]
        self.loop: str = said["loop"]

    def count(self) -> tuple[Mapping[str, int], float]:
        """What it has seen so far, and how many seconds of CPU it took."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.ports[0]}/count", timeout=10) as response:
            counted = json.load(response)
            return counted["seen"], counted["cpu_s"]


@contextmanager
def target(python: Path) -> Iterator[Target]:
    """The target while it runs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        certificate, authority = made_certificate(Path(folder))
        command = [str(python), str(_HERE / "target.py"), str(_PORTS), certificate]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                yield Target(process, authority)
            finally:
                process.terminate()


class Bench:
    """Takes samples; remembers the versions that clients have named."""

    def __init__(self, target: Target, peers: Path, histories: Path | None) -> None:
        self._target, self._peers, self._histories = target, peers, histories
        self.versions: dict[str, str] = {}

    def sample(self, contestant: Contestant, checks: int) -> Sample:
        """Run the contestant once; raises MeasureFailed."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            aimed = self._target
            ports, authority = (aimed.tls_ports, aimed.authority) if contestant.tls else (aimed.ports, None)
            own = contestant.own_origins
            order = Order(ports, contestant.path, checks, contestant.concurrency, folder, authority, own)
            for _ in range(contestant.runs):
                before, cpu_before_s = self._target.count()
                said = self._client(contestant, order)
                after, cpu_after_s = self._target.count()
        used = {key: number - before.get(key, 0) for key, number in after.items()}
        self.versions |= said.pop("versions")
        connections = used.pop("connections", 0)
        taken = Sample(
            contestant=contestant.name,
            checks=checks,
            counted=used.get(contestant.counted, 0),
            connections=connections,
            requests=sum(used.values()),
            target_cpu_s=cpu_after_s - cpu_before_s,
            **said,
        )
        if taken.good != taken.checks or taken.counted != (0 if contestant.cached else taken.checks):
            raise MeasureFailed(
                f"{contestant.name}: {taken.good} of {checks} checks good, {taken.counted} at the target"
            )
        return taken

    def _client(self, contestant: Contestant, order: Order) -> dict[str, Any]:
        """What the client says of itself, over what the kernel says of it."""
        script, *arguments = contestant.client
        if contestant.history_rows is not None and self._histories is not None:
            arguments += ["--history", str(history_file(self._histories, contestant))]
        python = self._peers if contestant.peer else Path(sys.executable)
        command = [str(python), str(_HERE / "clients" / script), order.text(), *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**kept, "PYTHONPATH": str(ROOT)})
        assert process.stdout is not None
        limit = threading.Timer(_MOST_S, process.terminate)
        limit.start()
        try:
            printed = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)  # with what it waited for itself
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            limit.cancel()
            if process.returncode is None:
                process.terminate()
            process.wait()
            process.stdout.close()
        if process.returncode:
            raise MeasureFailed(f"{contestant.name}: its client ended with {process.returncode}; its message is above")
        measured = {
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": time.monotonic() - start,
            "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        own = {key: value for key, value in json.loads(printed.splitlines()[-1]).items() if value is not None}
        return measured | own


def history_file(folder: Path, contestant: Contestant) -> Path:
    """The database that a contestant is run on; it grows a little with each run."""
    return folder / f"{contestant.name}.db"


def figure(contestant: Contestant, pairs: Sequence[tuple[Sample, Sample]]) -> Figure:
    """The figure from pairs of a small and a large sample of one contestant."""
    larges = [large for _, large in pairs]
    split = all(one.workers_cpu_s is not None for pair in pairs for one in pair)
    rates = {"per_cpu_s": None, "per_s": None}
    if not contestant.whole:
        rates = {"per_cpu_s": _rates(pairs, lambda one: one.cpu_s), "per_s": _rates(pairs, lambda one: one.wall_s)}
    return Figure(
        contestant=contestant.name,
        **rates,
        start_cpu_s=spread([small.cpu_s for small, _ in pairs]),
        peak_bytes=round(statistics.median(large.peak_bytes for large in larges)),
        requests_per_check=statistics.median(large.requests / large.checks for large in larges),
        connections_per_check=statistics.median(large.connections / large.checks for large in larges),
        target_busy_ratio=_busy_ratio(pairs),
        parent_us=_cost_us(pairs, lambda one: one.cpu_s - (one.workers_cpu_s or 0)) if split else None,
        workers_us=_cost_us(pairs, lambda one: one.workers_cpu_s or 0) if split else None,
        parent_peak_bytes=max((one.parent_peak_bytes or 0 for one in larges), default=0) or None,
        worker_peak_bytes=max((one.worker_peak_bytes or 0 for one in larges), default=0) or None,
    )


def spread(values: Sequence[float]) -> Spread:
    """Median and range."""
    return Spread(median=statistics.median(values), least=min(values), most=max(values))


def _rates(pairs: Sequence[tuple[Sample, Sample]], used: Callable[[Sample], float]) -> Spread | None:
    spent = [(large.checks - small.checks, used(large) - used(small)) for small, large in pairs]
    if any(seconds < _LEAST_SHARE * used(large) for (_, seconds), (_, large) in zip(spent, pairs, strict=True)):
        return None
    return spread([checks / seconds for checks, seconds in spent])


def _cost_us(pairs: Sequence[tuple[Sample, Sample]], used: Callable[[Sample], float]) -> Spread | None:
    """Microseconds of each of the checks that the large samples have more."""
    more = [(used(large) - used(small), large.checks - small.checks) for small, large in pairs]
    return spread([seconds * 1e6 / checks for seconds, checks in more]) if all(checks for _, checks in more) else None


def _busy_ratio(pairs: Sequence[tuple[Sample, Sample]]) -> float:
    busy = [
        (large.target_cpu_s - small.target_cpu_s) / wall_s
        for small, large in pairs
        if (wall_s := large.wall_s - small.wall_s) > 0
    ]
    return round(statistics.median(busy), 2) if busy else 0.0
