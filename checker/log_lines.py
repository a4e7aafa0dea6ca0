"""The program's log: lines of plain text on standard error, with secrets masked."""

from __future__ import annotations

import logging
import sys
from typing import Any

from checker import untrusted_text

_LOG_LINE = "%(levelname)s %(name)s: %(message)s"


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
