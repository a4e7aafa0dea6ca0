"""Progress of a run: a bar on a terminal, and everywhere a message when checks have to wait."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

from checker.model import Status
from checker.run.run import Progress

Steps = Callable[[int, int], None]
"""Callback with steps done and total steps."""


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Progress]:
    """The progress callback of a run; draws on standard error if that is a terminal, and is silent if not wanted."""
    if not wanted:
        yield lambda done, total, counts, waits_for: None
    elif not sys.stderr.isatty():
        yield _said_once()
    else:
        with _bar() as show:
            yield show


@contextmanager
def step_bar(words: str, wanted: bool = True) -> Iterator[Steps]:
    """The callback for steps done and total of a long task; draws on standard error if that is a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from reports import terminal

    with terminal.progress(sys.stderr, "{task.description}", "bar", "count", "time") as bar:
        line = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(line, completed=done, total=total)


def _said_once() -> Progress:
    """Print a message when checks begin to wait, and when they continue."""
    waiting = False

    def show(done: int, total: int, counts: Mapping[Status, int], waits_for: str | None) -> None:
        nonlocal waiting
        if (waits_for is not None) != waiting:
            waiting = waits_for is not None
            click.echo(f"mcp-status: checks wait: {waits_for}" if waiting else "mcp-status: checks go on", err=True)

    return show


@contextmanager
def _bar() -> Iterator[Progress]:
    from reports import terminal

    with terminal.progress(sys.stderr, "bar", "count", "{task.fields[found]}", "time") as bar:
        line = bar.add_task("checking", total=None, found="")

        def show(done: int, total: int, counts: Mapping[Status, int], waits_for: str | None) -> None:
            found = "  ".join(f"{number} {status}" for status, number in counts.items() if number)
            if waits_for is not None:
                found = f"{found}  waiting: {waits_for}".strip()
            bar.update(line, completed=done, total=total, found=found)

        yield show
