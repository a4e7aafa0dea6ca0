"""Options shared by all probe kinds: retries, circuit breaker, TLS, and request headers and credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import field

from checker.structs import Options
from checker.units import Bytes, Count, Holds, Public, Seconds, Secret

AuthVerdict = Literal["healthy", "degraded", "unhealthy"]
RemarkVerdict = Literal["healthy", "degraded"]


class Retry(Options, frozen=True, kw_only=True):
    """Number of retries of a failed attempt, and the backoff between them."""

    max_attempts: int = 1
    """Attempts in all; 1 means no retry."""
    initial_backoff: Seconds = 0.2
    """Backoff before the second attempt."""
    backoff_factor: float = 2.0
    """Factor from each wait to the next."""
    max_backoff: Seconds = 30.0
    """Longest wait."""
    jitter: float = 0.2
    """Each wait is drawn from the computed one plus or minus this share of it (0 to 1)."""


class Breaker(Options, frozen=True, kw_only=True):
    """Circuit breaker: conditions for suspending a failing probe, and for closing the circuit again."""

    failures: Count
    """Consecutive failures that open it; a probe with all its retries is one."""
    cooldown: Seconds = 60.0
    """Cooldown after the last failure during which the probe is skipped; the next run makes a trial."""
    trials: Count = 2
    """Consecutive trials, one in each run, that must succeed to close it."""


class Tls(Options, frozen=True, kw_only=True):
    """Verification of https connections."""

    verify: bool = True
    """Check the certificate and its host name. Off is shown in every report."""
    ca_file: Public | None = None
    """PEM file of the certificate authorities to trust instead of the system's."""
    cert_file: Public | None = None
    """PEM file of a client certificate."""
    key_file: Public | None = None
    """PEM file of the client certificate's key, if it is not in cert_file."""
    server_name: Public | None = None
    """Host name to request and to verify, if it is not the one in the URL."""


class Basic(Options, frozen=True, kw_only=True):
    """User and password sent as ``Authorization: Basic``."""

    username: Annotated[str, Holds.PERHAPS]
    """User name."""
    password: Secret | None = None
    """Password."""
    password_file: Public | None = None
    """File that holds the password."""


class ApiKey(Options, frozen=True, kw_only=True):
    """A key sent in its own header."""

    header: Public = "X-API-Key"
    """Name of the header."""
    value: Secret | None = None
    """The key."""
    value_file: Public | None = None
    """File that holds the key."""


class Endpoint(Options, frozen=True, kw_only=True):
    """Options of every HTTP probe: address, credentials, and limits."""

    url: Annotated[str, Holds.ADDRESS]
    """http or https address of the endpoint."""
    timeout: Seconds = 30.0
    """Wall-clock deadline of one attempt, from name lookup to the last byte."""
    connect_timeout: Seconds = 5.0
    """Longest time for the TCP connection and, separately, for the TLS handshake."""
    retry: Retry = Retry()
    """Repetition of failed attempts."""
    breaker: Breaker | None = None
    """Circuit breaker: skips the probe for a while if it keeps failing. None by default."""
    headers: Annotated[Mapping[str, Secret], Holds.HEADERS] = field(default_factory=dict)
    """Request headers; values are treated as secrets."""
    bearer: Secret | None = None
    """Token sent as ``Authorization: Bearer``."""
    bearer_file: Public | None = None
    """File that holds the token; read at the start of every run."""
    basic: Basic | None = None
    """User and password."""
    api_key: ApiKey | None = None
    """Key in its own header."""
    tls: Tls = Tls()
    """Certificate verification and client certificate."""
    proxy: Annotated[Secret, Holds.PROXY] | None = None
    """http or https address of a proxy to use; may contain user and password. HTTPS_PROXY is not read."""
    http: Literal["fast", "urllib3"] = "fast"
    """The HTTP client: the parser made for this, or unmodified urllib3, for a server that the former rejects."""
    max_body: Bytes = 1024 * 1024
    """Largest body accepted, after decompression."""
    max_total: Bytes | None = None
    """Most bytes taken from the server in one probe: all replies, pages, streams and attempts, before decompression and
    after it. By default 64MiB, or four times max_body where that is more."""
    max_items: Count = 1_000_000
    """Maximum JSON values taken from the server in one probe: over all messages, lists and pages."""
    auth_required: AuthVerdict = "degraded"
    """Status of an endpoint that answers 401 or 403 when no credentials are configured."""
    remarks: RemarkVerdict = "healthy"
    """Status of an endpoint that works but has a remark."""
    degraded_above: Seconds | None = None
    """A probe that succeeds but takes longer than this is DEGRADED."""
    certificate_warning: Seconds | None = None
    """A probe whose TLS certificate expires within this time is DEGRADED."""
