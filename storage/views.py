"""The views: the SQL interface. Names and units of columns are stable; each column is described beside it."""

from __future__ import annotations

from typing import Any

from checker.errors import UsageError
from checker.metrics import CacheMeasures, PoolMeasures, ResourceAlert, ResourceMeasures, WorkerMeasures
from checker.model import figures
from checker.probe_kinds import STAGES, kinds_in_words
from storage.loadtests.views import BENCH_VIEWS
from storage.raw_parts import BOTH, in_both, nth_of_both
from storage.rollups.check_interval import FIRST_HOLD_MS as _FIRST_MS
from storage.rollups.check_interval import HOLD_GAPS
from storage.rollups.check_interval import LEAST_HOLD_MS as _LEAST_MS
from storage.rollups.check_interval import SURE_MS as _SURE_MS
from storage.rollups.watermarks import STATES
from storage.view_columns import View
from storage.view_columns import in_ms as _ms
from storage.view_columns import iso_time as _time

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_SLOT_WORDS = {"hour": "start of the hour, ISO 8601 UTC", "day": "the day in UTC, ISO 8601"}
_STATE_WORDS = {
    "maintenance": "checks under maintenance, not counted",
    "suspect": "checks whose worker was late, not counted",
}
Column = tuple[str, str, str]
"""Name, expression, description with unit."""


def _slot(slot: str) -> str:
    """Start of a slot, as text."""
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
_STATE_TIMES = "b.healthy_ms + b.degraded_ms as up_ms, b.unhealthy_ms as down_ms, b.maintenance_ms as maintenance_ms"
_COUNTS_TOO = "not c.suspect and not c.maintenance"


def hold_ms(before: str, state: str = "t") -> str:
    """Time for which a check ``c`` of a server in this state counts: the same as for its newest rolled check.

    ``before`` is the start of the check before it, for a server with fewer rolled checks (storage/rollups/fold.py).
    """
    gap_ms = f"(c.started_at_ms - {before})"
    from_gap = f"max({_LEAST_MS}, min({HOLD_GAPS} * {gap_ms}, max({_SURE_MS}, {gap_ms} * 3 / 2)))"
    return (
        f"case when json_array_length(coalesce({state}.last_rhythm, '[]')) > 1 then {state}.hold_ms "
        f"else coalesce({from_gap}, {_FIRST_MS}) end"
    )


_UNROLLED_ROWS = in_both(
    "select c.server_id, c.run_id, c.started_at_ms, c.status, c.suspect, c.maintenance, t.last_rhythm, t.hold_ms "
    "from rollup_state t cross join {checks} c on c.server_id = t.server_id "
    "and c.run_id >= (select first_run_id from rollup_marks) and c.started_at_ms >= t.rolled_until_ms"
)
_UNROLLED = f"""select c.*, min(coalesce(lead(c.started_at_ms) over in_order, {_NOW_MS}),
    c.started_at_ms + {hold_ms("lag(c.started_at_ms) over in_order", "c")}, {_NOW_MS}) - c.started_at_ms as spoken_ms
  from ({_UNROLLED_ROWS}) c
  window in_order as (partition by c.server_id order by c.started_at_ms, c.run_id)"""  # noqa: S608 # our names
_NEXT_MS = nth_of_both(
    "started_at_ms",
    "started_at_ms",
    "from {checks} n where n.server_id = t.server_id and n.started_at_ms >= t.rolled_until_ms",
    "started_at_ms",
)
_CARRIED = f"""select t.server_id, t.last_at_ms, t.last_outcome, min(t.last_at_ms + t.hold_ms, {_NOW_MS},
    coalesce({_NEXT_MS}, {_NOW_MS})) - t.rolled_until_ms as spoken_ms
  from rollup_state t where t.last_at_ms >= 0"""  # noqa: S608 # our names
AVAILABILITY_SOURCE = f"""from (
  select x.server_id, {_COUNTS}, {_STATE_TIMES}, b.slot * {_DAY_MS} as since_ms, b.slot * {_DAY_MS} as until_ms
  from series x join day_outcomes b on b.series_id = x.id where x.kind = 'check'
  union all
  select x.server_id, {_COUNTS}, {_STATE_TIMES}, b.slot * {_HOUR_MS}, b.slot * {_HOUR_MS}
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
"""All checks of each server: days, the hours of the current day, and rows that are in no bucket yet."""


def cut_percent(ratio: str) -> str:
    """A ratio in per cent, truncated to three digits: never rounded up to 100 or to an objective."""
    shown = f"printf('%.9f', 100 * ({ratio}))"
    return f"cast(substr({shown}, 1, instr({shown}, '.') + 3) as real)"


_CHECK_COLUMNS = (
    ("server", "s.name", "name of the server"),
    ("status", "c.status", "HEALTHY, DEGRADED, UNHEALTHY or UNKNOWN"),
    ("reason", "c.reason", "why it is not HEALTHY; null when it is"),
    ("detail", "c.detail", "the reason in a short sentence"),
    ("score", "c.score", "0 to 1, weighted mean of the probes; null when UNKNOWN"),
    ("started_at", _time("c.started_at_ms"), "start of the check, ISO 8601 UTC"),
    ("duration_ms", _ms("c.duration_us"), "duration of the check in milliseconds"),
    ("server_group", "s.group_name", "group of the server in its newest run"),
    ("tags", "s.tags", "tags of the server in its newest run, JSON list"),
    ("run_id", "c.run_id", "the run it belongs to"),
    ("tries", "c.tries", "times given to a worker: 2 after a worker was lost"),
    ("suspect", "c.suspect", "1 if its worker was too late to be trusted with time, else 0; not counted"),
    ("maintenance", "c.maintenance", "1 if the server was under maintenance, else 0; not counted"),
    (
        "remark_count",
        "(select coalesce(sum(json_array_length(p.remarks)), 0) from {probes} p "
        "where p.server_id = c.server_id and p.run_id = c.run_id)",
        "remarks of its probes; remark_history has them",
    ),
)


def _as_shown(name: str) -> str:
    """A column of probes as the views show it: times as text, durations in milliseconds."""
    column = f"p.{name}"
    if name.endswith("_at_ms"):
        return _time(column)
    return _ms(column) if name.endswith("_us") else column


_PROBE_COLUMNS = (
    ("server", "s.name", "name of the server"),
    ("kind", "p.kind", kinds_in_words()),
    ("status", "p.status", "HEALTHY, DEGRADED, UNHEALTHY or UNKNOWN"),
    ("reason", "p.reason", "why it is not HEALTHY; null when it is"),
    ("detail", "p.detail", "the reason in a short sentence"),
    ("score", "p.score", "1 healthy, 0.5 degraded, 0 unhealthy; null when UNKNOWN"),
    ("started_at", _time("p.started_at_ms"), "start of the first attempt, ISO 8601 UTC"),
    ("duration_ms", _ms("p.duration_us"), "duration of the last attempt in milliseconds"),
    ("failed_stage", "p.failed_stage", "the stage that did not succeed"),
    ("url", "u.url", "address without credentials and query values"),
    ("attempts", "p.attempts", "attempts made, retries included"),
    ("earlier_reasons", "p.earlier_reasons", "reasons of the attempts before the last, separated by commas"),
    *((f"{stage}_ms", _ms(f"p.{stage}_us"), f"{words}, milliseconds") for stage, words in STAGES.items()),
    *((figure.shown, _as_shown(figure.name), figure.words) for figure in figures()),
    ("remarks", "p.remarks", "what is odd about it, JSON list of objects with name and detail; null where nothing is"),
    ("transport", "f.transport", "streamable-http, sse or stdio"),
    ("era", "f.era", "session (2024-11-05 to 2025-11-25) or sessionless (2026-07-28)"),
    ("protocol_version", "f.protocol_version", "MCP protocol version agreed on"),
    ("mcp_server_name", "f.server_name", "name the MCP server gives itself"),
    ("mcp_server_version", "f.server_version", "version the MCP server gives itself"),
    ("capabilities", "f.capabilities", "capabilities the MCP server announces, JSON object"),
    ("tool_count", "f.tool_count", "tools listed"),
    ("resource_count", "f.resource_count", "resources listed"),
    ("template_count", "f.template_count", "resource templates listed"),
    ("prompt_count", "f.prompt_count", "prompts listed"),
    ("tools_digest", "f.tools_digest", "SHA-256 of the canonical tool list"),
    ("contract_digest", "f.contract_digest", "SHA-256 of the canonical contract; key of the table contracts"),
    ("tools_bytes", "f.tools_bytes", "length of the canonical tool list in bytes"),
    ("tools_tokens", "f.tools_tokens", "tokens a model reads for the tool list, estimated as a quarter of its bytes"),
    ("server_group", "s.group_name", "group of the server in its newest run"),
    ("tags", "s.tags", "tags of the server in its newest run, JSON list"),
    ("run_id", "p.run_id", "the run it belongs to"),
    ("suspect", "coalesce(c.suspect, 0)", "1 if its worker was too late to be trusted with time, else 0; not counted"),
    ("maintenance", "coalesce(c.maintenance, 0)", "1 if the server was under maintenance, else 0; not counted"),
)

_MEASURED = {
    "kind": f"probe kind: {kinds_in_words()}",
    "created": "connections opened",
    "reused": "exchanges over a connection that was open",
    "closed_by_peer": "idle connections that the server had closed",
    "evicted": "of pools: idle connections closed to make room or after keepalive; of caches: entries that had to go",
    "waits": "attempts that waited for a connection or for their turn at an origin",
    "wait_us": "time they waited, added up",
    "longest_wait_us": "longest such wait",
    "most_in_use": "most connections in use at once, added up over workers",
    "most_open": "most connections open at once, added up over workers",
    "idle": "connections kept when it was measured last",
    "in_use": "connections in use when it was measured last",
    "tls_handshakes": "TLS handshakes made",
    "tls_resumed": "of these, resumed from an earlier session",
    "paced": "of the waits those for run.pace alone",
    "paced_us": "time of these, added up",
    "program_waits": "attempts that waited to start a stdio server (run.processes)",
    "program_wait_us": "time they waited, added up",
    "category": "config, auth_tokens, dns or results",
    "hits": "lookups that found an entry",
    "misses": "lookups that did not",
    "stale_hits": "lookups that failed and took an entry past its end",
    "entries": "entries when it was measured last",
    "worker": "number of the worker, from 0",
    "pid": "process id of the worker",
    "checks": "checks made",
    "suspect_checks": "of these suspect",
    "cpu_ms": "CPU time used",
    "peak_memory_bytes": "largest resident memory in bytes",
    "lag_p99_us": "99th percentile of how late the worker's loop was",
    "longest_lag_us": "latest that the worker's loop was",
    "most_at_once": "most checks under way at once",
    "concurrency_at_end": "checks at once that the worker allowed itself at its end",
    "ports_at_busiest_origin": "connections opened to one origin in the last minute, where they were most",
    "samples": "times that resources were looked at",
    "warnings": "times that a warning threshold was passed",
    "most_cpu_percent": "highest CPU of the checker's processes, percent of all cores",
    "most_machine_cpu_percent": "highest CPU of the machine, percent of all cores",
    "most_memory_bytes": "largest resident memory of the checker's processes in bytes",
    "most_machine_memory_percent": "highest use of the machine's memory, percent",
    "most_descriptors_percent": "highest use of file descriptors by a worker, percent of its limit",
    "most_ports_percent": "highest use of ports for outgoing connections, percent of their range",
    "closed_ms": "time in which no check was begun because a limit was passed, in milliseconds",
    "most_waiting": "most checks waiting in that time",
    "longest_wait_ms": "longest such time at a stretch, in milliseconds",
    "dropped": "checks given up with resource_limit",
    "at_ms": "when, ISO 8601 UTC",
    "resource": "cpu, memory, machine_cpu, machine_memory, descriptors, ports, queue; of alerts what they look at",
    "level": "warning or hard; lost for a worker; alert for a threshold of run.alerts",
    "value": "what was measured",
    "threshold": "what was passed",
    "detail": "the same in a short sentence",
}


def _measured(name: str, row: str, kind: Any, table: str) -> View:
    """A view of a run's own measurements: their fields, durations in milliseconds, and the start of the run."""
    columns = [("run_id", "m.run_id", "the run"), ("run_started_at", _time("r.started_at_ms"), "its start")]
    for field in kind.__struct_fields__:
        column, words = f"m.{field}", _MEASURED[field]
        if field.endswith("_us"):
            columns.append((f"{field[:-3]}_ms", _ms(column), f"{words}, in milliseconds"))
        elif field == "at_ms":
            columns.append(("at", _time(column), words))
        else:
            columns.append((field, column, words))
    return View(name, row, tuple(columns), f"from {table} m join runs r on r.id = m.run_id")


_CHECKS = "from {checks} c join servers s on s.id = c.server_id"
_PROBES = (
    "from servers s cross join {probes of s.id} left join urls u on u.id = p.url_id "
    "left join mcp_facts f on f.id = p.mcp_facts_id "
    "left join {checks} c on c.server_id = p.server_id and c.run_id = p.run_id"
)
_NEWEST = nth_of_both(
    "run_id",
    "started_at_ms, run_id",
    "from {checks} n where n.server_id = s.id",
    "started_at_ms desc, run_id desc",
)


def _counted_by_run(condition: str) -> str:
    """How many checks of run ``r`` meet this condition on check ``c``.

    Each count by itself, from the index of runs: with the checks joined, the newest ten runs of a long history would be
    found by counting the checks of all.
    """
    counts = (f"(select count(*) from {part.checks} c where c.run_id = r.id and {condition})" for part in BOTH)  # noqa: S608 # our names
    return " + ".join(counts)


_UP, _COUNTED = "sum(a.healthy + a.degraded)", "sum(a.healthy + a.degraded + a.unhealthy)"
_RATIO = "1.0 * sum(a.up_ms) / nullif(sum(a.up_ms + a.down_ms), 0)"
_INCIDENT_MS = "(coalesce(i.ended_at_ms, i.down_until_ms) - i.started_at_ms)"
_MAINTENANCE_MS = f"min(i.maintenance_ms, {_INCIDENT_MS} - i.down_ms)"
_BEFORE = nth_of_both(
    "started_at_ms",
    "started_at_ms",
    "from {checks} b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms",
    "started_at_ms desc",
)

VIEWS = (
    View(
        "latest_status",
        "the newest check of every server, by time",
        (
            *_CHECK_COLUMNS,
            ("server_name", "s.name", "the same as server, which many look for under this name"),
            (
                "known_until",
                _time(f"(c.started_at_ms + {hold_ms(_BEFORE)})"),
                "up to when the check speaks for its server, ISO 8601 UTC; beyond it nothing is known",
            ),
            (
                "retired_at",
                _time("s.retired_at_ms"),
                "when the server was gone from its configuration; null if it is not",
            ),
        ),
        "from servers s left join rollup_state t on t.server_id = s.id "
        "cross join {checks} c on c.server_id = s.id "  # server by server, not all checks
        f"and c.run_id = {_NEWEST}",
    ),
    View("check_history", "one check", _CHECK_COLUMNS, _CHECKS),
    View(
        "availability",
        "one server, over all its checks",
        (
            ("server", "s.name", "name of the server"),
            ("availability_ratio", _RATIO, "time up / time up or down, 0 to 1, not rounded"),
            (
                "availability_percent",
                cut_percent(_RATIO),
                "the same in per cent, cut to three digits: never rounded up",
            ),
            ("objective_ratio", "s.objective_ratio", "the server's objective, 0 to 1; null if it has none"),
            ("up_s", "sum(a.up_ms) / 1000.0", "seconds that it was known to be up"),
            ("down_s", "sum(a.down_ms) / 1000.0", "seconds that it was known to be down"),
            ("maintenance_s", "sum(a.maintenance_ms) / 1000.0", "seconds under maintenance, not counted"),
            ("up", _UP, "checks that were HEALTHY or DEGRADED"),
            ("counted", _COUNTED, "checks that count: neither UNKNOWN, nor suspect, nor under maintenance"),
            ("suspect", "sum(a.suspect)", "checks left out because their worker was late"),
            ("unknown", "sum(a.unknown)", "checks left out as UNKNOWN"),
            ("maintenance", "sum(a.maintenance)", "checks left out because of maintenance"),
            ("since", _time("min(a.since_ms)"), "the first check, to its day where that is over, ISO 8601 UTC"),
            ("until", _time("max(a.until_ms)"), "the last check, to its hour where that is over, ISO 8601 UTC"),
        ),
        AVAILABILITY_SOURCE,
    ),
    View("hourly_outcomes", "one hour of a server: its outcomes", outcome_columns("hour"), source("hour_outcomes")),
    View("daily_outcomes", "one day of a server: its outcomes", outcome_columns("day"), source("day_outcomes")),
    View(
        "hourly_latency", "how long probes of a server took in an hour", latency_columns("hour"), source("hour_latency")
    ),
    View("daily_latency", "how long probes took in a day", latency_columns("day"), source("day_latency")),
    View(
        "incident_history",
        "one incident: a time that a server was down, of the hours that are over",
        (
            ("server", "s.name", "name of the server"),
            ("server_group", "s.group_name", "group of the server in its newest run"),
            ("started_at", _time("i.started_at_ms"), "start of the first UNHEALTHY check, ISO 8601 UTC"),
            ("ended_at", _time("i.ended_at_ms"), "start of the next check that was up, ISO 8601 UTC; null if none"),
            ("duration_s", "(i.ended_at_ms - i.started_at_ms) / 1000.0", "seconds; null while it lasts"),
            ("down_s", "i.down_ms / 1000.0", "seconds of it that the server was known to be down"),
            ("unknown_s", f"({_INCIDENT_MS} - i.down_ms - {_MAINTENANCE_MS}) / 1000.0", "seconds that are not known"),
            ("maintenance_s", f"{_MAINTENANCE_MS} / 1000.0", "seconds under maintenance"),
            ("down_until", _time("i.down_until_ms"), "up to when the server was known to be down, ISO 8601 UTC"),
            ("reason", "i.reason", "reason of the first check"),
        ),
        "from incidents i join servers s on s.id = i.server_id",
    ),
    View("probe_history", "one probe", _PROBE_COLUMNS, _PROBES),
    View("probe_errors", "one probe that is not HEALTHY", _PROBE_COLUMNS, f"{_PROBES} where p.status <> 'HEALTHY'"),
    View(
        "remark_history",
        "one remark of a probe: something odd that is no reason",
        (
            ("server", "s.name", "name of the server"),
            ("kind", "p.kind", kinds_in_words()),
            ("remark", "json_extract(j.value, '$.name')", "the kind of remark, of a stable list"),
            ("detail", "json_extract(j.value, '$.detail')", "the remark in a short sentence"),
            ("status", "p.status", "status of the probe"),
            ("started_at", _time("p.started_at_ms"), "start of the first attempt, ISO 8601 UTC"),
            ("server_group", "s.group_name", "group of the server in its newest run"),
            ("run_id", "p.run_id", "the run it belongs to"),
        ),
        "from servers s cross join {probes of s.id} join json_each(p.remarks) j where p.remarks is not null",
    ),
    View(
        "contract_history",
        "one version of what an MCP server offers",
        (
            ("server", "s.name", "name of the server"),
            ("version", "v.version", "number of the version, from 1"),
            ("seen_at", _time("v.seen_at_ms"), "when it was seen first, ISO 8601 UTC"),
            ("grade", "v.grade", "breaking, risky or cosmetic: the worst change; null for the first version"),
            ("change_count", "v.breaking + v.risky + v.cosmetic", "changes against the version before"),
            (
                "changes",
                "v.changes",
                "JSON list of objects with kind, grade, item and detail; the worst 200",
            ),
            (
                "contract_digest",
                "v.digest",
                "key of the table contracts, whose column document is the contract as JSON",
            ),
            ("run_id", "v.run_id", "the run that saw it first"),
        ),
        "from contract_versions v join servers s on s.id = v.server_id",
    ),
    View(
        "run_history",
        "one run",
        (
            ("run_id", "r.id", "number of the run"),
            ("state", "r.state", "running, finished, interrupted, failed or abandoned"),
            ("started_at", _time("r.started_at_ms"), "start, ISO 8601 UTC"),
            ("finished_at", _time("r.finished_at_ms"), "end, ISO 8601 UTC; null if it never said"),
            ("duration_ms", "r.finished_at_ms - r.started_at_ms", "duration in milliseconds"),
            ("servers_expected", "r.servers_expected", "servers to check"),
            ("servers_cached", "r.servers_cached", "servers whose earlier result was young enough, not checked"),
            ("servers_checked", _counted_by_run("1"), "servers with a result"),
            ("suspect", _counted_by_run("c.suspect"), "of these suspect, not counted below"),
            ("maintenance", _counted_by_run("c.maintenance"), "of these under maintenance, not counted"),
            *(
                (
                    word,
                    _counted_by_run(f"c.status = '{word.upper()}' and not c.suspect and not c.maintenance"),
                    word.upper(),
                )
                for word in ("healthy", "degraded", "unhealthy", "unknown")
            ),
            ("workers", "r.workers", "worker processes"),
            ("concurrency", "r.concurrency", "checks at once over all workers"),
            ("config_path", "r.config_path", "the configuration file, if there was one"),
            ("environment", "r.environment", "the environment that was selected, if any"),
            ("checker_version", "r.checker_version", "version of mcp-status-check"),
            ("host", "r.host", "machine that made the run"),
        ),
        "from runs r",
    ),
    View(
        "breaker_states",
        "one probe of a server whose circuit breaker has counted failures",
        (
            ("server", "s.name", "name of the server"),
            ("kind", "b.kind", kinds_in_words()),
            ("state", "b.state", "closed (probed), open (not probed), half_open (one trial at a time)"),
            ("failures", "b.failures", "failures in a row"),
            ("successes", "b.successes", "trials in a row that succeeded"),
            ("since", _time("b.since_ms"), "when it came to this state, ISO 8601 UTC"),
            ("retry_at", _time("b.retry_at_ms"), "when an open one is tried again, ISO 8601 UTC"),
            ("reason", "b.reason", "reason of the last failure"),
        ),
        "from breakers b join servers s on s.id = b.server_id",
    ),
    _measured("worker_history", "one worker of a run", WorkerMeasures, "run_workers"),
    _measured("pool_history", "the connections of one probe kind in a run", PoolMeasures, "run_pools"),
    _measured("cache_history", "one cache category in a run", CacheMeasures, "run_caches"),
    _measured("resource_history", "the resources that a run used", ResourceMeasures, "run_resources"),
    _measured(
        "resource_alerts", "a resource that passed a threshold, or a worker that was lost", ResourceAlert, "run_alerts"
    ),
    *BENCH_VIEWS,
)


KEYS = {
    "server": "one server, in every view of servers",
    "run_id": "one run: run_history has a row for each; with server it names one check",
    "kind": "one kind of probe: with server and run_id it names one probe",
    "benchmark_id": "one load test: benchmarks has a row for each",
    "contract_digest": "one contract: of contract_history, and column digest of the table contracts",
}
"""Columns that mean the same in every view -> the row that they identify."""

_UNITS = {
    "_at": "ISO 8601 UTC",
    "_ms": "milliseconds",
    "_us": "microseconds",
    "_per_s": "per second",
    "_s": "seconds",
    "_bytes": "bytes",
    "_ratio": "0 to 1",
    "_percent": "percent",
    "_tokens": "tokens",
}
_TIME_COLUMNS = ("at", "since", "until")


def unit(column: str) -> str:
    """The unit that ends a column's name; "" if it has none."""
    if column in _TIME_COLUMNS:
        return _UNITS["_at"]
    return next((unit for ending, unit in _UNITS.items() if column.endswith(ending)), "")


def described(name: str | None = None) -> list[dict[str, Any]]:
    """The views, or the one with this name: meaning of a row, columns, and for each key the other views that have it.

    Raises UsageError if there is no such view.
    """
    known = {view.name: view for view in VIEWS}
    if name is not None and name not in known:
        raise UsageError(f'no view "{name}"; the views are {", ".join(known)}')
    return [_described(view) for view in (known.values() if name is None else (known[name],))]


def _described(view: View) -> dict[str, Any]:
    return {
        "view": view.name,
        "row": view.row,
        "columns": [{"name": column, "unit": unit(column), "description": words} for column, _, words in view.columns],
        "keys": {key: _having(key, view.name) for key in KEYS if key in _columns(view)},
    }


def _having(key: str, other_than: str) -> list[str]:
    return [view.name for view in VIEWS if view.name != other_than and key in _columns(view)]


def _columns(view: View) -> set[str]:
    return {column for column, _, _ in view.columns}
