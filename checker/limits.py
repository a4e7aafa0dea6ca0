"""Options of a run that workers receive: concurrency limits, cache limits and resource limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from msgspec import field

from checker.addresses import canary
from checker.structs import Options
from checker.units import Bytes, Checked, Count, Percent, PositiveNumber, Seconds, Secret, Within

_DAY_S = 86400.0
_LEAST_WORKER_BYTES = 128 * 1024**2
_LEAST_BYTES = 16 * 1024**2


class PoolLimits(Options, frozen=True, kw_only=True):
    """Connection limits of one probe kind."""

    max_connections: Count = 2000
    """Connections open at once over all workers."""
    per_origin: Count | None = None
    """Concurrent attempts at one scheme, host and port; null takes run.per_origin."""
    keepalive: Seconds = 30.0
    """An idle connection is closed after this time."""
    when_full: Literal["wait", "overflow"] = "wait"
    """Action of an attempt if max_connections are open and none is idle: wait for one, or open one more."""


class CacheLimits(Options, frozen=True, kw_only=True):
    """Limits of one cache category."""

    enabled: bool = True
    """True enables the cache."""
    ttl: Seconds = 3600.0
    """Lifetime of an entry."""
    size: Count = 10_000
    """Maximum number of entries; the least recently used one is removed first."""


class ConfigLimits(CacheLimits, frozen=True, kw_only=True):
    """Limits of the cache of validated configurations."""

    ttl: Seconds = 30 * 86400.0
    """Lifetime of an entry, provided that none of its sources changes."""
    size: Count = 100
    """Maximum number of entries; the least recently used one is removed first."""


class ResultLimits(CacheLimits, frozen=True, kw_only=True):
    """Limits of the cache of check results."""

    size: Count = 100_000
    """Maximum number of entries; the least recently used one is removed first."""


class DnsLimits(Options, frozen=True, kw_only=True):
    """Limits of the cache of host addresses."""

    enabled: bool = True
    """True enables the cache; concurrent lookups of the same host are shared either way."""
    ttl: Seconds = 60.0
    """Lifetime of addresses, plus or minus a tenth."""
    negative_ttl: Seconds = 5.0
    """Time before a name that was not found is looked up again."""
    stale: Seconds = 600.0
    """Time after its expiry in which an entry is still used if the lookup fails."""
    size: Count = 10_000
    """Maximum number of entries; the least recently used one is removed first."""


class Caches(Options, frozen=True, kw_only=True):
    """The caches kept between checks and between runs."""

    config: ConfigLimits = ConfigLimits()
    """Validated configurations: an unchanged file is not parsed again."""
    auth_tokens: CacheLimits = CacheLimits()
    """Access tokens; kept no longer than the lifetime the token states."""
    dns: DnsLimits = DnsLimits()
    """Addresses of host names."""
    results: ResultLimits = ResultLimits()
    """Results of checks, for `check --max-age`."""
    size: Count | None = None
    """Maximum number of entries of all categories together; null sets no limit besides their own."""


def _worker_memory(size: int) -> int:
    if size < _LEAST_WORKER_BYTES:
        raise ValueError("a worker that does nothing takes half of that; write 128MiB or more, or null for no limit")
    return size


class ResourceCaps(Options, frozen=True, kw_only=True):
    """Resource limits for starting checks; while one is exceeded, new checks wait."""

    enabled: bool = True
    """True enables the monitoring of resources."""
    interval: Seconds = 1.0
    """Interval between samples."""
    cpu_percent: Percent | None = None
    """CPU of the checker's own processes, in percent of all cores."""
    memory: Bytes | None = None
    """Resident memory of the checker's own processes."""
    machine_cpu_percent: Percent | None = None
    """CPU of everything on the machine, in percent of all cores."""
    machine_memory_percent: Percent = 95.0
    """Memory in use on the machine, in percent."""
    descriptors_percent: Percent = 90.0
    """File descriptors of a worker, in percent of the number the system allows it."""
    ports_percent: Percent = 90.0
    """Ports of outgoing connections in use, in percent of the range the system takes them from."""
    warn_at_percent: Percent = 80.0
    """Share of a limit at which a warning is raised, if the resource has no threshold of its own below."""
    cpu_warning_percent: Percent | None = None
    """CPU of the checker's own processes, in percent of all cores, at which a warning is raised."""
    memory_warning: Bytes | None = None
    """Resident memory of the checker's own processes at which a warning is raised."""
    queue_warning: Count | None = None
    """Number of waiting checks at which a warning is raised; by default only while no check can begin."""
    queue_size: Count = 100_000
    """Maximum number of waiting checks; those of lowest priority above it are UNKNOWN with resource_limit."""
    queue_wait: Seconds = 300.0
    """Longest time without any room; after it the waiting checks are UNKNOWN with resource_limit."""
    worker_memory: Annotated[Bytes, Checked(_worker_memory)] | None = 512 * 1024**2
    """Resident memory above which a worker is replaced; at twice as much it is killed."""
    lag: Seconds = 0.25
    """Lag of a worker above which a result taken in it is marked suspect."""


class Alerts(Options, frozen=True, kw_only=True):
    """Alert thresholds of a run: each alert is raised once per run, on standard error and in resource_alerts."""

    response_time: Seconds | None = None
    """Mean duration of a check above which an alert is raised."""
    throughput: PositiveNumber | None = None
    """Checks per second below which an alert is raised."""
    error_rate: Annotated[float, Within(ge=0, le=1)] | None = None
    """Share of UNHEALTHY checks above which an alert is raised; UNKNOWN checks do not count."""
    memory: Bytes | None = None
    """Resident memory of the checker's own processes above which an alert is raised."""
    cpu_percent: Percent | None = None
    """CPU of the checker's own processes, in percent of all cores, above which an alert is raised."""
    interval: Seconds = 10.0
    """Interval between evaluations, in addition to one at the end of the run."""


Measure = Literal["workers", "pools", "caches", "resources"]
MEASURES: tuple[Measure, ...] = ("workers", "pools", "caches", "resources")
"""The groups of its own measurements that a run may store."""


class Pace(Options, frozen=True, kw_only=True):
    """The spread of a run's checks over time."""

    adaptive: bool = True
    """Start with few concurrent checks, and add more while the workers keep up; off allows run.concurrency at once."""
    rate_per_origin: PositiveNumber | None = None
    """Attempts per second at one scheme, host and port, for each probe kind separately."""
    jitter: Seconds = 0.02
    """The first attempts at an origin shared by several servers start at random times within this period."""
    batch_size: Count = 50
    """Maximum number of servers assigned to a worker together."""
    by_priority: bool = True
    """Check critical servers first, then those of high priority more often than others; off keeps the file's order."""
    batch_timeout: Seconds = 0.25
    """Results are stored after this time, or once there are 100."""


class Keep(Options, frozen=True, kw_only=True):
    """Retention of the history: its age and its size."""

    raw: Seconds = 30 * 86400.0
    """Every check and probe; full days in UTC."""
    hours: Seconds = 35 * 86400.0
    """Totals of each hour: whole checks and durations; the rest of single probes is kept for three days."""
    days: Seconds = 1825 * 86400.0
    """Totals of each day, and incidents."""
    benchmarks: Seconds = 365 * 86400.0
    """Load tests; baselines stay."""
    measures: Seconds | None = None
    """The runs' own measurements, such as pool_history; null keeps them as long as the run."""
    max_size: Bytes | None = 900 * 1024**2
    """Size of the database above which rows are deleted early, of the largest writer first; null sets none."""
    after_runs: bool = True
    """True applies retention after a run, at most once an hour; `mcp-status db prune` does so at any time."""


def keep_faults(keep: Keep) -> Iterator[tuple[str, str]]:
    """Contradictions between retention options: the key and the value to write instead."""
    if keep.raw < _DAY_S:
        yield "raw", "write 1d or more: rows of today are not dropped"
    if keep.hours < keep.raw + _DAY_S:
        yield "hours", "write at least a day more than raw: days are made of hours"
    if keep.days < keep.hours:
        yield "days", "write at least as much as hours"
    if keep.max_size is not None and keep.max_size < _LEAST_BYTES:
        yield "max_size", "write 16MiB or more, or null for no limit"


def part(whole: int, worker: int, workers: int) -> int:
    """The share of a run-wide limit for a worker, numbered from 0; the shares of all workers add up to the limit."""
    return whole // workers + (worker < whole % workers)


def _heartbeat_timeout(seconds: float) -> float:
    if seconds < 3:
        raise ValueError("workers speak once a second; write 3s or more")
    return seconds


def _canary(text: str) -> str:
    canary(text)
    return text


def _token_key(key: str) -> str:
    if len(key) < 32:
        raise ValueError("too short to be safe; write 32 characters or more, such as `openssl rand -base64 32` prints")
    return key


class RunOptions(Options, frozen=True, kw_only=True):
    """Options of a run."""

    workers: Count | None = None
    """Worker processes; by default one per core, fewer for a small fleet."""
    concurrency: Count = 500
    """Concurrent checks over all workers."""
    per_origin: Count = 30
    """Concurrent attempts at one scheme, host and port, for each probe kind separately."""
    max_connections: Count | None = None
    """Connections open at once over all workers and probe kinds; by default each kind has its own limit only."""
    processes: Count = 8
    """Concurrent programs of stdio servers over all workers."""
    token_key: Annotated[Secret, Checked(_token_key)] | None = None
    """Key that encrypts access tokens, so that they can be stored between runs; without it they are not stored."""
    token_key_file: str | None = None
    """File that holds the key."""
    pace: Pace = field(default_factory=Pace)
    """Spread of the checks over time."""
    pools: Mapping[str, PoolLimits] = field(default_factory=dict)
    """Probe kind -> limits of its connections."""
    caches: Caches = field(default_factory=Caches)
    """Caches between checks and between runs."""
    max_age: Seconds | None = None
    """A server with a last result younger than this is not checked again; by default every server is."""
    limits: ResourceCaps = field(default_factory=ResourceCaps)
    """Resource limits for starting checks."""
    alerts: Alerts = field(default_factory=Alerts)
    """Thresholds for alerts about slowness, failures and the run's own resource use."""
    measures: tuple[Measure, ...] = MEASURES
    """The groups of its own measurements that the run stores."""
    canaries: tuple[Annotated[str, Checked(_canary)], ...] = ()
    """Addresses (``host:port`` or http) that are always up, such as a name server and a gateway. Where none of them can
    be reached, failing to connect says nothing about a server: UNKNOWN, own_network."""
    heartbeat_timeout: Annotated[Seconds, Checked(_heartbeat_timeout)] = 15.0
    """Silence after which a worker is replaced."""

    def attempts_at_origin(self, kind: str) -> int:
        """Concurrent attempts of a probe kind at one origin in the whole run."""
        own = self.pools.get(kind)
        return self.per_origin if own is None or own.per_origin is None else own.per_origin

    @property
    def worker_memory(self) -> int | None:
        """Resident memory at which a worker is replaced; None if memory is not monitored."""
        return self.limits.worker_memory if self.limits.enabled else None


class Limits(RunOptions, frozen=True, kw_only=True):
    """The limits sent to one worker: the options of the run, of which it takes its share, except ``concurrency``."""

    workers: int = 1
    """Number of workers that share the limits."""
    worker: int = 0
    """The worker's number, from 0."""
    log_level: int = 50
    """As in the logging module; workers write to standard error."""

    def shared_by(self, spread_over: int, whole: int) -> int:
        """Share of a limit that is spread over all workers, or all of a limit that this worker has to itself."""
        return whole if spread_over == 1 else part(whole, self.worker, spread_over)
