"""Measurements that a run made of itself: lines for `check -v`, and documents, one with all results of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import asdict

from checker.metrics import CacheMeasures, PoolMeasures, ResourceMeasures, RunMeasures, WorkerMeasures
from reports.check_documents import check_document, contract_document, iso, run_document
from storage.history import CheckRow, ContractRow, RunRow

_MIB = 1024 * 1024


def measure_lines(measures: RunMeasures) -> Iterator[str]:
    """One line for each worker, probe kind with connections and used cache, and one for the resources."""
    yield from map(_worker, measures.workers)
    yield from (_pool(pool) for pool in measures.pools if pool.created or pool.reused)
    yield from (_cache(cache) for cache in measures.caches if cache.hits or cache.misses)
    if measures.resources is not None and measures.resources.samples:
        yield _resources(measures.resources)
    yield from (f"{alert.level}: {alert.detail}" for alert in measures.alerts)


def results_document(
    run: RunRow, checks: Sequence[CheckRow], changed: Sequence[ContractRow], measures: RunMeasures
) -> dict[str, Any]:
    """A run with all its results, as `docs/check.schema.json` describes it."""
    return {
        "run": run_document(run, checks),
        "checks": list(map(check_document, checks)),
        "contract_changes": list(map(contract_document, changed)),
        "measures": measures_document(measures),
    }


def measures_document(measures: RunMeasures) -> dict[str, Any]:
    """The measurements keyed by column names; times as text."""
    alerts = map(asdict, measures.alerts)
    return {
        "workers": tuple(map(asdict, measures.workers)),
        "pools": tuple(map(asdict, measures.pools)),
        "caches": tuple(map(asdict, measures.caches)),
        "resources": None if measures.resources is None else asdict(measures.resources),
        "alerts": [{"at": iso(alert.pop("at_ms")), **alert} for alert in alerts],
    }


def _worker(worker: WorkerMeasures) -> str:
    suspect = f" ({worker.suspect_checks} suspect)" if worker.suspect_checks else ""
    lag = f"{worker.lag_p99_us / 1000:.0f} ms (p99), {worker.longest_lag_us / 1000:.0f} ms at most"
    return (
        f"worker {worker.worker} (process {worker.pid}): {worker.checks} checks{suspect}, "
        f"at most {worker.most_at_once} at once, CPU {worker.cpu_ms / 1000:.2f} s, "
        f"memory {worker.peak_memory_bytes / _MIB:.0f} MiB at most, lag {lag}"
    )


def _pool(pool: PoolMeasures) -> str:
    tls = f", {pool.tls_handshakes} TLS handshakes ({pool.tls_resumed} resumed)" if pool.tls_handshakes else ""
    waits = f", {pool.waits} waits ({_longest(pool)})" if pool.waits else ", no waits"
    return (
        f"{pool.kind} connections: {pool.created} opened, {pool.reused} times reused, {pool.closed_by_peer} closed by "
        f"the server, {pool.evicted} evicted, at most {pool.most_open} open and {pool.most_in_use} in use{tls}{waits}"
    )


def _longest(pool: PoolMeasures) -> str:
    mean_ms = pool.wait_us / pool.waits / 1000
    return f"{mean_ms:.0f} ms on average, {pool.longest_wait_us / 1000:.0f} ms at most"


def _cache(cache: CacheMeasures) -> str:
    stale = f", {cache.stale_hits} past their time" if cache.stale_hits else ""
    evicted = f", {cache.evicted} evicted" if cache.evicted else ""
    return f"cache {cache.category}: {cache.hits} hits{stale}, {cache.misses} misses, {cache.entries} entries{evicted}"


def _resources(used: ResourceMeasures) -> str:
    waited = ""
    if used.closed_ms or used.dropped:
        waited = f"; no check was begun for {used.closed_ms / 1000:.1f} s, {used.most_waiting} waited"
        waited += f", {used.dropped} dropped"
    return (
        f"resources: CPU {used.most_cpu_percent:.0f}% (machine {used.most_machine_cpu_percent:.0f}%), memory "
        f"{used.most_memory_bytes / _MIB:.0f} MiB (machine {used.most_machine_memory_percent:.0f}%), descriptors "
        f"{used.most_descriptors_percent:.0f}%, ports {used.most_ports_percent:.0f}%{waited}"
    )
