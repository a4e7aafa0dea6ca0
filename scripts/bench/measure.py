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
_MOST_S = 180.0
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


class Target:
    """The target as its own process."""

    def __init__(self, process: subprocess.Popen[bytes], authority: str) -> None:
        assert process.stdout is not None
        self.authority = authority
        said = json.loads(process.stdout.readline())
        self.ports: list[int] = said["ports"]
        self.tls_ports: list[int] = said["tls_ports"]
        self.loop: str = said["loop"]

    def count(self) -> Mapping[str, int]:
        """What it has seen so far."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.ports[0]}/count", timeout=10) as response:
            counted: dict[str, int] = json.load(response)
            return counted


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

    def __init__(self, target: Target, peers: Path) -> None:
        self._target, self._peers = target, peers
        self.versions: dict[str, str] = {}

    def sample(self, contestant: Contestant, checks: int) -> Sample:
        """Run the contestant once; raises MeasureFailed."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            aimed = self._target
            ports, authority = (aimed.tls_ports, aimed.authority) if contestant.tls else (aimed.ports, None)
            order = Order(ports, contestant.path, checks, contestant.concurrency, folder, authority)
            for _ in range(contestant.runs):
                before = self._target.count()
                said = self._client(contestant, order)
                after = self._target.count()
        used = {key: number - before.get(key, 0) for key, number in after.items()}
        self.versions |= said.pop("versions")
        connections = used.pop("connections", 0)
        taken = Sample(
            contestant=contestant.name,
            checks=checks,
            counted=used.get(contestant.counted, 0),
            connections=connections,
            requests=sum(used.values()),
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


def figure(pairs: Sequence[tuple[Sample, Sample]]) -> Figure:
    """The figure from pairs of a small and a large sample of one contestant."""
    larges = [large for _, large in pairs]
    return Figure(
        contestant=larges[0].contestant,
        per_cpu_s=_rates(pairs, lambda sample: sample.cpu_s),
        per_s=_rates(pairs, lambda sample: sample.wall_s),
        start_cpu_s=spread([small.cpu_s for small, _ in pairs]),
        peak_bytes=round(statistics.median(large.peak_bytes for large in larges)),
        requests_per_check=statistics.median(large.requests / large.checks for large in larges),
        connections_per_check=statistics.median(large.connections / large.checks for large in larges),
    )


def spread(values: Sequence[float]) -> Spread:
    """Median and range."""
    return Spread(median=statistics.median(values), least=min(values), most=max(values))


def _rates(pairs: Sequence[tuple[Sample, Sample]], used: Callable[[Sample], float]) -> Spread | None:
    spent = [(large.checks - small.checks, used(large) - used(small)) for small, large in pairs]
    if any(seconds < _LEAST_SHARE * used(large) for (_, seconds), (_, large) in zip(spent, pairs, strict=True)):
        return None
    return spread([checks / seconds for checks, seconds in spent])
