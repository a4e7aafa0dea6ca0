"""The blocks of our own configuration file: server entries, and the settings made from the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import field

from checker.limits import Keep, RunOptions
from checker.maintenance_windows import MaintenanceWindow
from checker.model import Combination, Priority, Server
from checker.probes.options import RemarkVerdict
from checker.settings.legacy_options import Benchmarking, PerformanceOptimization
from checker.structs import Options
from checker.units import Checked, Count, Objective, Seconds

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
"""The keys that an environment may have."""


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
    """Free words for selection."""
    priority: Priority = Priority.NORMAL
    """Priority in the queue: critical, high, normal or low."""
    objective: Objective | None = None
    """Share of time that the server is expected to be up; availability reports show the error budget left."""
    objective_window: Annotated[Seconds, Checked(_objective_window)] | None = None
    """Window of the objective, up to now; 30d by default."""
    maintenance: tuple[MaintenanceWindow, ...] = ()
    """Times in which its checks are not counted."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Probe kind -> weight in the score; 1 by default."""
    combine: Combination = field(default_factory=Combination)
    """Rule that combines the probes' statuses into the server's."""
    remarks: RemarkVerdict | None = None
    """Status of a probe that succeeds but has a remark: healthy, or degraded; a probe's own setting overrides it."""
    at_once: Count | None = None
    """Concurrent probes of this server; 1 runs them one after the other, by default all run at the same time."""


class Settings(Options, frozen=True, kw_only=True):
    """A validated configuration: everything a run needs to know."""

    servers: tuple[Server, ...]
    run: RunOptions = RunOptions()
    history: Keep = field(default_factory=Keep)
    performance: PerformanceOptimization = field(default_factory=PerformanceOptimization)
    benchmarking: Benchmarking = field(default_factory=Benchmarking)
    path: str | None = None
    environment: str | None = None
    warnings: tuple[str, ...] = ()
