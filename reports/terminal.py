"""The only module that uses rich: tables, colours and live output on a terminal, with all text taken literally.

Text given to a `Text`, to a cell or to a console is plain text: no markup or emoji code in it is interpreted, and
terminal control characters are written as escapes (`checker.untrusted_text`). Other modules import these names from
here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from rich import console as rich_console
from rich import table as rich_table
from rich import text as rich_text
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.segment import Segment

from checker import untrusted_text
from checker.standard_streams import behind

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress, ProgressColumn

__all__ = ["Console", "Group", "TerminalTable", "Text", "console", "live", "progress"]

_WIDTH_WITHOUT_TERMINAL = 160


class Text(rich_text.Text):
    """Text in a style, on one line."""

    def __init__(self, text: str = "", style: str = "", **options: Any) -> None:
        super().__init__(untrusted_text.terminal(text), style, **options)

    def append(self, text: Any, style: Any = None) -> Text:
        """Append text with its own style."""
        super().append(untrusted_text.terminal(text) if isinstance(text, str) else text, style)
        return self


class TerminalTable(rich_table.Table):
    """A table in our standard style: only a line below its header."""

    def __init__(self, *, title: str | None = None) -> None:
        super().__init__(box=SIMPLE_HEAD, pad_edge=False, title=None if title is None else Text(title))
        self.title_justify = "left"

    def add_column(self, header: Any = "", *arguments: Any, **options: Any) -> None:
        """A column with this header."""
        super().add_column(_words(header), *arguments, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """A row of strings and texts."""
        super().add_row(*map(_words, cells), **options)


class Console(rich_console.Console):
    """A console that interprets no markup, and cleans everything that is printed."""

    def __init__(self, stream: TextIO, width: int | None = None, **options: Any) -> None:
        super().__init__(file=behind(stream), width=width, markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """The segments to print."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(untrusted_text.lines(segment.text), segment.style)


def console(stream: TextIO) -> Console:
    """A console on the stream; if that is no terminal, wide enough that nothing is cut off in a log."""
    return Console(stream, None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL)


def progress(stream: TextIO, *columns: str) -> Progress:
    """Temporary progress bars on a terminal; ``columns`` are `bar`, `count`, `time`, or text with fields."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    made: dict[str, ProgressColumn] = {"bar": BarColumn(), "count": MofNCompleteColumn(), "time": TimeElapsedColumn()}
    return Bars(
        *(made[one] if one in made else TextColumn(one, markup=False) for one in columns),
        console=Console(stream),
        transient=True,
    )


def live(on: Console) -> Live:
    """A live display that is redrawn on request and disappears at the end; without rich's own thread."""
    from rich.live import Live as Picture

    return Picture(console=on, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)


def _words(cell: Any) -> Any:
    return Text(cell) if isinstance(cell, str) else cell
