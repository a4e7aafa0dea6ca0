"""Tables for people: colours only on a terminal, columns as wide as space allows."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from checker.model import ProbeResult
from reports.check_documents import counts, iso
from reports.terminal import TerminalTable, Text, console
from storage.history import CheckRow, ContractRow, RunRow

__all__ = ["console"]

COLOURS = {
    **{"HEALTHY": "green", "DEGRADED": "yellow", "UNHEALTHY": "red bold", "UNKNOWN": "magenta"},
    **{"PASSED": "green", "FAILED": "red bold", "GOOD": "green", "BAD": "red bold"},
}
_GRADES = {"breaking": "red bold", "risky": "yellow", "cosmetic": ""}
MOST_CHANGES, MOST_OF_A_SERVER = 100, 20
"""Largest number of contract changes in the table of a run, in total and per server."""
_MOST_NAMED = 20
_WORST_FIRST = {"UNHEALTHY": 0, "UNKNOWN": 1, "DEGRADED": 2, "HEALTHY": 3}


def checks_table(checks: Sequence[CheckRow]) -> TerminalTable:
    """One line per server, worst first."""
    table = TerminalTable()
    for name in ("server", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("ms", justify="right")
    table.add_column("probes", no_wrap=True)
    cached = any(check.cached_ms is not None for check in checks)
    if cached:
        table.add_column("cached", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for check in sorted(checks, key=lambda one: (_WORST_FIRST.get(one.status, 0), one.server)):
        table.add_row(
            Text(check.server),
            _status(check.status),
            "" if check.score is None else f"{check.score:.2f}",
            f"{check.duration_us / 1000:.0f}",
            _probes(check.probes),
            *([_age(check.cached_ms)] if cached else []),
            _why(check),
        )
    return table


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
            _probes(check.probes),
            _why(check),
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


def span(checks: Sequence[CheckRow]) -> str:
    """Times of the first and the last of some checks."""
    first, last = min(one.started_at_ms for one in checks), max(one.started_at_ms for one in checks)
    return f"{iso(first)} to {iso(last)}"


def _age(age_ms: int | None) -> str:
    """Age of a result that was reused from an earlier run; empty for a new one."""
    return "" if age_ms is None else f"{spelled_duration(age_ms / 1000)} ago"


def spelled_duration(seconds: float) -> str:
    """A duration in its largest suitable unit: 12 s, 5 min, 3 h, 4 d."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or seconds == length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _status(status: str) -> Text:
    return Text(status, style=COLOURS.get(status, ""))


def _probes(probes: Sequence[ProbeResult]) -> Text:
    line = Text()
    for probe in probes:
        line.append(("  " if line else "") + probe.kind + " ")
        line.append(f"{probe.duration_us / 1000:.0f} ms", style=COLOURS.get(probe.status, ""))
        if probe.mcp is not None and probe.mcp.tool_count is not None:
            line.append(f" {probe.mcp.tool_count} tool{'' if probe.mcp.tool_count == 1 else 's'}")
    return line


def _why(check: CheckRow) -> Text:
    """Reason and detail, followed by the remarks, one per line."""
    text = _reason(check)
    for probe in check.probes:
        for remark in probe.remarks:
            said = f"remark: {remark.name}  {remark.detail}"
            text.append(
                ("\n" if text else "") + (f"{probe.kind} " if len(check.probes) > 1 else "") + said, style="dim"
            )
    return text


def _reason(check: CheckRow) -> Text:
    marks = "under maintenance, not counted  " if check.maintenance else ""
    if check.reason is None:
        return Text(marks + ("suspect, not counted: the worker was late" if check.suspect else ""), style="yellow")
    text = Text(marks + ("suspect  " if check.suspect else ""), style="yellow").append(check.reason, style="bold")
    return text.append(f"  {check.detail}", style="not bold") if check.detail else text
