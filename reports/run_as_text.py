"""A run for people: its checks as a table, the problems first, and the run in one line."""

from __future__ import annotations

from collections.abc import Sequence

from checker.model import ProbeResult
from reports.check_documents import counts
from reports.text_tables import NEW_LINE, Cell, Pieces, Role, TextColumn, TextTable
from storage.history import CheckRow, RunRow

COLOURS = {
    **{"HEALTHY": "green", "DEGRADED": "yellow", "UNHEALTHY": "red bold", "UNKNOWN": "magenta"},
    **{"PASSED": "green", "FAILED": "red bold", "GOOD": "green", "BAD": "red bold"},
}
MOST_LISTED = 50
"""In a larger fleet the healthy servers are counted, and listed on request."""
_WORST_FIRST = {"UNHEALTHY": 0, "UNKNOWN": 1, "DEGRADED": 2, "HEALTHY": 3}


def worst_first(checks: Sequence[CheckRow]) -> list[CheckRow]:
    """The checks by status, the worst first, and by name."""
    return sorted(checks, key=lambda one: (_WORST_FIRST.get(one.status, 0), one.server))


def ordered(checks: Sequence[CheckRow], sort: str) -> list[CheckRow]:
    """The checks in one of the orders of ``check --sort``: worst, name or slowest first."""
    if sort == "worst":
        return worst_first(checks)
    return sorted(checks, key=lambda one: (-one.duration_us if sort == "slowest" else 0, one.server))


def listed(
    checks: Sequence[CheckRow], everything: bool, *, problems: bool = False, sort: str = "worst"
) -> list[CheckRow]:
    """The checks to list, the worst first: all, or with ``problems`` and of a large fleet those not healthy."""
    is_whole = not problems and (everything or len(checks) <= MOST_LISTED)
    return ordered(checks if is_whole else [one for one in checks if one.status != "HEALTHY"], sort)


def not_listed(checks: Sequence[CheckRow], shown: Sequence[CheckRow]) -> str:
    """How many healthy servers are not listed, and how to list them; empty if all are."""
    if len(shown) == len(checks):
        return ""
    remarks = sum(any(probe.remarks for probe in one.probes) for one in checks if one.status == "HEALTHY")
    with_remarks = f", {remarks:,} of them with remarks" if remarks else ""
    more = "more healthy" if shown else "healthy"
    return f"{len(checks) - len(shown):,} {more}{with_remarks} (--all lists them)"


def checks_table(checks: Sequence[CheckRow]) -> TextTable:
    """A row for each check, in the given order."""
    return TextTable.of_rows(
        [
            TextColumn("server", Role.NAME),
            TextColumn("status", rank=-1),
            *_columns(_any_cached(checks)),
        ],
        [[check.server, status_cell(check.status), *_cells(check, _any_cached(checks))] for check in checks],
    )


def history_table(checks: Sequence[CheckRow], times: Sequence[str]) -> TextTable:
    """A row for each check of one server, with the time of each, in the given order."""
    return TextTable.of_rows(
        [
            TextColumn("when"),
            TextColumn("run", right=True, rank=2),
            TextColumn("status", rank=-1),
            *_columns(False),
        ],
        [
            [when, str(check.run_id), status_cell(check.status), *_cells(check, False)]
            for when, check in zip(times, checks, strict=True)
        ],
    )


def _columns(cached: bool) -> list[TextColumn]:
    return [
        TextColumn("score", right=True, rank=4),
        TextColumn("ms", right=True, rank=3),
        TextColumn("probes", Role.PARTS, rank=1),
        *([TextColumn("cached", right=True, rank=2)] if cached else []),
        TextColumn("why", Role.REASON),
    ]


def _cells(check: CheckRow, cached: bool) -> list[Cell]:
    return [
        "" if check.score is None else f"{check.score:.2f}",
        f"{check.duration_us / 1000:.0f}",
        probes_cell(check.probes),
        *([_age(check.cached_ms)] if cached else []),
        why_cell(check),
    ]


def status_cell(status: str) -> Cell:
    """The status in its colour."""
    return ((status, COLOURS.get(status, "")),)


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
    pieces: list[tuple[str, str]] = []
    for probe in probes:
        pieces.append((("  " if pieces else "") + probe.kind + " ", ""))
        pieces.append((f"{probe.duration_us / 1000:.0f} ms", COLOURS.get(probe.status, "")))
        if probe.mcp is not None and probe.mcp.tool_count is not None:
            pieces.append((f" {probe.mcp.tool_count} tool{'' if probe.mcp.tool_count == 1 else 's'}", ""))
    return tuple(pieces)


def why_cell(check: CheckRow) -> Cell:
    """Reason and detail, followed by the remarks, one per line."""
    pieces = list(_reason(check))
    for probe in check.probes:
        for remark in probe.remarks:
            if pieces:
                pieces.append(NEW_LINE)
            of_kind = f"{probe.kind} " if len(check.probes) > 1 else ""
            pieces.append((f"{of_kind}remark: {remark.name}  {remark.detail}", "dim"))
    return tuple(pieces)


def _reason(check: CheckRow) -> Pieces:
    marks = "under maintenance, not counted" if check.maintenance else ""
    if check.suspect:
        late = "suspect" if check.reason else "suspect, not counted: the worker was late"
        marks = f"{marks}  {late}" if marks else late
    told = [(marks, "yellow"), (check.reason or "", "bold"), (check.detail or "" if check.reason else "", "")]
    some = [piece for piece in told if piece[0]]
    return tuple((f"  {text}" if place else text, style) for place, (text, style) in enumerate(some))
