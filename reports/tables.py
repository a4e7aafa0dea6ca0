"""Tables for people: the past of a server, changes of contracts, arbitrary rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from reports import run_as_text
from reports.check_documents import iso
from reports.text_tables import Cell, Role, TextColumn, TextTable
from storage.history import CheckRow, ContractRow

_GRADES = {"breaking": "red bold", "risky": "yellow", "cosmetic": ""}
MOST_CHANGES, MOST_OF_A_SERVER = 100, 20
"""Largest number of contract changes in the table of a run, in total and per server."""
_MOST_NAMED = 20


def history_table(checks: Sequence[CheckRow]) -> TextTable:
    """One line per check, in the given order, in local time."""
    times = [f"{datetime.fromtimestamp(check.started_at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}" for check in checks]
    return run_as_text.history_table(checks, times)


def changes_table(versions: Sequence[ContractRow]) -> TextTable:
    """One line per change of an MCP contract, limited per server and in total to a readable number."""
    rows: list[Sequence[Cell]] = []
    left = MOST_CHANGES
    for row in versions:
        shown = row.changes[: min(MOST_OF_A_SERVER, left)]
        left -= len(shown)
        for change in shown:
            told = (grade_cell(change["grade"]), change["kind"], change["item"], change["detail"])
            rows.append((row.server, str(row.version), *told))
    columns = [TextColumn("server", Role.NAME), TextColumn("version", right=True, rank=1), *CHANGE_COLUMNS]
    return TextTable.of_rows(columns, rows, title="changed contracts")


CHANGE_COLUMNS = (
    TextColumn("grade", rank=-2),
    TextColumn("change", Role.WORDS, rank=-1),
    TextColumn("item", Role.WORDS, rank=-1),
    TextColumn("what", Role.REASON),
)
"""What a table says of each change of a contract."""


def changes_left_out(versions: Sequence[ContractRow]) -> Iterator[str]:
    """For each server with more changes than `changes_table` shows: their number, and the command that shows them."""
    left = MOST_CHANGES
    for place, row in enumerate(versions):
        shown = min(MOST_OF_A_SERVER, left, len(row.changes))
        left -= shown
        if more := sum(row.change_counts.values()) - shown:
            of = ", ".join(f"{count:,} {grade}" for grade, count in row.change_counts.items() if count)
            command = shlex.join(["mcp-status", "contract", "diff", row.server, str(row.version - 1), str(row.version)])
            yield f"{row.server}: and {more:,} more ({of} in all): {command} --all"
        if place == _MOST_NAMED and place + 1 < len(versions):
            yield f"and of {len(versions) - place - 1:,} more servers"
            return


def grade_cell(grade: str | None) -> Cell:
    """The grade of a change in its colour; empty without one."""
    return ((grade or "", _GRADES.get(grade or "", "")),)


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> TextTable:
    """A table of arbitrary rows; where it is too wide, each row is shown as lines of names and values."""
    kept = list(rows)
    figures = [
        bool(kept) and all(value is None or isinstance(value, int | float) for value in values)
        for values in (zip(*kept, strict=True) if kept else [()] * len(columns))
    ]
    shown = [
        TextColumn(name, Role.FIGURE if is_figure else Role.WORDS, right=is_figure)
        for name, is_figure in zip(columns, figures, strict=True)
    ]
    texts = [["" if value is None else str(value) for value in row] for row in kept]
    return TextTable.of_rows(shown, texts, as_records=True)


def facts_table(facts: Iterable[tuple[str, Any]]) -> TextTable:
    """Names and their values."""
    rows = [(name, "" if value is None else str(value)) for name, value in facts]
    return TextTable.of_rows([TextColumn("what", Role.NAME), TextColumn("value", Role.WORDS)], rows)


def queries_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> TextTable:
    """Named queries: name, description, parameters, origin."""
    roles = (Role.NAME, Role.REASON, Role.WORDS, Role.WORDS)
    return TextTable.of_rows([TextColumn(name, role) for name, role in zip(columns, roles, strict=True)], rows)


def plan_table(rows: Iterable[Sequence[str]]) -> TextTable:
    """Probes that a run would make: server, kind, target, what is asked, what is sent."""
    roles = (Role.NAME, Role.FIGURE, Role.WORDS, Role.REASON, Role.REASON)
    names = ("server", "probe", "target", "asks", "sends")
    return TextTable.of_rows([TextColumn(name, role) for name, role in zip(names, roles, strict=True)], rows)


def views_table(rows: Iterable[Sequence[str]]) -> TextTable:
    """The columns of a view: name, unit, description."""
    columns = (TextColumn("column", Role.NAME), TextColumn("unit", Role.WORDS), TextColumn("description", Role.WORDS))
    return TextTable.of_rows(columns, rows)


def span(checks: Sequence[CheckRow]) -> str:
    """Times of the first and the last of some checks."""
    first, last = min(one.started_at_ms for one in checks), max(one.started_at_ms for one in checks)
    return f"{iso(first)} to {iso(last)}"
