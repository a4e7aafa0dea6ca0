"""The fast HTTP reader against h11: the same responses in the same pieces mean the same, or both refuse them.

What llhttp is knowingly more lenient or stricter about is in `KNOWN`, each with its reason.
"""

from __future__ import annotations

import http.client
import itertools
import os
import random
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import h11
import pytest
from fuzz_replies import framed, mutated

from checker.probes.base import ProbeFailure
from checker.worker.transport.http1 import IncomingResponse
from checker.worker.transport.reply import HttpReply
from checker.worker.transport.trace import Trace

EXAMPLES = int(os.environ.get("MCP_STATUS_EXAMPLES", "2000"))
SEED = 20_261_130
Meaning = tuple[int, bytes, tuple[tuple[str, str], ...]]
"""Status, body, and the headers with their values joined."""


def _head(data: bytes) -> bytes:
    """The last head of the response: status line and headers behind all interim replies."""
    end = re.search(rb"\r?\n\r?\n", data)
    return data[: end.end()] if end else data


def _odd_bytes(data: bytes) -> bool:
    return any(byte > 126 or (byte < 32 and byte not in (9, 10, 13)) for byte in _head(data))


KNOWN: dict[str, Callable[[bytes], bool]] = {
    # h11 keeps to the letter of RFC 9112 where a health check has no reason to
    "header values with control characters or bytes beyond ASCII": _odd_bytes,
    "a bare CR, in a head or where a line ends": lambda data: re.search(rb"\r(?!\n)", data) is not None,
    "line feeds alone in the framing of chunks": lambda data: re.search(rb"(?<!\r)\n", data) is not None,
    "chunk sizes and extensions of another form": lambda data: b"chunked" in data.lower(),
    "several lengths, or one that stands in a list": lambda data: (
        len(re.findall(rb"(?i)content-length", data)) > 1
        or re.search(rb"(?im)^content-length:[^\r\n]*,", data) is not None
    ),
    "transfer codings other than chunked alone": lambda data: (
        re.search(rb"(?i)transfer-encoding", data) is not None
        and re.search(rb"(?im)^transfer-encoding: ?chunked ?\r?$", data) is None
    ),
    "header names with spaces, without a colon, or empty": lambda data: any(
        not re.match(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:", line) for line in _head(data).splitlines()[1:] if line
    ),
    "status lines of another form": lambda data: re.match(rb"HTTP/1\.[01] [1-9]\d\d( [^\r\n]*)?\r?\n", data) is None,
    "interim replies, and 101 among them": lambda data: re.search(rb"HTTP/1\.[01] 1\d\d", data) is not None,
    "more than a hundred headers, which http.client refuses as well": lambda data: _head(data).count(b"\n") > 100,
    "a space behind or before a value": lambda data: re.search(rb"[ \t]\r?\n", _head(data)) is not None,
}
"""What either may refuse that the other reads: name -> whether a response has it."""


def by_h11(pieces: list[bytes]) -> Meaning | None:
    """What h11 makes of it; None where it refuses, or the response is cut off."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    status, body, headers = 0, b"", list[tuple[str, str]]()
    left = [*pieces, b""]
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(left.pop(0))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body, _joined(headers)
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except (h11.RemoteProtocolError, IndexError):
        return None


def by_ours(pieces: list[bytes]) -> Meaning | None:
    """What the fast reader makes of it; None where it refuses, or the response is cut off."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs, suppress(OSError):  # the reader has seen enough
            for piece in pieces:
                theirs.sendall(piece)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    try:
        response = IncomingResponse(ours, "GET", Trace())
        response.read_head()
        body = HttpReply(response, ours, lambda _: None, Trace(), 1 << 24).read()
    except Exception as error:
        assert isinstance(error, http.client.HTTPException | OSError | ProbeFailure), repr(error)
        return None
    finally:
        ours.close()
        sending.join(5)
    return response.status, body, _joined(list(dict(response.headers).items()))


def _joined(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
    return tuple(sorted(found.items()))


def response(draw: random.Random) -> bytes:
    """A response, right or nearly so."""
    body = bytes(draw.randrange(32, 127) for _ in range(draw.choice((0, 1, 16, 300))))
    length, framed_body = framed(draw, body, draw.choice((0.0, 0.3)))
    line = b"HTTP/1.%d %d %s" % (
        draw.randrange(2),
        draw.choice((200, 204, 304, 404, 500)),
        draw.choice((b"OK", b"", b"A B")),
    )
    fields = [b"A: b", b"a: c", b"X-Long: " + b"y" * draw.choice((1, 5000)), b"Content-Type: text/plain"]
    draw.shuffle(fields)
    data = (
        line
        + b"\r\n"
        + b"".join(field + b"\r\n" for field in fields[: draw.randrange(5)])
        + length
        + b"\r\n"
        + framed_body
    )
    return mutated(draw, data) if draw.random() < 0.5 else data


def difference(data: bytes, pieces: list[bytes]) -> str | None:
    """What the two readers do not agree about; None where they do, or it is known."""
    ours, theirs = by_ours(pieces), by_h11(pieces)
    if ours == theirs:
        return None
    if any(has_it(data) for has_it in KNOWN.values()):
        return None
    return f"{data[:300]!r}: ours {ours}, h11 {theirs}"


def cut(draw: random.Random, data: bytes) -> list[bytes]:
    """The bytes in pieces."""
    places = sorted({0, len(data), *(draw.randrange(len(data) + 1) for _ in range(draw.randrange(8)))})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def test_fast_reader_and_h11_read_the_same() -> None:
    draw = random.Random(SEED)
    different, read = [], 0
    for _ in range(EXAMPLES):
        data = response(draw)
        pieces = cut(draw, data)
        read += by_h11(pieces) is not None
        if told := difference(data, pieces):
            different.append(told)
    assert different == [], "\n".join(different[:20])
    assert read > EXAMPLES // 3, "enough of them are responses"


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_right_responses_mean_the_same_in_any_pieces(status: int, size: int) -> None:
    draw = random.Random(size)
    for kind in (b"Content-Length: %d\r\n" % size, b"Connection: close\r\n"):
        data = b"HTTP/1.1 %d X\r\n%s\r\n" % (status, kind) + b"x" * size
        for _ in range(10):
            pieces = cut(draw, data)
            assert by_ours(pieces) == by_h11(pieces) is not None
