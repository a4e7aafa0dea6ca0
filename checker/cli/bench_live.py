"""What is seen of a load test while it goes on: a picture on a terminal, lines elsewhere, or JSON for machines.

Each is told of every second (`checker.bench.player.Watcher`) and neither ends the run nor holds it up, whatever happens
to its output: a view whose pipe is closed, or not read for minutes, is not shown any more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

from checker.bench.live import Live, Moment
from checker.bench.player import Second, Watcher
from checker.cli.background_writer import BackgroundWriter, Unread, background
from checker.cli.bench_json_lines import json_line
from checker.cli.bench_picture import picture
from checker.cli.bench_words import plain_line
from reports.terminal import Console, live

EVERY_S = 5.0
"""Between two plain lines."""


@contextmanager
def live_view(
    wanted: bool = True, json_lines: bool = False, console: Console | None = None, stdout: IO[str] | None = None
) -> Iterator[Watcher]:
    """Who is to be told of the seconds of one run.

    ``json_lines`` writes one JSON object per second on standard output, and nothing else is shown. Otherwise standard
    error has the picture, if it is a terminal that can redraw lines, or else a line every five seconds.
    """
    shown = console or Console(sys.stderr)
    if json_lines:
        with background(stdout or sys.stdout) as out:
            yield _Guarded(_json_lines(out))
    elif not wanted:
        yield lambda second: None
    elif shown.is_terminal and not shown.is_dumb_terminal:
        with _redrawn(shown) as show:
            yield _Guarded(show)
    else:
        with background(shown.file) as out:
            yield _Guarded(_plain_lines(out))


class _Guarded:
    """Adds up the news and shows them, until showing fails."""

    def __init__(self, show: Callable[[Moment], None]) -> None:
        self._show, self._failed, self._live = show, False, Live()

    def __call__(self, second: Second) -> None:
        if self._failed:
            return
        try:
            self._show(self._live.take(second))
        except Exception:  # whatever it is, the load test is worth more than its picture
            self._failed = True


@contextmanager
def _redrawn(console: Console) -> Iterator[Callable[[Moment], None]]:
    """Without a thread of its own, which would take time from the run at moments of its own."""
    stream = console.file
    with background(stream) as writer:
        console.file = cast(IO[str], writer)
        drawn = live(console)

        def show(moment: Moment) -> None:
            drawn.update(picture(moment, console.width, not console.options.ascii_only), refresh=True)

        try:
            drawn.start()
            yield show
        finally:
            with suppress(Unread):
                drawn.stop()
            console.file = stream


def _plain_lines(out: BackgroundWriter) -> Callable[[Moment], None]:
    """A line every five seconds, and each note when it comes for the first time: between levels all come again."""
    next_s, said = EVERY_S, {""}

    def show(moment: Moment) -> None:
        nonlocal next_s
        if moment.note not in said:
            said.add(moment.note)
            out.write(f"{moment.at_s:6.0f} s  {moment.note}\n")
        if moment.at_s + 0.5 >= next_s:
            next_s = (moment.at_s + 0.5) // EVERY_S * EVERY_S + EVERY_S
            out.write(f"{plain_line(moment)}\n")

    return show


def _json_lines(out: BackgroundWriter) -> Callable[[Moment], None]:
    def show(moment: Moment) -> None:
        out.write(f"{json_line(moment)}\n")

    return show
