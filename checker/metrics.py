"""Figures that a run records about itself: connections, caches, workers, the machine's resources.

A worker counts from its start and reports its totals; the parent adds up its workers. A field added here becomes a
column of the table of the same name in storage/schema.py, which needs a migration step, and of its view.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from checker.limits import MEASURES, Measure
from checker.structs import Record


class PoolMeasures(Record, frozen=True, kw_only=True):
    """Figures on the connections of one probe kind."""

    kind: str
    created: int = 0
    reused: int = 0
    closed_by_peer: int = 0
    evicted: int = 0
    waits: int = 0
    wait_us: int = 0
    longest_wait_us: int = 0
    most_in_use: int = 0
    most_open: int = 0
    idle: int = 0
    in_use: int = 0
    tls_handshakes: int = 0
    tls_resumed: int = 0
    paced: int = 0
    """Those of ``waits`` caused by ``run.pace`` alone."""
    paced_us: int = 0
    program_waits: int = 0
    """Waits for a place among the programs of stdio servers, not included in ``waits``."""
    program_wait_us: int = 0


class CacheMeasures(Record, frozen=True, kw_only=True):
    """Figures on one cache category."""

    category: str
    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    evicted: int = 0
    entries: int = 0


Measures = TypeVar("Measures", PoolMeasures, CacheMeasures)


class WorkerMeasures(Record, frozen=True, kw_only=True):
    """Figures on one worker process."""

    worker: int
    pid: int
    checks: int = 0
    suspect_checks: int = 0
    cpu_ms: int = 0
    peak_memory_bytes: int = 0
    lag_p99_us: int = 0
    longest_lag_us: int = 0
    most_at_once: int = 0
    concurrency_at_end: int = 0
    ports_at_busiest_origin: int = 0


class ResourceMeasures(Record, frozen=True, kw_only=True):
    """Resource use of the checker and the machine, and the actions of the resource limits."""

    samples: int = 0
    warnings: int = 0
    most_cpu_percent: float = 0.0
    most_machine_cpu_percent: float = 0.0
    most_memory_bytes: int = 0
    most_machine_memory_percent: float = 0.0
    most_descriptors_percent: float = 0.0
    most_ports_percent: float = 0.0
    closed_ms: int = 0
    most_waiting: int = 0
    longest_wait_ms: int = 0
    dropped: int = 0


class ResourceAlert(Record, frozen=True, kw_only=True):
    """A resource that crossed one of its thresholds, or a worker that was lost."""

    at_ms: int
    resource: str
    level: str
    """`warning` or `hard`; `lost` for a worker; `alert` for a threshold of run.alerts."""
    value: float
    threshold: float
    detail: str


class WorkerReport(Record, frozen=True, kw_only=True, tag=True):
    """The current totals of a worker."""

    worker: WorkerMeasures
    pools: tuple[PoolMeasures, ...] = ()
    caches: tuple[CacheMeasures, ...] = ()


def since(report: WorkerReport, earlier: WorkerReport) -> WorkerReport:
    """The report without what the worker had counted before: that belongs to an earlier run.

    What is no count stays as it is: sizes, states, maxima.
    """
    counted = {name: getattr(report.worker, name) - getattr(earlier.worker, name) for name in _COUNTED_BY_WORKERS}
    return WorkerReport(
        worker=replace(report.worker, **counted),
        pools=_since(report.pools, earlier.pools),
        caches=_since(report.caches, earlier.caches),
    )


_COUNTED_BY_WORKERS = ("checks", "suspect_checks", "cpu_ms")
_NOT_COUNTED = ("most", "longest", "idle", "in_use", "entries")


def _since(measures: Sequence[Measures], earlier: Sequence[Measures]) -> tuple[Measures, ...]:
    found: list[Measures] = []
    for one in measures:
        name, *fields = type(one).__struct_fields__
        before = next((other for other in earlier if getattr(other, name) == getattr(one, name)), None)
        counted = [field for field in fields if not field.startswith(_NOT_COUNTED)]
        less = {field: getattr(one, field) - getattr(before, field) for field in counted} if before else {}
        found.append(replace(one, **less))
    return tuple(found)


class RunMeasures(Record, frozen=True, kw_only=True):
    """All figures that a run measured about itself."""

    workers: tuple[WorkerMeasures, ...] = ()
    pools: tuple[PoolMeasures, ...] = ()
    caches: tuple[CacheMeasures, ...] = ()
    resources: ResourceMeasures | None = None
    alerts: tuple[ResourceAlert, ...] = ()

    def only(self, kept: Sequence[Measure]) -> RunMeasures:
        """The figures of these kinds, and all alerts."""
        if set(kept) == set(MEASURES):
            return self
        return RunMeasures(
            workers=self.workers if "workers" in kept else (),
            pools=self.pools if "pools" in kept else (),
            caches=self.caches if "caches" in kept else (),
            resources=self.resources if "resources" in kept else None,
            alerts=self.alerts,
        )


def summed(measures: Iterable[Measures]) -> tuple[Measures, ...]:
    """One record for each kind or category: numbers are added up; of fields called ``longest`` the maximum is taken."""
    found: dict[str, Any] = {}
    for one in measures:
        name, *counted = type(one).__struct_fields__
        key = getattr(one, name)
        if key not in found:
            found[key] = one
            continue
        before = found[key]
        pairs = {field: (getattr(before, field), getattr(one, field)) for field in counted}
        found[key] = replace(
            before, **{field: max(pair) if field.startswith("longest") else sum(pair) for field, pair in pairs.items()}
        )
    return tuple(found.values())


class MetricsCollector:
    """The newest report of each worker; a worker that was lost counts with its last one."""

    def __init__(self) -> None:
        self._reports: dict[int, WorkerReport] = {}
        self._lock = threading.Lock()
        self._caches: list[CacheMeasures] = []
        self._alerts: list[ResourceAlert] = []
        self.resources: Callable[[], tuple[ResourceMeasures | None, tuple[ResourceAlert, ...]]] = lambda: (None, ())
        """Source of the parent's own resource measurements."""

    def take(self, report: WorkerReport) -> None:
        """Replace a worker's earlier report; called from any thread."""
        with self._lock:
            self._reports[report.worker.pid] = report

    def note(self, alert: ResourceAlert) -> None:
        """Keep an event about a worker; called from any thread."""
        with self._lock:
            self._alerts.append(alert)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that have reported."""
        with self._lock:
            return list(self._reports)

    @property
    def ports_at_busiest_origin(self) -> int:
        """Ports in use by connections to the origin that takes the most."""
        with self._lock:
            return max((report.worker.ports_at_busiest_origin for report in self._reports.values()), default=0)

    def add_cache(self, measures: CacheMeasures) -> None:
        """Add the parent's own counts for a cache category."""
        self._caches.append(measures)

    def measures(self) -> RunMeasures:
        """All figures, added up over the workers."""
        with self._lock:
            reports, own = list(self._reports.values()), list(self._alerts)
        resources, alerts = self.resources()
        return RunMeasures(
            workers=tuple(report.worker for report in reports),
            pools=summed(pool for report in reports for pool in report.pools),
            caches=summed([*self._caches, *(cache for report in reports for cache in report.caches)]),
            resources=resources,
            alerts=tuple(sorted((*alerts, *own), key=lambda alert: alert.at_ms)),
        )
