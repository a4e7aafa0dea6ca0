"""One HTTP/1.1 exchange on an open socket: the request as one piece of bytes, the response parsed by llhttp."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator, Mapping
from functools import lru_cache
from time import perf_counter
from typing import Any

import httptools
from urllib3.util import Url, parse_url

from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.worker.greenlets import breathe
from checker.worker.transport.sockets import FIRST_READ_BYTES, wait_readable
from checker.worker.transport.trace import Trace

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEAD_END = re.compile(rb"\r?\n\r?\n")
_SAYS_ITS_END = re.compile(rb"(?i)\n(?:content-length[ \t]*:|transfer-encoding[ \t]*:[^\n]*chunked)")
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d")


def mended(received: bytes) -> bytes | None:
    """The response without head faults that clients ignore and llhttp rejects; None before the head is complete.

    Repeated identical Content-Length headers are one (RFC 9112 section 6.3), spaces before a colon are removed, and a
    line that is not a header is left out. None also if lengths differ.
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
    """True if the parser's error is about headers that `mended` may make readable."""
    return any(part in str(error) for part in ("Content-Length", "header token"))


def last_head(received: bytes | bytearray) -> tuple[int, int, int] | None:
    """Start and end of the head after all interim ones, and start of the body; None before it is complete."""
    start = 0
    while end := HEAD_END.search(received, start):
        if not _INTERIM.match(received, start):
            return start, end.start(), end.end()
        start = end.end()
    return None


def has_whole_head(received: bytes) -> bool:
    """True if the head after all interim ones has arrived completely."""
    return last_head(received) is not None


def ends_with_its_connection(received: bytes) -> bool:
    """True if a response with this complete head ends only with its connection."""
    place = last_head(received)
    return place is not None and _SAYS_ITS_END.search(received, *place[:2]) is None


_READ_BYTES = 65536
_MOST_HEAD_BYTES = 64 * 1024
_MOST_HEADERS = 100
_MOST_INTERIM = 20
_MOST_FRAMING = 64 * 1024
"""Bytes of chunk sizes, chunk extensions and trailers before a byte of the body, or in a row."""
_FRAMING_FOR_A_BYTE = 16
"""The same for each byte of the body: a chunk of one byte has five."""
_NO_BODY = (204, 304)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Headers(Mapping[str, str]):
    """Response headers: looked up case-insensitively; ``values`` are keyed by lower-case names.

    For a repeated header, ``fields`` has each field separately; ``values`` has them joined as a list.
    """

    __slots__ = ("_fields", "_values")

    def __init__(self, values: Mapping[str, str], fields: Mapping[str, list[str]] | None = None) -> None:
        self._values, self._fields = values, fields

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or the default: called so often that the mapping's own method is too slow."""
        return self._values.get(name.lower(), default)

    def getlist(self, name: str) -> list[str]:
        """The fields of a header, each separately; the same method as in urllib3's headers."""
        name = name.lower()
        if self._fields is not None and name in self._fields:
            return self._fields[name]
        return [self._values[name]] if name in self._values else []

    def with_value(self, name: str, value: str) -> Headers:
        """The same headers with another value for one that is not repeated; its name is in lower case."""
        return Headers({**self._values, name: value}, self._fields)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


_NO_HEADERS = Headers({})


_SIMPLE_URL = re.compile(
    r"(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,3}|[1-5][0-9]{4}))?((?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?)"
)
"""Addresses with nothing to normalise: nearly all of a fleet."""


@lru_cache(maxsize=4096)
def parsed(url: str) -> tuple[Url, bytes]:
    """The address, and the request target with the Host line up to the headers; raises urllib3's LocationParseError."""
    if (simple := _SIMPLE_URL.fullmatch(url)) is not None:
        scheme, host, port, path = simple.groups()
        is_default = port is None or int(port) == _DEFAULT_PORTS[scheme]
        named = host if is_default else f"{host}:{port}"
        target = f" {path or '/'} HTTP/1.1\r\nHost: {named}\r\n".encode("ascii")
        return Url(scheme, None, host, int(port) if port else None, path or None), target
    found = parse_url(url)
    host = found.host or ""
    port = "" if found.port in (None, _DEFAULT_PORTS.get(found.scheme or "")) else f":{found.port}"
    return found, f" {found.request_uri} HTTP/1.1\r\nHost: {host}{port}\r\n".encode("ascii")


def request_bytes(method: str, target: bytes, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The whole request; raises ProbeFailure for a header that cannot be sent."""
    text = "\r\n".join([*map(": ".join, headers.items()), ""])
    if text.count("\n") != len(headers) or "\0" in text:
        raise ProbeFailure(Reason.HTTP_MALFORMED, "the server named a value that no header can carry", "send")
    known = "\n" + text.lower()
    if "\nhost: " in known:
        target = target.partition(b"Host: ")[0]
    said = "" if "\naccept-encoding: " in known else "Accept-Encoding: identity\r\n"
    if body is not None or method == "POST":
        said += f"Content-Length: {len(body or b'')}\r\n"
    try:
        return b"".join((method.encode(), target, text.encode("latin-1"), said.encode(), b"\r\n", body or b""))
    except UnicodeEncodeError:
        raise ProbeFailure(Reason.HTTP_MALFORMED, "the server named a value that no header can carry", "send") from None


def response_parser(target: Any) -> Any:
    """A response parser that calls methods of the target: as strict as `curl` and browsers, and no stricter.

    If a response declares both a length and chunks, chunks apply (RFC 9112 section 6.3).
    """
    parser: Any = httptools.HttpResponseParser(target)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_optional_lf_after_cr=True,
        lenient_optional_cr_before_lf=True,
        lenient_chunked_length=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parser


def whole_reply(received: bytes, method: str) -> tuple[Headers, bytes]:
    """Headers and still encoded body of a complete response; raises HTTPException if it is not HTTP."""
    nowhere: Any = None  # nothing more is read
    response = IncomingResponse(nowhere, method, Trace())
    response.take(received)
    return response.headers, response.rest()


class IncomingResponse:
    """A response as it arrives: its head first, then pieces of its body, still compressed."""

    __slots__ = (
        "_body_bytes",
        "_broken",
        "_delimited",
        "_dry_bytes",
        "_fields",
        "_framing_bytes",
        "_has_head",
        "_head_bytes",
        "_head_only",
        "_interim",
        "_is_mended",
        "_keep_alive",
        "_parser",
        "_pieces",
        "_received",
        "_repeated",
        "_sock",
        "_trace",
        "_values",
        "complete",
        "headers",
        "status",
        "surplus",
    )

    def __init__(self, sock: socket.socket, method: str, trace: Trace) -> None:
        self._sock, self._trace, self._head_only = sock, trace, method == "HEAD"
        self._values: dict[str, str] = {}
        self._fields: dict[str, list[str]] | None = None
        self._received: bytes | bytearray = b""
        self._pieces: list[bytes] = []
        self._head_bytes = self._repeated = self._interim = self._body_bytes = self._framing_bytes = self._dry_bytes = 0
        self._has_head = self._delimited = self._keep_alive = self._is_mended = False
        self._broken: http.client.HTTPException | None = None
        self.complete = False
        """The whole response has arrived."""
        self.surplus = False
        """More than the response has arrived: the connection cannot be used again."""
        self.status = 0
        self.headers = _NO_HEADERS
        self._parser: Any = response_parser(self)

    @property
    def reusable(self) -> bool:
        """True if the connection can carry another exchange."""
        return self.complete and not self.surplus and self._delimited and self._keep_alive

    @property
    def as_sent(self) -> bool:
        """True if the head was read as it came, without mending."""
        return not self._is_mended

    def read_head(self) -> None:
        """Read status line and headers, past every interim (1xx) reply.

        Raises RemoteDisconnected if not a byte arrives, and the exceptions of `next_piece`.
        """
        trace, sent = self._trace, perf_counter()
        trace.step = "wait"
        wait_readable(self._sock)
        data = self._sock.recv(FIRST_READ_BYTES)
        trace.answered_at = perf_counter()
        trace.spent("wait", trace.answered_at - sent)
        if not data:
            raise http.client.RemoteDisconnected("closed without an answer")
        trace.step = "transfer"
        self.read_head_from(data)

    def read_head_from(self, data: bytes) -> None:
        """Read the head that begins with these bytes, which arrived at ``trace.answered_at``."""
        trace, start = self._trace, self._trace.answered_at
        while True:
            trace.budget.take(len(data))
            self._head_bytes += len(data)
            if self._received:
                self._received = bytearray(self._received) if isinstance(self._received, bytes) else self._received
                self._received += data
            else:
                self._received = data
            self._feed(data)
            if self._has_head:
                self._received = b""
                break  # what came with it of the body does not count
            if self._head_bytes > _MOST_HEAD_BYTES or self._interim > _MOST_INTERIM:
                raise http.client.HTTPException("the head of the response does not end")
            breathe()
            data = self._sock.recv(_READ_BYTES)
            if not data:
                raise self._broken or http.client.IncompleteRead(b"")
        trace.spent("transfer", perf_counter() - start)

    def take(self, received: bytes) -> None:
        """Take bytes that were read elsewhere; raises HTTPException if they are not HTTP."""
        self._received = received
        self._feed(received)

    def next_piece(self) -> bytes:
        """The next part of the body, waiting if none has arrived; empty at its end.

        Raises IncompleteRead for a body that is cut off, HTTPException for one that is not HTTP, OSError, and
        ProbeFailure if the probe has taken enough.
        """
        while not self._pieces:
            if self.complete:
                return b""
            if self._broken is not None:
                raise self._broken
            breathe()  # a socket that always has something to read never makes its reader wait
            data = self._sock.recv(_READ_BYTES)
            if data:
                self._trace.budget.take(len(data))
                self._feed(data)
                self._note_framing(len(data))
            elif self._delimited:
                raise http.client.IncompleteRead(b"")
            else:
                self.complete = True
        return self.rest()

    def rest(self) -> bytes:
        """All of the body that has arrived and was not taken yet."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        return body

    def _note_framing(self, received: int) -> None:
        """Refuse a body that is nearly all framing: chunk extensions and trailers have no size limit of their own."""
        body_bytes = sum(map(len, self._pieces))
        self._body_bytes += body_bytes
        self._framing_bytes += received - body_bytes
        self._dry_bytes = 0 if body_bytes else self._dry_bytes + received
        most = _MOST_FRAMING + _FRAMING_FOR_A_BYTE * self._body_bytes
        if not self.complete and (self._framing_bytes > most or self._dry_bytes > _MOST_FRAMING):
            raise http.client.HTTPException("the body is nearly all chunk extensions and trailers")

    def _feed(self, data: bytes) -> None:
        if self.complete:
            self.surplus = True
            return
        if self._broken is not None and not self._has_head:
            self._mend(max(0, len(self._received) - len(data) - 3))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = self.surplus = True
        except httptools.HttpParserError as error:
            if self.complete:  # what follows the response is no response, which is not the response's fault
                self.surplus = True
                return
            self._broken = http.client.HTTPException(str(error.__context__ or error))
        if self._broken is not None and not self._has_head:  # else told with the body: the head is worth knowing
            self._mend(0)

    def _mend(self, looked_at: int) -> None:
        """Read the head again with another parser if its only faults are ones clients ignore; else raises the error.

        The head may have arrived only in part; the part already ``looked_at`` does not contain its end.
        """
        broken, received = self._broken, self._received
        assert broken is not None  # noqa: S101 # that is when this is called
        if self._is_mended or not may_be_mended(broken):
            raise broken from None
        if HEAD_END.search(received, looked_at) and has_whole_head(bytes(received)):
            better = mended(bytes(received))
            if better is None:
                raise broken from None
            self._received, self._is_mended = b"", True
            self._broken, self._repeated, self._values, self._fields = None, 0, {}, None
            self._parser = response_parser(self)
            self._feed(better)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if self._has_head:  # trailers say nothing that is asked for
            return
        values, key = self._values, name.decode("latin-1").lower()
        if key not in values:
            values[key] = value.decode("latin-1")
        else:
            self._repeated += 1
            several = self._fields = self._fields or {}
            several.setdefault(key, [values[key]]).append(value.decode("latin-1"))
            values[key] += f", {value.decode('latin-1')}"
        if len(values) + self._repeated > _MOST_HEADERS:
            raise http.client.HTTPException(f"more than {_MOST_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        if 100 <= self.status < 200 and self.status != http.client.SWITCHING_PROTOCOLS:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise http.client.HTTPException("the head of the response does not end")
            self._repeated, self._values, self._fields = 0, {}, None
            return
        values = self._values
        self.headers = Headers(values, self._fields)
        self._has_head = True
        self._delimited = (
            "content-length" in values
            or self._head_only
            or self.status in _NO_BODY
            or "chunked" in values.get("transfer-encoding", "").lower()
        )
        if self._head_only:
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        if not self.complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._has_head and not self.complete:
            self.complete = True
            self._keep_alive = bool(self._parser.should_keep_alive())  # can be asked now only
