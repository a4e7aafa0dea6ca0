"""The results of a load test: plain records, made by the parent of the workers, stored, read back and reported.

Times of a run are offsets from its epoch, the moment at which its first stage began. Histograms are packed as
`checker.stats.histogram` defines (2% bins of microseconds), so that they are added, never averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import field

from checker.structs import Record


class BenchKind(StrEnum):
    """The form of a load test."""

    LOAD = "load"
    """Stages of scenarios."""
    SUITE = "suite"
    """Blocks of the cells of a grid; each block is a stage."""
    STRESS = "stress"
    """Levels raised and narrowed down; each level is a stage."""


class BenchState(StrEnum):
    """The state of a run: in progress, or how it ended."""

    RUNNING = "running"
    """Or its process was killed."""
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    """By Ctrl-C, after ramping down."""
    ABORTED = "aborted"
    """By a threshold, a storm of refusals, or a limit; the notes say which."""


class Series(Record, frozen=True, kw_only=True):
    """The unit that is measured separately: an operation of a scenario at a server."""

    scenario: str
    operation: str
    model: str
    """open or closed."""
    server: str
    url: str
    """As it may be shown."""


class StageSpan(Record, frozen=True, kw_only=True):
    """A stage as it ran."""

    scenario: str
    name: str
    kind: str
    """A value of `checker.loadtest.plan.StageKind`."""
    measured: bool
    """Whether it counts in summaries, thresholds and comparisons."""
    from_s: float
    until_s: float
    """Offsets from the epoch; the end it came to, where the run was cut short."""
    start_level: float
    end_level: float
    """Arrivals per second over all servers (open), or users (closed)."""
    users: int | None = None
    servers: int | None = None
    block: int | None = None
    """Of a suite: the cell, and which of its blocks."""


class Slot(Record, frozen=True, kw_only=True):
    """One series in one stage and one slot of time. All slots of a key may be added together.

    A sample belongs to the slot in which it was scheduled to begin: a late one counts where it was due. Only
    ``done_ok`` and ``done_failed`` count operations that ended within the slot.
    """

    series: int
    """Index into `BenchRun.series`."""
    stage: int
    """Index into `BenchRun.stages`."""
    at_s: int
    """Start of the slot, in seconds from the epoch; it is `BenchRun.slot_s` wide."""
    offered: int = 0
    """Arrivals due in it; in the closed model, requests begun."""
    dropped: int = 0
    """Of these never sent: the run ended while they waited for a free place."""
    ok: int = 0
    failed: int = 0
    """Of these; a timeout is a failure."""
    censored: int = 0
    """Of the failed: timeouts, whose time is the limit and not what they would have taken."""
    done_ok: int = 0
    done_failed: int = 0
    connections: int = 0
    """Opened for them."""
    received_bytes: int = 0
    refused: int = 0
    """Of all replies: 429, 503, or any with Retry-After."""
    resent: int = 0
    """Operations of which a request was sent again: the server ended a kept connection before a byte of the reply."""
    max_us: int = 0
    """Longest response time of the ok ones, exact."""
    response: bytes = b""
    """Histogram of the ok ones, from intended to done: the headline."""
    service: bytes = b""
    """Of the ok ones, from sent to done."""
    first_byte: bytes = b""
    """Of the ok ones, from sent to the first byte of the answer."""
    late: bytes = b""
    """Of all that were sent, from intended to sent."""
    failed_response: bytes = b""
    """Of the failed ones, from intended to the end."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why: a `checker.model.Reason` (http_status with the code behind it: ``http_status 500``) -> how many failed."""
    phases_us: Mapping[str, int] = field(default_factory=dict)
    """Stage of the operation (dns, connect, tls, wait, transfer, initialize, list, ...) -> time of all ok ones."""


class WorkerSecond(Record, frozen=True, kw_only=True):
    """The report of a worker on itself for one second."""

    worker: int
    at_s: int
    """Start of the second, from the epoch."""
    cpu_ratio: float
    """Of one core."""
    busy_ratio: float = 0.0
    """Share of the time for which its loop did not wait for anything: on a shared machine more than its CPU time."""
    lag_p99_us: int
    """How late its loop woke up."""
    lag_max_us: int
    late_p99_us: int
    """How late operations were begun although a place was free."""
    gc_us: int
    """Time in the cycle collector."""
    in_flight: int
    """Most operations at once."""
    backlog: int
    """Most arrivals that waited for a place."""
    descriptors: int
    ports: int
    """Connections opened to the busiest host in the last minute: each holds a local port for about that long."""
    memory_bytes: int
    """Resident."""
    starved_us: int = 0
    """Time for which it was ready to run and others had the CPU; 0 where the system does not say it."""


class Calibration(Record, frozen=True, kw_only=True):
    """The load generator's own maximum and added latency, measured against a loopback echo just before the run."""

    operation: str
    """rest or mcp."""
    ceiling_per_s: float
    """Operations per second of all workers, none of them waiting for more than the echo."""
    cpu_us: float
    """CPU time of the load generator per operation."""
    noise_p50_us: int
    noise_p99_us: int
    """Response times at a low rate: nothing shorter can be told from the client's own noise."""


class ThresholdResult(Record, frozen=True, kw_only=True):
    """A threshold and its result."""

    metric: str
    expression: str
    over_s: float | None
    value: float | None
    """What was measured, in the unit of the expression; of windows the worst; None where there was nothing."""
    passed: bool
    aborted: bool
    """Whether it ended the run."""
    at_s: float | None = None
    """When it was broken first, for windows and aborts."""


class LevelResult(Record, frozen=True, kw_only=True):
    """One level of a stress test, judged."""

    stage: int
    level: float
    good: bool
    why: str
    """What broke, empty for a good one."""
    offered_per_s: float
    achieved_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    failed_ratio: float
    client_bound: bool = False
    """The client was the limit: it says nothing of the server."""


class Capacity(Record, frozen=True, kw_only=True):
    """The capacity that a stress test found."""

    last_good: float | None
    first_bad: float | None
    """Between the two nothing was tested; None where no level was good, or none bad."""
    knee: float | None
    """The level from which on latency grows faster than what is achieved; None where none was seen."""
    recovery_s: float | None
    """Time after the last bad level until the objective held again; None where it did not, or was not watched."""
    levels: tuple[LevelResult, ...]
    usl: Mapping[str, float] | None = None
    """Universal scalability law, closed model: lambda, sigma, kappa, r_squared, peak_users, peak_per_s."""


class BenchRun(Record, frozen=True, kw_only=True):
    """A complete load test."""

    id: int | None
    name: str
    kind: BenchKind
    state: BenchState
    started_at_ms: int
    """Wall clock at the epoch, Unix UTC."""
    finished_at_ms: int | None
    checker_version: str
    plan: Mapping[str, Any]
    """`checker.loadtest.plan.Plan.source`: JSON values."""
    plan_digest: str
    """`plan_digest` of it."""
    seed: int
    workers: int
    slot_s: int
    """Width of a slot: 1, and 10 for runs of more than an hour."""
    environment: Mapping[str, str]
    """Machine, kernel, cores, Python, libraries, clock, git commit: what makes two runs comparable or not."""
    series: tuple[Series, ...]
    stages: tuple[StageSpan, ...]
    slots: Sequence[Slot]
    health: Sequence[WorkerSecond]
    calibrations: tuple[Calibration, ...] = ()
    thresholds: tuple[ThresholdResult, ...] = ()
    capacity: Capacity | None = None
    notes: tuple[str, ...] = ()
    """What happened on the way that a reader must know."""


_NO_LOAD = {"output", "thresholds", "calibrate"}
"""Keys of a plan that change what is made of the results, not what is done to the servers."""


def plan_digest(source: Mapping[str, Any]) -> str:
    """SHA-256 of the parts of a stored plan that affect the servers: equal loads have equal digests."""
    import hashlib

    import orjson

    load = {key: value for key, value in source.items() if key not in _NO_LOAD}
    return hashlib.sha256(orjson.dumps(load, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Told(StrEnum):
    """The verdict on a threshold."""

    PASSED = "passed"
    FAILED = "failed"
    CANNOT_TELL = "cannot tell"


class Claim(Record, frozen=True):
    """A threshold of a run whose load generator was late, or noisier than the threshold allows."""

    told: Told
    low: float | None
    high: float | None
    """Between which two the value lies without the client, in the unit of the threshold; None where it has no end."""
    why: str
    """What the client did to it; goes on from "though" and "because"; empty where it did nothing."""


class Affected(Record, frozen=True):
    """A percentile of the response time that would differ without the load generator's lateness."""

    series: int
    """Index into `BenchRun.series`."""
    percentile: str
    """p50, p95 or p99."""
    value_us: float
    low_us: float
    """It may have been as short as this."""
    is_open: bool
    """Whether it may have been longer, too: the server did not get the load."""


class Claims(Record, frozen=True):
    """All claims of a run."""

    thresholds: tuple[Claim, ...] = ()
    """Of each threshold of the run, in their order; none where nothing is to be said."""
    numbers: tuple[Affected, ...] = ()
    added_us: int = 0
    """The most that a response time contains of the client's own."""
    is_unmade: bool = False
    """Whether the server did not get the load for more than 5% of the measured seconds."""
