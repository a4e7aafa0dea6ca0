"""Tables on a terminal: a large one looks as rich would draw it, whatever is in its cells, and takes far less time."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from rich.style import Style

from reports import run_as_text, terminal
from reports.run_as_text import CellColumn

WORDS = st.sampled_from(
    [
        *("", "a", "HEALTHY", "0.93", " ", "  two", "https://example.org/a/very/long/path?with=a&query=1"),
        *("日本語のサーバー", "한국어", "👩\u200d👩\u200d👧", "👍🏽", "é", "n\u0303", "\uff46\uff55", "مرحبا", "हिन्दी"),
        *("\x1b[2J", "\u202e", "\xad"),
    ]
)
TEXTS = st.one_of(
    st.lists(WORDS, max_size=5).map(" ".join),
    st.text(max_size=12),
    st.text("ab ", max_size=30),
)
STYLES = st.sampled_from(["", "", "red bold", "dim", "green"])
STYLED = st.lists(st.tuples(TEXTS, STYLES), min_size=1, max_size=3)
CELLS = st.one_of(TEXTS, STYLED)
COLUMNS = st.lists(
    st.tuples(TEXTS, st.sampled_from(["left", "right"]), st.booleans(), st.sampled_from(["fold", "ellipsis"])),
    min_size=1,
    max_size=6,
)


def drawn(table: terminal.TerminalTable, width: int, **options: object) -> list[tuple[str, Style | None]]:
    """Every character that is printed, with its style where there are colours."""
    console = terminal.Console(io.StringIO(), width, **options)
    return [
        (letter, segment.style or None if options else None)
        for segment in console.render(table)
        for letter in segment.text
        if not segment.control
    ]


def cell(of: str | Sequence[tuple[str, str]]) -> str | terminal.Text:
    if isinstance(of, str):
        return of
    (first, style), *more = of
    text = terminal.Text(first, style=style)
    for part, its_style in more:
        text.append(part, its_style)
    return text


@given(st.data(), COLUMNS, st.integers(24, 140), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_large_table_is_drawn_as_rich_draws_it(
    data: st.DataObject, columns: list[tuple[str, str, bool, str]], width: int, colours: bool, titled: bool
) -> None:
    table = terminal.TerminalTable(title="all of them" if titled else None)
    for header, justify, no_wrap, overflow in columns:
        table.add_column(header, justify=justify, no_wrap=no_wrap, overflow=overflow)  # type: ignore[arg-type]
    rows = st.lists(st.tuples(*[CELLS] * len(columns)), min_size=1, max_size=6)
    for row in data.draw(rows):
        table.add_row(*map(cell, row))
    options = {"force_terminal": True, "color_system": "truecolor"} if colours else {}
    found = []
    for limit in (1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(terminal, "LARGE_TABLE_ROWS", limit)
            found.append(drawn(table, width, **options))
    assert found[0] == found[1]


ASCII = st.text("ab =-[/]:.%", max_size=12)
PLAIN_COLUMNS = st.lists(
    st.builds(CellColumn, st.text("abc d", max_size=9), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(st.data(), PLAIN_COLUMNS)
@settings(max_examples=150, deadline=None)
def test_a_table_without_colours_is_laid_out_as_rich_prints_it(data: st.DataObject, columns: list[CellColumn]) -> None:
    texts = data.draw(st.sampled_from([ASCII, ASCII, ASCII, TEXTS]))
    pieces = st.lists(st.tuples(texts, STYLES), min_size=1, max_size=3)
    rows = data.draw(st.lists(st.tuples(*[pieces] * len(columns)), min_size=1, max_size=6))
    stream, plain = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    table = terminal.TerminalTable()
    for column in columns:
        table.add_column(
            column.header,
            justify="right" if column.is_right else "left",
            no_wrap=column.no_wrap,
            overflow="fold" if column.folds else "ellipsis",
        )
    for row in rows:
        table.add_row(*map(cell, row))
    terminal.console(stream).print(table)
    text = run_as_text.plain_table(columns, [list(map(list, row)) for row in rows], plain)
    if text is None:
        event("rich")
        return
    stream.seek(0)
    assert text == stream.read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        assert run_as_text.plain_table(columns, [list(map(list, row)) for row in rows], plain) is None
