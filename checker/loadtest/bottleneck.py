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
    """Not the client's doing: there was no free place."""


@dataclass(frozen=True, slots=True)
class BoundSpan:
    """A period in which the load generator was the limit."""

    from_s: float
    until_s: float
    """Offsets from the run's epoch."""
    worker: int | None
    """None for all of them together."""
    what: str
    """Goes on from "worker 0" or "the workers": what was the worst of it."""
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
    """p99 of the same client against an echo on loopback."""


class Saturation(Struct, frozen=True):
    """The limits that the load generator set on a run's validity; by default it was never the limit."""

    invalid: bool = False
    """Whether what the run claims cannot be told: a threshold, or without thresholds its headline."""
    reason: str = ""
    """One sentence; also where the run is valid and some of it is marked. Empty where nothing is."""
    spans: tuple[BoundSpan, ...] = ()
    """In the order of time, in unmeasured stages, too."""
    stages: Mapping[int, str] = field(default_factory=dict)
    """Index of each stage that says nothing of the server, and why: the sentence goes on from "worker 0"."""
    bound_s: float = 0.0
    """Of the measured time."""
    measured_s: float = 0.0
    waits: tuple[BoundSpan, ...] = ()
    """When arrivals waited for a free place: the server's slowness or the plan's ``max_in_flight``, not the client."""
    noise: tuple[WithinNoise, ...] = ()
    """Percentiles that cannot be told from what the client adds."""
    limited: bool = False
    """Whether the load generator was the limit for longer than a moment, whatever that did to the claims."""
    unfit: bool = False
    """Whether the figures are the client's own: the run can be no side of a comparison."""
    claims: Claims = field(default_factory=Claims)
    """What the client's lateness leaves of each threshold and number."""


NO_LIMIT = Saturation()
"""Of a client that nobody has judged, or that was fine."""
