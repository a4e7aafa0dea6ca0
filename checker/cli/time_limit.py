"""A time limit on whatever the command is doing, by the process's alarm."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from checker.errors import QueryError


@contextmanager
def time_limit(seconds: float, told_s: float) -> Iterator[None]:
    """Raise QueryError after so many seconds, wherever the main thread is in Python by then.

    ``told_s`` is the limit that the message names.
    """

    def late(_number: int, _frame: FrameType | None) -> None:
        raise QueryError(f"printing the answer took longer than {told_s:g} s; ask for less, or raise --timeout")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
