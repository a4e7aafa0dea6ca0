"""What the tool lists of MCP servers cost a model's context: now, and how that has grown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.report import Column, Kind, Section, Table
from storage.drift import ServerFacts, newest_facts, oldest_facts
from storage.past import Past, ServerRow
from storage.rollups.read import Period

MANY_TOOLS = 20
"""With more, models choose the wrong one more often (OpenAI, Function calling: aim for fewer than 20 at a time)."""

_COSTS = (
    Column("tools", "tools", Kind.COUNT),
    Column("tools_bytes", "size", Kind.COUNT, "bytes", "Of the tool list as canonical JSON."),
    Column("tools_tokens", "tokens", Kind.COUNT, words="Estimate of what a model reads: a quarter of the bytes."),
    Column("tokens_grown", "grown", Kind.COUNT, "tokens", "Since the oldest check of the period that is still there."),
    Column("tokens_grown_ratio", "by", Kind.RATIO, words="The same, of what it was."),
)
SERVERS = (
    Column("server", "server"),
    Column("group", "group"),
    *_COSTS,
    Column("warning", "warning", words=f"Where there are more than {MANY_TOOLS} tools."),
)
GROUPS = (Column("group", "group"), Column("servers", "servers", Kind.COUNT), *_COSTS)
_WORDS = (
    f"Tokens are estimated as a quarter of the bytes of the tool list. Among more than {MANY_TOOLS} tools a model "
    "chooses the wrong one more often."
)


@dataclass(frozen=True, slots=True)
class Context:
    """A server's tool list."""

    server: ServerRow
    now: ServerFacts
    before: ServerFacts

    @property
    def grown(self) -> int | None:
        """Tokens more than before."""
        if self.now.tools_tokens is None or self.before.tools_tokens is None:
            return None
        return self.now.tools_tokens - self.before.tools_tokens

    @property
    def many(self) -> bool:
        """Whether it has more tools than are good."""
        return (self.now.tool_count or 0) > MANY_TOOLS


def contexts(past: Past, period: Period) -> list[Context]:
    """The tool lists of the servers that have told of any in the period, the most tokens first."""
    ids = [server.id for server in past.servers]
    now = newest_facts(past.connection, ids, period.since_ms)
    before = oldest_facts(past.connection, ids, period.since_ms)
    found = [
        Context(server, now[server.id], before.get(server.id, now[server.id]))
        for server in past.servers
        if server.id in now and now[server.id].tool_count is not None
    ]
    return sorted(found, key=lambda one: (-(one.now.tools_tokens or 0), -(one.now.tool_count or 0), one.server.name))


def sections(found: Sequence[Context]) -> list[Section]:
    """A line for each server, and for each group with one for all."""
    rows = [
        [one.server.name, one.server.group, *_costs([one]), f"more than {MANY_TOOLS} tools" if one.many else None]
        for one in found
    ]
    names = sorted({one.server.group for one in found})
    groups: list[list[object]] = []
    for name in names:
        members = [one for one in found if one.server.group == name]
        groups.append([name, len(members), *_costs(members)])
    if found:
        groups.append(["all", len(found), *_costs(found)])
    return [
        Section("context", "Context that tool lists take", Table(SERVERS, rows), _WORDS if rows else ""),
        Section("groups", "Groups", Table(GROUPS, groups)),
    ]


def _costs(members: Sequence[Context]) -> list[object]:
    """Of these servers together; growth of those that can tell it."""
    compared = [one for one in members if one.grown is not None]
    grown = sum(one.grown or 0 for one in compared)
    was = sum(one.before.tools_tokens or 0 for one in compared)
    return [
        _total(one.now.tool_count for one in members),
        _total(one.now.tools_bytes for one in members),
        _total(one.now.tools_tokens for one in members),
        grown if compared else None,
        grown / was if was else None,
    ]


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
