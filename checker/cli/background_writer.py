"""Text written by a thread of its own, so that who writes it never waits for who reads it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_WAITING = 300
"""Texts that may wait to be written: five minutes of one a second."""
_LAST_S = 2.0


class Unread(Exception):
    """Nobody reads what is written any more, or not nearly as fast as it comes.

    No OSError on purpose: rich ends the process on a BrokenPipeError.
    """


class BackgroundWriter:
    """What writing needs of a text stream; a pipe that is full, or a terminal that is held, holds up nobody."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._texts: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._write, name="background-writer", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:
        """As of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """As of the stream."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As of the stream; raises OSError where it has none."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Have the text written; raises `Unread` where that failed before, or too much is waiting."""
        if self._failed:
            raise Unread
        try:
            self._texts.put_nowait(text)
        except queue.Full:
            self._failed = True
            raise Unread from None
        return len(text)

    def flush(self) -> None:
        """Nothing: each text is flushed when it is written."""

    def close(self) -> None:
        """Wait for what is still to be written, two seconds at most; the stream stays open."""
        try:
            self._texts.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_LAST_S)

    def _write(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # a closed pipe, a closed stream, a character that it cannot encode
                self._failed = True
                return


@contextmanager
def background(stream: IO[str]) -> Iterator[BackgroundWriter]:
    """A writer to the stream, closed at the end."""
    writer = BackgroundWriter(stream)
    try:
        yield writer
    finally:
        writer.close()
