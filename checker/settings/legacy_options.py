"""Legacy options: the keys of the ``performance_optimization`` and ``benchmarking`` blocks, and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import field

from checker.structs import Options
from checker.units import Checked, Count, PositiveNumber, Seconds, Within


def _time_limit(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("a time limit is more than 0")
    return seconds


TimeLimit = Annotated[Seconds, Checked(_time_limit)]
"""A time limit."""
Percent = Annotated[float, Within(ge=0, le=100)]
"""0 to 100."""
Share = Annotated[float, Within(ge=0, le=1)]
"""0 to 1."""


class KindPool(Options, frozen=True, kw_only=True):
    """Connection pool of one probe kind."""

    enabled: bool = True
    """False closes each connection after its exchange (run.pools.<kind>.keepalive: 0)."""
    max_connections: Count = 50
    """Acts as run.pools.<kind>.max_connections."""
    max_connections_per_host: Count = 15
    """Acts as run.pools.<kind>.per_origin; the smaller of it and the block's own applies."""


class ConnectionPools(Options, frozen=True, kw_only=True):
    """Connection pools."""

    max_connections: Count = 100
    """Acts as run.max_connections: a total over both kinds, in addition to the kinds' own."""
    max_connections_per_host: Count = 30
    """Acts as run.per_origin, for each kind separately."""
    keepalive_timeout: Seconds = 30.0
    """Acts as run.pools.<kind>.keepalive of both kinds."""
    connection_timeout: TimeLimit = 10.0
    """Acts as connect_timeout of every probe."""
    read_timeout: Seconds = 30.0
    """Has no effect here: a probe's timeout covers the whole attempt."""
    pool_cleanup_interval: Seconds = 300.0
    """Has no effect here: idle connections are checked twice in each keepalive time."""
    mcp_pool: KindPool = KindPool()
    """Connections of MCP probes."""
    rest_pool: KindPool = KindPool()
    """Connections of REST probes."""


class ResourceThresholds(Options, frozen=True, kw_only=True):
    """Share of a limit at which a warning starts."""

    memory_warning_percent: Percent = 80.0
    """Of max_memory_usage_mb; acts as run.limits.memory_warning."""
    cpu_warning_percent: Percent = 70.0
    """Of all cores; acts as run.limits.cpu_warning_percent."""
    queue_warning_percent: Percent = 80.0
    """Of max_queue_size; acts as run.limits.queue_warning."""


class ResourceLimits(Options, frozen=True, kw_only=True):
    """Limits on what the checker itself uses."""

    max_concurrent_checks: Count = 50
    """Acts as run.concurrency; the smallest of all limits on concurrent checks applies."""
    max_memory_usage_mb: PositiveNumber = 512.0
    """Acts as run.limits.memory."""
    max_cpu_usage_percent: Percent = 80.0
    """Acts as run.limits.cpu_percent; 0 is no limit."""
    max_queue_size: Count = 1000
    """Acts as run.limits.queue_size."""
    check_interval_seconds: Seconds = 5.0
    """Acts as run.limits.interval."""
    monitoring_enabled: bool = True
    """Acts as run.limits.enabled."""
    thresholds: ResourceThresholds = ResourceThresholds()
    """Thresholds of warnings."""


class CacheTtl(Options, frozen=True, kw_only=True):
    """Lifetime of entries in each category: run.caches.<category>.ttl."""

    config_cache: Seconds = 300.0
    """Configurations."""
    auth_token_cache: Seconds = 3600.0
    """Credentials."""
    dns_cache: Seconds = 600.0
    """Addresses of names."""
    result_cache: Seconds = 60.0
    """Results of checks; also acts as run.max_age: a server with a younger result is not checked again."""


class CacheCategory(Options, frozen=True, kw_only=True):
    """One category of the cache: run.caches.<category>."""

    enabled: bool = True
    """True if anything is cached."""
    max_size: Count = 200
    """Largest number of entries; acts as size."""


class CacheCategories(Options, frozen=True, kw_only=True):
    """The categories of the cache."""

    config: CacheCategory = CacheCategory(max_size=100)
    """Configurations."""
    auth_tokens: CacheCategory = CacheCategory()
    """Credentials."""
    dns: CacheCategory = CacheCategory(max_size=500)
    """Addresses of names."""
    results: CacheCategory = CacheCategory()
    """Results of checks."""


class Caching(Options, frozen=True, kw_only=True):
    """The cache."""

    enabled: bool = True
    """True if anything is cached."""
    ttl: CacheTtl = CacheTtl()
    """Lifetime of entries."""
    max_cache_size: Count = 1000
    """Largest number of entries of all categories together; acts as run.caches.size."""
    cleanup_interval: Seconds = 60.0
    """Has no effect here: expired entries are removed at the end of each run."""
    categories: CacheCategories = CacheCategories()
    """Limits by category."""


class BatchProcessing(Options, frozen=True, kw_only=True):
    """Batches of checks."""

    enabled: bool = True
    """True to queue checks in batches; false, one at a time (run.pace.batch_size: 1)."""
    max_batch_size: Count = 10
    """Acts as run.pace.batch_size."""
    batch_timeout: Seconds = 5.0
    """Acts as run.pace.batch_timeout."""
    priority_batching: bool = True
    """Acts as run.pace.by_priority."""
    processing_interval: Seconds = 1.0
    """Has no effect here: checks are sent as soon as a worker is free."""
    max_concurrent_batches: Count = 5
    """Times max_batch_size it acts as run.concurrency; the smallest of all limits on concurrent checks applies."""


class ExecutionTimeouts(Options, frozen=True, kw_only=True):
    """Time limits of checks and batches."""

    health_check: TimeLimit = 30.0
    """Acts as timeout of every probe."""
    batch_processing: Seconds = 60.0
    """Has no effect here: every probe has its own timeout."""


class ExecutionRetry(Options, frozen=True, kw_only=True):
    """Acts as retry of every probe."""

    max_attempts: Count = 3
    """Total number of attempts."""
    backoff_factor: Annotated[float, Within(ge=1)] = 2.0
    """Each wait is this many times the previous one."""
    max_backoff: Seconds = 30.0
    """Longest wait."""


class ConcurrentExecution(Options, frozen=True, kw_only=True):
    """Concurrent checks."""

    default_max_concurrent: Count = 20
    """Acts as run.concurrency; the smallest of all limits on concurrent checks applies."""
    per_server_limits: Mapping[str, Count] = field(default_factory=dict)
    """Server -> its concurrent probes; acts as at_once of that server."""
    timeouts: ExecutionTimeouts = ExecutionTimeouts()
    """Time limits."""
    retry: ExecutionRetry = ExecutionRetry()
    """Retry of failed attempts."""


class AlertThresholds(Options, frozen=True, kw_only=True):
    """Thresholds of alerts; they act as run.alerts."""

    high_response_time: Annotated[float, Within(ge=0)] = 5000.0
    """Mean of a run in milliseconds."""
    low_throughput: Annotated[float, Within(ge=0)] = 1.0
    """Checks a second."""
    high_error_rate: Share = 0.05
    """Share of the checks that are UNHEALTHY."""
    high_memory_usage: Share = 0.8
    """Of max_memory_usage_mb."""
    high_cpu_usage: Share = 0.8
    """Of all cores."""


class MonitoringAlerts(Options, frozen=True, kw_only=True):
    """Alerts on the checker's own metrics."""

    enabled: bool = True
    """True if there are any alerts."""
    thresholds: AlertThresholds = AlertThresholds()
    """Thresholds of alerts."""


Metric = Literal[
    "response_times", "throughput", "error_rates", "resource_usage", "cache_performance", "connection_pool_stats"
]
_METRICS: tuple[Metric, ...] = (
    "response_times",
    "throughput",
    "error_rates",
    "resource_usage",
    "cache_performance",
    "connection_pool_stats",
)


class Monitoring(Options, frozen=True, kw_only=True):
    """Collection of the checker's own metrics."""

    enabled: bool = True
    """True to collect metrics; false stores none (run.measures: []) and raises no alerts."""
    collection_interval: Seconds = 10.0
    """Interval of collection; acts as run.alerts.interval."""
    retention_period: Seconds = 3600.0
    """Retention of the metrics; acts as history.measures."""
    detailed_metrics: bool = True
    """True to store the figures of single workers in addition to the sums."""
    metrics: tuple[Metric, ...] = _METRICS
    """Names of the metrics; acts as run.measures, and alerts are limited to these."""
    alerts: MonitoringAlerts = MonitoringAlerts()
    """Alerts on them."""


class PerformanceOptimization(Options, frozen=True, kw_only=True):
    """The performance block of a legacy configuration."""

    connection_pools: ConnectionPools = ConnectionPools()
    """Connections."""
    resource_limits: ResourceLimits = ResourceLimits()
    """Limits on what the checker itself uses."""
    caching: Caching = Caching()
    """Results and data remembered between checks."""
    batch_processing: BatchProcessing = BatchProcessing()
    """Batches of checks."""
    concurrent_execution: ConcurrentExecution = ConcurrentExecution()
    """Concurrent checks, their time limits and retries."""
    monitoring: Monitoring = Monitoring()
    """The checker's own metrics."""


class BenchmarkDefaults(Options, frozen=True, kw_only=True):
    """Duration of a benchmark."""

    duration_seconds: Seconds = 60.0
    """Measured time."""
    warmup_duration: Seconds = 10.0
    """Time before it, not measured."""
    cooldown_duration: Seconds = 5.0
    """Time after it, not measured."""
    iterations: Count = 3
    """Number of repetitions."""


class LegacyScenario(Options, frozen=True, kw_only=True):
    """One load scenario."""

    concurrent_users: Count
    """Concurrent checks."""
    duration_seconds: Seconds
    """Total time."""
    ramp_up_seconds: Seconds = 0.0
    """Time in which the users arrive."""


class Charts(Options, frozen=True, kw_only=True):
    """Charts of a benchmark's report."""

    enabled: bool = True
    """True if there are any charts."""
    formats: tuple[Literal["png", "svg"], ...] = ("png", "svg")
    """Files to write."""


class BenchmarkReports(Options, frozen=True, kw_only=True):
    """Contents of a benchmark's report."""

    enabled: bool = True
    """True if there is a report."""
    include_charts: bool = True
    """True if it shows the charts."""
    include_recommendations: bool = True
    """True if it includes recommendations."""


class BenchmarkOutput(Options, frozen=True, kw_only=True):
    """Destination of a benchmark's results."""

    directory: str = "benchmark_results"
    """Folder of the files."""
    formats: tuple[Literal["json", "csv", "html"], ...] = ("json", "csv", "html")
    """Files to write."""
    charts: Charts = Charts()
    """Charts."""
    reports: BenchmarkReports = BenchmarkReports()
    """The report."""


class Benchmarking(Options, frozen=True, kw_only=True):
    """The benchmark block of a legacy configuration."""

    defaults: BenchmarkDefaults = BenchmarkDefaults()
    """Duration of a benchmark."""
    concurrent_users: tuple[Count, ...] = (1, 5, 10, 20, 50, 100)
    """Numbers of concurrent checks to measure with."""
    server_counts: tuple[Count, ...] = (1, 5, 10, 25, 50)
    """Numbers of servers to measure with."""
    scenarios: Mapping[str, LegacyScenario] = field(
        default_factory=lambda: {
            "light_load": LegacyScenario(concurrent_users=5, duration_seconds=30.0, ramp_up_seconds=5.0),
            "normal_load": LegacyScenario(concurrent_users=20, duration_seconds=60.0, ramp_up_seconds=10.0),
            "heavy_load": LegacyScenario(concurrent_users=50, duration_seconds=120.0, ramp_up_seconds=20.0),
            "stress_test": LegacyScenario(concurrent_users=100, duration_seconds=300.0, ramp_up_seconds=60.0),
        }
    )
    """Load scenarios by name."""
    output: BenchmarkOutput = BenchmarkOutput()
    """Destination of results."""
