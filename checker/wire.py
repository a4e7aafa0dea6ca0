"""Length-prefixed msgpack frames of records, for both sides of the process boundary; without gevent."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

Message = TypeVar("Message")

PROTOCOL = 11
"""Raised with every change of a frame or of a record that crosses."""
_HEAD = struct.Struct(">I")
_MOST_BYTES = 64 * 1024 * 1024
_LARGE_NUMBER = 1


def frame(message: Any) -> bytes:
    """The message as bytes for a pipe; raises ValueError above 64 MiB, and for text that is not valid Unicode."""
    body = packed(message)
    if len(body) > _MOST_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is too large")
    return _HEAD.pack(len(body)) + body


def packed(value: Any) -> bytes:
    """Records, and any value msgpack supports, as bytes; raises TypeError or ValueError for anything else."""
    try:
        return _ENCODER.encode(value)
    except OverflowError:
        plain = msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=_as_usual)
        return _ENCODER.encode(_with_large_numbers(plain))


@lru_cache(maxsize=64)
def reader(kind: Any) -> Callable[[bytes], Any]:
    """A decoder for values of a type that `packed` has packed; it raises ValueError if they do not match the type."""
    decode = msgspec.msgpack.Decoder(kind, dec_hook=_of_text, ext_hook=_large_number).decode

    def read(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.ValidationError:  # perhaps of a large number: the type does not say that it may be one
            return rebuilt(kind, _untyped(body))
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"not a message of ours: {error}") from None

    return read


def rebuilt(kind: type[Message], plain: Any) -> Message:
    """The record for a value decoded without its type; raises ValueError if it does not match."""
    try:
        return msgspec.convert(plain, kind, dec_hook=_of_text)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a message of ours: {error}") from None


def _untyped(body: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(body, ext_hook=_large_number)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"not a message of ours: {error}") from None


def _as_usual(value: Any) -> Any:
    if isinstance(value, str):  # such as a Secret
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be put into a frame")


def _of_text(kind: Any, text: Any) -> Any:
    if issubclass(kind, str) and isinstance(text, str):
        return kind(text)
    raise TypeError(f"{kind.__name__} is text")


def _with_large_numbers(plain: Any) -> Any:
    """The same value with whole numbers above 64 bits in a form msgpack can carry; the configuration may have some."""
    if isinstance(plain, int) and not -(2**63) <= plain < 2**64:
        return msgspec.msgpack.Ext(_LARGE_NUMBER, str(plain).encode())
    if isinstance(plain, list | tuple):
        return [_with_large_numbers(item) for item in plain]
    if isinstance(plain, dict):
        return {key: _with_large_numbers(item) for key, item in plain.items()}
    return plain


def _large_number(code: int, data: memoryview) -> Any:
    if code == _LARGE_NUMBER:
        return int(bytes(data))
    raise ValueError(f"no extension {code} is ours")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_as_usual)


class Frames:
    """Assembler of frames from the pieces that a pipe delivers."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The bodies of the frames that this piece completes; raises ValueError for bytes that are not frames."""
        self._pending += piece
        while len(self._pending) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._pending)
            if length > _MOST_BYTES:
                raise ValueError("not a frame")
            end = _HEAD.size + length
            if len(self._pending) < end:
                return
            body = bytes(self._pending[_HEAD.size : end])
            del self._pending[:end]
            yield body


def messages(read: Callable[[int], bytes], decode: Callable[[bytes], Message]) -> Iterator[Message]:
    """Messages decoded by ``decode`` from ``read(most_bytes)`` until it returns nothing."""
    frames = Frames()
    while piece := read(1 << 20):
        for body in frames.feed(piece):
            yield decode(body)
