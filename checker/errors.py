"""Our own failures, each with its exit code; a failing server is a result, never one of these."""

from __future__ import annotations


class CheckerError(Exception):
    """Base of every error shown to the user as one message: the fault, its place, and the remedy."""

    exit_code = 3


class UsageError(CheckerError):
    """The command line asks for something that does not exist, or its options do not fit together."""


class ConfigError(CheckerError):
    """A configuration file cannot be used; the message names file, line, key, value and remedy."""


class StorageError(CheckerError):
    """The database cannot be opened, read or written."""


class StorageBusy(StorageError):
    """Another process held the database for longer than we are willing to wait."""


class QueryError(CheckerError):
    """A query was refused, is not valid SQL, or exceeded its limits."""


class WorkerStartError(CheckerError):
    """A worker process could not be started, or refuses to work in this installation."""
