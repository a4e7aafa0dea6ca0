"""Exceptions of an exchange, translated into reasons."""

from __future__ import annotations

import http.client

from urllib3.exceptions import DecodeError, HTTPError, IncompleteRead, InvalidChunkLength, ProtocolError

from checker.model import Reason
from checker.probes.base import OwnFault, ProbeFailure
from checker.secrets.excerpts import excerpt

_TIMED_OUT = {
    "dns": (Reason.DNS, "the name was not looked up"),
    "connect": (Reason.CONNECT_TIMEOUT, "no connection"),
    "tls": (Reason.TLS_HANDSHAKE, "no TLS handshake"),
    "send": (Reason.SEND_TIMEOUT, "the request{of} could not be sent"),
    "wait": (Reason.FIRST_BYTE_TIMEOUT, "not a byte of a reply{to}"),
    "transfer": (Reason.DEADLINE, "the reply{to} did not end"),
}


def deadline_failure(step: str, stage: str, timeout_s: float) -> ProbeFailure:
    """The failure of an attempt whose deadline passed during a step."""
    reason, what = _TIMED_OUT[step]
    own = stage != step
    said = what.format(of=f" of {stage}" if own else "", to=f" to {stage}" if own else "")
    behind = OwnFault.RESOLVER if step == "dns" else None
    return ProbeFailure(reason, f"{said} within {timeout_s:g} s", stage, behind)


def never_answered(error: Exception) -> bool:
    """True if the server closed the connection before a byte of a reply, as a stale kept connection does."""
    return isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError)


def exchange_failure(error: Exception, step: str) -> ProbeFailure:
    """The failure for an exception raised while sending, waiting or reading."""
    cause = error.args[1] if isinstance(error, ProtocolError) and len(error.args) > 1 else error
    if isinstance(error, DecodeError):
        return ProbeFailure(Reason.DECODE, f"body cannot be decompressed: {excerpt(str(error), 80)}", "transfer")
    if isinstance(cause, InvalidChunkLength) or _chunk_length_was_no_number(cause):
        return ProbeFailure(Reason.HTTP_MALFORMED, "chunked body without a valid chunk length", "transfer")
    if isinstance(cause, http.client.RemoteDisconnected):
        return ProbeFailure(Reason.CONNECTION_CLOSED, "closed without an answer", "wait")
    if isinstance(cause, IncompleteRead | http.client.IncompleteRead):
        return ProbeFailure(Reason.CONNECTION_CLOSED, "closed before the end of the body", "transfer")
    if isinstance(cause, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return ProbeFailure(Reason.CONNECTION_CLOSED, "connection reset by the server", step)
    if isinstance(cause, http.client.BadStatusLine):
        return ProbeFailure(Reason.HTTP_MALFORMED, f"not HTTP: {excerpt(str(cause), 60)}", "transfer")
    if isinstance(cause, http.client.HTTPException | HTTPError | ValueError):
        return ProbeFailure(Reason.HTTP_MALFORMED, excerpt(str(cause)) or type(cause).__name__, "transfer")
    return ProbeFailure(Reason.CONNECTION_CLOSED, excerpt(str(cause)) or type(cause).__name__, step)


def _chunk_length_was_no_number(cause: BaseException) -> bool:
    """True for a chunk length that is not a number; http.client reports it like an early end, but for its cause."""
    source = cause.__context__ if isinstance(cause, http.client.IncompleteRead) else None
    return isinstance(source, ValueError) and not str(source).endswith("b''")
