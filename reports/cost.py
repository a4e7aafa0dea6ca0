"""The cost report: what tool lists cost the models that use them, and what checking costs."""

from __future__ import annotations

from collections.abc import Sequence

from reports.checking_cost import caches, checking, footprint, pools, punctuality
from reports.context_cost import MANY_TOOLS, Context, contexts, sections
from reports.report import Level, Report
from reports.show import number
from storage.footprint import Footprint, footprint_since, probe_costs, schedules_since
from storage.past import Past
from storage.rollups.read import Period


def build(past: Past, period: Period, selection: str = "") -> Report:
    """The report. What runs measured of themselves is of all servers, whichever were selected."""
    found = contexts(past, period)
    used = footprint_since(past.connection, period.since_ms, period.slot_ms)
    costs = probe_costs(past.connection, [server.id for server in past.servers], period.since_ms)
    notes = []
    if selection and used.workers:
        notes.append("footprint, schedule, caches and connections are of whole runs, not of the selected servers")
    if used.step > 1:
        notes.append(f"of the many runs one in {used.step} was looked at; counts are of those")
    return Report(
        name="cost",
        title="Cost",
        verdict=verdict(found, used),
        level=_level(found, used),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=(
            *sections(found),
            checking(costs, used),
            footprint(used, period),
            punctuality(schedules_since(past.connection, period.since_ms)),
            caches(used, period),
            pools(used, period),
        ),
        servers=len(past.servers),
        selection=selection,
        facts=[("MCP servers", str(len(found))), ("runs looked at", str(sum(one.runs for one in used.workers)))],
        notes=notes,
    )


def verdict(found: Sequence[Context], used: Footprint) -> str:
    """What the tool lists of all servers come to and who has too many, and what a check costs."""
    parts = []
    if found:
        tokens = sum(one.now.tools_tokens or 0 for one in found)
        tools = sum(one.now.tool_count or 0 for one in found)
        servers = f"{len(found)} MCP server{'' if len(found) == 1 else 's'}"
        parts.append(f"The tools of {servers} ({tools:,}) take about {tokens:,} tokens of context")
        if many := [one for one in found if one.many]:
            most = max(many, key=lambda one: one.now.tool_count or 0)
            verb = "has" if len(many) == 1 else "have"
            parts.append(
                f"{len(many)} {verb} more than {MANY_TOOLS}, {most.server.name} the most with {most.now.tool_count}"
            )
    checks = sum(one.checks for one in used.workers)
    if checks:
        cpu_ms = sum(one.cpu_ms for one in used.workers) / checks
        parts.append(f"a check takes {number(cpu_ms)} ms of CPU")
    if not parts:
        return "Nothing is known of any cost in this time."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _level(found: Sequence[Context], used: Footprint) -> Level:
    if not found and not used.workers:
        return Level.UNKNOWN
    return Level.WARNING if any(one.many for one in found) else Level.GOOD
