"""The views of what hours and days came to: the columns, and the source that joins the rolled with the raw."""

from __future__ import annotations

from checker.kinds import kinds_in_words
from storage.rollups.outcomes import STATES
from storage.rollups.rhythm import FIRST_HOLD_MS as _FIRST_MS
from storage.rollups.rhythm import HOLD_GAPS
from storage.rollups.rhythm import LEAST_HOLD_MS as _LEAST_MS
from storage.rollups.rhythm import SURE_MS as _SURE_MS

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_SLOT_WORDS = {"hour": "start of the hour, ISO 8601 UTC", "day": "the day in UTC, ISO 8601"}
_STATE_WORDS = {
    "maintenance": "checks under maintenance, not counted",
    "suspect": "checks whose worker was late, not counted",
}
Column = tuple[str, str, str]
"""Name, expression, description with unit."""


def _slot(slot: str) -> str:
    """When a slot begins, as text."""
    if slot == "day":
        return "strftime('%Y-%m-%d', b.slot * 86400, 'unixepoch')"
    return "strftime('%Y-%m-%dT%H:%M:%SZ', b.slot * 3600, 'unixepoch')"


def outcome_columns(slot: str) -> tuple[Column, ...]:
    """The columns of a view of outcomes by ``slot``: hour or day."""
    known_ms, up_ms = "b.healthy_ms + b.degraded_ms + b.unhealthy_ms", "b.healthy_ms + b.degraded_ms"
    return (
        ("server", "s.name", "name of the server"),
        ("server_group", "s.group_name", "group of the server in its newest run"),
        ("kind", "x.kind", "check, or the kind of probe"),
        (slot, _slot(slot), _SLOT_WORDS[slot]),
        *((state, f"b.{state}", _STATE_WORDS.get(state, f"how many were {state.upper()}")) for state in STATES),
        (
            "availability_ratio",
            f"1.0 * ({up_ms}) / nullif({known_ms}, 0)",
            "time up / time known, 0 to 1, not rounded; of kind check",
        ),
        *(
            (f"{state}_s", f"b.{state}_ms / 1000.0", f"seconds {state}; of kind check")
            for state in STATES
            if state != "suspect"
        ),
        ("state_changes", "b.changes", "steps between up and down; of kind check"),
        ("reasons", "b.reasons", "JSON object, reason to count; null if there is none"),
    )


def latency_columns(slot: str) -> tuple[Column, ...]:
    """The columns of a view of latencies by ``slot``: hour or day."""
    return (
        ("server", "s.name", "name of the server"),
        ("server_group", "s.group_name", "group of the server in its newest run"),
        ("kind", "x.kind", kinds_in_words()),
        ("stage", "x.stage", "total, or a timed step of the probe"),
        (slot, _slot(slot), _SLOT_WORDS[slot]),
        ("samples", "b.count", "probes that got their answer"),
        ("mean_ms", "round(b.sum_us / 1000.0 / b.count, 3)", "mean duration, milliseconds"),
        *(
            (f"{word}_ms", f"round(b.{word}_us / 1000.0, 3)", f"{text}, milliseconds")
            for word, text in (
                ("min", "shortest"),
                ("p50", "median within 1%"),
                ("p95", "95th percentile within 1%"),
                ("p99", "99th percentile within 1%"),
                ("max", "longest"),
            )
        ),
    )


def source(table: str) -> str:
    """The FROM of a view over the buckets of a table."""
    return f"from {table} b join series x on x.id = b.series_id join servers s on s.id = x.server_id"


_NOW_MS = "cast((julianday('now') - 2440587.5) * 86400000 as integer)"
_COUNTS = "b.healthy, b.degraded, b.unhealthy, b.unknown, b.maintenance, b.suspect"
_TIMES = "b.healthy_ms + b.degraded_ms as up_ms, b.unhealthy_ms as down_ms, b.maintenance_ms as maintenance_ms"
_COUNTS_TOO = "not c.suspect and not c.maintenance"


def hold_ms(before: str) -> str:
    """How long a check ``c`` speaks, of a server in the state ``t``: as long as the newest one that is rolled.

    ``before`` is when the check before it began, for a server of which less is rolled (storage/rollups/rhythm.py).
    """
    gap_ms = f"(c.started_at_ms - {before})"
    from_gap = f"max({_LEAST_MS}, min({HOLD_GAPS} * {gap_ms}, max({_SURE_MS}, {gap_ms} * 3 / 2)))"
    return (
        "case when json_array_length(coalesce(t.last_rhythm, '[]')) > 1 then t.hold_ms "
        f"else coalesce({from_gap}, {_FIRST_MS}) end"
    )


_UNROLLED = f"""select c.*, min(coalesce(lead(c.started_at_ms) over in_order, {_NOW_MS}),
    c.started_at_ms + {hold_ms("lag(c.started_at_ms) over in_order")}, {_NOW_MS}) - c.started_at_ms as spoken_ms
  from rollup_state t join checks c on c.server_id = t.server_id
    and c.run_id >= (select first_run_id from rollup_marks) and c.started_at_ms >= t.rolled_until_ms
  window in_order as (partition by c.server_id order by c.started_at_ms, c.run_id)"""  # noqa: S608 # our names
_CARRIED = f"""select t.server_id, t.last_at_ms, t.last_outcome, min(t.last_at_ms + t.hold_ms, {_NOW_MS}, coalesce(
      (select min(n.started_at_ms) from checks n
      where n.server_id = t.server_id and n.started_at_ms >= t.rolled_until_ms), {_NOW_MS}
    )) - t.rolled_until_ms as spoken_ms
  from rollup_state t where t.last_at_ms >= 0"""  # noqa: S608 # our names
AVAILABILITY_SOURCE = f"""from (
  select x.server_id, {_COUNTS}, {_TIMES}, b.slot * {_DAY_MS} as since_ms, b.slot * {_DAY_MS} as until_ms
  from series x join day_outcomes b on b.series_id = x.id where x.kind = 'check'
  union all
  select x.server_id, {_COUNTS}, {_TIMES}, b.slot * {_HOUR_MS}, b.slot * {_HOUR_MS}
  from series x join rollup_state t on t.server_id = x.server_id
  join hour_outcomes b on b.series_id = x.id and b.slot >= t.rolled_until_ms / {_DAY_MS} * 24 where x.kind = 'check'
  union all
  select c.server_id, c.status = 'HEALTHY' and {_COUNTS_TOO}, c.status = 'DEGRADED' and {_COUNTS_TOO},
    c.status = 'UNHEALTHY' and {_COUNTS_TOO}, c.status = 'UNKNOWN' and {_COUNTS_TOO},
    c.maintenance, c.suspect and not c.maintenance,
    max(0, c.spoken_ms) * (c.status in ('HEALTHY', 'DEGRADED') and {_COUNTS_TOO}),
    max(0, c.spoken_ms) * (c.status = 'UNHEALTHY' and {_COUNTS_TOO}), max(0, c.spoken_ms) * c.maintenance,
    c.started_at_ms, c.started_at_ms
  from ({_UNROLLED}) c
  union all
  select c.server_id, 0, 0, 0, 0, 0, 0, max(0, c.spoken_ms) * (c.last_outcome in (0, 1)),
    max(0, c.spoken_ms) * (c.last_outcome = 2), max(0, c.spoken_ms) * (c.last_outcome = 4), c.last_at_ms, c.last_at_ms
  from ({_CARRIED}) c
) a join servers s on s.id = a.server_id
where a.healthy + a.degraded + a.unhealthy + a.unknown + a.maintenance + a.suspect + a.up_ms + a.down_ms > 0
group by s.id"""  # noqa: S608 # our names
"""All checks of each server: days, the hours of the day that is not over, and rows that are in no bucket yet."""


def cut_percent(ratio: str) -> str:
    """A ratio in per cent, cut to three digits: never rounded up to 100 or to an objective."""
    shown = f"printf('%.9f', 100 * ({ratio}))"
    return f"cast(substr({shown}, 1, instr({shown}, '.') + 3) as real)"
