"""What the original system's blocks do here: the keys that act, and a word on those that do not.

A key acts only if it stands in the file: the original's defaults do not replace ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checker.limits import Caches
from checker.probes.options import Retry
from checker.settings.performance import Caching, ConnectionPools, PerformanceOptimization, ResourceLimits

_SWEPT = "idle connections are looked at twice in each keepalive time"
_DEALT = "checks are dealt as workers have room; run.pace says how many at a time"
_LEFT_OUT = "leave the kind out of the servers"
_INSTEAD = {
    "connection_pools.mcp_pool.enabled": _LEFT_OUT,
    "connection_pools.rest_pool.enabled": _LEFT_OUT,
    "connection_pools.pool_cleanup_interval": _SWEPT,
    "connection_pools.read_timeout": "a probe's timeout covers the whole attempt",
    "batch_processing.enabled": _DEALT,
    "batch_processing.priority_batching": _DEALT,
    "batch_processing.processing_interval": _DEALT,
    "batch_processing.max_concurrent_batches": _DEALT,
    "caching.cleanup_interval": "expired entries are removed at the end of each run",
    "concurrent_execution.per_server_limits": "run.per_origin limits attempts at each host",
    "concurrent_execution.timeouts.batch_processing": "every probe has its own timeout",
}
"""Key without a use here -> what there is instead of it."""
_LATER = ("monitoring",)
"""Blocks that are kept in the settings and not acted on yet."""
_PER_HOST = "max_connections_per_host"
_TTL_KEYS = {
    "config": "config_cache",
    "auth_tokens": "auth_token_cache",
    "dns": "dns_cache",
    "results": "result_cache",
}
"""Cache category -> its key under ``caching.ttl``."""


def run_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Run options that the block sets."""
    at_once = {
        "concurrent_execution.default_max_concurrent": performance.concurrent_execution.default_max_concurrent,
        "resource_limits.max_concurrent_checks": performance.resource_limits.max_concurrent_checks,
    }
    pools = performance.connection_pools
    per_host = {
        f"connection_pools.{_PER_HOST}": pools.max_connections_per_host,
        f"connection_pools.mcp_pool.{_PER_HOST}": pools.mcp_pool.max_connections_per_host,
        f"connection_pools.rest_pool.{_PER_HOST}": pools.rest_pool.max_connections_per_host,
    }
    given: dict[str, Any] = {}
    for name, numbers in (("concurrency", at_once), ("per_origin", per_host)):
        if there := [number for key, number in numbers.items() if _has(block, key)]:
            given[name] = min(there)
    if connections := _pools(block, pools):
        given["pools"] = connections
    batches = performance.batch_processing
    sizes = {"batch_size": batches.max_batch_size, "batch_timeout": batches.batch_timeout}
    keys = {"batch_size": "max_batch_size", "batch_timeout": "batch_timeout"}
    if pace := {name: sizes[name] for name, key in keys.items() if _has(block, f"batch_processing.{key}")}:
        given["pace"] = pace
    if limits := _resource_limits(block, performance.resource_limits):
        given["limits"] = limits
    if caches := _caches(block, performance.caching):
        given["caches"] = caches
    return given


def _pools(block: Mapping[str, Any], pools: ConnectionPools) -> dict[str, dict[str, Any]]:
    """Probe kind -> the options of its connections that the block sets."""
    given: dict[str, dict[str, Any]] = {}
    for kind, of_kind in (("mcp", pools.mcp_pool), ("rest", pools.rest_pool)):
        most = {
            "connection_pools.max_connections": pools.max_connections,
            f"connection_pools.{kind}_pool.max_connections": of_kind.max_connections,
        }
        options: dict[str, Any] = {}
        if there := [number for key, number in most.items() if _has(block, key)]:
            options["max_connections"] = min(there)
        if _has(block, "connection_pools.keepalive_timeout"):
            options["keepalive"] = pools.keepalive_timeout
        if options:
            given[kind] = options
    return given


def _resource_limits(block: Mapping[str, Any], limits: ResourceLimits) -> dict[str, Any]:
    """The options of ``run.limits`` that the block sets."""
    values = {
        "max_memory_usage_mb": ("memory", round(limits.max_memory_usage_mb * 1024 * 1024)),
        "max_cpu_usage_percent": ("cpu_percent", limits.max_cpu_usage_percent or None),
        "max_queue_size": ("queue_size", limits.max_queue_size),
        "check_interval_seconds": ("interval", limits.check_interval_seconds),
        "monitoring_enabled": ("enabled", limits.monitoring_enabled),
    }
    given = {name: value for key, (name, value) in values.items() if _has(block, f"resource_limits.{key}")}
    marks = {
        "memory_warning_percent": limits.thresholds.memory_warning_percent,
        "cpu_warning_percent": limits.thresholds.cpu_warning_percent,
        "queue_warning_percent": limits.thresholds.queue_warning_percent,
    }
    if there := [mark for key, mark in marks.items() if mark and _has(block, f"resource_limits.thresholds.{key}")]:
        given["warn_at_percent"] = min(there)
    return given


def _caches(block: Mapping[str, Any], caching: Caching) -> dict[str, dict[str, Any]]:
    """Cache category -> the options of it that the block sets; ``max_cache_size`` caps each category."""
    given: dict[str, dict[str, Any]] = {}
    for name, ttl_key in _TTL_KEYS.items():
        category, options = getattr(caching.categories, name), dict[str, Any]()
        if _has(block, f"caching.ttl.{ttl_key}"):
            options["ttl"] = getattr(caching.ttl, ttl_key)
        if _has(block, "caching.enabled") or _has(block, f"caching.categories.{name}.enabled"):
            options["enabled"] = caching.enabled and category.enabled
        sized, capped = _has(block, f"caching.categories.{name}.max_size"), _has(block, "caching.max_cache_size")
        if sized or capped:
            size = category.max_size if sized else getattr(Caches(), name).size
            options["size"] = min(size, caching.max_cache_size) if capped else size
        if options:
            given[name] = options
    return given


def probe_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Probe options that the block sets, as they would stand under ``defaults``."""
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
            # the original has no key for the first wait
            "initial_backoff": min(Retry().initial_backoff, execution.retry.max_backoff),
        }
    return given


def warnings(performance: Mapping[str, Any]) -> Iterator[str]:
    """A line for each block with keys that have no use here, and one for all that does not act yet."""
    for name in performance:
        without_use: dict[str, list[str]] = {}
        for key, instead in _INSTEAD.items():
            if key.startswith(f"{name}.") and _has(performance, key):
                without_use.setdefault(instead, []).append(key.removeprefix(f"{name}."))
        if without_use:
            said = "; ".join(f"{', '.join(keys)} ({instead})" for instead, keys in without_use.items())
            yield f"performance_optimization.{name}: no use here for {said}"
    later = [f"performance_optimization.{key}" for key in _LATER if key in performance]
    if later:
        yield f"accepted, not acted on yet: {', '.join(later)}"


def _has(block: Any, keys: str) -> bool:
    for key in keys.split("."):
        if not isinstance(block, Mapping) or key not in block:
            return False
        block = block[key]
    return True
