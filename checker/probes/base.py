"""What a probe kind is, and what it may ask of the transport it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from checker.model import McpFacts, Reason, Status, ToolSnapshot


class ProbeFailure(Exception):
    """An attempt that cannot go on: the fact, not yet the verdict."""

    def __init__(self, reason: Reason, detail: str, stage: str | None = None) -> None:
        super().__init__(reason, detail, stage)
        self.reason, self.detail, self.stage = reason, detail, stage


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP exchange to make."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    redirected: bool = False
    """The address came from a server, not from the config: it may not lead from a public host to a private one."""


class Reply(Protocol):
    """The head of an HTTP response whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names are looked up without regard to case; a repeated header is joined with ", "."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Decoded body bytes as they arrive; raises ProbeFailure past the size limit or on a broken body."""
        ...

    def read(self) -> bytes:
        """The whole decoded body; the connection goes back to its pool."""
        ...

    def release(self) -> None:
        """Give up the rest of the body: a stream that ends at once keeps its connection, another loses it."""
        ...


class Background(Protocol):
    """Work that goes on although the attempt may end."""

    def wait(self) -> Any:
        """The work's return value; raises what it raised."""
        ...


class Transport(Protocol):
    """What a probe is given to reach its server, for one attempt."""

    def send(self, request: Request) -> Reply:
        """Send the request and read the reply's head; raises ProbeFailure with the stage it broke in."""
        ...

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Add the time spent inside, less the time spent connecting, to a stage; failures inside carry its name."""
        ...

    def in_background(self, work: Callable[[Transport], Any]) -> Background:
        """Start work that may outlive this attempt's deadline, within the worker's own grace time."""
        ...


@dataclass(slots=True, kw_only=True)
class Observation:
    """The facts of one attempt, filled in while it goes on, so that a failure keeps what was seen before it."""

    failure: ProbeFailure | None = None
    duration_us: int = 0
    http_status: int | None = None
    auth_metadata_url: str | None = None
    retry_after_s: int | None = None
    redirects: int | None = None
    sessions_opened: int | None = None
    sessions_closed: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    mcp: McpFacts | None = None
    snapshot: ToolSnapshot | None = None
    remember: dict[str, str] = field(default_factory=dict)
    """Cache category -> value to keep for this endpoint."""
    complaints: list[Complaint] = field(default_factory=list)
    """What is wrong with a server that did answer; the worst decides."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A condition that does not hold, and how bad that is."""

    status: Status
    reason: Reason
    detail: str
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeKind:
    """A kind of probe: its options, how to make one attempt, and how to judge what came back."""

    options: type[Any]
    """Frozen dataclass; its fields are the keys of the kind's YAML block."""
    attempt: Callable[[Any, Transport, Observation, Mapping[str, str]], None]
    """Options, transport, the observation to fill in, what is remembered of this endpoint."""
    judge: Callable[[Any, Observation], list[Complaint]]
    """Conditions that do not hold; called only when the attempt succeeded. Pure; may raise ProbeFailure."""
    faults: Callable[[Any], Iterator[tuple[tuple[str, ...], str]]]
    """Contradictions in the options: the keys below the kind's block, and what to say about them."""
