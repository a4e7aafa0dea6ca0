"""Part of version 7: the parts of incidents, how far apart checks are, and servers that left their configuration."""

from __future__ import annotations

_PARTS = ("down_ms", "maintenance_ms", "down_until_ms")
KNOWN_TIME = (
    *(f"alter table servers add column {column}" for column in ("config_path text", "environment text")),
    "alter table servers add column retired_at_ms integer",
    *(f"alter table incidents add column {part} integer not null default '0'" for part in _PARTS),
    *(f"alter table rollup_state add column {of}_{part} integer" for of in ("last", "base") for part in _PARTS),
    "alter table rollup_state add column hold_ms integer",
    """update incidents set down_until_ms = coalesce(ended_at_ms, (select t.last_at_ms from rollup_state t
        where t.server_id = incidents.server_id), started_at_ms)""",
    "update incidents set down_ms = max(0, down_until_ms - started_at_ms)",
    *(
        statement
        for of in ("last", "base")
        for statement in (
            f"alter table rollup_state add column {of}_rhythm text",
            f"update rollup_state set {of}_rhythm = case when {of}_gap_ms >= 0 "  # noqa: S608 # our names
            f"then json_array({of}_at_ms, {of}_gap_ms) else json_array({of}_at_ms) end where {of}_at_ms >= 0",
            f"alter table rollup_state drop column {of}_gap_ms",
        )
    ),
    """update rollup_state set last_down_ms = (select i.down_ms from incidents i
        where i.server_id = rollup_state.server_id and i.ended_at_ms is null), last_down_until_ms = last_at_ms
        where last_known = 2""",
    "create index checks_by_time on checks (server_id, started_at_ms)",
)
"""Incidents that are there count as down for as long as they were seen; `db rebuild-rollups` knows better."""
