"""The interface of a probe kind, and of the transport that it gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import Struct, field

from checker.model import ContractSnapshot, McpFacts, Reason, RemarkName, Status
from checker.probes.bodies import values_outside_texts
from checker.probes.offload import LARGE_VALUES, values_in
from checker.probes.options import Endpoint
from checker.structs import Record

if TYPE_CHECKING:
    from socket import socket

_USUAL_TOTAL_BYTES = 64 * 1024 * 1024
_BODIES = 4
_SMALL_BYTES = 4096
"""A message below this counts as one value."""


class OwnFault(StrEnum):
    """A fault of the checker's own network that may have caused a failure; it is verified separately."""

    ROUTE = "route"
    """The system reported that there is no route to the address."""
    RESOLVER = "resolver"
    """The lookup got no answer at all, neither an address nor a denial."""
    CLOCK = "clock"
    """A certificate is not valid at this time."""


class ProbeFailure(Exception):
    """An attempt that cannot continue: the fact, not yet the verdict."""

    def __init__(self, reason: Reason, detail: str, stage: str | None = None, own: OwnFault | None = None) -> None:
        super().__init__(reason, detail, stage, own)
        self.reason, self.detail, self.stage, self.own = reason, detail, stage, own


class Request(Record, frozen=True):
    """One HTTP exchange to make."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    redirected: bool = False
    """The address was named by a server, not by the config: `checker.addresses.named_by` decides where it may lead."""
    private_allowed: bool = False
    """The config lets a server name private addresses here."""
    head: bytes | None = None
    """``headers`` and those that a transport adds, as they go over the wire behind the Host header, with the blank line
    that ends them; None if the transport is to write them."""


class Budget:
    """The data that one probe may take from its server: over all its attempts, replies, pages, lists and streams."""

    __slots__ = ("_bytes_left", "_items_left", "most_bytes", "most_items", "requests_answered")

    def __init__(self, most_bytes: float = inf, most_items: float = inf) -> None:
        self.most_bytes, self.most_items = most_bytes, most_items
        self._bytes_left, self._items_left = most_bytes, most_items
        self.requests_answered = 0
        """Requests of the server's own that were answered."""

    @classmethod
    def of(cls, options: Endpoint) -> Budget:
        """The budget that the options allow."""
        most_bytes = options.max_total
        if most_bytes is None:
            most_bytes = max(_USUAL_TOTAL_BYTES, _BODIES * options.max_body)
        return cls(most_bytes, options.max_items)

    def take(self, number: int) -> None:
        """Count received or decompressed bytes; raises ProbeFailure (body_too_large) past the limit."""
        self._bytes_left -= number
        if self._bytes_left < 0:
            raise ProbeFailure(
                Reason.BODY_TOO_LARGE,
                f"more than {self.most_bytes} bytes in one probe, over all its replies and attempts (max_total)",
                "transfer",
            )

    def take_message(self, text: bytes) -> None:
        """Count a message before it is parsed, a large one with the values it may contain; raises as `take` does.

        The values are unknown before parsing, which may need twenty times the bytes: braces, brackets and commas are
        counted, including those inside texts if they are few.
        """
        items = values_in(text) if len(text) > _SMALL_BYTES else 1
        if items > LARGE_VALUES:
            items = values_outside_texts(text, self._items_left)
        self._items_left -= items
        if self._items_left < 0:
            raise ProbeFailure(
                Reason.BODY_TOO_LARGE,
                f"more than {self.most_items} JSON values in one probe, over all its messages and attempts (max_items)",
                "transfer",
            )


class Reply(Protocol):
    """The head of an HTTP response whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers; names are looked up case-insensitively; a repeated header is joined with ", "."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Decoded body bytes as they arrive; raises ProbeFailure past the size limit or on a broken body."""
        ...

    def read(self) -> bytes:
        """The whole decoded body; the connection goes back to its pool."""
        ...

    def release(self) -> None:
        """Give up the rest of the body: a stream that ends at once keeps its connection, any other loses it."""
        ...


class Command(Record, frozen=True, kw_only=True):
    """A program to start, with which the probe exchanges messages over standard input and output."""

    program: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    """Environment variables in addition to a minimal environment."""
    cwd: str | None
    shutdown_s: float
    """Time allowed for it to end after its input is closed, and again after SIGTERM."""


class Process(Protocol):
    """A started program; in every case, it and its descendants are gone when the attempt is over."""

    def send(self, line: bytes) -> None:
        """Write a line to its standard input; raises ProbeFailure if it no longer reads."""
        ...

    def read_line(self) -> bytes:
        """The next line of its standard output; raises ProbeFailure past the size limit or when it has ended.

        If the wait is interrupted, the call may be repeated: no received data is lost.
        """
        ...


class Tokens(Protocol):
    """Access tokens of this worker: in memory, each until it expires."""

    def get(self, key: str, for_certain: bool = False) -> str | None:
        """The token, unless it expires within moments.

        ``for_certain``: the caller fetches a token elsewhere if none is here; only then is a failed lookup counted as a
        miss.
        """
        ...

    def put(self, key: str, token: str, expires_at_ms: int) -> tuple[str, int] | None:
        """Keep the token; returns its encrypted form to store and its expiry, if the user gave a key for that."""
        ...

    def drop(self, key: str, token: str) -> None:
        """Forget the token, if it is still this one."""
        ...

    def take_stored(self, key: str, encrypted: str) -> None:
        """Take over a stored token if it can be decrypted, belongs to this server and has not expired."""
        ...

    def pinned(self, endpoint: str) -> str | None:
        """The issuer that was trusted on first use for this endpoint in this run."""
        ...

    def pin(self, endpoint: str, issuer: str) -> None:
        """Trust the issuer for this endpoint; the first one stays."""
        ...

    def exclusive(self, key: str) -> AbstractContextManager[Any]:
        """Let one attempt at a time fetch the token."""
        ...


class Background(Protocol):
    """Work that continues although the attempt may end."""

    def wait(self) -> Any:
        """The work's return value; raises its exception."""
        ...


class Closing(Protocol):
    """A resource that was opened at a server, and has to be closed."""

    def end(self, transport: Transport) -> None:
        """End it, and wait briefly for the answer; raises nothing for anything the server does."""
        ...

    def leave(self, transport: Transport) -> None:
        """End it in the background."""
        ...


class Transport(Protocol):
    """The means of a probe to reach its server, for one attempt."""

    def send(self, request: Request, on_late_head: OnLateHead | None = None) -> Reply:
        """Send the request and read the reply's head; raises ProbeFailure with the stage that failed.

        If a deadline or a cancelled run interrupts the wait for the head, it is waited for in the background for the
        sake of ``on_late_head``; only a transport that `keeps_waiting` does so.
        """
        ...

    @property
    def keeps_waiting(self) -> bool:
        """True if the wait for a head can go on without the attempt."""
        ...

    def connect(self, host: str, port: int) -> socket:
        """A TCP connection for a probe of another protocol than HTTP, closed when the attempt is over.

        Its stages are dns and connect. Raises ProbeFailure.
        """
        ...

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Add the time spent inside, less the time spent connecting, to a stage; failures inside carry its name."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def at_most(self, seconds: float) -> AbstractContextManager[None]:
        """Raise ProbeFailure (mcp_no_reply) if the work inside takes longer."""
        ...

    def uncounted(self) -> AbstractContextManager[None]:
        """Exclude the time inside from `at_most`: it is spent waiting for something else."""
        ...

    def in_background(self, work: Callable[[Transport], Any]) -> Background:
        """Start work that may outlive this attempt's deadline, within the worker's own grace time."""
        ...

    def aside(self, work: Callable[[Transport], Any], begins_at: str | None = None) -> Any:
        """Do work whose exchanges are not counted and timed as the probe's own; returns its value.

        ``begins_at`` is the configured address where the work begins, if any: the next address is then named by the
        server there, and not by the probe's server.
        """
        ...

    def start(self, command: Command) -> Process:
        """Start a program; raises ProbeFailure if it cannot be started."""
        ...

    @property
    def tokens(self) -> Tokens:
        """The worker's access tokens."""
        ...


OnLateHead = Callable[[Reply, Transport], None]
"""Takes the head of a reply that came after the end of its attempt, and the transport to go on with."""


class Observation(Struct, kw_only=True):
    """The facts of one attempt, filled in while it runs, so that a failure keeps the facts seen before it."""

    failure: ProbeFailure | None = None
    budget: Budget = field(default_factory=Budget)
    """The remaining budget for the server; all attempts of a probe share it."""
    duration_us: int = 0
    http_status: int | None = None
    auth_metadata_url: str | None = None
    challenge: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the last WWW-Authenticate."""
    token_sent: bool = False
    """An access token that was fetched on the way went with the last request."""
    retry_after_s: int | None = None
    redirects: int | None = None
    sessions_opened: int | None = None
    sessions_closed: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    mcp: McpFacts | None = None
    figures: dict[str, int | float | str | None] = field(default_factory=dict)
    """Other measurements, by the fields of `checker.model.ProbeResult`."""
    snapshot: ContractSnapshot | None = None
    remember: dict[str, str] = field(default_factory=dict)
    """Cache category -> value to keep for this endpoint."""
    remember_until_ms: dict[str, int] = field(default_factory=dict)
    """Cache category -> expiry of its value, if it is not the usual time."""
    suspicion: ProbeFailure | None = None
    """The explanation, should the deadline pass."""
    advice: str = ""
    """The configuration to write if a body that does not end is not a fault of the server."""
    kept_waiting: bool = False
    """The deadline passed while the checker had everything to judge, and had not got around to it for a long time."""
    secrets: set[str] = field(default_factory=set)
    """Secrets acquired on the way, in addition to the configured ones: masked wherever a server echoes them."""
    complaints: list[Complaint] = field(default_factory=list)
    """Faults of a server that did answer; the worst decides."""
    closing: Closing | None = None
    """Work left to end after an attempt that has its answers: its outcome does not affect the verdict."""
    may_pass: bool | None = None
    """True if another attempt may succeed, False if not; None if the reason tells (`checker.judge.RETRYABLE`)."""
    is_answered: bool = False
    """Everything there is to judge has arrived."""
    closing_us: int = 0
    """The part of ``duration_us`` spent on ending."""
    remarks: dict[RemarkName, str] = field(default_factory=dict)
    """Oddities of the server, each with the first detail that was noted."""

    def remark(self, name: RemarkName, detail: str) -> None:
        """Record an oddity; an earlier one under the same name is kept."""
        self.remarks.setdefault(name, detail)


class Complaint(Record, frozen=True):
    """A condition that does not hold, and its severity."""

    status: Status
    reason: Reason
    detail: str
    stage: str | None = None


COMMANDS = ("command",)
"""The lane that all started programs share."""


class Address(Record, frozen=True):
    """The target of a probe: the forms to remember, to show, and to limit by."""

    key: str
    """The key under which facts about it are kept between runs; no secret can be read from it."""
    shown: str
    """As it may be stored and printed."""
    pool_name: tuple[str | int, ...]
    """The key by which concurrent attempts are limited: the origin of an address, or all commands together."""


class OptionWarning(Struct, frozen=True):
    """An oddity in the options of a probe, which are valid."""

    key: str
    """Below the kind's block."""
    text: str
    of_many: str
    """The phrase that completes "more servers with", for servers beyond those that are listed."""


class SingleGet(NamedTuple):
    """An attempt that is one GET."""

    headers: tuple[tuple[str, str], ...]
    any_success: bool
    """Every reply with a status of 200 to 299 meets the conditions, whatever is in it."""


class Probe(Struct, frozen=True):
    """The behaviour of a probe kind: its options, one attempt, and the judgement of its reply.

    Its name and timed stages are in `checker.probe_kinds`.
    """

    options: type[Any]
    """Frozen dataclass; its fields are the keys of the kind's YAML block."""
    address: Callable[[Any], Address]
    """The target of a probe with these options."""
    attempt: Callable[[Any, Transport, Observation, Mapping[str, str]], None]
    """Arguments: options, transport, the observation to fill in, and the remembered facts about this endpoint."""
    judge: Callable[[Any, Observation], list[Complaint]]
    """Conditions that do not hold; called only when the attempt succeeded. Pure; may raise ProbeFailure."""
    unusable: Reason
    """The reason for UNHEALTHY if our own code fails on a server's reply: such a reply must not hide behind UNKNOWN."""
    faults: Callable[[Any], Iterator[tuple[tuple[str, ...], str]]]
    """Contradictions in the options: the keys below the kind's block, and the message about them."""
    single_get: Callable[[Any], SingleGet | None] = lambda options: None
    """An attempt that is one GET whose reply, if it succeeds, is only read and judged; None for any other. While
    everything is usual, the worker makes the exchange itself (`checker.worker.transport.fast_path`)."""
    example: str = "https://localhost/"
    """An address that is valid, under which defaults are looked through."""
    not_inherited: Callable[[Mapping[str, Any]], Collection[str]] = lambda own: ()
    """The keys of the defaults that are not for an entry that gives these keys and values."""
    libraries: Callable[[Any], Iterator[str]] = lambda options: iter(())
    """Modules that an attempt with these options takes: a worker imports them before its first check."""
    requests: Callable[[Any], Iterator[str]] = lambda options: iter(())
    """What an attempt asks, in order and in a form to show, for those who want to know before; none is told."""
    warnings: Callable[[Any], Iterator[OptionWarning]] = lambda options: iter(())
    """Oddities of valid options."""
    takes_usual_addresses: bool = False
    """True if ``faults`` finds the same in options that differ only in addresses of the usual form
    (`checker.probes.option_validation.is_usual_address`) and of one scheme."""
