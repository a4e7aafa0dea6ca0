"""Tables for people: colours only on a terminal, columns as wide as space allows."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from reports.check_documents import iso
from reports.run_as_text import COLOURS, Cell, check_cells, check_columns, probes_cell, why_cell
from reports.terminal import TerminalTable, Text, console
from storage.history import CheckRow, ContractRow

__all__ = ["console"]

_GRADES = {"breaking": "red bold", "risky": "yellow", "cosmetic": ""}
MOST_CHANGES, MOST_OF_A_SERVER = 100, 20
"""Largest number of contract changes in the table of a run, in total and per server."""
_MOST_NAMED = 20


def checks_table(checks: Sequence[CheckRow]) -> TerminalTable:
    """One line per server, worst first."""
    table = TerminalTable()
    for column in check_columns(checks):
        table.add_column(
            column.header,
            justify="right" if column.is_right else "left",
            no_wrap=column.no_wrap,
            overflow="fold" if column.folds else "ellipsis",
        )
    for row in check_cells(checks):
        table.add_row(*map(_text, row))
    return table


def _text(cell: Cell) -> Text:
    (first, style), *more = cell
    text = Text(first, style=style)
    for piece, its_style in more:
        text.append(piece, its_style or None)
    return text


def history_table(checks: Sequence[CheckRow]) -> TerminalTable:
    """One line per check, in the given order, in local time."""
    table = TerminalTable()
    table.add_column("when", no_wrap=True)
    table.add_column("run", justify="right")
    table.add_column("status", no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("ms", justify="right")
    table.add_column("probes", no_wrap=True)
    table.add_column("why", overflow="fold")
    for check in checks:
        table.add_row(
            f"{datetime.fromtimestamp(check.started_at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}",
            str(check.run_id),
            _status(check.status),
            "" if check.score is None else f"{check.score:.2f}",
            f"{check.duration_us / 1000:.0f}",
            _text(probes_cell(check.probes)),
            _text(why_cell(check)),
        )
    return table


def changes_table(versions: Sequence[ContractRow]) -> TerminalTable:
    """One line per change of an MCP contract, limited per server and in total to a readable number."""
    table = TerminalTable(title="changed contracts")
    for name in ("server", "version", "grade", "change", "item"):
        table.add_column(name, no_wrap=name != "item")
    table.add_column("what", overflow="fold")
    left = MOST_CHANGES
    for row in versions:
        shown = row.changes[: min(MOST_OF_A_SERVER, left)]
        left -= len(shown)
        for change in shown:
            table.add_row(
                Text(row.server),
                str(row.version),
                grade_text(change["grade"]),
                Text(change["kind"]),
                Text(change["item"]),
                Text(change["detail"]),
            )
    return table


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


def grade_text(grade: str | None) -> Text:
    """The grade of a change in its colour; empty without one."""
    return Text(grade or "", style=_GRADES.get(grade or "", ""))


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> TerminalTable:
    """A table of arbitrary rows."""
    table = TerminalTable()
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    return table


def span(checks: Sequence[CheckRow]) -> str:
    """Times of the first and the last of some checks."""
    first, last = min(one.started_at_ms for one in checks), max(one.started_at_ms for one in checks)
    return f"{iso(first)} to {iso(last)}"


def _status(status: str) -> Text:
    return Text(status, style=COLOURS.get(status, ""))
