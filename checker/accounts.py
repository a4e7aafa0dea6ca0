"""Gathers what a run measures of itself while it goes on, from the drivers' threads and from the parent's own parts."""

from __future__ import annotations

import threading
from collections.abc import Callable

from checker.measures import CacheMeasures, ResourceAlert, ResourceMeasures, RunMeasures, WorkerReport, summed


class Accounts:
    """The newest report of each worker; a worker that was lost counts with its last one."""

    def __init__(self) -> None:
        self._reports: dict[int, WorkerReport] = {}
        self._lock = threading.Lock()
        self._caches: list[CacheMeasures] = []
        self._alerts: list[ResourceAlert] = []
        self.resources: Callable[[], tuple[ResourceMeasures | None, tuple[ResourceAlert, ...]]] = lambda: (None, ())
        """Where the parent's own measures of resources come from."""

    def take(self, report: WorkerReport) -> None:
        """Keep a worker's report in place of its earlier one; called from any thread."""
        with self._lock:
            self._reports[report.worker.pid] = report

    def note(self, alert: ResourceAlert) -> None:
        """Keep what happened to a worker; called from any thread."""
        with self._lock:
            self._alerts.append(alert)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that have reported."""
        with self._lock:
            return list(self._reports)

    @property
    def ports_at_busiest_origin(self) -> int:
        """Ports that connections to one origin take, where they are most."""
        with self._lock:
            return max((report.worker.ports_at_busiest_origin for report in self._reports.values()), default=0)

    def add_cache(self, measures: CacheMeasures) -> None:
        """Add what the parent itself counted of a cache category."""
        self._caches.append(measures)

    def measures(self) -> RunMeasures:
        """All of it, added up over the workers."""
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
