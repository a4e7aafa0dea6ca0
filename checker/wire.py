"""Length-prefixed msgpack frames, written and read by both sides of the process boundary; no gevent in here."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

PROTOCOL = 8
"""Raised with every change of a frame or of a record that crosses."""
_HEAD = struct.Struct(">I")
_MOST_BYTES = 64 * 1024 * 1024
_LARGE_NUMBER = 1


def frame(message: dict[str, Any]) -> bytes:
    """The message as bytes for a pipe; raises ValueError above 64 MiB."""
    body: bytes = msgpack.packb(message, use_bin_type=True, default=_large)
    if len(body) > _MOST_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is too large")
    return _HEAD.pack(len(body)) + body


def _large(value: Any) -> msgpack.ExtType:
    """A whole number of more than 64 bits, such as one that the configuration compares with; raises TypeError else."""
    if isinstance(value, int):
        return msgpack.ExtType(_LARGE_NUMBER, str(value).encode())
    raise TypeError(f"{type(value).__name__} cannot be put into a frame")


def _small(code: int, data: bytes) -> Any:
    return int(data) if code == _LARGE_NUMBER else msgpack.ExtType(code, data)


class Frames:
    """Puts frames together from the pieces that a pipe gives."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """The messages that this piece completes; raises ValueError for bytes that are no frames."""
        self._pending += piece
        while len(self._pending) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._pending)
            if length > _MOST_BYTES:
                raise ValueError("not a frame")
            end = _HEAD.size + length
            if len(self._pending) < end:
                return
            message = msgpack.unpackb(self._pending[_HEAD.size : end], ext_hook=_small)
            del self._pending[:end]
            yield message


def messages(read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """Messages from ``read(most_bytes)`` until it gives nothing."""
    frames = Frames()
    while piece := read(1 << 20):
        yield from frames.feed(piece)
