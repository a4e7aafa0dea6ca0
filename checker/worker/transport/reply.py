"""The body of a response: read as it arrives, decompressed under a limit, its connection kept or closed."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol

import gevent
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.response import (
    BaseHTTPResponse,
    DeflateDecoder,
    GzipDecoder,
    GzipDecoderState,
    MultiDecoder,
    _get_decoder,
)

from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.worker.greenlets import breathe
from checker.worker.transport.failures import exchange_failure
from checker.worker.transport.trace import Trace


def decoded(coding: str, body: bytes, most_bytes: int) -> bytes:
    """A whole body decoded, or slightly more than ``most_bytes`` of it; unchanged if the coding is unknown.

    Raises ProbeFailure (decode) for a body that is broken, or ends early.
    """
    decoder = decoder_of(coding) if body else None
    if decoder is None:
        return body
    try:
        plain = bytes(decoder.decompress(body, max_length=most_bytes + 1))
        while decoder.has_unconsumed_tail and len(plain) <= most_bytes:
            plain += bytes(decoder.decompress(b"", max_length=most_bytes + 1 - len(plain)))
        if len(plain) > most_bytes:
            return plain
        plain += bytes(decoder.flush())
    except BaseHTTPResponse.DECODER_ERROR_CLASSES as error:
        raise ProbeFailure(Reason.DECODE, f"body cannot be decompressed: {error}", "transfer") from None
    if not is_whole(decoder):
        raise ProbeFailure(Reason.DECODE, "body cannot be decompressed: it ends before its end", "transfer")
    return plain


def decoder_of(coding: str) -> Any:
    """A decoder for bodies of this coding; None if the coding is unknown."""
    coding = coding.strip().lower()
    known = coding and all(one.strip() in BaseHTTPResponse.CONTENT_DECODERS for one in coding.split(","))
    try:
        return _get_decoder(coding) if known else None
    except DecodeError as error:
        return _Refused(error)


def is_whole(decoder: Any) -> bool:
    """True if the decoder's input is complete; for gzip, its first part: some servers pad after it."""
    if isinstance(decoder, MultiDecoder):
        return all(is_whole(one) for one in decoder._decoders)
    if isinstance(decoder, GzipDecoder):
        return decoder._state is not GzipDecoderState.FIRST_MEMBER or decoder._obj.eof
    if isinstance(decoder, DeflateDecoder):
        return bool(decoder._obj.eof)
    ended = getattr(getattr(decoder, "_obj", None), "is_finished", None)  # of Brotli; zstd sees to it itself
    return ended is None or bool(ended())


class _Refused:
    """Placeholder for a chain of codings that is not decoded, such as one of fifty: an error when the body is read."""

    has_unconsumed_tail = False

    def __init__(self, error: DecodeError) -> None:
        self._error = error

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Raises DecodeError."""
        raise self._error

    def flush(self) -> bytes:
        """Nothing is pending."""
        return b""


_PIECE_BYTES = 65536
"""At most this much is decompressed at a time: a small body can become a very large one."""
_CODED_BYTES = 8192
"""At most this much is given to a decoder at a time: it may be hundreds of gzip members, each with a new window."""
_HANDED_OVER = 16384
"""At most this much is handed over at a time: it may be as many lines of an event stream."""
_DRAIN_S = 0.02
"""Time allowed for a stream to end after its reply, so that its connection can be kept."""


class Response(Protocol):
    """A response whose head has arrived, whichever parser reads it."""

    @property
    def status(self) -> int:
        """The HTTP status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers; names are looked up case-insensitively."""
        ...

    @property
    def complete(self) -> bool:
        """True if the whole body has arrived."""
        ...

    @property
    def reusable(self) -> bool:
        """True if the connection can carry another exchange."""
        ...

    def next_piece(self) -> bytes:
        """The next piece of the body as it arrived; empty at its end. Raises HTTPException and OSError."""
        ...

    def rest(self) -> bytes:
        """All of the body that has arrived and was not taken yet."""
        ...


class ArrivedReply:
    """Implements `checker.probes.base.Reply` for a reply that is here, has the usual length and no encoding."""

    __slots__ = ("_response", "_trace", "headers", "is_taken", "status")

    def __init__(self, response: Response, trace: Trace) -> None:
        self._response, self._trace = response, trace
        self.status, self.headers = response.status, response.headers
        self.is_taken = False
        """The body was read, or given up."""

    def chunks(self) -> Iterator[bytes]:
        """The body, which is not longer than what is handed over at a time."""
        if body := self.read():
            yield body

    def read(self) -> bytes:
        """All of the body that was not taken yet."""
        self.is_taken = True
        body = self._response.rest()
        self._trace.received_bytes += len(body)
        return body

    def release(self) -> None:
        """Give up the body."""
        self._response.rest()
        self.is_taken = True

    def close(self) -> None:
        """Nothing: the transport looks at what was not taken."""


class HttpReply:
    """Implements `checker.probes.base.Reply`."""

    def __init__(
        self, response: Response, connection: Any, give_back: Callable[[Any], None], trace: Trace, max_body: int
    ) -> None:
        self._response, self._connection, self._give_back = response, connection, give_back
        self._trace, self._max_body, self._received, self._done = trace, max_body, 0, False
        self._coded, self._was_coded = b"", False
        self.status, self.headers = response.status, response.headers
        coding = self.headers.get("content-encoding")
        self._decoder = None if coding is None else decoder_of(coding)

    def chunks(self) -> Iterator[bytes]:
        """Decoded body bytes as they arrive; raises ProbeFailure."""
        while not self._done:
            chunk = self._next_chunk()
            if len(chunk) <= _HANDED_OVER:
                if chunk:
                    yield chunk
                continue
            for start in range(0, len(chunk), _HANDED_OVER):
                yield chunk[start : start + _HANDED_OVER]
                breathe()

    def read(self) -> bytes:
        """The whole decoded body; raises ProbeFailure."""
        if self._decoder is None and self._response.complete and not self._done:
            return self._all_that_came()
        body = bytearray()  # no list of pieces: they may be of a byte each
        while not self._done:
            body += self._next_chunk()
        return bytes(body)

    def release(self) -> None:
        """Read on for a moment, so that a stream that ends with its reply keeps its connection; else close it."""
        if not self._done and self._response.complete:
            self._finish()
        if self._done:
            return
        try:
            with gevent.Timeout(_DRAIN_S, False):  # type: ignore[arg-type] # False means: end the block, raise nothing
                self.read()
        except ProbeFailure:
            pass
        self.close()

    def close(self) -> None:
        """Close the connection if the body was not read to its end."""
        if not self._done:
            self._done = True
            self._connection.close()
            self._give_back(self._connection)

    def _all_that_came(self) -> bytes:
        """The rest of an uncompressed body that has arrived completely: the usual case, without its clock."""
        body = self._response.rest()
        self._count(body)
        self._finish()
        return body

    def _next_chunk(self) -> bytes:
        start = perf_counter()
        try:
            chunk = self._decoded()
        except (HTTPError, http.client.HTTPException, OSError) as error:
            self.close()
            raise exchange_failure(error, "transfer") from None
        finally:
            self._trace.spent("transfer", perf_counter() - start)
        self._count(chunk)
        return chunk

    def _count(self, chunk: bytes) -> None:
        self._received += len(chunk)
        self._trace.received_bytes += len(chunk)
        if self._received > self._max_body:
            self.close()
            raise ProbeFailure(Reason.BODY_TOO_LARGE, f"body of more than {self._max_body} bytes", "transfer")

    def _decoded(self) -> bytes:
        """The next bytes of the body; empty if there are none yet, and at its end, which is noted."""
        decoder = self._decoder
        if decoder is None:
            if not (piece := self._response.next_piece()):
                self._finish()
            return piece
        breathe()
        piece = b"" if decoder.has_unconsumed_tail else self._next_coded()
        try:
            if piece or decoder.has_unconsumed_tail:
                plain = bytes(decoder.decompress(piece, max_length=_PIECE_BYTES))
                self._trace.budget.take(len(plain))
                return plain
            rest = bytes(decoder.flush())
            if self._was_coded and not is_whole(decoder):
                raise DecodeError("it ends before its end")
        except BaseHTTPResponse.DECODER_ERROR_CLASSES as error:
            raise DecodeError(str(error)) from None
        self._finish()
        return rest

    def _next_coded(self) -> bytes:
        if not self._coded:
            self._coded = self._response.next_piece()
            self._was_coded = self._was_coded or bool(self._coded)
        piece, self._coded = self._coded[:_CODED_BYTES], self._coded[_CODED_BYTES:]
        return piece

    def _finish(self) -> None:
        """Note the end of the body: the connection goes back, and is closed before if it cannot be reused."""
        self._done = True
        if not self._response.reusable:
            self._connection.close()
        self._give_back(self._connection)
