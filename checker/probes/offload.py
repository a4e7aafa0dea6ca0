"""Work whose length a server chooses: done elsewhere if it may take long, so that it delays no other check.

A worker configures the place (`do_elsewhere`). In a process without one (`is_elsewhere` is false), large work is done
on the spot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LARGE_BYTES = 128 * 1024
"""A text that is longer is not worked on beside other checks."""
LARGE_VALUES = 10_000
"""The same for JSON that may hold more values: they take up to a microsecond each to read, and ten to judge."""
LARGE_STEPS = 100_000_000
"""The same for a regular expression: its places times the text's bytes are the upper bound on RE2's steps."""
MOST_VISITS = 1_000
"""The same for a JSONPath, which takes some 20 microseconds for each value that it visits."""
_NEVER_LARGE = 4096

Run = Callable[[str, list[Any], int], Any]


class TooMuch(Exception):
    """Work that was given up: it took more time or memory than one server may have. The text says which."""


class _Place:
    run: Run | None = None
    turn: Callable[[], None] | None = None


def do_elsewhere(run: Run | None, turn: Callable[[], None] | None = None) -> None:
    """Let ``run`` do large work from now on: job, arguments and a measure of its length in bytes.

    ``turn`` is called between pieces of work of a few milliseconds, to let others run.
    """
    _Place.run, _Place.turn = run, turn


def do(job: str, args: list[Any], length: int) -> Any:
    """The value of a job of `offloaded_jobs`, done elsewhere; raises TooMuch, LookupError if there is no elsewhere."""
    if _Place.run is None:
        raise LookupError(f"{job}: this process has nobody else to do large work")
    return _Place.run(job, args, length)


def breathe() -> None:
    """Let others run for a moment, if there are others."""
    if _Place.turn is not None:
        _Place.turn()


def is_elsewhere() -> bool:
    """True if large work is done by another process."""
    return _Place.run is not None


def values_in(text: bytes) -> int:
    """Upper bound on the JSON values in a text: its commas, brackets and braces, including those within texts."""
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def is_large(text: bytes) -> bool:
    """True if reading and judging the JSON text may delay others."""
    if len(text) <= _NEVER_LARGE:
        return False
    return len(text) > LARGE_BYTES or values_in(text) > LARGE_VALUES
