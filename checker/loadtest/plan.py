"""The plan of a load test: scenarios of operations over servers, in stages, within limits; plain records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import field

from checker.model import Server
from checker.probe_kinds import KIND_OF, OPERATIONS
from checker.probes.http import origin
from checker.structs import Options
from checker.units import Count, OneOf, PositiveNumber, Seconds, Within

Level = Annotated[float, Within(ge=0)]
"""Arrivals per second, or users; 0 for none."""


Operation = Annotated[str, OneOf(OPERATIONS)]
"""The operation of one arrival: a name in `checker.probe_kinds.OPERATIONS`."""


class Model(StrEnum):
    """The source of the next request."""

    OPEN = "open"
    """Arrivals come at a rate, whatever the server does: latency is that of an outside caller."""
    CLOSED = "closed"
    """Users each wait for their reply before the next request: a slow server slows its load (coordinated omission)."""


class Arrivals(StrEnum):
    """The distribution of the open model's arrivals over time."""

    EVEN = "even"
    """Evenly spaced."""
    POISSON = "poisson"
    """At random, like many independent callers."""


class StageKind(StrEnum):
    """The purpose of a stage."""

    WARM_UP = "warm_up"
    RAMP_UP = "ramp_up"
    HOLD = "hold"
    STEP = "step"
    SPIKE = "spike"
    SOAK = "soak"
    RAMP_DOWN = "ramp_down"
    COOL_DOWN = "cool_down"

    @property
    def is_measured(self) -> bool:
        """True if the stage counts in summaries, thresholds and comparisons; the others are shown all the same."""
        return self not in (StageKind.WARM_UP, StageKind.RAMP_UP, StageKind.RAMP_DOWN, StageKind.COOL_DOWN)

    @property
    def is_ramp(self) -> bool:
        """True if the level moves to the target over the duration; otherwise the target is the level from the start."""
        return self in (StageKind.RAMP_UP, StageKind.RAMP_DOWN)


class Stage(Options, frozen=True, kw_only=True):
    """A period and the level at its end, spelled as in k6."""

    duration: Seconds
    """The length of the stage."""
    target: Level
    """Arrivals per second (open), or users (closed), at its end."""
    kind: StageKind | None = None
    """warm_up, ramp_up, hold, step, spike, soak, ramp_down or cool_down. Without it, as in k6: the level moves to the
    target linearly, and a stage that stays at the level before it is a hold."""
    name: str = ""
    """The name in reports; by default its kind and number."""


class Scenario(Options, frozen=True, kw_only=True):
    """One operation over some servers, in stages."""

    operation: Operation
    """The operation of one arrival."""
    model: Model = Model.OPEN
    """open: targets are arrivals per second over all servers. closed: targets are users."""
    stages: tuple[Stage, ...] = ()
    """One after the other."""
    start_after: Seconds = 0.0
    """Time before the first stage begins."""
    servers: tuple[str, ...] = ()
    """Names of servers of the plan; empty for all that support the operation."""
    arrivals: Arrivals = Arrivals.EVEN
    """even or poisson."""
    think_time: Seconds = 0.0
    """Closed model: a user's pause between a reply and the next request."""
    timeout: Seconds = 10.0
    """Longest time for one operation, from when it is sent; a longer one is a failure (timeout)."""
    max_in_flight: Count = 1000
    """Simultaneous operations, over all servers and workers; further arrivals are queued, and the wait counts as
    latency."""
    tool: str = ""
    """mcp_call: the tool to call. Nothing else is ever called."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """mcp_call: its arguments."""


class Threshold(Options, frozen=True, kw_only=True):
    """A condition on a metric, in k6's spelling, that decides whether the run passes."""

    metric: str
    """response_time, service_time, first_byte, late, failed, timeouts, refused, resent, offered, achieved, ok; followed
    by {scenario:x,server:y,operation:z,stage:w} to select a part."""
    expression: str
    """Such as ``p(95)<500``, ``avg<200``, ``max<2000``, ``rate<0.01``, ``count>100``; times are milliseconds."""
    over: Seconds | None = None
    """Must hold in every window of this length; None over all measured stages."""
    abort: bool = False
    """True ends the run when the threshold is broken."""
    delay: Seconds = 0.0
    """No abort before this much time has passed."""


class LoadLimits(Options, frozen=True, kw_only=True):
    """Limits that a run never exceeds, whatever its stages say."""

    max_rate: PositiveNumber = 50_000.0
    """Operations per second over the whole run."""
    max_total: Count = 50_000_000
    """Operations in all; the run ends there."""
    per_host: PositiveNumber | None = None
    """Operations per second to one host; None for no further limit."""
    max_connections: Count = 2_000
    """Simultaneous connections to one host."""
    refusals: Annotated[float, Within(gt=0, le=1)] = 0.5
    """The run stops when this share of the replies of a window are 429 or 503, or carry Retry-After."""
    refusals_over: Seconds = 5.0
    """The length of the window."""


class Suite(Options, frozen=True, kw_only=True):
    """A grid of concurrent users and server counts, each cell measured in several blocks, in interleaved order."""

    operation: Operation = "rest"
    """The operation of every user."""
    concurrent_users: tuple[Count, ...] = (1, 5, 10, 20, 50, 100)
    """Numbers of users, closed model."""
    server_counts: tuple[Count, ...] = (1,)
    """Numbers of servers, taken from the start of the plan's list."""
    blocks: Count = 5
    """Minimum number of blocks of each cell; at least five are needed for a comparison."""
    max_blocks: Count = 10
    """Maximum number of blocks of a cell."""
    block_duration: Seconds = 10.0
    """Measured time of a block."""
    warm_up: Seconds = 1.0
    """Time before each block, at the block's own level, which is not measured."""
    precision: Annotated[float, Within(gt=0, le=1)] = 0.05
    """A cell is done early when the 95% interval of its median p95 is within this share of it, or within 0.5 ms."""
    budget: Seconds = 3600.0
    """All blocks together end after this time."""
    tool: str = ""
    """mcp_call: the tool to call."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """mcp_call: its arguments."""


class Stress(Options, frozen=True, kw_only=True):
    """Load that is raised until the objective breaks, then narrowed down between the last good and first bad level."""

    operation: Operation = "rest"
    """The operation of every arrival."""
    model: Model = Model.OPEN
    """open: levels are arrivals per second. closed: levels are users."""
    start: PositiveNumber = 50.0
    """The first level."""
    factor: Annotated[float, Within(gt=1)] = 2.0
    """Each further level is this many times the one before, until one is bad."""
    maximum: PositiveNumber = 20_000.0
    """The highest level allowed."""
    level_duration: Seconds = 10.0
    """Measured time of a level."""
    precision: Annotated[float, Within(gt=0, lt=1)] = 0.1
    """Narrowing down ends when first bad and last good level are closer than this share of the last good."""
    p99: Seconds = 0.5
    """Objective: p99 of the response time is below this."""
    failed: Annotated[float, Within(ge=0, le=1)] = 0.01
    """Objective: a smaller share fails."""
    achieved: Annotated[float, Within(gt=0, le=1)] = 0.98
    """Objective: at least this share of the offered rate is achieved."""
    recovery: Seconds = 30.0
    """After the last bad level: longest time to wait, at the first level, for the objective to hold again."""
    servers: tuple[str, ...] = ()
    """Names of servers; empty for all that support the operation."""
    timeout: Seconds = 10.0
    """Time limit of one operation."""
    tool: str = ""
    """mcp_call: the tool to call."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """mcp_call: its arguments."""


class Output(Options, frozen=True, kw_only=True):
    """The files that a run writes, in addition to the stored history."""

    directory: str | None = None
    """Folder of the files, relative to the working directory; without it only files requested on the command line are
    written."""
    formats: tuple[Literal["html", "json", "csv", "junit", "markdown", "hgrm", "prometheus"], ...] = ("html", "json")
    """Files to write into it."""
    charts: tuple[Literal["png", "svg"], ...] = ()
    """Formats of charts to write beside them."""
    include_charts: bool = True
    """True shows charts in the HTML report."""
    include_recommendations: bool = True
    """True shows recommendations in the HTML report."""


class Plan(Options, frozen=True, kw_only=True):
    """One load test: scenarios side by side, or a suite, or a stress test."""

    name: str
    servers: tuple[Server, ...]
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    suite: Suite | None = None
    stress: Stress | None = None
    thresholds: tuple[Threshold, ...] = ()
    limits: LoadLimits = LoadLimits()
    workers: int | None = None
    """Worker processes; None for one, and more if the planned rate needs them and the machine has the cores."""
    seed: int = 1
    """Seed of random arrivals and of the order of blocks."""
    calibrate: bool = True
    """True measures the load generator against a loopback echo first."""
    output: Output = Output()
    public_hosts: tuple[str, ...] = ()
    """Hosts with public addresses that may be put under load: from the command line only, never from a file."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The plan as written, without secrets: stored with the run, so that it can be run again."""
    path: str | None = None
    warnings: tuple[str, ...] = ()


def probe_kind(operation: Operation) -> str:
    """The kind of probe whose options configure access to a server for this operation."""
    return KIND_OF[operation]


def options_of(server: Server, operation: Operation) -> Any | None:
    """The options of the server's probe for the operation; None if the server has no address for it.

    A server that is started by a command has none: load goes to shared servers only.
    """
    options = server.probes.get(probe_kind(operation))
    return options if options is not None and options.url else None


def targets(servers: Sequence[Server], operation: Operation, names: Sequence[str] = ()) -> tuple[Server, ...]:
    """The named servers, by default all, that have an address for the operation, in the plan's order."""
    return tuple(
        server
        for server in servers
        if (not names or server.name in names) and options_of(server, operation) is not None
    )


def host_of(server: Server, operation: Operation) -> str:
    """The host that the operation, or its proxy, connects to, in lower case, without a trailing dot."""
    options = options_of(server, operation)
    return plain_host(origin(options.url)[1]) if options is not None else ""


def plain_host(host: str) -> str:
    """A host in the form used for comparison: without brackets, in lower case, without a trailing dot."""
    return host.strip().removeprefix("[").removesuffix("]").lower().rstrip(".")
