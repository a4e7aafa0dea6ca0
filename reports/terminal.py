"""The only module that uses rich: live output on a terminal, with all text taken literally.

Text given to a `Text` or to a console is plain text: no markup or emoji code in it is interpreted, and terminal control
characters are written as escapes (`checker.untrusted_text`). Other modules import these names from here. Tables and
lines that stay are those of `reports.text_tables`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from rich import console as rich_console
from rich import text as rich_text
from rich.console import Group
from rich.segment import Segment

from checker import untrusted_text
from checker.standard_streams import behind

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress, ProgressColumn

__all__ = ["Console", "Group", "Text", "live", "progress"]


class Text(rich_text.Text):
    """Text in a style, on one line."""

    def __init__(self, text: str = "", style: str = "", **options: Any) -> None:
        super().__init__(untrusted_text.terminal(text), style, **options)

    def append(self, text: Any, style: Any = None) -> Text:
        """Append text with its own style."""
        super().append(untrusted_text.terminal(text) if isinstance(text, str) else text, style)
        return self


class Console(rich_console.Console):
    """A console that interprets no markup, and cleans everything that is printed."""

    def __init__(self, stream: TextIO, width: int | None = None, **options: Any) -> None:
        super().__init__(file=behind(stream), width=width, markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """The segments to print."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(untrusted_text.lines(segment.text), segment.style)


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
