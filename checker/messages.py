"""What a run and its workers say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct, field

from checker.limits import Limits
from checker.metrics import WorkerReport
from checker.model import Batch, Server
from checker.structs import Record


class Hello(Struct, frozen=True, tag_field="op", tag="hello"):
    """The first frame of any worker. It has the form that it always had: every version can be told from this one."""

    pid: int
    protocol: int
    """`checker.wire.PROTOCOL`."""


class Task(Record, frozen=True, kw_only=True):
    """A server to check, with what is remembered of its endpoints."""

    server: Server
    memory: Mapping[str, Mapping[str, str]]
    """Probe kind -> cache category -> value."""
    tries: int = 1
    share: int = 1
    """Over how many workers the servers of its origin are spread."""
    skip: Mapping[str, str] = field(default_factory=dict)
    """Probe kind -> why its circuit breaker leaves it out."""
    number: int = 0
    """Under which the parent is told that it has begun."""


class Start(Record, frozen=True, tag=True):
    """What a worker is told before it is dealt anything."""

    limits: Limits
    libraries: tuple[str, ...]
    """To load before the first check."""
    begun: int
    """The descriptor of `checker.processes.started_tasks`."""


class Run(Record, frozen=True, tag=True):
    """More to check."""

    tasks: tuple[Task, ...]


class Gate(Record, frozen=True, tag=True):
    """Whether checks may be begun."""

    is_open: bool


class Drop(Record, frozen=True, tag=True):
    """What has not begun is given up."""

    detail: str


class Stop(Record, frozen=True, tag=True):
    """Nothing more is coming."""

    cancel: bool
    """Give up what is under way, too."""
    within_s: float = 0


class Beat(Record, frozen=True, tag=True):
    """A worker that has not started yet is alive."""


class Bye(Record, frozen=True, tag=True):
    """All is said."""


FromParent: TypeAlias = Start | Run | Gate | Drop | Stop
FromWorker: TypeAlias = Beat | Batch | WorkerReport | Bye


class Job(Record, frozen=True):
    """Large work (`checker.probes.offloaded_jobs`), from a worker to the process that does it."""

    name: str
    args: tuple[Any, ...]
    cpu_s: float
    """CPU time after which the system ends the process."""
    secrets: tuple[str, ...]
    """What is masked in it."""


class JobDone(Record, frozen=True):
    """What came of a job."""

    value: Any = None
    fault: str | None = None
    """Why there is no value."""
