"""Our own failures, each with its exit code; a failing server is a result, never one of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class CheckerError(Exception):
    """Base of every error shown to the user as one message: the fault, its place, and the remedy."""

    exit_code = 3


class UsageError(CheckerError):
    """The command line or a call asks for something that does not exist, or its options do not fit together."""


class ConfigFault(NamedTuple):
    """One fault of a configuration."""

    file: str
    line: int | None
    """None for values that come from no file."""
    key: str
    """Such as ``servers[2].rest.timeout``."""
    text: str
    """The value, if it may be shown, and the remedy."""


class ConfigError(CheckerError):
    """A configuration file cannot be used; the message names file, line, key, value and remedy."""

    def __init__(self, text: str, faults: Sequence[ConfigFault] = ()) -> None:
        super().__init__(text)
        self.faults = tuple(faults)
        """The same for programs; empty if the file could not be read at all."""

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, tuple[ConfigFault, ...]]]:
        return type(self), (str(self), self.faults)


class StorageError(CheckerError):
    """The database cannot be opened, read or written."""


class StorageBusy(StorageError):
    """Another process held the database for longer than we are willing to wait."""


class QueryError(CheckerError):
    """A query was refused, is not valid SQL, or exceeded its limits."""


class WorkerStartError(CheckerError):
    """A worker process could not be started, or refuses to work in this installation."""
