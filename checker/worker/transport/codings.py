"""Content codings: what decompresses a body, and whether it came to its end."""

from __future__ import annotations

from typing import Any

from urllib3.exceptions import DecodeError
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


def decoded(coding: str, body: bytes, most_bytes: int) -> bytes:
    """A whole body without its coding, or some more than ``most_bytes`` of it; as it is where the coding is not known.

    Raises ProbeFailure (decode) for one that is broken, or ends before its end.
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
    """What decompresses a body of this coding; None where it is not known."""
    coding = coding.strip().lower()
    known = coding and all(one.strip() in BaseHTTPResponse.CONTENT_DECODERS for one in coding.split(","))
    try:
        return _get_decoder(coding) if known else None
    except DecodeError as error:
        return _Refused(error)


def is_whole(decoder: Any) -> bool:
    """Whether what a decoder was given came to its end; of the parts of gzip, the first: some are padded after it."""
    if isinstance(decoder, MultiDecoder):
        return all(is_whole(one) for one in decoder._decoders)
    if isinstance(decoder, GzipDecoder):
        return decoder._state is not GzipDecoderState.FIRST_MEMBER or decoder._obj.eof
    if isinstance(decoder, DeflateDecoder):
        return bool(decoder._obj.eof)
    ended = getattr(getattr(decoder, "_obj", None), "is_finished", None)  # of Brotli; zstd sees to it itself
    return ended is None or bool(ended())


class _Refused:
    """Stands for a chain of codings that is not decoded, such as one of fifty: told when the body is read."""

    has_unconsumed_tail = False

    def __init__(self, error: DecodeError) -> None:
        self._error = error

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Raises DecodeError."""
        raise self._error

    def flush(self) -> bytes:
        """Nothing came."""
        return b""
