"""Server-sent events (WHATWG HTML, section 9.2.6) and the MCP messages that they carry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from checker.model import Reason, RemarkName
from checker.probes.base import Observation, ProbeFailure, Reply
from checker.probes.mcp.jsonrpc import read
from checker.probes.mcp.rpc_channel import IncomingMessages
from checker.secrets.excerpts import excerpt

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
_LONGEST_ID = 1024


class EventStream:
    """The events of one stream, and the data for resuming it."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        """Identifier of the last event that had one: the position to resume from after a break."""
        self.retry_ms: int | None = None
        """Time to wait before that."""

    def events(self, chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Type and data of each event, lines of data joined by line feeds; events without data are skipped.

        An event that is cut off by the end of the stream is dropped, as the standard requires.
        """
        data: list[bytes] = []
        kind, event_id = b"", None
        for line in _lines(chunks):
            if not line:
                if event_id is not None:
                    self.last_id, event_id = event_id.decode("utf-8", "replace"), None
                if data and (text := b"\n".join(data)).strip():
                    yield kind or b"message", text
                data, kind = [], b""
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value
            elif name == b"id" and b"\0" not in value and len(value) <= _LONGEST_ID:
                event_id = value
            elif name == b"retry" and value.isdigit() and len(value) <= 9:
                self.retry_ms = int(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends; CR, LF and CRLF end a line, also if a CRLF is split over two chunks."""
    begun = bytearray()  # of a line that has not ended: only what is new is searched for its end
    after_cr = False
    for chunk in _without_mark(chunks):
        start = 1 if after_cr and chunk[:1] == b"\n" else 0
        for match in _LINE_END.finditer(chunk, start):
            line = chunk[start : match.start()]
            if begun:
                line = bytes(begun) + line
                begun.clear()
            yield line
            start = match.end()
        begun += chunk[start:]
        after_cr = chunk.endswith(b"\r")


def _without_mark(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The non-empty chunks, without a byte order mark at their beginning."""
    begin = b""
    left = iter(chunks)
    for chunk in left:
        begin += chunk
        if len(begin) >= len(_MARK) or not _MARK.startswith(begin):
            break
    if begin := begin.removeprefix(_MARK):
        yield begin
    yield from filter(None, left)


def messages_of(events: Iterable[tuple[bytes, bytes]], incoming: IncomingMessages, seen: Observation) -> Iterator[Any]:
    """The messages in events of type message; data that is not JSON is recorded."""
    for kind, data in events:
        seen.budget.take_message(data)
        if kind != b"message":
            note_other(kind, seen)
            continue
        try:
            message, incoming.source = read(data, incoming.earlier)
        except ProbeFailure as failure:
            if failure.reason is not Reason.MCP_NOT_JSONRPC:
                raise
            incoming.note_stray("sent an event that is no message", data)
            continue
        yield message


def note_other(kind: bytes, seen: Observation) -> None:
    """Record an event of another type than message, which clients ignore."""
    seen.remark(RemarkName.STREAM_EVENTS, f"the event stream carries events of type {excerpt(kind, 40)!r}")


def others(seen: Observation) -> str:
    """A note for a stream that ended without a reply: the reply may have been in an event of another type."""
    said = seen.remarks.get(RemarkName.STREAM_EVENTS)
    return f"; {said}" if said else ""


def media_type(reply: Reply) -> str:
    """The media type in lower case, without its parameters (RFC 9110 section 8.3.1)."""
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower()
