"""The only module that uses rich: tables, colours and live output on a terminal, with all text taken literally.

Text given to a `Text`, to a cell or to a console is plain text: no markup or emoji code in it is interpreted, and
terminal control characters are written as escapes (`checker.untrusted_text`). Other modules import these names from
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, TextIO

from msgspec import Struct
from rich import console as rich_console
from rich import table as rich_table
from rich import text as rich_text
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group
from rich.measure import Measurement
from rich.segment import Segment

from checker import untrusted_text
from checker.standard_streams import behind
from reports.run_as_text import WIDTH_WITHOUT_TERMINAL

if TYPE_CHECKING:
    from rich.console import ConsoleOptions
    from rich.live import Live
    from rich.progress import Progress, ProgressColumn

__all__ = ["Console", "Group", "TerminalTable", "Text", "console", "live", "progress"]


class Text(rich_text.Text):
    """Text in a style, on one line."""

    def __init__(self, text: str = "", style: str = "", **options: Any) -> None:
        super().__init__(untrusted_text.terminal(text), style, **options)

    def append(self, text: Any, style: Any = None) -> Text:
        """Append text with its own style."""
        super().append(untrusted_text.terminal(text) if isinstance(text, str) else text, style)
        return self


LARGE_TABLE_ROWS = 50
"""From so many rows on a table is laid out by columns, to the same characters: rich takes half a millisecond a row."""


class TerminalTable:
    """A table in our standard style: only a line below its header."""

    def __init__(self, *, title: str | None = None) -> None:
        self._title = title
        self._columns: list[_ColumnStyle] = []
        self._rows: list[Sequence[str | Text]] = []

    @property
    def row_count(self) -> int:
        """The number of its rows; rich's tables have the same."""
        return len(self._rows)

    @property
    def is_large(self) -> bool:
        """True if rich would take too long to lay it out."""
        return self.row_count >= LARGE_TABLE_ROWS

    def add_column(
        self,
        header: str | Text = "",
        *,
        justify: Literal["left", "right"] = "left",
        no_wrap: bool = False,
        overflow: Literal["fold", "ellipsis"] = "ellipsis",
    ) -> None:
        """A column with this header."""
        self._columns.append(_ColumnStyle(header, justify, no_wrap, overflow))

    def add_row(self, *cells: str | Text) -> None:
        """A row of strings and texts, one for each column."""
        self._rows.append(cells)

    def add_rows(self, rows: Iterable[Sequence[str | Text]]) -> None:
        """Several rows."""
        self._rows.extend(rows)

    def __rich_console__(self, on: rich_console.Console, options: ConsoleOptions) -> rich_console.RenderResult:
        """What rich prints."""
        if self.is_large:
            yield from self._by_columns(on, options)
        else:
            yield self._by_rich(self._rows)

    def _by_rich(self, rows: Iterable[Sequence[Any]]) -> rich_table.Table:
        table = rich_table.Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            title=None if self._title is None else Text(self._title),
            title_justify="left",
        )
        for one in self._columns:
            table.add_column(_words(one.header), justify=one.justify, no_wrap=one.no_wrap, overflow=one.overflow)
        for row in rows:
            table.add_row(*map(_words, row))
        return table

    def _by_columns(self, on: rich_console.Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The table with its head and the widths of its columns from rich, and its rows joined from padded columns."""
        columns = [
            _MeasuredColumn.of(style, cells)
            for style, cells in zip(self._columns, zip(*self._rows, strict=True), strict=True)
        ]
        widest = [_Widest(one.longest_word, one.longest) for one in columns]
        *head, _, foot = on.render_lines(self._by_rich([widest]), options, pad=False, new_lines=True)
        if min(one.width for one in widest) < 1:  # a terminal that is too narrow for so many columns
            yield from on.render(self._by_rich(self._rows), options)
            return
        for line in head:
            yield from line
        box = SIMPLE_HEAD.substitute(options, safe=on.safe_box)
        edges = (box.mid_left, f" {box.mid_vertical} ", box.mid_right)
        padded = [one.padded(on, told.width) for one, told in zip(columns, widest, strict=True)]
        yield from _joined(padded, edges, len(self._rows))
        yield from foot


class _ColumnStyle(Struct, frozen=True):
    """How the cells of a column are laid out."""

    header: str | Text
    justify: Literal["left", "right"]
    no_wrap: bool
    overflow: Literal["fold", "ellipsis"]


class _Widest:
    """A cell that rich measures like all cells of its column together, and that is told how wide the column is."""

    def __init__(self, longest_word: int, longest: int) -> None:
        self._measured = Measurement(longest_word, longest)
        self.width = 0

    def __rich_measure__(self, on: rich_console.Console, options: ConsoleOptions) -> Measurement:
        return self._measured

    def __rich_console__(self, on: rich_console.Console, options: ConsoleOptions) -> rich_console.RenderResult:
        self.width = options.max_width
        yield Segment(" ")


class _PaddedColumn(Struct, frozen=True):
    """The cells of a column, all of its width."""

    width: int
    first: Sequence[str]
    """First line of each cell."""
    more: dict[int, list[str]]
    """Row -> its further lines, of cells that need some."""
    styled: dict[int, list[list[Segment]]]
    """Row -> all its lines, of cells that have colours."""


class _MeasuredColumn(Struct, frozen=True):
    """The cells of a column as plain text, with their measures in cells of the terminal."""

    style: _ColumnStyle
    given: Sequence[str | Text]
    texts: Sequence[str]
    is_plain: bool
    """True if all are printable ASCII: a letter is a cell."""
    longest: int
    longest_word: int

    @classmethod
    def of(cls, style: _ColumnStyle, given: Sequence[str | Text]) -> _MeasuredColumn:
        all_plain = set(map(type, given)) == {str}
        texts: Any = given if all_plain else [one if isinstance(one, str) else one.plain for one in given]
        joined = " ".join(texts)
        if joined.isascii() and joined.isprintable():
            longest, longest_word = max(map(len, texts)), max(map(len, joined.split()), default=0)
            return cls(style, given, texts, True, longest, longest_word or longest)
        texts = list(map(untrusted_text.terminal, texts))
        longest, words = max(map(cell_len, texts)), " ".join(texts).split()
        return cls(style, given, texts, False, longest, max(map(cell_len, words), default=longest))

    def padded(self, on: rich_console.Console, width: int) -> _PaddedColumn:
        """The cells in this width; those that are wider on several lines, or cut off, as rich does it."""
        right = self.style.justify == "right"
        more: dict[int, list[str]] = {}
        if self.is_plain and self.longest <= width:
            justified = str.rjust if right else str.ljust
            first = list(map(justified, map(str.rstrip, self.texts) if right else self.texts, repeat(width)))
        else:
            known = {text: self._lines(on, text, width) for text in set(self.texts)}  # many repeat
            first = [known[text][0] for text in self.texts]
            more = {row: lines[1:] for row, text in enumerate(self.texts) if len(lines := known[text]) > 1}
        styled: dict[int, list[list[Segment]]] = {}
        for row, one in enumerate(self.given) if on.color_system is not None else ():
            if isinstance(one, str):
                continue
            if one.spans:
                lines_of_cell = (rich_text.Text().join((line,)) for line in self._wrapped(on, one, width))
                styled[row] = [list(line.render(on)) for line in lines_of_cell]
            elif one.style:
                colour = on.get_style(one.style)
                styled[row] = [[Segment(line, colour)] for line in (first[row], *more.get(row, ()))]
        return _PaddedColumn(width, first, more, styled)

    def _lines(self, on: rich_console.Console, text: str, width: int) -> list[str]:
        """The lines of one cell."""
        taken = len(text) if text.isascii() else cell_len(text)
        if taken <= width:
            if self.style.justify == "left":
                return [text + " " * (width - taken)]
            shown = text.rstrip()
            return [" " * (width - taken + len(text) - len(shown)) + shown]
        if text.isascii() and not self.style.no_wrap:
            words = text.split(" ")
            if all(words) and max(map(len, words)) <= width:  # words that fit, and no space that must be kept
                justified = str.rjust if self.style.justify == "right" else str.ljust
                return [justified(line, width) for line in _filled(words, width)]
        return [line.plain for line in self._wrapped(on, rich_text.Text(text), width)]

    def _wrapped(self, on: rich_console.Console, text: rich_text.Text, width: int) -> list[rich_text.Text]:
        """The lines of one cell as rich wraps them, with their colours."""
        style = self.style
        lines = text.wrap(on, width, justify=style.justify, overflow=style.overflow, no_wrap=style.no_wrap)
        for line in lines:
            line.pad_right(width - line.cell_len)
        return list(lines)


def _filled(words: Sequence[str], width: int) -> Iterator[str]:
    """Lines with as many of these words as fit."""
    line = words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) <= width:
            line = f"{line} {word}"
        else:
            yield line
            line = word
    yield line


def _joined(columns: Sequence[_PaddedColumn], edges: tuple[str, str, str], rows: int) -> Iterator[Segment]:
    """The lines of all rows: what has no colour in one piece, since rich handles each piece by itself."""
    left, between, right = edges
    lines = [left + line + right for line in map(between.join, zip(*(one.first for one in columns), strict=True))]
    coloured = sorted({row for one in columns for row in one.styled})
    blank = [" " * one.width for one in columns]
    several: dict[int, list[tuple[int, list[str]]]] = {}
    for place, one in enumerate(columns):
        for row, further in one.more.items():
            several.setdefault(row, []).append((place, further))
    for row, cells in several.items():
        text = [lines[row]]
        for number in range(max(len(further) for _, further in cells)):
            parts = blank.copy()
            for place, further in cells:
                if number < len(further):
                    parts[place] = further[number]
            text.append(f"{left}{between.join(parts)}{right}")
        lines[row] = "\n".join(text)
    begin = 0
    for row in coloured:
        if begin < row:
            yield Segment("\n".join(lines[begin:row]) + "\n")
        yield from _coloured(columns, edges, row)
        begin = row + 1
    if begin < rows:
        yield Segment("\n".join(lines[begin:]) + "\n")


def _coloured(columns: Sequence[_PaddedColumn], edges: tuple[str, str, str], row: int) -> Iterator[Segment]:
    """The lines of a row that has colours."""
    left, between, right = edges
    for number in range(1 + max(len(one.more.get(row, ())) for one in columns)):
        before = left
        for one in columns:
            if number < len(lines := one.styled.get(row, ())):
                yield Segment(before)
                yield from lines[number]
                before = between
            else:
                before += _line(one, row, number) + between
        yield Segment(before.removesuffix(between) + right + "\n")


def _line(column: _PaddedColumn, row: int, number: int) -> str:
    """One line of a cell."""
    if number == 0:
        return column.first[row]
    more = column.more.get(row, ())
    return more[number - 1] if number <= len(more) else " " * column.width


class Console(rich_console.Console):
    """A console that interprets no markup, and cleans everything that is printed."""

    def __init__(self, stream: TextIO, width: int | None = None, **options: Any) -> None:
        super().__init__(file=behind(stream), width=width, markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print these; a large table is not split into lines to be cropped, since its lines have the width."""
        if any(isinstance(one, TerminalTable) and one.is_large for one in objects):
            options.setdefault("crop", False)
        super().print(*objects, **options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """The segments to print."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(untrusted_text.lines(segment.text), segment.style)


def console(stream: TextIO) -> Console:
    """A console on the stream; if that is no terminal, wide enough that nothing is cut off in a log."""
    return Console(stream, None if stream.isatty() else WIDTH_WITHOUT_TERMINAL)


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
