"""A fleet of many loopback servers that counts what comes, and one real worker process to check it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checker.limits import Limits
from checker.metrics import PoolMeasures, WorkerReport
from checker.model import Batch, CheckResult, Server
from checker.probes.rest import RestOptions
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from worker_template import forked_workers


@dataclass(frozen=True, slots=True)
class Seen:
    """What all servers of a fleet have seen."""

    open: Mapping[int, int]
    """Port -> connections that are open."""
    connections: Mapping[int, int]
    """Port -> connections accepted."""
    most_open: int
    """Most connections open at once, at all of them together."""
    asked_at_s: Sequence[float]
    """When each request came, by the clock of `time.monotonic`, in the order they came."""

    @property
    def created(self) -> int:
        """Connections accepted by all of them."""
        return sum(self.connections.values())

    @property
    def span_s(self) -> float:
        """From the first request to the last."""
        return self.asked_at_s[-1] - self.asked_at_s[0]


class Fleet:
    """A context manager; ``ok=20, dead=2`` opens twenty ports that answer and keeps two where nobody listens."""

    def __init__(self, delay_s: float = 0.0, **behaviours: int) -> None:
        program = Path(__file__).with_name("fleet_program.py")
        command = [sys.executable, str(program), json.dumps(behaviours), str(delay_s)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports: dict[str, list[int]] = self._line()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)

    def urls(self, behaviour: str = "ok") -> list[str]:
        return [f"http://127.0.0.1:{port}/health" for port in self.ports[behaviour]]

    def seen(self) -> Seen:
        """What has come until now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        said = self._line()
        by_port = {key: {int(port): count for port, count in said.pop(key).items()} for key in ("open", "connections")}
        return Seen(**by_port, **said)

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@dataclass(frozen=True, slots=True)
class Checked:
    """What one worker found."""

    checks: Mapping[str, CheckResult]
    report: WorkerReport
    """Its last one."""

    @property
    def reasons(self) -> dict[str, str | None]:
        return {name: check.reason for name, check in self.checks.items()}

    @property
    def pool(self) -> PoolMeasures:
        """The connections of its REST probes."""
        return next(pool for pool in self.report.pools if pool.kind == "rest")

    @property
    def span_s(self) -> float:
        """From the start of the first attempt to the end of the last check."""
        checks = self.checks.values()
        ends = [check.started_at_ms / 1000 + check.duration_us / 1e6 for check in checks]
        return max(ends) - min(check.started_at_ms for check in checks) / 1000


def rest_fleet(urls: Sequence[str], checks: int | None = None, **options: Any) -> list[Server]:
    """So many servers (one for each address if it is not said) that take the addresses in turn."""
    count = len(urls) if checks is None else checks
    probes = [{"rest": RestOptions(url=url, **options)} for url in urls]
    return [Server(name=f"s{number:05}", probes=probes[number % len(urls)]) for number in range(count)]


def checked(servers: Sequence[Server], concurrency: int, per_origin: int = 30, **limits: Any) -> Checked:
    """Check the servers with one real worker process, each exactly once."""
    batches: list[Batch] = []
    reports: list[WorkerReport] = []
    options = RunnerOptions(
        limits=Limits(concurrency=concurrency, per_origin=per_origin, **limits), report=reports.append
    )
    with forked_workers():
        run_shards(Shards([Shard(tuple(servers))]), batches.append, options)
    results = [check for batch in batches for check in batch.checks]
    assert sorted(check.server for check in results) == sorted(server.name for server in servers)
    return Checked({check.server: check for check in results}, reports[-1])
