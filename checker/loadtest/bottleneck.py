"""Records that say when the load generator, and not the servers, limited a load test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from msgspec import Struct, field

from checker.loadtest.results import Claims


class Cause(IntEnum):
    """Reasons why the load generator was the limit, the best explanation first: a worker without CPU is late, too."""

    CPU = 0
    GC = 1
    DESCRIPTORS = 2
    PORTS = 3
    SILENT = 4
    LAG = 5
    LATE = 6
    HELD = 7
    WAIT = 8
    """Not caused by the load generator: there was no free slot."""


@dataclass(frozen=True, slots=True)
class BoundSpan:
    """A period in which the load generator was the limit."""

    from_s: float
    until_s: float
    """Offsets from the run's epoch."""
    worker: int | None
    """None for all workers together."""
    what: str
    """The worst value; continues a sentence that begins with "worker 0" or "the workers"."""
    cause: Cause = Cause.HELD


@dataclass(frozen=True, slots=True)
class WithinNoise:
    """A percentile of the response time that lies within the noise of the load generator."""

    series: int
    """Index into `BenchRun.series`."""
    percentile: str
    """p50, p95 or p99."""
    value_us: float
    noise_us: float
    """p99 of the same load generator against a loopback echo."""


class Saturation(Struct, frozen=True):
    """The effect of the load generator's limits on the validity of a run; by default it was never the limit."""

    invalid: bool = False
    """True if the verdict of the run is unknown: a threshold, or without thresholds its headline."""
    reason: str = ""
    """One sentence; also if the run is valid and parts of it are marked. Empty if nothing is marked."""
    spans: tuple[BoundSpan, ...] = ()
    """In order of time, in unmeasured stages, too."""
    stages: Mapping[int, str] = field(default_factory=dict)
    """Index of each stage that says nothing about the server -> the reason, which continues a sentence that begins with
    "worker 0"."""
    bound_s: float = 0.0
    """Seconds of the measured time."""
    measured_s: float = 0.0
    waits: tuple[BoundSpan, ...] = ()
    """Times when arrivals were queued: caused by a slow server or the plan's ``max_in_flight``, not by the load
    generator."""
    noise: tuple[WithinNoise, ...] = ()
    """Percentiles within the noise of the load generator."""
    limited: bool = False
    """True if the load generator was the limit for longer than a moment, whatever the effect on the claims."""
    unfit: bool = False
    """True if the figures are those of the load generator: the run can be no side of a comparison."""
    claims: Claims = field(default_factory=Claims)
    """The effect of the load generator's lateness on each threshold and figure."""


NO_LIMIT = Saturation()
"""For a load generator that was not judged, or was fast enough."""
