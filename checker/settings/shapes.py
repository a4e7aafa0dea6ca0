"""The blocks of our own configuration file: server entries, run options and what is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import field

from checker.addresses import canary
from checker.limits import MEASURES, Alerts, Caches, Keep, Measure, Pace, PoolLimits, ResourceCaps
from checker.maintenance import MaintenanceWindow
from checker.model import Combination, Priority, Server
from checker.probes.options import RemarkVerdict
from checker.settings.legacy_options import Benchmarking, PerformanceOptimization
from checker.structs import Options
from checker.units import Checked, Count, Objective, Seconds, Secret

TOP_KEYS = (
    "servers",
    "defaults",
    "run",
    "history",
    "queries",
    "environments",
    "performance_optimization",
    "benchmarking",
)
ENVIRONMENT_KEYS = tuple(key for key in TOP_KEYS if key != "environments")
"""What an environment may have."""


def _objective_window(seconds: float) -> float:
    if not 86_400 <= seconds <= 366 * 86_400:
        raise ValueError("an objective is promised for 1d to 366d")
    return seconds


class ServerEntry(Options, frozen=True, kw_only=True):
    """One server: a name, at least one probe, and where it belongs."""

    name: str
    """Unique name; it is the key of the history."""
    group: str = ""
    """The one group it belongs to."""
    tags: tuple[str, ...] = ()
    """Free words to select by."""
    priority: Priority = Priority.NORMAL
    """Which servers are dealt first: critical, high, normal or low."""
    objective: Objective | None = None
    """The share of the time that it is to be up; availability reports show the budget that is left."""
    objective_window: Annotated[Seconds, Checked(_objective_window)] | None = None
    """The time that the objective is promised for, up to now; 30d where it is not given."""
    maintenance: tuple[MaintenanceWindow, ...] = ()
    """Times in which its checks are not counted."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Probe kind -> weight in the score; 1 where it is not given."""
    combine: Combination = field(default_factory=Combination)
    """How the probes' statuses become the server's."""
    remarks: RemarkVerdict | None = None
    """Status of a probe that does its work and of which there is a remark: healthy, or degraded; what the probes say
    of themselves goes before."""
    at_once: Count | None = None
    """Probes of this server at the same time; 1 makes them one after the other, by default all go side by side."""


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
    """How a run is made."""

    workers: Count | None = None
    """Worker processes; by default one per core, fewer for a small fleet."""
    concurrency: Count = 500
    """Checks at once over all workers."""
    per_origin: Count = 30
    """Attempts at once at one scheme, host and port, for each probe kind on its own."""
    max_connections: Count | None = None
    """Connections open at once over all workers and probe kinds; by default each kind has its own limit only."""
    processes: Count = 8
    """Programs of stdio servers at once over all workers."""
    token_key: Annotated[Secret, Checked(_token_key)] | None = None
    """Encrypts access tokens, so that they may be kept in the database between runs; without it they are not kept."""
    token_key_file: str | None = None
    """File that holds the key."""
    pace: Pace = field(default_factory=Pace)
    """How the checks are spread over time."""
    pools: Mapping[str, PoolLimits] = field(default_factory=dict)
    """Probe kind -> limits of its connections."""
    caches: Caches = field(default_factory=Caches)
    """What is kept between checks and between runs."""
    max_age: Seconds | None = None
    """A server whose last result is younger than this is not checked again; by default every server is."""
    limits: ResourceCaps = field(default_factory=ResourceCaps)
    """What may be used while new checks are begun."""
    alerts: Alerts = field(default_factory=Alerts)
    """When a run tells that it was slow, that much failed, or that it needed much itself."""
    measures: tuple[Measure, ...] = MEASURES
    """What is kept of what the run measured of itself."""
    canaries: tuple[Annotated[str, Checked(_canary)], ...] = ()
    """Addresses (``host:port`` or http) that are always up, such as a name server and a gateway. Where none of them can
    be reached, failing to connect says nothing about a server: UNKNOWN, own_network."""
    heartbeat_timeout: Annotated[Seconds, Checked(_heartbeat_timeout)] = 15.0
    """A worker that says nothing for this long is replaced."""


class Settings(Options, frozen=True, kw_only=True):
    """A configuration, validated: everything a run needs to know."""

    servers: tuple[Server, ...]
    run: RunOptions = RunOptions()
    history: Keep = field(default_factory=Keep)
    performance: PerformanceOptimization = field(default_factory=PerformanceOptimization)
    benchmarking: Benchmarking = field(default_factory=Benchmarking)
    path: str | None = None
    environment: str | None = None
    warnings: tuple[str, ...] = ()
