"""The messages exchanged between a run and its workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct, field

from checker.limits import Limits
from checker.metrics import WorkerReport
from checker.model import Batch, Server
from checker.result_rows import RowBatch
from checker.structs import Record


class Hello(Struct, frozen=True, tag_field="op", tag="hello"):
    """The first frame of any worker. Its form never changes, so that every version can be recognised by it."""

    pid: int
    protocol: int
    """`checker.wire.PROTOCOL`."""


class Task(Record, frozen=True, kw_only=True):
    """A server to check, with the remembered facts about its endpoints."""

    server: Server
    memory: Mapping[str, Mapping[str, str]]
    """Probe kind -> cache category -> value."""
    tries: int = 1
    share: int = 1
    """Number of workers that the servers of its origin are spread over."""
    skip: Mapping[str, str] = field(default_factory=dict)
    """Probe kind -> reason why its circuit breaker skips it."""
    number: int = 0
    """Number under which its start is reported to the parent."""


class SentFunction(Record, frozen=True, tag=True):
    """A check function that a program has registered, on its way to a worker."""

    kind: str
    pickled: bytes
    """By cloudpickle: what no worker could import, such as a function of a notebook, is in it as a whole."""
    paths: tuple[str, ...]
    """Folders from which the program imports."""


Library: TypeAlias = str | SentFunction
"""The name of a module, or a function of the program's own."""


class Start(Record, frozen=True, tag=True):
    """Options sent to a worker before it gets any tasks."""

    limits: Limits
    libraries: tuple[Library, ...]
    """What to load before the first check."""
    begun: int
    """The descriptor of `checker.processes.started_tasks`."""


class LoadLibraries(Record, frozen=True, tag=True):
    """What a worker that has done checks needs for others."""

    libraries: tuple[Library, ...]
    """What to load before they begin."""


class Rest(Record, frozen=True, tag=True):
    """A question for the totals up to now; until there is more to check, the worker keeps what it has open."""


class Rested(Record, frozen=True, tag=True):
    """The answer, behind the report with the totals."""


class Run(Record, frozen=True, tag=True):
    """More tasks."""

    tasks: tuple[Task, ...]


class AlikeTasks(Record, frozen=True, kw_only=True, tag=True):
    """More tasks: servers that have the same options, but for names and addresses. Each value is for one server."""

    shape: int
    like: Server | None
    """A server with these options, if the worker has none of that shape yet."""
    share: int
    names: tuple[str, ...]
    urls: tuple[str, ...]
    """Those of the first server, one for each of its probes, then those of the second, and so on."""
    memories: tuple[Mapping[str, Mapping[str, str]], ...]
    numbers: tuple[int, ...]


class Gate(Record, frozen=True, tag=True):
    """Permission to start checks, or its withdrawal."""

    is_open: bool


class Drop(Record, frozen=True, tag=True):
    """An order to discard tasks that have not begun."""

    detail: str


class Stop(Record, frozen=True, tag=True):
    """Notice that no more tasks will come."""

    cancel: bool
    """Give up checks in progress, too."""
    within_s: float = 0


class Beat(Record, frozen=True, tag=True):
    """A sign of life from a worker that has not started yet."""


class Bye(Record, frozen=True, tag=True):
    """The last message of a worker."""


FromParent: TypeAlias = Start | LoadLibraries | Run | AlikeTasks | Gate | Drop | Rest | Stop
FromWorker: TypeAlias = Beat | RowBatch | Batch | WorkerReport | Rested | Bye


class Job(Record, frozen=True):
    """A large piece of work (`checker.probes.offloaded_jobs`), from a worker to the process that does it."""

    name: str
    args: tuple[Any, ...]
    cpu_s: float
    """CPU time after which the system ends the process."""
    secrets: tuple[str, ...]
    """The secrets to mask in it."""


class JobDone(Record, frozen=True):
    """The outcome of a job."""

    value: Any = None
    fault: str | None = None
    """The reason why there is no value."""
