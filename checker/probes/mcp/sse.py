"""Server-sent events from a byte stream (WHATWG HTML, section 9.2.6), as far as MCP uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")


def events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event, joined by line feeds; events without data and comments are passed over.

    An event that the end of the stream cuts off is dropped, as the standard says.
    """
    data: list[bytes] = []
    for line in _lines(chunks):
        if not line:
            if data and (text := b"\n".join(data)).strip():
                yield text
            data = []
        elif line.startswith(b"data"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))


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
