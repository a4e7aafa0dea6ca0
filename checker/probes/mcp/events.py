"""The messages of an event stream, whichever transport it belongs to: other events are passed over and remarked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from checker.model import Reason, RemarkName
from checker.probes.base import Observation, ProbeFailure, Reply
from checker.probes.mcp.channel import IncomingMessages
from checker.probes.mcp.jsonrpc import parse
from checker.probes.text import excerpt


def messages_of(events: Iterable[tuple[bytes, bytes]], incoming: IncomingMessages, seen: Observation) -> Iterator[Any]:
    """What the events of type message carry; what is not JSON in one of them is noted."""
    for kind, data in events:
        seen.budget.take_message(data)
        if kind != b"message":
            note_other(kind, seen)
            continue
        try:
            message = parse(data)
        except ProbeFailure as failure:
            if failure.reason is not Reason.MCP_NOT_JSONRPC:
                raise
            incoming.note_stray("sent an event that is no message", data)
            continue
        yield message


def note_other(kind: bytes, seen: Observation) -> None:
    """Note an event of another type than message, which clients pass over."""
    seen.remark(RemarkName.STREAM_EVENTS, f"the event stream carries events of type {excerpt(kind, 40)!r}")


def others(seen: Observation) -> str:
    """What to add where a stream ended without a reply: the reply may have been in an event of another type."""
    said = seen.remarks.get(RemarkName.STREAM_EVENTS)
    return f"; {said}" if said else ""


def media_type(reply: Reply) -> str:
    """The media type in lower case, without its parameters (RFC 9110 section 8.3.1)."""
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower()
