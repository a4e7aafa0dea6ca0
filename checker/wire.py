"""Length-prefixed msgpack frames, written and read by both sides of the process boundary; no gevent in here."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

PROTOCOL = 5
"""Raised with every change of a frame or of a record that crosses."""
_HEAD = struct.Struct(">I")
_MOST_BYTES = 64 * 1024 * 1024


def frame(message: dict[str, Any]) -> bytes:
    """The message as bytes for a pipe; raises ValueError above 64 MiB."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) > _MOST_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is too large")
    return _HEAD.pack(len(body)) + body


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
            message = msgpack.unpackb(self._pending[_HEAD.size : end])
            del self._pending[:end]
            yield message


def messages(read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """Messages from ``read(most_bytes)`` until it gives nothing."""
    frames = Frames()
    while piece := read(1 << 20):
        yield from frames.feed(piece)
