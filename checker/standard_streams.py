"""Standard output and standard error for the whole program: everything printed there is plain text.

Colours come from `reports.text_tables`, redrawn lines from `reports.terminal`; both clean every text and then write to
the underlying stream.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from checker import untrusted_text


class PlainStream:
    """A text stream that emits no character a terminal would act on, except line ends and tabs."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind
        """The stream itself, for callers that clean their text."""

    def write(self, text: str) -> int:
        """Write the text as `checker.untrusted_text.lines` cleans it."""
        return self.behind.write(untrusted_text.lines(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the texts, one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Make standard output and standard error plain for the duration of the context.

    Characters that the stream's encoding lacks are also written as escapes, and raise no error.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if stream is not None and hasattr(stream, "reconfigure"):
            with suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (
        stream if stream is None or isinstance(stream, PlainStream) else cast(TextIO, PlainStream(stream))
        for stream in before
    )
    try:
        yield
    finally:
        if sys.stdout is not None:  # a closed pipe has taken it
            sys.stdout = before[0]
        sys.stderr = before[1]


def behind(stream: TextIO) -> TextIO:
    """The stream that a plain one writes to; any other stream unchanged."""
    return stream.behind if isinstance(stream, PlainStream) else stream
