"""Records and enums used by every part of the project; standard library and msgspec only.

Times are Unix milliseconds in UTC (``_at_ms``), durations are whole microseconds (``_us``), sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from msgspec import field

from checker.maintenance_windows import MaintenanceWindow
from checker.structs import Options, Record


class Status(StrEnum):
    """The conclusion of a probe or a check about a server."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"
    """The checker could not determine it: its own fault, its own overload, a lost worker."""


class Reason(StrEnum):
    """The reason for a result that is not HEALTHY: a stable list, safe for alerts and grouping."""

    DNS = "dns"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS_VERIFY = "tls_verify"
    TLS_EXPIRED = "tls_expired"
    TLS_HANDSHAKE = "tls_handshake"
    SEND_TIMEOUT = "send_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    DEADLINE = "deadline"
    CONNECTION_CLOSED = "connection_closed"
    HTTP_MALFORMED = "http_malformed"
    REDIRECT_BLOCKED = "redirect_blocked"
    BODY_TOO_LARGE = "body_too_large"
    DECODE = "decode"
    HTTP_STATUS = "http_status"
    AUTH_REQUIRED = "auth_required"
    AUTH_REJECTED = "auth_rejected"
    AUTH_EXPIRED = "auth_expired"
    AUTH_SCOPE = "auth_scope"
    AUTH_SERVER = "auth_server"
    ISSUER_NOT_TRUSTED = "issuer_not_trusted"
    RATE_LIMITED = "rate_limited"
    CONDITION_FAILED = "condition_failed"
    SLOW = "slow"
    CERTIFICATE_EXPIRES_SOON = "certificate_expires_soon"
    MCP_NOT_JSONRPC = "mcp_not_jsonrpc"
    MCP_NO_REPLY = "mcp_no_reply"
    MCP_VERSION = "mcp_version"
    MCP_ERROR = "mcp_error"
    MCP_INVALID_RESULT = "mcp_invalid_result"
    MCP_PAGINATION = "mcp_pagination"
    MCP_MISSING_TOOL = "mcp_missing_tool"
    MCP_SCHEMA_INVALID = "mcp_schema_invalid"
    MCP_SESSION_EXPIRED = "mcp_session_expired"
    PROCESS_START = "process_start"
    PROCESS_EXITED = "process_exited"
    CIRCUIT_OPEN = "circuit_open"
    RESOURCE_LIMIT = "resource_limit"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"
    OWN_NETWORK = "own_network"
    REMARK = "remark"
    """Nothing but remarks, if the configuration lets them count."""


class RemarkName(StrEnum):
    """An oddity of a server that works: a stable list, safe for grouping, and never a worse status."""

    STDOUT_LINES = "stdout_lines"
    """A started program printed lines on standard output that are not messages."""
    STREAM_EVENTS = "stream_events"
    """An event stream carried events that are not messages."""
    STATUS_CODE = "status_code"
    """A valid reply had an HTTP status that such replies do not have."""
    MEDIA_TYPE = "media_type"
    """A valid reply had another media type than required."""
    NOTIFICATION_ANSWERED = "notification_answered"
    """A notification got an answer, was refused, or was not accepted in time."""
    REPLY_WITHOUT_ID = "reply_without_id"
    """A reply or an error arrived that names no request."""
    FIRST_REQUEST = "first_request"
    """A first request that the server does not know got no answer, or broke the connection."""
    LIST_UNKNOWN = "list_unknown"
    """A list is announced, but the method to read it is unknown."""
    SESSION_END = "session_end"
    """The end of the session was refused, or not answered in time."""
    AUTH_METADATA = "auth_metadata"
    """Authorization metadata was not at the first address to look at."""
    RESULT_SHAPE = "result_shape"
    """A result deviates from the protocol's schema in a way that every client accepts."""


class Remark(Record, frozen=True, kw_only=True):
    """An oddity in addition to the reason: a hint for the reader, which options can turn into a fault."""

    name: RemarkName
    detail: str
    """A short sentence for a human reader; never contains a secret."""


class Priority(StrEnum):
    """The order in which servers are assigned to workers."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class RunState(StrEnum):
    """The progress of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    """The checker itself gave up, for example because the disk was full."""
    ABANDONED = "abandoned"
    """The process that ran it ended without recording the outcome."""


class Combination(Options, frozen=True, kw_only=True):
    """The rule that combines the statuses of a server's probes into the status of its check."""

    one_bad: Status = Status.DEGRADED
    """Some probes are UNHEALTHY and some are not."""
    all_bad: Status = Status.UNHEALTHY
    """Every probe is UNHEALTHY."""
    all_unknown: Status = Status.UNKNOWN
    """No probe was conclusive."""


class Server(Options, frozen=True, kw_only=True):
    """One entry of the config: an MCP endpoint, a REST health endpoint, or both."""

    name: str
    probes: Mapping[str, Any]
    """Probe kind -> the kind's options, in the order of `checker.probe_kinds.KINDS`."""
    group: str = ""
    tags: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    objective: float | None = None
    """The availability objective, above 0 and below 1; None sets no objective."""
    objective_window: float | None = None
    """Seconds in the objective's window, up to now; None for 30 days."""
    maintenance: tuple[MaintenanceWindow, ...] = ()
    """Windows in which its checks are not counted."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Probe kind -> weight in the score; a kind that is absent weighs 1."""
    combine: Combination = Combination()
    at_once: int | None = None
    """Concurrent probes of the server; None is all of them."""


class McpFacts(Record, frozen=True, kw_only=True):
    """Facts that an MCP server states about itself."""

    era: str | None = None
    """`session` (2024-11-05 to 2025-11-25) or `sessionless` (2026-07-28)."""
    transport: str | None = None
    """`streamable-http`, `sse` or `stdio`."""
    protocol_version: str | None = None
    server_name: str | None = None
    server_version: str | None = None
    capabilities: str | None = None
    """The capabilities object as canonical JSON text."""
    tool_count: int | None = None
    resource_count: int | None = None
    template_count: int | None = None
    prompt_count: int | None = None
    tools_digest: str | None = None
    """SHA-256 in hex of the canonical tool list."""
    contract_digest: str | None = None
    """SHA-256 in hex of the canonical contract: everything that the server offers and states about itself."""
    tools_bytes: int | None = None
    """Length of the canonical tool list."""
    tools_tokens: int | None = None
    """Estimate of the tokens a model reads for the tool list: a quarter of its bytes."""


class ProbeResult(Record, frozen=True, kw_only=True):
    """One probe of one server: the verdict and the facts behind it.

    A field with words is a figure: its column, its place in views and in `--format json`, and its description there
    follow from it (`figures`).
    """

    kind: str
    status: Status
    started_at_ms: int
    duration_us: int
    """The last attempt, without the waits between attempts."""
    reason: Reason | None = None
    detail: str | None = None
    """A short sentence for a human reader; never contains a secret."""
    score: float | None = None
    """0 to 1; None if the status is UNKNOWN."""
    failed_stage: str | None = None
    """The stage that failed, by its name in `checker.probe_kinds.STAGES`."""
    url: str | None = None
    """The address of the probe's target, without credentials and query values."""
    attempts: int = 1
    earlier_reasons: str | None = None
    """Reasons of the attempts before the last, separated by commas."""
    stages_us: Mapping[str, int] = field(default_factory=dict)
    """Microseconds spent in each timed stage that happened, by its name in `checker.probe_kinds.STAGES`."""
    http_status: Annotated[int | None, "status of the last HTTP reply"] = None
    received_bytes: Annotated[int | None, "body bytes after decompression, all exchanges"] = None
    connections_opened: Annotated[int | None, "connections opened by the last attempt"] = None
    reused: Annotated[bool | None, "1 if the first exchange used an open connection, else 0"] = None
    redirects: Annotated[int | None, "redirects followed"] = None
    certificate_expires_at_ms: Annotated[int | None, "end of the TLS certificate, ISO 8601 UTC"] = None
    auth_metadata_url: Annotated[str | None, "protected resource metadata address of a 401 or 403"] = None
    """RFC 9728 protected resource metadata address, from WWW-Authenticate."""
    retry_after_s: Annotated[int | None, "seconds the server asked to wait"] = None
    sessions_opened: Annotated[int | None, "MCP sessions the server opened for the last attempt"] = None
    sessions_closed: Annotated[int | None, "of these, ended with DELETE before the result was made"] = None
    """An answer of success counts, and that sessions "cannot be ended by clients" (404, 405)."""
    stderr_tail: Annotated[str | None, "last lines of a command's standard error; null when HEALTHY"] = None
    remarks: tuple[Remark, ...] = ()
    """Oddities of the last attempt, whatever its status."""
    mcp: McpFacts | None = None


class ProbeFigure(NamedTuple):
    """A quantity that a probe measures: a field of `ProbeResult` that has words."""

    name: str
    type: type
    words: str

    @property
    def shown(self) -> str:
        """The column's name where times are text and durations are in milliseconds."""
        if self.name.endswith("_at_ms"):
            return self.name.removesuffix("_ms")
        return f"{self.name.removesuffix('_us')}_ms" if self.name.endswith("_us") else self.name


@cache
def figures() -> tuple[ProbeFigure, ...]:
    """The figures of a probe, in the order of their fields."""
    hints = get_type_hints(ProbeResult, include_extras=True)
    found = ((name, hints[name]) for name in ProbeResult.__struct_fields__ if hasattr(hints[name], "__metadata__"))
    return tuple(ProbeFigure(name, get_args(hint.__origin__)[0], hint.__metadata__[0]) for name, hint in found)


class CheckResult(Record, frozen=True, kw_only=True):
    """All probes of one server in one run, and their combined result."""

    server: str
    status: Status
    started_at_ms: int
    duration_us: int
    reason: Reason | None = None
    """The reason of the probe with the lowest score."""
    detail: str | None = None
    score: float | None = None
    tries: int = 1
    """Number of times the server was given to a worker: 2 after the first worker was lost."""
    suspect: bool = False
    """Taken while its worker lagged too much for its times to be trusted: not counted in availability."""
    maintenance: bool = False
    """Taken while the server was under maintenance: not counted in availability."""
    probes: tuple[ProbeResult, ...] = ()


class CacheEntry(Record, frozen=True, kw_only=True):
    """One remembered fact, kept in SQLite between runs and sent to workers with their servers."""

    category: str
    key: str
    value: str
    created_at_ms: int
    expires_at_ms: int


class ContractSnapshot(Record, frozen=True, kw_only=True):
    """The contract behind a digest: the text of everything an MCP server offers."""

    digest: str
    document: str
    """Canonical JSON text: lists sorted by name, keys sorted, no spaces."""


class Doubt(Record, frozen=True, kw_only=True):
    """A failure that the checker's own network may have caused: the run as a whole shows if it did."""

    server: str
    kind: str
    """The probe's."""
    own_fault: str
    """A `checker.probes.base.OwnFault`, which the worker has looked into."""


class Batch(Record, frozen=True, kw_only=True, tag=True):
    """One batch of results from a worker."""

    checks: tuple[CheckResult, ...] = ()
    cache_entries: tuple[CacheEntry, ...] = ()
    contracts: tuple[ContractSnapshot, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    """Doubts about the checks in it."""
    reached_s: tuple[int, ...] = ()
    """Seconds (Unix time) in which the worker connected to hosts other than its own machine."""


class RunInfo(Record, frozen=True, kw_only=True):
    """Facts about a run that are known before its first check."""

    started_at_ms: int
    servers_expected: int
    """Number of servers to check, without those whose earlier result was reused."""
    workers: int
    concurrency: int
    servers_cached: int = 0
    """Number of servers whose earlier result was recent enough."""
    config_path: str | None = None
    environment: str | None = None
    checker_version: str = ""
    host: str = ""
    pid: int = 0
