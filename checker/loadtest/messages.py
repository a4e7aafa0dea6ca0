"""Messages between a load test's parent and its workers: plays and their schedule, samples and health.

A sample is not binned where it is taken: binning blocks the worker's event loop for milliseconds, which is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import field

from checker.loadtest.arrivals import LevelSpan
from checker.loadtest.plan import Arrivals, Model, Operation
from checker.messages import Bye, Library
from checker.model import Server
from checker.structs import Record

ECHO = "(echo)"
"""The server for calibration of the load generator: it takes part only where it is named, and no limit applies to
it."""


class Position(Record, frozen=True, kw_only=True):
    """One worker among others."""

    worker: int
    workers: int
    max_connections: int
    """Simultaneous connections to one host, over all workers."""
    max_rate: float
    """Operations per second, over all workers."""
    per_host: float | None
    """The same to one host; None for no further limit."""
    seed: int
    log_level: int = 50


class Part(Record, frozen=True, kw_only=True):
    """One scenario to play; every worker takes its share of the load."""

    name: str
    operation: Operation
    model: Model
    arrivals: Arrivals
    think_s: float
    timeout_s: float
    max_in_flight: int
    """Over all workers."""
    servers: tuple[str, ...]
    """In the order in which they take turns."""
    series: Mapping[str, int]
    """Server -> number of its series."""
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Begin(Record, frozen=True, tag=True):
    """The first message to a worker."""

    position: Position
    servers: tuple[Server, ...]
    addresses: Mapping[str, tuple[str, ...]]
    """Host -> the allowed addresses: the workers connect to no others."""
    libraries: tuple[Library, ...] = ()
    """What to load before the first play."""


class Ready(Record, frozen=True, tag=True):
    """The answer: everything is loaded, and a play may begin."""


class PlayRequest(Record, frozen=True, tag=True):
    """Scenarios to play side by side."""

    number: int
    epoch_ns: int
    parts: tuple[Part, ...]
    spans: Mapping[str, Sequence[LevelSpan]]
    """Scenario -> its level spans, in seconds from the epoch."""


class Replan(Record, frozen=True, tag=True):
    """A new plan for the rest of the play."""

    spans: Mapping[str, Sequence[LevelSpan]]


class SampleBatch(Record, frozen=True, tag=True, kw_only=True):
    """Events in a worker, as rows of 64-bit numbers (`checker.loadtest.messages`)."""

    samples: bytes
    arrivals: bytes
    phases: bytes
    stretches: bytes
    """Periods in nanoseconds in which the event loop did not poll, one after the other."""
    new_reasons: tuple[str, ...]
    new_phases: tuple[str, ...]
    """Names that this worker numbers next."""


class Health(Record, frozen=True, tag=True, kw_only=True):
    """The report of a worker on itself about once a second (`checker.loadtest.results.WorkerSecond`)."""

    at_ns: int
    """Start of the period, of `time.monotonic_ns`."""
    cpu_ratio: float
    busy_ratio: float
    cpu_s: float
    """Since the start of the process."""
    gc_us: int
    in_flight: int
    backlog: int
    ports: int
    descriptors: int
    memory_bytes: int
    starved_us: int


class PlayDone(Record, frozen=True, tag=True):
    """A play is over."""

    number: int


FromParent: TypeAlias = Begin | PlayRequest | Replan | Bye
FromWorker: TypeAlias = Ready | SampleBatch | Health | PlayDone | Bye

STAGES = 100_000
"""A key is ``series * STAGES + stage``, so that one number identifies what a sample belongs to."""
SAMPLE = 7
"""Numbers of a sample: key, code, intended, sent, first byte, done, received bytes. Times are nanoseconds of
`time.monotonic_ns`, which all processes of a machine share."""
ARRIVAL = 2
"""Numbers of an arrival: key, intended."""
PHASE = 4
"""Numbers of a phase: key, intended, name (an index into `PHASES` and the worker's later names), nanoseconds."""
REFUSED, WAITED, RESENT, SHIFT = 1, 2, 4, 3
"""A code has three flags, and above them the reason: an index into `REASONS` and the worker's later names."""

OK = ""
DROPPED = "dropped"
"""Never sent: the run ended while it was queued."""
REASONS = (OK, DROPPED)
PHASES = ("connect", "tls")
"""Names known from the start; a worker sends further names before it uses their numbers."""
CENSORED = frozenset({"send_timeout", "first_byte_timeout", "deadline", "connect_timeout"})
"""Reasons that are timeouts: the recorded time is the limit, not the true time."""
