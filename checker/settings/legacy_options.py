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
"""A duration in which something has to happen."""
Percent = Annotated[float, Within(ge=0, le=100)]
"""0 to 100."""
Share = Annotated[float, Within(ge=0, le=1)]
"""0 to 1."""


class KindPool(Options, frozen=True, kw_only=True):
    """Connection pool of one probe kind."""

    enabled: bool = True
    """Whether connections are kept; without a pool each exchange has its own (run.pools.<kind>.keepalive: 0)."""
    max_connections: Count = 50
    """Acts as run.pools.<kind>.max_connections."""
    max_connections_per_host: Count = 15
    """Acts as run.pools.<kind>.per_origin; the smaller of it and the block's own does."""


class ConnectionPools(Options, frozen=True, kw_only=True):
    """Connection pools."""

    max_connections: Count = 100
    """Acts as run.max_connections: a total over both kinds, beside the kinds' own."""
    max_connections_per_host: Count = 30
    """Acts as run.per_origin, of each kind on its own."""
    keepalive_timeout: Seconds = 30.0
    """Acts as run.pools.<kind>.keepalive of both kinds."""
    connection_timeout: TimeLimit = 10.0
    """Acts as connect_timeout of every probe."""
    read_timeout: Seconds = 30.0
    """No use here: a probe's timeout covers the whole attempt."""
    pool_cleanup_interval: Seconds = 300.0
    """No use here: idle connections are looked at twice in each keepalive time."""
    mcp_pool: KindPool = KindPool()
    """Connections of MCP probes."""
    rest_pool: KindPool = KindPool()
    """Connections of REST probes."""


class ResourceThresholds(Options, frozen=True, kw_only=True):
    """Share of a limit from which on there is a warning."""

    memory_warning_percent: Percent = 80.0
    """Of max_memory_usage_mb; acts as run.limits.memory_warning."""
    cpu_warning_percent: Percent = 70.0
    """Of all cores; acts as run.limits.cpu_warning_percent."""
    queue_warning_percent: Percent = 80.0
    """Of max_queue_size; acts as run.limits.queue_warning."""


class ResourceLimits(Options, frozen=True, kw_only=True):
    """Limits on what the checker itself uses."""

    max_concurrent_checks: Count = 50
    """Acts as run.concurrency; the smallest of the numbers that limit checks at once does."""
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
    """When there is a warning."""


class CacheTtl(Options, frozen=True, kw_only=True):
    """How long entries of each category live: run.caches.<category>.ttl."""

    config_cache: Seconds = 300.0
    """Configurations."""
    auth_token_cache: Seconds = 3600.0
    """Credentials."""
    dns_cache: Seconds = 600.0
    """Addresses of names."""
    result_cache: Seconds = 60.0
    """Results of checks; acts as run.max_age, too: a server whose result is younger is not checked again."""


class CacheCategory(Options, frozen=True, kw_only=True):
    """One category of the cache: run.caches.<category>."""

    enabled: bool = True
    """Whether anything is kept."""
    max_size: Count = 200
    """Most entries; acts as size."""


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
    """Whether anything is kept."""
    ttl: CacheTtl = CacheTtl()
    """How long entries live."""
    max_cache_size: Count = 1000
    """Most entries of all categories together; acts as run.caches.size."""
    cleanup_interval: Seconds = 60.0
    """No use here: expired entries are removed at the end of each run."""
    categories: CacheCategories = CacheCategories()
    """Limits by category."""


class BatchProcessing(Options, frozen=True, kw_only=True):
    """Batches of checks."""

    enabled: bool = True
    """Whether checks are dealt in batches; without, one at a time (run.pace.batch_size: 1)."""
    max_batch_size: Count = 10
    """Acts as run.pace.batch_size."""
    batch_timeout: Seconds = 5.0
    """Acts as run.pace.batch_timeout."""
    priority_batching: bool = True
    """Acts as run.pace.by_priority."""
    processing_interval: Seconds = 1.0
    """No use here: checks are dealt as soon as a worker has room."""
    max_concurrent_batches: Count = 5
    """With max_batch_size it acts as run.concurrency; the smallest of the numbers that limit checks at once does."""


class ExecutionTimeouts(Options, frozen=True, kw_only=True):
    """Time limits of checks and batches."""

    health_check: TimeLimit = 30.0
    """Acts as timeout of every probe."""
    batch_processing: Seconds = 60.0
    """No use here: every probe has its own timeout."""


class ExecutionRetry(Options, frozen=True, kw_only=True):
    """Acts as retry of every probe."""

    max_attempts: Count = 3
    """Attempts in all."""
    backoff_factor: Annotated[float, Within(ge=1)] = 2.0
    """Each wait is this many times the one before."""
    max_backoff: Seconds = 30.0
    """No wait is longer than this."""


class ConcurrentExecution(Options, frozen=True, kw_only=True):
    """Checks at once."""

    default_max_concurrent: Count = 20
    """Acts as run.concurrency; the smallest of the numbers that limit checks at once does."""
    per_server_limits: Mapping[str, Count] = field(default_factory=dict)
    """Server -> probes of it at once; acts as at_once of that server."""
    timeouts: ExecutionTimeouts = ExecutionTimeouts()
    """Time limits."""
    retry: ExecutionRetry = ExecutionRetry()
    """Repetition of failed attempts."""


class AlertThresholds(Options, frozen=True, kw_only=True):
    """When there is an alert; they act as run.alerts."""

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
    """Whether there are any."""
    thresholds: AlertThresholds = AlertThresholds()
    """When there is one."""


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
    """Whether metrics are collected; off keeps none (run.measures: []) and alerts of none."""
    collection_interval: Seconds = 10.0
    """How often; acts as run.alerts.interval."""
    retention_period: Seconds = 3600.0
    """How long they are kept; acts as history.measures."""
    detailed_metrics: bool = True
    """Whether the figures of single workers are kept besides the sums."""
    metrics: tuple[Metric, ...] = _METRICS
    """Which ones; acts as run.measures, and there are alerts of these only."""
    alerts: MonitoringAlerts = MonitoringAlerts()
    """Alerts on them."""


class PerformanceOptimization(Options, frozen=True, kw_only=True):
    """The performance block of a legacy configuration."""

    connection_pools: ConnectionPools = ConnectionPools()
    """Connections."""
    resource_limits: ResourceLimits = ResourceLimits()
    """Limits on what the checker itself uses."""
    caching: Caching = Caching()
    """What is remembered between checks."""
    batch_processing: BatchProcessing = BatchProcessing()
    """Batches of checks."""
    concurrent_execution: ConcurrentExecution = ConcurrentExecution()
    """Checks at once, their time limits and retries."""
    monitoring: Monitoring = Monitoring()
    """The checker's own metrics."""


class BenchmarkDefaults(Options, frozen=True, kw_only=True):
    """How long a benchmark runs."""

    duration_seconds: Seconds = 60.0
    """Time that is measured."""
    warmup_duration: Seconds = 10.0
    """Time before it, which is not."""
    cooldown_duration: Seconds = 5.0
    """Time after it, which is not."""
    iterations: Count = 3
    """How often it is repeated."""


class LegacyScenario(Options, frozen=True, kw_only=True):
    """One load scenario."""

    concurrent_users: Count
    """Checks at once."""
    duration_seconds: Seconds
    """Time in all."""
    ramp_up_seconds: Seconds = 0.0
    """Time in which the users arrive."""


class Charts(Options, frozen=True, kw_only=True):
    """Charts of a benchmark's report."""

    enabled: bool = True
    """Whether there are any."""
    formats: tuple[Literal["png", "svg"], ...] = ("png", "svg")
    """Files to write."""


class BenchmarkReports(Options, frozen=True, kw_only=True):
    """What a benchmark's report holds."""

    enabled: bool = True
    """Whether there is one."""
    include_charts: bool = True
    """Whether it shows the charts."""
    include_recommendations: bool = True
    """Whether it says what to change."""


class BenchmarkOutput(Options, frozen=True, kw_only=True):
    """Where a benchmark's results go."""

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
    """How long a benchmark runs."""
    concurrent_users: tuple[Count, ...] = (1, 5, 10, 20, 50, 100)
    """Numbers of checks at once to measure with."""
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
    """Where results go."""
