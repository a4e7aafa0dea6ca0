"""The progress bar of a long run, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from checker.model import Status
from checker.run import Progress


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Progress]:
    """What a run reports to; draws on standard error, if that is a terminal and the bar is wanted."""
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total, counts: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[found]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("checking", total=None, found="")

        def show(done: int, total: int, counts: Mapping[Status, int]) -> None:
            found = "  ".join(f"{number} {status}" for status, number in counts.items() if number)
            bar.update(line, completed=done, total=total, found=found)

        yield show
