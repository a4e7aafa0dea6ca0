"""Heads of HTTP responses that are not read as they came: where they end, and what clients pass over in them (pure)."""

from __future__ import annotations

import re

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEAD_END = re.compile(rb"\r?\n\r?\n")
_SAYS_ITS_END = re.compile(rb"(?i)\n(?:content-length[ \t]*:|transfer-encoding[ \t]*:[^\n]*chunked)")
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d")


def mended(received: bytes) -> bytes | None:
    """What came of a response, without what clients pass over in a head and llhttp does not; None before it is whole.

    The same Content-Length several times is one (RFC 9112 section 6.3), spaces before a colon are none, and a line that
    is no header is left out. None too where lengths differ.
    """
    place = last_head(received)
    if place is None:
        return None
    start, end, body = place
    status, *lines = re.split(rb"\r?\n", received[start:end])
    kept, lengths = [status], set[bytes]()
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.rstrip()
        if line[:1] in (b" ", b"\t"):  # the one before goes on
            kept.append(line)
        elif not colon or _NAME.fullmatch(name) is None:
            continue
        elif name.lower() == b"content-length":
            lengths.update(length.strip() for length in value.split(b","))
        else:
            kept.append(name + b":" + value)
    if len(lengths) > 1:
        return None
    kept += [b"Content-Length: " + length for length in lengths]
    return b"\r\n".join(kept) + b"\r\n\r\n" + received[body:]


def may_be_mended(error: BaseException | str) -> bool:
    """Whether what the parser says is about headers that `mended` may make readable."""
    return any(part in str(error) for part in ("Content-Length", "header token"))


def last_head(received: bytes | bytearray) -> tuple[int, int, int] | None:
    """Where the head behind all interim ones begins and ends, and where the body begins; None before it is whole."""
    start = 0
    while end := HEAD_END.search(received, start):
        if not _INTERIM.match(received, start):
            return start, end.start(), end.end()
        start = end.end()
    return None


def has_whole_head(received: bytes) -> bool:
    """Whether the head behind all interim ones has come whole."""
    return last_head(received) is not None


def ends_with_its_connection(received: bytes) -> bool:
    """Whether a response that began so, with a whole head, has no other end than that of its connection."""
    place = last_head(received)
    return place is not None and _SAYS_ITS_END.search(received, *place[:2]) is None
