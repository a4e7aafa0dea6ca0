"""Standard output and standard error as all of the program has them: what is printed there is text.

Colours and redrawn lines come from one place, `reports.terminal`, which cleans every piece of text and then writes to
the stream behind.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from checker import untrusted_text

_LOG_LINE = "%(levelname)s %(name)s: %(message)s"


class PlainStream:
    """A text stream that writes nothing a terminal would act on but line ends and tabs."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind
        """The stream itself, for who cleans its text."""

    def write(self, text: str) -> int:
        """Write the text as `checker.untrusted_text.lines` gives it."""
        return self.behind.write(untrusted_text.lines(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the texts, one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Make standard output and standard error plain as long as this lasts.

    Letters that the stream's encoding does not have are written as escapes, too, and end nothing.
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
    """The stream that a plain one writes to; any other as it is."""
    return stream.behind if isinstance(stream, PlainStream) else stream


class LogLines(logging.Formatter):
    """One line for each record, whatever is in its message; a traceback follows on lines of its own.

    Both without secrets: of the probe that is being made, and in a traceback of all that the process knows.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # its name
        """The line."""
        from checker.secrets.known_secrets import current  # only who logs needs it

        record.message = untrusted_text.terminal(current()(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 # its name
        """The traceback."""
        from checker.secrets.known_secrets import masked_for_log

        return untrusted_text.lines(masked_for_log(super().formatException(ei)))


def log_to_stderr(level: int) -> None:
    """Log to standard error from this level on, unless something else was set up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines(_LOG_LINE))
    logging.basicConfig(level=level, handlers=[handler])
