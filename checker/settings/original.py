"""The blocks of the original system, with its keys and defaults, so that its files load as they are.

Numbers are plain seconds there. What a key does here is in `act`; what has no effect yet is named in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from checker.probes.options import STRICT
from checker.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class KindPool:
    """Connection pool of one probe kind."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    max_connections: int = 50
    max_connections_per_host: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPools:
    """Connection pools."""

    __pydantic_config__ = STRICT

    max_connections: int = 100
    max_connections_per_host: int = 30
    """Acts as ``run.per_origin``."""
    keepalive_timeout: Seconds = 30.0
    connection_timeout: Seconds = 10.0
    """Acts as ``connect_timeout`` of every probe."""
    read_timeout: Seconds = 30.0
    pool_cleanup_interval: Seconds = 300.0
    mcp_pool: KindPool = KindPool()
    rest_pool: KindPool = KindPool()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceThresholds:
    """Warning thresholds in percent of the limits."""

    __pydantic_config__ = STRICT

    memory_warning_percent: float = 80.0
    cpu_warning_percent: float = 70.0
    queue_warning_percent: float = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """Limits on what the checker itself uses."""

    __pydantic_config__ = STRICT

    max_concurrent_checks: int = 50
    """Acts as ``run.concurrency``; the smaller of it and ``default_max_concurrent``."""
    max_memory_usage_mb: float = 512.0
    max_cpu_usage_percent: float = 80.0
    max_queue_size: int = 1000
    check_interval_seconds: Seconds = 5.0
    monitoring_enabled: bool = True
    thresholds: ResourceThresholds = ResourceThresholds()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTtl:
    """Seconds until entries expire."""

    __pydantic_config__ = STRICT

    config_cache: Seconds = 300.0
    auth_token_cache: Seconds = 3600.0
    dns_cache: Seconds = 600.0
    result_cache: Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCategory:
    """One category of the cache."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    max_size: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCategories:
    """The categories of the cache."""

    __pydantic_config__ = STRICT

    config: CacheCategory = CacheCategory(max_size=100)
    auth_tokens: CacheCategory = CacheCategory()
    dns: CacheCategory = CacheCategory(max_size=500)
    results: CacheCategory = CacheCategory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """The cache."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    ttl: CacheTtl = CacheTtl()
    max_cache_size: int = 1000
    cleanup_interval: Seconds = 60.0
    categories: CacheCategories = CacheCategories()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProcessing:
    """Batches of checks."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    max_batch_size: int = 10
    batch_timeout: Seconds = 5.0
    priority_batching: bool = True
    processing_interval: Seconds = 1.0
    max_concurrent_batches: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionTimeouts:
    """Timeouts of checks and batches."""

    __pydantic_config__ = STRICT

    health_check: Seconds = 30.0
    """Acts as ``timeout`` of every probe."""
    batch_processing: Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRetry:
    """Acts as ``retry`` of every probe."""

    __pydantic_config__ = STRICT

    max_attempts: int = 3
    backoff_factor: float = 2.0
    max_backoff: Seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrentExecution:
    """Checks at once."""

    __pydantic_config__ = STRICT

    default_max_concurrent: int = 20
    """Acts as ``run.concurrency``; the smaller of it and ``max_concurrent_checks``."""
    per_server_limits: Mapping[str, int] = field(default_factory=dict)
    timeouts: ExecutionTimeouts = ExecutionTimeouts()
    retry: ExecutionRetry = ExecutionRetry()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertThresholds:
    """When the original raised an alert."""

    __pydantic_config__ = STRICT

    high_response_time: float = 5000.0
    low_throughput: float = 1.0
    high_error_rate: float = 0.05
    high_memory_usage: float = 0.8
    high_cpu_usage: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Alerts on the checker's own metrics."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    thresholds: AlertThresholds = AlertThresholds()


Metric = Literal[
    "response_times", "throughput", "error_rates", "resource_usage", "cache_performance", "connection_pool_stats"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """Collection of the checker's own metrics."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    collection_interval: Seconds = 10.0
    retention_period: Seconds = 3600.0
    detailed_metrics: bool = True
    metrics: tuple[Metric, ...] = ()
    alerts: Alerts = Alerts()


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceOptimization:
    """The original's performance block."""

    __pydantic_config__ = STRICT

    connection_pools: ConnectionPools = ConnectionPools()
    resource_limits: ResourceLimits = ResourceLimits()
    caching: Caching = Caching()
    batch_processing: BatchProcessing = BatchProcessing()
    concurrent_execution: ConcurrentExecution = ConcurrentExecution()
    monitoring: Monitoring = Monitoring()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkDefaults:
    """How long a benchmark runs."""

    __pydantic_config__ = STRICT

    duration_seconds: Seconds = 60.0
    warmup_duration: Seconds = 10.0
    cooldown_duration: Seconds = 5.0
    iterations: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One load scenario."""

    __pydantic_config__ = STRICT

    concurrent_users: int
    duration_seconds: Seconds
    ramp_up_seconds: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """Charts of a benchmark's report."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    formats: tuple[Literal["png", "svg"], ...] = ("png", "svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReports:
    """What a benchmark's report holds."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    include_charts: bool = True
    include_recommendations: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOutput:
    """Where a benchmark's results go."""

    __pydantic_config__ = STRICT

    directory: str = "benchmark_results"
    formats: tuple[Literal["json", "csv", "html"], ...] = ("json", "csv", "html")
    charts: Charts = Charts()
    reports: BenchmarkReports = BenchmarkReports()


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmarking:
    """The original's benchmark block."""

    __pydantic_config__ = STRICT

    defaults: BenchmarkDefaults = BenchmarkDefaults()
    concurrent_users: tuple[int, ...] = (1, 5, 10, 20, 50, 100)
    server_counts: tuple[int, ...] = (1, 5, 10, 25, 50)
    scenarios: Mapping[str, Scenario] = field(
        default_factory=lambda: {
            "light_load": Scenario(concurrent_users=5, duration_seconds=30, ramp_up_seconds=5),
            "normal_load": Scenario(concurrent_users=20, duration_seconds=60, ramp_up_seconds=10),
            "heavy_load": Scenario(concurrent_users=50, duration_seconds=120, ramp_up_seconds=20),
            "stress_test": Scenario(concurrent_users=100, duration_seconds=300, ramp_up_seconds=60),
        }
    )
    output: BenchmarkOutput = BenchmarkOutput()


_INSTEAD = {
    "connection_pools": "per_origin and connect_timeout are taken from it, the rest is left to urllib3's pools",
    "resource_limits": "only max_concurrent_checks acts, as run.concurrency",
    "caching": "what is remembered of endpoints is kept for a day",
    "batch_processing": "shards are sized by themselves",
    "concurrent_execution": "per_server_limits and batch_processing do not act; run.per_origin limits each host",
    "monitoring": "every run and probe is in the database; ask it with `mcp-status sql`",
}


def run_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Run options that the block sets; only keys that stand in the file count."""
    given: dict[str, Any] = {}
    execution, limits = performance.concurrent_execution, performance.resource_limits
    at_once = [
        value
        for value, there in (
            (execution.default_max_concurrent, _has(block, "concurrent_execution", "default_max_concurrent")),
            (limits.max_concurrent_checks, _has(block, "resource_limits", "max_concurrent_checks")),
        )
        if there
    ]
    if at_once:
        given["concurrency"] = min(at_once)
    if _has(block, "connection_pools", "max_connections_per_host"):
        given["per_origin"] = performance.connection_pools.max_connections_per_host
    return given


def probe_defaults(block: Mapping[str, Any], performance: PerformanceOptimization) -> dict[str, Any]:
    """Probe options that the block sets, as they would stand under ``defaults``; only keys in the file count."""
    given: dict[str, Any] = {}
    execution = performance.concurrent_execution
    if _has(block, "connection_pools", "connection_timeout"):
        given["connect_timeout"] = performance.connection_pools.connection_timeout
    if _has(block, "concurrent_execution", "timeouts", "health_check"):
        given["timeout"] = execution.timeouts.health_check
    if _has(block, "concurrent_execution", "retry"):
        retry = execution.retry
        given["retry"] = {
            "max_attempts": retry.max_attempts,
            "backoff_factor": retry.backoff_factor,
            "max_backoff": retry.max_backoff,
        }
    return given


def warnings(performance: Mapping[str, Any], benchmarking: Mapping[str, Any] | None) -> list[str]:
    """A line for each block that stands in the file and does not act, or not in full, with what there is instead."""
    lines = [
        f"performance_optimization.{name}: accepted; {instead}"
        for name, instead in _INSTEAD.items()
        if isinstance(performance, Mapping) and name in performance
    ]
    if benchmarking is not None:
        lines.append("benchmarking: accepted; `mcp-status check` does not use it")
    return lines


def _has(block: Any, *keys: str) -> bool:
    for key in keys:
        if not isinstance(block, Mapping) or key not in block:
            return False
        block = block[key]
    return True
