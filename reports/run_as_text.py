"""A run for people: its checks as the cells of a table, the table without colours, and the run in one line.

Loads no rich, which takes longer to load than the checks of a few servers to print: what is no terminal has no colours,
and a table whose cells are plain and fit is laid out here, to the same characters.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from checker.model import ProbeResult
from reports.check_documents import counts
from storage.history import CheckRow, RunRow

WIDTH_WITHOUT_TERMINAL = 160
"""So that nothing is cut off in a log."""
COLOURS = {
    **{"HEALTHY": "green", "DEGRADED": "yellow", "UNHEALTHY": "red bold", "UNKNOWN": "magenta"},
    **{"PASSED": "green", "FAILED": "red bold", "GOOD": "green", "BAD": "red bold"},
}
_WORST_FIRST = {"UNHEALTHY": 0, "UNKNOWN": 1, "DEGRADED": 2, "HEALTHY": 3}
_SAYS_IS_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables by which rich takes for a terminal what is none."""

Cell = list[tuple[str, str]]
"""Pieces of text, each with its style; that of the first is the style of the whole."""


class CellColumn(NamedTuple):
    """A column of such cells."""

    header: str
    is_right: bool = False
    no_wrap: bool = False
    folds: bool = False


def check_columns(checks: Sequence[CheckRow]) -> list[CellColumn]:
    """The columns of the table of these checks."""
    cached = [CellColumn("cached", is_right=True, no_wrap=True)] if _any_cached(checks) else []
    return [
        CellColumn("server", no_wrap=True),
        CellColumn("status", no_wrap=True),
        CellColumn("score", is_right=True),
        CellColumn("ms", is_right=True),
        CellColumn("probes", no_wrap=True),
        *cached,
        CellColumn("why", folds=True),
    ]


def check_cells(checks: Sequence[CheckRow]) -> list[list[Cell]]:
    """A row for each server, worst first."""
    cached = _any_cached(checks)
    return [
        [
            [(check.server, "")],
            [(check.status, COLOURS.get(check.status, ""))],
            [("" if check.score is None else f"{check.score:.2f}", "")],
            [(f"{check.duration_us / 1000:.0f}", "")],
            probes_cell(check.probes),
            *([[(_age(check.cached_ms), "")]] if cached else []),
            why_cell(check),
        ]
        for check in sorted(checks, key=lambda one: (_WORST_FIRST.get(one.status, 0), one.server))
    ]


def plain_table(columns: Sequence[CellColumn], rows: Sequence[Sequence[Cell]], stream: TextIO) -> str | None:
    """The table as `reports.terminal.TerminalTable` prints it on a stream that is no terminal.

    None where that has more to do than to pad: colours, cells that do not fit, letters that are not ASCII.
    """
    if stream.isatty() or any(map(os.environ.get, _SAYS_IS_TERMINAL)):
        return None
    if not rows or not (stream.encoding or "").lower().startswith("utf"):
        return None
    padded: list[list[str]] = []
    for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
        texts = [column.header, *("".join(text for text, _ in cell) for cell in cells)]
        joined = "".join(texts)
        if not (joined.isascii() and joined.isprintable()) or not column.header.strip():
            return None
        width = max(map(len, texts))
        padded.append([text.rstrip().rjust(width) if column.is_right else text.ljust(width) for text in texts])
    head, *others = (f" {'   '.join(cells)} " for cells in zip(*padded, strict=True))
    if len(head) > WIDTH_WITHOUT_TERMINAL:
        return None
    blank, line = " " * len(head), f" {'─' * (len(head) - 2)} "
    return "".join(f"{one}\n" for one in (blank, head, line, *others, blank))


def summary(run: RunRow, checks: Sequence[CheckRow]) -> str:
    """The run in one line."""
    found = [f"{number} {status}" for status, number in counts(checks).items() if number]
    if suspect := sum(check.suspect for check in checks):
        found.append(f"{suspect} suspect")
    if maintenance := sum(check.maintenance for check in checks):
        found.append(f"{maintenance} under maintenance")
    if remarks := sum(len(probe.remarks) for check in checks for probe in check.probes):
        found.append(f"{remarks} remark{'' if remarks == 1 else 's'}")
    named = ", ".join(found) or "nothing checked"
    took = "" if run.finished_at_ms is None else f" in {(run.finished_at_ms - run.started_at_ms) / 1000:.1f} s"
    cached = sum(check.cached_ms is not None for check in checks)
    taken = f" ({cached} cached)" if cached else ""
    open_ones = run.servers_expected - (len(checks) - cached)
    unfinished = f", {open_ones} not checked" if open_ones > 0 else ""
    ended = "" if run.state == "finished" else f" ({run.state})"
    return f"run {run.id}{ended}: {named}{taken}{unfinished}{took}"


def _age(age_ms: int | None) -> str:
    """Age of a result that was reused from an earlier run; empty for a new one."""
    return "" if age_ms is None else f"{spelled_duration(age_ms / 1000)} ago"


def spelled_duration(seconds: float) -> str:
    """A duration in its largest suitable unit: 12 s, 5 min, 3 h, 4 d."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or seconds == length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _any_cached(checks: Sequence[CheckRow]) -> bool:
    return any(check.cached_ms is not None for check in checks)


def probes_cell(probes: Sequence[ProbeResult]) -> Cell:
    """Kind and duration of each probe, and the number of tools of an MCP server."""
    line: Cell = [("", "")]
    for probe in probes:
        line.append((("  " if len(line) > 1 else "") + probe.kind + " ", ""))
        line.append((f"{probe.duration_us / 1000:.0f} ms", COLOURS.get(probe.status, "")))
        if probe.mcp is not None and probe.mcp.tool_count is not None:
            line.append((f" {probe.mcp.tool_count} tool{'' if probe.mcp.tool_count == 1 else 's'}", ""))
    return line


def why_cell(check: CheckRow) -> Cell:
    """Reason and detail, followed by the remarks, one per line."""
    cell = _reason(check)
    for probe in check.probes:
        for remark in probe.remarks:
            begins = "\n" if any(text for text, _ in cell) else ""
            of_kind = f"{probe.kind} " if len(check.probes) > 1 else ""
            cell.append((f"{begins}{of_kind}remark: {remark.name}  {remark.detail}", "dim"))
    return cell


def _reason(check: CheckRow) -> Cell:
    marks = "under maintenance, not counted  " if check.maintenance else ""
    if check.reason is None:
        return [(marks + ("suspect, not counted: the worker was late" if check.suspect else ""), "yellow")]
    cell = [(marks + ("suspect  " if check.suspect else ""), "yellow"), (check.reason, "bold")]
    return [*cell, (f"  {check.detail}", "not bold")] if check.detail else cell
