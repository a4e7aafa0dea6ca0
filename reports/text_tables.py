"""Tables and lines of text for people, laid out for the width of a terminal: what is shown is shown whole.

A figure is never cut or wrapped: a column that does not fit is left out, in a declared order, and a line below the
table says so. Reasons are never left out; on a narrow terminal they have lines of their own below their row. Without a
terminal, as in a log, nothing is wrapped or left out, so that each row is one line that can be searched.

All text is taken literally: control characters are written as escapes (`checker.untrusted_text`). Loads no rich but for
the widths of letters that are not ASCII: it takes longer to load than most tables take to print.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property, lru_cache
from itertools import repeat
from typing import TextIO

from msgspec import Struct

from checker import untrusted_text
from checker.late_patterns import late
from checker.standard_streams import behind

Pieces = tuple[tuple[str, str], ...]
"""Pieces of text, each with its style."""
Cell = str | Pieces
NEW_LINE = ("\n", "new line")
"""A piece after which the next begins on a new line; in any other a line end is text to be escaped."""

NARROW_COLUMNS = 110
"""Below this width a reason has lines of its own."""
_GAP = "  "
_INDENT = "    "
_READABLE = 30
"""A reason beside other columns has at least this width; else it has lines of its own."""
_LONGEST_WORD = 20
"""A longer word may be broken where a column of words has to become narrow."""
_NARROWEST = 8
_NARROWEST_NAME = 12
_LONGEST_NAME = 40
"""A longer name does not make its column wider where that has no room."""
_WITHOUT_WIDTH = 1_000_000
_WIDEST_TERMINAL = 300
_STYLES = {
    **{"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"},
    **{"red bold": "1;31", "bold red": "1;31"},
}
"""Style -> its SGR code (ECMA-48)."""
_WORD = late(r"\S*\d (?:µs|ms|s|min|h|d|[kKMGT]?i?B|bytes|tools?|tokens)\b\S*|\S+")
"""A number stays with its unit."""
_ENDS_A_PART = "/&?=;-_"
_PART = late(r"\S+(?: \S+)*")
"""What two spaces set apart."""


class Role(Enum):
    """Role of a column, which decides what happens to it on a narrow terminal."""

    FIGURE = "figure"
    """A number, a time, a status: whole, or left out."""
    NAME = "name"
    """The name of a row: whole, on a line of its own where it is longer than its column."""
    WORDS = "words"
    """A few words, which may go on in the next line."""
    PARTS = "parts"
    """Figures that two spaces set apart: each is whole, and they may be below each other."""
    REASON = "reason"
    """Long text: never left out, on lines of its own where it does not fit beside the others."""


class TextColumn(Struct, frozen=True):
    """A column of a table."""

    header: str
    role: Role = Role.FIGURE
    right: bool = False
    rank: int = 0
    """Columns of a higher rank are left out first; of equal ones, the last."""
    needed: str = ""
    """What its cells `-` lack, as in "368 samples"."""


class TextTable:
    """Columns with their cells; the cells are given by columns, which is how they are laid out."""

    def __init__(
        self,
        columns: Sequence[TextColumn],
        cells: Sequence[Sequence[Cell]],
        *,
        title: str = "",
        see_all: str = "--format json has all",
        as_records: bool = False,
    ) -> None:
        self.columns = columns
        self.cells = cells
        self.title = title
        self.see_all = see_all
        """How to see the columns that are left out."""
        self.as_records = as_records
        """True to show a row as lines of names and values, where columns would have to be left out."""

    @classmethod
    def of_rows(
        cls, columns: Sequence[TextColumn], rows: Iterable[Sequence[Cell]], *, title: str = "", as_records: bool = False
    ) -> TextTable:
        """A table of rows, each with one cell for each column."""
        cells = list(zip(*rows, strict=True)) or [()] * len(columns)
        return cls(columns, cells, title=title, as_records=as_records)

    @property
    def row_count(self) -> int:
        """The number of its rows."""
        return len(self.cells[0]) if self.cells else 0


class TextOutput:
    """A stream for people: lines and tables in its width, with colours if it is a terminal."""

    def __init__(self, stream: TextIO, width: int | None = None) -> None:
        self._stream = behind(stream)
        self.width = width or width_of(stream)
        """Width in columns; None if nothing limits it."""
        self.is_coloured = _is_coloured(stream)
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
        self._rule = "─" if encoding.startswith("utf") else "-"

    def line(self, text: Cell = "", style: str = "", *, indent: str = "") -> None:
        """Print text in a style, on as many lines as it needs, each with this indent."""
        cell = ((text, style),) if isinstance(text, str) else text
        room = max(self.width - len(indent), 1) if self.width else _WITHOUT_WIDTH
        lines = _wrapped(cell, room, _WORD, self.is_coloured)
        self._stream.write("".join(f"{indent}{line}\n" for line in lines))

    def table(self, table: TextTable) -> None:
        """Print a table."""
        self._stream.write(table_text(table, self.width, self.is_coloured, self._rule) + "\n")


def width_of(stream: TextIO) -> int | None:
    """The width for text on the stream: that of COLUMNS, else of the terminal; None without both."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _is_coloured(stream: TextIO) -> bool:
    """True for a terminal with colours; NO_COLOR and FORCE_COLOR overrule that."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def table_text(table: TextTable, width: int | None, coloured: bool = False, rule: str = "─") -> str:
    """The table as lines, none of them wider than the width."""
    measured = [_Measured(column, cells, coloured) for column, cells in zip(table.columns, table.cells, strict=True)]
    plan = _planned(measured, width)
    if table.as_records and plan.left_out and width is not None:
        return "\n".join([*_title(table, width, coloured), *_records(measured, table.row_count, width, coloured)])
    shown = [(measured[at], plan.widths[at]) for at in plan.beside]
    total = sum(wide for _, wide in shown) + len(_GAP) * (len(shown) - 1)
    found = [
        *_title(table, width, coloured),
        *_head(shown, coloured),
        rule * total,
        *_body(shown, [measured[at] for at in plan.below], table.row_count, width or _WITHOUT_WIDTH),
    ]
    for note in _notes(table, plan, measured, width):
        found += _wrapped(((note, "dim"),), width or _WITHOUT_WIDTH, _WORD, coloured)
    return "\n".join(found)


def cell_width(text: str) -> int:
    """The number of cells that a terminal gives to clean text; of letters that terminals differ on, the larger one."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


@lru_cache(maxsize=4096)
def _letter_width(letter: str) -> int:
    from rich.cells import get_character_cell_size

    return 1 if letter == "\ufe0f" else get_character_cell_size(letter)  # it makes a narrow sign a wide one


# Widths


class _Measured:
    """A column with its cells as clean text, and how wide they are."""

    def __init__(self, column: TextColumn, cells: Sequence[Cell], coloured: bool) -> None:
        self.column, self.given, self.coloured = column, cells, coloured
        self.has_pieces = set(map(type, cells)) - {str} != set()
        texts: Sequence[str] = cells if not self.has_pieces else list(map(_text_of, cells))  # type: ignore[assignment] # all are str
        joined = "".join(texts)
        self.is_simple = joined.isascii() and joined.isprintable()
        """True if all is printable ASCII, on one line: a letter is a cell."""
        if self.is_simple:
            self.natural = max(map(len, texts), default=0)
        else:
            if not self.has_pieces:
                texts = list(map(untrusted_text.terminal, texts))
            known = {text: max(map(cell_width, text.split("\n"))) for text in set(texts)}
            self.natural = max(known.values(), default=0)
        self.texts = texts
        self.is_empty = self.natural == 0
        self.header = untrusted_text.terminal(column.header)
        self.head_width = cell_width(self.header)
        self.head_word = max(map(cell_width, self.header.split()), default=0)

    def width_of_cells(self, are_names_short: bool) -> int:
        """The width in which no cell is wrapped; but for names of an unusual length, if so wished."""
        return self._short_names if are_names_short and self.column.role is Role.NAME else self.natural

    def narrowest(self, width: int) -> int:
        """The width below which the column is left out, on a terminal of this width."""
        role = self.column.role
        if role is Role.NAME:
            return max(min(self._short_names, max(_NARROWEST_NAME, width // 4)), self.head_word)
        if role is Role.WORDS:
            return max(min(self.natural, max(_NARROWEST, min(self._longest, _LONGEST_WORD))), self.head_word)
        return max(self._longest if role is Role.PARTS else self.natural, self.head_word)

    @cached_property
    def _longest(self) -> int:
        """The width of the longest word or part."""
        pattern = _PART if self.column.role is Role.PARTS else _WORD
        return max((cell_width(found) for text in set(self.texts) for found in pattern.findall(text)), default=0)

    @cached_property
    def _short_names(self) -> int:
        """The width of the longest name that is not longer than usual."""
        if self.natural <= _LONGEST_NAME:
            return self.natural
        return max(filter(_LONGEST_NAME.__ge__, map(cell_width, self.texts)), default=_LONGEST_NAME)


def _text_of(cell: Cell) -> str:
    if isinstance(cell, str):
        return untrusted_text.terminal(cell)
    return "".join(map(_clean, cell))


def _clean(piece: tuple[str, str]) -> str:
    return "\n" if piece == NEW_LINE else untrusted_text.terminal(piece[0])


class _Arranged(Struct):
    """Where each column goes."""

    widths: dict[int, int]
    beside: list[int]
    below: list[int]
    left_out: list[int]


def _planned(measured: Sequence[_Measured], width: int | None) -> _Arranged:
    """The columns beside each other, those below, and those for which there is no room."""
    every = list(range(len(measured)))
    if width is None:
        return _Arranged({at: max(one.natural, one.head_width) for at, one in enumerate(measured)}, every, [], [])
    below = [at for at in every if at > 0 and measured[at].column.role is Role.REASON]
    if not below or width >= NARROW_COLUMNS:
        beside = _unwrapped(measured, every, width, below)
        if beside is not None:  # the reasons last: what follows them would stand between their lines
            return _Arranged(beside, sorted(every, key=below.__contains__), [], [])
    kept = [at for at in every if at not in below]
    order = sorted(kept[1:], key=lambda at: (measured[at].is_empty, measured[at].column.rank, at))
    while (widths := _unwrapped(measured, kept, width, ()) or _wrapped_widths(measured, kept, width)) is None and order:
        kept.remove(order.pop())
    if widths is None:  # a terminal that is narrower than one figure
        widths = {kept[0]: min(max(measured[kept[0]].natural, measured[kept[0]].head_width), width)}
    left_out = [at for at in every if at not in kept and at not in below]
    return _Arranged(widths, kept, [at for at in below if not measured[at].is_empty], left_out)


def _unwrapped(
    measured: Sequence[_Measured], shown: Sequence[int], width: int, reasons: Collection[int]
) -> dict[int, int] | None:
    """Widths in which these columns fit beside each other without a wrapped cell but those of reasons, or None."""
    room = width - len(_GAP) * (len(shown) - 1)
    for are_names_short in (False, True):
        cells = {at: measured[at].width_of_cells(are_names_short) for at in shown}
        whole = {at: max(cells[at], measured[at].head_width) for at in shown}
        least = {at: max(cells[at], measured[at].head_word) for at in shown}
        if len(reasons) == 1:  # several would be hard to read beside each other
            least.update((at, max(min(cells[at], _READABLE), measured[at].head_word)) for at in reasons)
        if sum(whole.values()) <= room:
            return whole
        if sum(least.values()) <= room:
            wished = {at: whole[at] if at in reasons else least[at] for at in shown}
            return _widened(_shrunk(wished, least, room), whole, room)
    return None


def _wrapped_widths(measured: Sequence[_Measured], shown: Sequence[int], width: int) -> dict[int, int] | None:
    """Widths in which these columns fit beside each other, with words and then names wrapped, or None."""
    room = width - len(_GAP) * (len(shown) - 1)
    least = {at: measured[at].narrowest(width) for at in shown}
    if sum(least.values()) > room:
        return None
    wished = {at: max(measured[at].width_of_cells(True), measured[at].head_word) for at in shown}
    whole_names = {at: wished[at] if measured[at].column.role is Role.NAME else least[at] for at in shown}
    if sum(whole_names.values()) <= room:
        return _shrunk(wished, whole_names, room)
    return _shrunk(whole_names, least, room)


def _shrunk(widths: Mapping[int, int], least: Mapping[int, int], room: int) -> dict[int, int]:
    """The widths, the widest made narrower until all have room."""
    found = {at: max(least[at], min(wide, room)) for at, wide in widths.items()}
    while sum(found.values()) > room:
        wide = max((at for at in found if found[at] > least[at]), key=found.__getitem__)
        found[wide] -= 1
    return found


def _widened(widths: dict[int, int], widest: Mapping[int, int], room: int) -> dict[int, int]:
    """The widths, those of long headers made wider as far as there is room."""
    found = dict(widths)
    for at in sorted(found, key=lambda at: widest[at] - found[at]):
        if (more := widest[at] - found[at]) <= room - sum(found.values()):
            found[at] += more
    return found


# Lines


def _title(table: TextTable, width: int | None, coloured: bool) -> list[str]:
    return _wrapped(((table.title, "bold"),), width or _WITHOUT_WIDTH, _WORD, coloured) if table.title else []


def _head(shown: Sequence[tuple[_Measured, int]], coloured: bool) -> Iterator[str]:
    """The lines of the header: each at the bottom of its column."""
    heads = [_wrapped(((one.header, ""),), width, _WORD, False) for one, width in shown]
    high = max(map(len, heads))
    for number in range(high):
        line = _GAP.join(
            _padded(head[number - high + len(head)] if number >= high - len(head) else "", width, one.column.right)
            for head, (one, width) in zip(heads, shown, strict=True)
        ).rstrip()
        yield _styled(line, "bold") if coloured else line


def _body(shown: Sequence[tuple[_Measured, int]], below: Sequence[_Measured], rows: int, width: int) -> Sequence[str]:
    """The lines of the rows; several of them are one text with line ends."""
    columns = [_Laid(one, wide, width) for one, wide in shown]
    lines = list(map(str.rstrip, map(_GAP.join, zip(*(one.first for one in columns), strict=True))))
    above: dict[int, list[str]] = {}
    after: dict[int, list[str]] = {}
    for one in columns:
        above.update(one.above)
    several: set[int] = set().union(*(one.more for one in columns))
    for row in several:
        cells = [one.more.get(row, ()) for one in columns]
        after[row] = [
            _GAP.join(
                cell[number] if number < len(cell) else " " * one.width
                for cell, one in zip(cells, columns, strict=True)
            ).rstrip()
            for number in range(max(map(len, cells)))
        ]
    for reason in below:
        label = f"{reason.header}: " if len(below) > 1 else ""
        known: dict[Cell, list[str]] = {}  # many repeat
        for row, text in enumerate(reason.texts):
            if text:
                cell = reason.given[row]
                if (found := known.get(cell)) is None:
                    room = max(width - len(_INDENT), 1)
                    said = _wrapped(((label, "dim"), *_pieces(cell)), room, _WORD, reason.coloured)
                    found = known[cell] = [f"{_INDENT}{line}" for line in said]
                after[row] = [*after.get(row, ()), *found]
    for row in above.keys() | after.keys():
        name = above.get(row, [])
        rest = [lines[row]] if lines[row] or not name else []
        lines[row] = "\n".join([*name, *rest, *after.get(row, ())])
    return lines


class _Laid:
    """The cells of a column in its width: their first lines, and further ones of cells that need them."""

    def __init__(self, of: _Measured, width: int, total: int) -> None:
        self.width, self._of = width, of
        self.more: dict[int, list[str]] = {}
        """Row -> the further lines of its cell."""
        self.above: dict[int, list[str]] = {}
        """Row -> its name, where that is longer than its column."""
        right = of.column.right
        coloured = of.coloured and of.has_pieces
        if of.is_simple and of.natural <= width and not coloured:
            justified = str.rjust if right else str.ljust
            self.first: list[str] = list(map(justified, of.texts, repeat(width)))
            return
        pattern = _PART if of.column.role is Role.PARTS else _WORD
        is_name = of.column.role is Role.NAME
        known: dict[Cell, list[str]] = {}
        self.first = []
        for row, (cell, text) in enumerate(zip(of.given, of.texts, strict=True)):
            if (lines := known.get(cell)) is None:
                if is_name and cell_width(text) > width:
                    lines = _wrapped(_pieces(cell), total, pattern, coloured)
                else:
                    fitting = _wrapped(_pieces(cell), width, pattern, coloured)
                    lines = [_padded(line, width, right, coloured) for line in fitting]
                known[cell] = lines
            if is_name and cell_width(text) > width:
                self.above[row] = lines
                self.first.append(" " * width)
                continue
            self.first.append(lines[0])
            if len(lines) > 1:
                self.more[row] = lines[1:]


def _pieces(cell: Cell) -> Pieces:
    return ((cell, ""),) if isinstance(cell, str) else cell


def _records(measured: Sequence[_Measured], rows: int, width: int, coloured: bool) -> Iterator[str]:
    """Each row as lines of names and values."""
    label = min(max(one.head_width for one in measured), max(width // 3, _NARROWEST))
    for row in range(rows):
        yield from _wrapped(((f"row {row + 1}", "bold"),), width, _WORD, coloured)
        for one in measured:
            names = _wrapped(((one.header, "dim"),), label, _WORD, coloured)
            values = _wrapped(_pieces(one.given[row]), max(width - label - 2 * len(_GAP), 1), _WORD, coloured)
            for number in range(max(len(names), len(values))):
                name = _padded(names[number] if number < len(names) else "", label, False, coloured)
                yield f"{_GAP}{name}{_GAP}{values[number] if number < len(values) else ''}".rstrip()


def _notes(table: TextTable, plan: _Arranged, measured: Sequence[_Measured], width: int | None) -> Iterator[str]:
    """What the table lacks: values from too few samples, and the columns that are left out."""
    lacking: dict[str, list[str]] = {}
    for at in plan.beside:
        if needed := table.columns[at].needed:
            lacking.setdefault(needed, []).append(measured[at].header)
    if lacking:
        words = "; ".join(
            f"{_listed(names)} {'needs' if len(names) == 1 else 'need'} {needed}" for needed, names in lacking.items()
        )
        yield f"- insufficient: {words}"
    if plan.left_out and width is not None:
        names = ", ".join(measured[at].header for at in plan.left_out)
        wider = range(width + 1, _WIDEST_TERMINAL + 1)
        enough = bisect_left(wider, True, key=lambda wide: not _planned(measured, wide).left_out)
        them = "it" if len(plan.left_out) == 1 else "them"
        shown = f"a terminal of {wider[enough]} shows {them}, " if enough < len(wider) else ""
        yield f"left out at {width} columns: {names} ({shown}{table.see_all})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# Wrapping


def _wrapped(pieces: Pieces, width: int, pattern: re.Pattern[str], coloured: bool) -> list[str]:
    """The text of the pieces on lines of this width, at least one, broken between words."""
    text = "".join(map(_clean, pieces))
    spans = _spans(text, width, pattern)
    if not coloured:
        return [text[begin:end] for begin, end in spans]
    styles, at = [], 0
    for piece in pieces:
        end = at + len(_clean(piece))
        styles.append((at, end, piece[1]))
        at = end
    return [
        "".join(
            _styled(text[max(begin, first) : min(end, last)], style)
            for first, last, style in styles
            if max(begin, first) < min(end, last)
        )
        for begin, end in spans
    ]


def _spans(text: str, width: int, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where each line begins and ends."""
    if len(text) <= width and text.isascii() and "\n" not in text:
        return [(0, len(text))]
    found: list[tuple[int, int]] = []
    offset = 0
    for line in text.split("\n"):
        if cell_width(line) <= width:
            found.append((offset, offset + len(line)))
        else:
            found += ((offset + begin, offset + end) for begin, end in _broken(line, width, pattern))
        offset += len(line) + 1
    return found


def _broken(line: str, width: int, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """The parts of a line that is too long."""
    begin = end = -1
    for word in pattern.finditer(line):
        if begin >= 0 and cell_width(line[begin : word.end()]) <= width:
            end = word.end()
            continue
        if begin >= 0:
            yield begin, end
        begin, end = word.start(), word.end()
        while cell_width(line[begin:end]) > width:
            cut = _cut(line, begin, end, width)
            yield begin, cut
            begin = cut
    if begin >= 0:
        yield begin, end


def _cut(line: str, begin: int, end: int, width: int) -> int:
    """Where to break a word that is wider than a line: near its end where its parts meet, else between two letters."""
    taken, at = 0, begin
    while at < end and taken + _letter_width_of(line[at]) <= width:
        taken += _letter_width_of(line[at])
        at += 1
    for cut in range(at, begin + (at - begin) // 2, -1):
        meets = not line[cut - 1 : cut + 1].isascii() and cell_width(line[cut]) > 0
        if meets or line[cut - 1] in _ENDS_A_PART:
            return cut
    return max(at, begin + 1)


def _letter_width_of(letter: str) -> int:
    return 1 if letter.isascii() else _letter_width(letter)


def _padded(text: str, width: int, right: bool, coloured: bool = False) -> str:
    taken = cell_width(_SGR.sub("", text) if coloured else text)
    room = " " * (width - taken)
    return room + text if right else text + room


_SGR = late(r"\x1b\[[\d;]*m")


def _styled(text: str, style: str) -> str:
    code = _STYLES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
