"""The blocks of a legacy configuration: keys that take effect here, and warnings for those that do not.

A key takes effect only if it is in the file: the defaults of the legacy system do not replace ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from msgspec.structs import replace

from checker.limits import Measure
from checker.model import Server
from checker.probes.options import Retry
from checker.settings.legacy_options import Caching, ConnectionPools, Metric, PerformanceOptimization, ResourceLimits
from checker.settings.overlay import merged, picked

BLOCK = "performance_optimization"
"""The legacy block."""
_LEAST_PERCENT = 1e-6
_INSTEAD = {
    "connection_pools.pool_cleanup_interval": "run.pools.<kind>.keepalive is what idle connections are looked at by",
    "connection_pools.read_timeout": "timeout covers the whole attempt of a probe, reading included",
    "batch_processing.processing_interval": "run.pace.rate_per_origin spaces checks; they begin as workers have room",
    "caching.cleanup_interval": "expired entries go at the end of each run, or by `mcp-status cache clear`",
    "concurrent_execution.timeouts.batch_processing": "timeout limits each probe, and nothing waits for a batch",
}
"""Key without an effect here -> its replacement."""
_PER_HOST = "max_connections_per_host"
_KINDS = ("mcp", "rest")
"""The probe kinds of the legacy system."""
_TTL_KEYS = {
    "config": "config_cache",
    "auth_tokens": "auth_token_cache",
    "dns": "dns_cache",
    "results": "result_cache",
}
"""Cache category -> its key under ``caching.ttl``."""
_MEASURED_BY: dict[Metric, tuple[Measure, ...]] = {
    "resource_usage": ("workers", "resources"),
    "cache_performance": ("caches",),
    "connection_pool_stats": ("pools",),
}
"""Metric -> the measurement of a run that contains it; other metrics come from checks, which are always stored."""
_TOLD_BY: dict[str, Metric] = {
    "response_time": "response_times",
    "throughput": "throughput",
    "error_rate": "error_rates",
    "memory": "resource_usage",
    "cpu_percent": "resource_usage",
}
"""Option of ``run.alerts`` -> the metric that it watches."""
_MIB = 1024 * 1024


def run_options(
    base: Mapping[str, Any], above: Mapping[str, Any], given: Mapping[str, Any], performance: PerformanceOptimization
) -> dict[str, Any]:
    """The ``run`` block combined with the legacy blocks, in layers from the file's own to the environment's.

    ``base`` is the file, ``above`` its environment, each as written; ``given`` is the ``run`` block of both, and
    ``performance`` the legacy block of both. In each layer our own keys override the legacy ones, and everything in the
    environment overrides the file, also if another key limits the same.
    """
    layers = (
        run_defaults(_block(base), performance),
        given,
        run_defaults(_block(above), performance),
        picked(given, above.get("run") or {}),
    )
    laid: dict[str, Any] = {}
    for layer in layers:
        if "per_origin" in layer and isinstance(pools := laid.get("pools"), Mapping):
            laid["pools"] = {kind: _without_width(options) for kind, options in pools.items()}
        laid = merged(laid, layer)
    return laid


def _without_width(options: Any) -> Any:
    return (
        {key: value for key, value in options.items() if key != "per_origin"}
        if isinstance(options, Mapping)
        else options
    )


def _block(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    block = layer.get(BLOCK)
    return block if isinstance(block, Mapping) else {}


def run_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Run options set by the keys of a block; ``performance`` has their values."""
    batches, pools = performance.batch_processing, performance.connection_pools
    at_once = {
        "concurrent_execution.default_max_concurrent": performance.concurrent_execution.default_max_concurrent,
        "resource_limits.max_concurrent_checks": performance.resource_limits.max_concurrent_checks,
        "batch_processing.max_concurrent_batches": batches.max_concurrent_batches * batches.max_batch_size,
    }
    given: dict[str, Any] = {}
    if there := [number for key, number in at_once.items() if _has(block, key)]:
        given["concurrency"] = min(there)
    if _has(block, f"connection_pools.{_PER_HOST}"):
        given["per_origin"] = pools.max_connections_per_host
    if _has(block, "connection_pools.max_connections"):
        given["max_connections"] = pools.max_connections
    if of_kinds := {kind: options for kind in _KINDS if (options := _pool(block, kind, pools))}:
        given["pools"] = of_kinds
    pace: dict[str, Any] = {}
    if _has(block, "batch_processing.max_batch_size"):
        pace["batch_size"] = batches.max_batch_size
    if _has(block, "batch_processing.enabled") and not batches.enabled:
        pace["batch_size"] = 1
    if _has(block, "batch_processing.batch_timeout"):
        pace["batch_timeout"] = batches.batch_timeout
    if _has(block, "batch_processing.priority_batching"):
        pace["by_priority"] = batches.priority_batching
    if pace:
        given["pace"] = pace
    if limits := _resource_limits(block, performance.resource_limits):
        given["limits"] = limits
    if caches := _caches(block, performance.caching):
        given["caches"] = caches
    if _has(block, "caching.ttl.result_cache") and performance.caching.enabled:
        given["max_age"] = (
            performance.caching.ttl.result_cache if performance.caching.categories.results.enabled else None
        )
    return given | _monitoring(block, performance)


def _pool(block: Mapping[str, Any], kind: str, pools: ConnectionPools) -> dict[str, Any]:
    """The connection options of a probe kind that the block sets."""
    own, name = getattr(pools, f"{kind}_pool"), f"connection_pools.{kind}_pool"
    options: dict[str, Any] = {}
    if _has(block, f"{name}.max_connections"):
        options["max_connections"] = own.max_connections
    if _has(block, f"{name}.{_PER_HOST}"):
        both = _has(block, f"connection_pools.{_PER_HOST}")
        options["per_origin"] = min(own.max_connections_per_host, pools.max_connections_per_host if both else inf)
    if _has(block, "connection_pools.keepalive_timeout"):
        options["keepalive"] = pools.keepalive_timeout
    if _has(block, f"{name}.enabled") and not own.enabled:
        options["keepalive"] = 0
    return options


def _resource_limits(block: Mapping[str, Any], limits: ResourceLimits) -> dict[str, Any]:
    """The options of ``run.limits`` that the block sets."""
    marks, memory = limits.thresholds, limits.max_memory_usage_mb * _MIB
    queue_mark = max(1, round(limits.max_queue_size * marks.queue_warning_percent / 100))
    values = {
        "max_memory_usage_mb": ("memory", round(memory)),
        "max_cpu_usage_percent": ("cpu_percent", limits.max_cpu_usage_percent or None),
        "max_queue_size": ("queue_size", limits.max_queue_size),
        "check_interval_seconds": ("interval", limits.check_interval_seconds),
        "monitoring_enabled": ("enabled", limits.monitoring_enabled),
        "thresholds.memory_warning_percent": ("memory_warning", round(memory * marks.memory_warning_percent / 100)),
        "thresholds.cpu_warning_percent": ("cpu_warning_percent", marks.cpu_warning_percent or None),
        "thresholds.queue_warning_percent": ("queue_warning", queue_mark),
    }
    return {name: value for key, (name, value) in values.items() if _has(block, f"resource_limits.{key}")}


def _caches(block: Mapping[str, Any], caching: Caching) -> dict[str, Any]:
    """Cache category -> its options set by the block; and ``size``, for all of them together."""
    given: dict[str, Any] = {}
    for name, ttl_key in _TTL_KEYS.items():
        category, options = getattr(caching.categories, name), dict[str, Any]()
        if _has(block, f"caching.ttl.{ttl_key}"):
            options["ttl"] = getattr(caching.ttl, ttl_key)
        if _has(block, "caching.enabled") or _has(block, f"caching.categories.{name}.enabled"):
            options["enabled"] = caching.enabled and category.enabled
        if _has(block, f"caching.categories.{name}.max_size"):
            options["size"] = category.max_size
        if options:
            given[name] = options
    if _has(block, "caching.max_cache_size"):
        given["size"] = caching.max_cache_size
    return given


def _monitoring(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """The options of ``run`` that ``monitoring`` sets: alerts, and which measurements of a run are stored."""
    monitoring, given = performance.monitoring, dict[str, Any]()
    alerts, marks = monitoring.alerts, monitoring.alerts.thresholds
    values = {
        "high_response_time": ("response_time", marks.high_response_time / 1000),
        "low_throughput": ("throughput", marks.low_throughput or None),
        "high_error_rate": ("error_rate", marks.high_error_rate),
        "high_memory_usage": (
            "memory",
            round(marks.high_memory_usage * performance.resource_limits.max_memory_usage_mb * _MIB),
        ),
        "high_cpu_usage": ("cpu_percent", 100 * marks.high_cpu_usage or _LEAST_PERCENT),
    }
    asked_for = alerts.enabled and _has(block, "monitoring.alerts.enabled")
    told = {
        name: value
        for key, (name, value) in values.items()
        if asked_for or _has(block, f"monitoring.alerts.thresholds.{key}")
    }
    collected = monitoring.metrics if alerts.enabled and monitoring.enabled else ()
    told |= {name: None for name, metric in _TOLD_BY.items() if metric not in collected}  # also what is set below
    if _has(block, "monitoring.collection_interval"):
        told["interval"] = monitoring.collection_interval
    if told and _has(block, "monitoring"):
        given["alerts"] = told
    if any(_has(block, f"monitoring.{key}") for key in ("enabled", "detailed_metrics", "metrics")):
        kept = [one for metric in monitoring.metrics for one in _MEASURED_BY.get(metric, ())]
        left_out = set() if monitoring.detailed_metrics else {"workers"}
        given["measures"] = [one for one in kept if one not in left_out] if monitoring.enabled else []
    return given


def history_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Options of ``history`` that the block sets."""
    if _has(block, "monitoring.retention_period"):
        return {"measures": performance.monitoring.retention_period}
    return {}


def of_one_server(performance: PerformanceOptimization, servers: Sequence[Server]) -> tuple[Server, ...]:
    """The servers, with ``per_server_limits`` applied to those that it names."""
    most = performance.concurrent_execution.per_server_limits
    if not most:
        return tuple(servers)
    return tuple(
        replace(server, at_once=most[server.name]) if server.name in most and server.at_once is None else server
        for server in servers
    )


def probe_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Probe options that the block sets, in the form they have under ``defaults``."""
    given: dict[str, Any] = {}
    execution = performance.concurrent_execution
    if _has(block, "connection_pools.connection_timeout"):
        given["connect_timeout"] = performance.connection_pools.connection_timeout
    if _has(block, "concurrent_execution.timeouts.health_check"):
        given["timeout"] = execution.timeouts.health_check
    if _has(block, "concurrent_execution.retry"):
        given["retry"] = {
            "max_attempts": execution.retry.max_attempts,
            "backoff_factor": execution.retry.backoff_factor,
            "max_backoff": execution.retry.max_backoff,
            # legacy configurations have no key for the first wait
            "initial_backoff": min(Retry().initial_backoff, execution.retry.max_backoff),
        }
    return given


def defaults_over(
    given: Mapping[str, Any], base: Mapping[str, Any], above: Mapping[str, Any], performance: PerformanceOptimization
) -> Mapping[str, Any]:
    """The ``defaults`` of file and environment, with the environment's legacy block applied over the file's.

    ``base`` and ``above`` are the file and its environment as written.
    """
    of_every_probe = probe_defaults(_block(above), performance)
    if not of_every_probe or not base.get("defaults"):
        return given
    own = above.get("defaults")
    own = own if isinstance(own, Mapping) else {}
    return {
        key: merged(merged(block, of_every_probe), picked(block, own.get(key) or {}))
        if key in _KINDS and isinstance(block, Mapping)
        else block
        for key, block in given.items()
    }


def warnings(performance: Mapping[str, Any], servers: Sequence[Server]) -> Iterator[str]:
    """One warning for each block with keys that have no effect here, and one for limits of nonexistent servers."""
    for name in performance:
        without_use = [
            f"{key.removeprefix(f'{name}.')} ({instead})"
            for key, instead in _INSTEAD.items()
            if key.startswith(f"{name}.") and _has(performance, key)
        ]
        if without_use:
            yield f"{BLOCK}.{name}: no use here for {'; '.join(without_use)}"
    execution = performance.get("concurrent_execution")
    limits = execution.get("per_server_limits") if isinstance(execution, Mapping) else None
    if unknown := sorted(set(limits or ()) - {server.name for server in servers}):
        yield f"{BLOCK}.concurrent_execution.per_server_limits: no server is called {', '.join(unknown)}"


def _has(block: Any, keys: str) -> bool:
    for key in keys.split("."):
        if not isinstance(block, Mapping) or key not in block:
            return False
        block = block[key]
    return True
