"""Server-sent events from a byte stream (WHATWG HTML, section 9.2.6), as far as MCP uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")
_LONGEST_ID = 1024


class EventStream:
    """The events of one stream, and what it said about taking it up again."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        """Identifier of the last event that had one: where to go on after a break."""
        self.retry_ms: int | None = None
        """How long to wait before that."""

    def events(self, chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Type and data of each event, lines of data joined by line feeds; events without data are passed over.

        An event that the end of the stream cuts off is dropped, as the standard says.
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
    """Lines without their ends; CR, LF and CRLF end a line, also where a CRLF is split over two chunks."""
    pending, first = b"", True
    for chunk in chunks:
        pending += chunk
        if first and len(pending) >= 3:
            pending, first = pending.removeprefix(b"\xef\xbb\xbf"), False
        start = 0
        for match in _LINE_END.finditer(pending):
            if match.end() == len(pending) and match.group() == b"\r":
                break
            yield pending[start : match.start()]
            start = match.end()
        pending = pending[start:]
    if pending.endswith(b"\r"):
        yield pending[:-1]
