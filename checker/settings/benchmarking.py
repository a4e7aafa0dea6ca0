"""The ``benchmarking`` block of a legacy configuration: its keys and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from checker.structs import Options
from checker.units import Count, Seconds


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
