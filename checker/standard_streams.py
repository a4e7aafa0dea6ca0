"""Standard output and standard error for the whole program: everything printed there is plain text.

Colours and redrawn lines come from one place, `reports.terminal`, which cleans every piece of text and then writes to
the underlying stream.
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


class LogLines(logging.Formatter):
    """One line per record, whatever its message contains; a traceback follows on lines of its own.

    Secrets are masked in both: those of the current probe in the line, and all that the process knows in a traceback.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # its name
        """The formatted line."""
        from checker.secrets.known_secrets import current  # only who logs needs it

        record.message = untrusted_text.terminal(current()(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 # its name
        """The formatted traceback."""
        from checker.secrets.known_secrets import masked_for_log

        return untrusted_text.lines(masked_for_log(super().formatException(ei)))


def log_to_stderr(level: int) -> None:
    """Log to standard error from this level on, unless logging is already configured."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines(_LOG_LINE))
    logging.basicConfig(level=level, handlers=[handler])
