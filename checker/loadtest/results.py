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
    """In progress, or its process was killed."""
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
    """True if it counts in summaries, thresholds and comparisons."""
    from_s: float
    until_s: float
    """Offsets from the epoch; the actual end, if the run was cut short."""
    start_level: float
    end_level: float
    """Arrivals per second over all servers (open), or users (closed)."""
    users: int | None = None
    servers: int | None = None
    block: int | None = None
    """For a suite: the cell, and the number of the block."""


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
    """Arrivals among these that were never sent: the run ended while they were queued."""
    ok: int = 0
    failed: int = 0
    """Failures among these; a timeout is a failure."""
    censored: int = 0
    """Timeouts among the failures, whose time is the limit and not the true time."""
    done_ok: int = 0
    done_failed: int = 0
    connections: int = 0
    """Connections opened for them."""
    received_bytes: int = 0
    refused: int = 0
    """Replies that are 429, 503, or have Retry-After."""
    resent: int = 0
    """Operations with a request that was sent again: the server closed a kept connection before a byte of the reply."""
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
    """A `checker.model.Reason` (http_status followed by the code: ``http_status 500``) -> number of failures."""
    phases_us: Mapping[str, int] = field(default_factory=dict)
    """Stage of the operation (dns, connect, tls, wait, transfer, initialize, list, ...) -> time of all ok ones."""


class WorkerSecond(Record, frozen=True, kw_only=True):
    """The report of a worker on itself for one second."""

    worker: int
    at_s: int
    """Start of the second, from the epoch."""
    cpu_ratio: float
    """Share of one core."""
    busy_ratio: float = 0.0
    """Share of the time in which its event loop did not wait: on a shared machine more than its CPU time."""
    lag_p99_us: int
    """Lateness of its event loop's wake-ups."""
    lag_max_us: int
    late_p99_us: int
    """Lateness of operations that had a free slot."""
    gc_us: int
    """Time in the garbage collector."""
    in_flight: int
    """Most simultaneous operations."""
    backlog: int
    """Most queued arrivals."""
    descriptors: int
    ports: int
    """Connections opened to the busiest host in the last minute: each holds a local port for about that long."""
    memory_bytes: int
    """Resident memory."""
    starved_us: int = 0
    """Time spent waiting for a CPU while ready to run; 0 if the system does not report it."""


class Calibration(Record, frozen=True, kw_only=True):
    """The load generator's own maximum and added latency, measured against a loopback echo just before the run."""

    operation: str
    """rest or mcp."""
    ceiling_per_s: float
    """Operations per second of all workers, limited only by the load generator and the echo."""
    cpu_us: float
    """CPU time of the load generator per operation."""
    noise_p50_us: int
    noise_p99_us: int
    """Response times at a low rate: shorter times cannot be distinguished from the load generator's noise."""


class ThresholdResult(Record, frozen=True, kw_only=True):
    """A threshold and its result."""

    metric: str
    expression: str
    over_s: float | None
    value: float | None
    """The measured value, in the unit of the expression; of windows the worst; None without a measurement."""
    passed: bool
    aborted: bool
    """True if it ended the run."""
    at_s: float | None = None
    """The moment at which it first broke, for windows and aborts."""


class LevelResult(Record, frozen=True, kw_only=True):
    """One level of a stress test, judged."""

    stage: int
    level: float
    good: bool
    why: str
    """The broken part, empty for a good level."""
    offered_per_s: float
    achieved_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    failed_ratio: float
    client_bound: bool = False
    """The load generator was the limit: the level says nothing about the server."""


class Capacity(Record, frozen=True, kw_only=True):
    """The capacity that a stress test found."""

    last_good: float | None
    first_bad: float | None
    """Nothing was tested between the two; None if no level was good, or none bad."""
    knee: float | None
    """The level above which latency grows faster than throughput; None if none was seen."""
    recovery_s: float | None
    """Time after the last bad level until the objective held again; None if it did not, or was not watched."""
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
    """Machine, kernel, cores, Python, libraries, clock, git commit: the environment that makes runs comparable or
    not."""
    series: tuple[Series, ...]
    stages: tuple[StageSpan, ...]
    slots: Sequence[Slot]
    health: Sequence[WorkerSecond]
    calibrations: tuple[Calibration, ...] = ()
    thresholds: tuple[ThresholdResult, ...] = ()
    capacity: Capacity | None = None
    notes: tuple[str, ...] = ()
    """Events during the run that a reader needs to know."""


_NO_LOAD = {"output", "thresholds", "calibrate"}
"""Keys of a plan that change the evaluation of results, not the load on the servers."""


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
    """Bounds of the value without the load generator, in the unit of the threshold; None for an open end."""
    why: str
    """The load generator's effect; continues a sentence after "though" and "because"; empty without an effect."""


class Affected(Record, frozen=True):
    """A percentile of the response time that would differ without the load generator's lateness."""

    series: int
    """Index into `BenchRun.series`."""
    percentile: str
    """p50, p95 or p99."""
    value_us: float
    low_us: float
    """The lower bound of the true value."""
    is_open: bool
    """True if the true value may be higher, too: the server did not get the load."""


class Claims(Record, frozen=True):
    """All claims of a run."""

    thresholds: tuple[Claim, ...] = ()
    """For each threshold of the run, in order; empty if there is nothing to report."""
    numbers: tuple[Affected, ...] = ()
    added_us: int = 0
    """The largest share of the load generator in a response time."""
    is_unmade: bool = False
    """True if the server did not get the load for more than 5% of the measured seconds."""
