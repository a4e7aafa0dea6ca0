"""What the original system's blocks do here: the keys that act, and a word on those that do not.

A key acts only if it stands in the file: the original's defaults do not replace ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checker.probes.options import Retry
from checker.settings.performance import PerformanceOptimization

_NO_LIMIT = "run.concurrency limits checks at once"
_KEPT = "an idle connection is kept as long as its worker"
_LEFT_OUT = "leave the kind out of the servers"
_INSTEAD = {
    "connection_pools.max_connections": _NO_LIMIT,
    "connection_pools.mcp_pool.max_connections": _NO_LIMIT,
    "connection_pools.rest_pool.max_connections": _NO_LIMIT,
    "connection_pools.mcp_pool.enabled": _LEFT_OUT,
    "connection_pools.rest_pool.enabled": _LEFT_OUT,
    "connection_pools.keepalive_timeout": _KEPT,
    "connection_pools.pool_cleanup_interval": _KEPT,
    "connection_pools.read_timeout": "a probe's timeout covers the whole attempt",
    "concurrent_execution.per_server_limits": "run.per_origin limits attempts at each host",
    "concurrent_execution.timeouts.batch_processing": "every probe has its own timeout",
}
"""Key without a use here -> what there is instead of it."""
_ACTING = ("resource_limits.max_concurrent_checks",)
_LATER = ("resource_limits", "caching", "batch_processing", "monitoring")
"""Blocks that are kept in the settings and not acted on yet, but for the keys above."""
_PER_HOST = "max_connections_per_host"


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


def warnings(performance: Mapping[str, Any], benchmarking: Any) -> Iterator[str]:
    """A line for each block with keys that have no use here, and one for all that does not act yet."""
    for name in performance:
        without_use: dict[str, list[str]] = {}
        for key, instead in _INSTEAD.items():
            if key.startswith(f"{name}.") and _has(performance, key):
                without_use.setdefault(instead, []).append(key.removeprefix(f"{name}."))
        if without_use:
            said = "; ".join(f"{', '.join(keys)} ({instead})" for instead, keys in without_use.items())
            yield f"performance_optimization.{name}: no use here for {said}"
    later = [f"performance_optimization.{key}" for key in _not_acting(performance)]
    later += ["benchmarking"] if benchmarking is not None else []
    if later:
        yield f"accepted, not acted on yet: {', '.join(later)}"


def _not_acting(performance: Mapping[str, Any]) -> Iterator[str]:
    """The later blocks that stand in the file, without those of which every key acts."""
    for name in _LATER:
        acting = [key.removeprefix(f"{name}.") for key in _ACTING if key.startswith(f"{name}.")]
        given = performance.get(name) or {}
        if name in performance and (set(given) - set(acting) or not given):
            yield f"{name} (all but {', '.join(acting)})" if set(given) & set(acting) else name


def _has(block: Any, keys: str) -> bool:
    for key in keys.split("."):
        if not isinstance(block, Mapping) or key not in block:
            return False
        block = block[key]
    return True
