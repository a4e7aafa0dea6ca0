"""The built-in named queries, for `mcp-status sql @failing`; each is in docs/sql.md and run by a test.

All of them use views only. The value of a parameter here is its default without `--param`.
"""

from __future__ import annotations

from collections.abc import Mapping

from checker.named_query import Query
from checker.probe_kinds import STAGES

_NAMES = tuple(STAGES)
_ROWS = [_NAMES[at : at + 7] for at in range(0, len(_NAMES), 7)]
_STAGE_COLUMNS = ",\n       ".join(", ".join(f"{stage}_ms" for stage in row) for row in _ROWS)
_STAGE_PERCENTS = ",\n       ".join(
    f"round(100 * sum({stage}_ms) / sum(duration_ms), 1) as {stage}_percent" for stage in STAGES
)

BENCH_QUESTIONS: Mapping[str, Query] = {
    "benchmarks": Query(
        description="Which load tests were there, did their thresholds hold, and was the client the limit?",
        params={"benchmark": "%"},
        sql="""
select benchmark_id, benchmark, kind, state, started_at, round(offered_per_s, 1) as offered_per_s,
       round(ok_per_s, 1) as ok_per_s, failed_ratio, response_p50_ms, response_p95_ms, response_p99_ms,
       thresholds, thresholds_broken, client_bound, baselines
from benchmarks
where benchmark like :benchmark
order by benchmark_id desc
""",
    ),
    "benchmark_series": Query(
        description="What became of the p95 of each operation and server, from one load test of a name to the next?",
        sql="""
select benchmark, scenario, operation, server, benchmark_id, benchmark_started_at, ok, failed_ratio,
       response_p95_ms, before_ms, round(response_p95_ms / before_ms - 1, 4) as change_ratio
from (
  select *, lag(response_p95_ms) over
    (partition by benchmark, scenario, operation, server order by benchmark_id) as before_ms
  from benchmark_series
  where server is not null
)
order by benchmark, scenario, operation, server, benchmark_id desc
""",
    ),
    "benchmark_failures": Query(
        description="Why did requests fail in the newest load test, and in which stage?",
        sql="""
select f.scenario, f.operation, f.server, g.stage_name, f.reason, f.failed,
       round(1.0 * f.failed / nullif(g.offered, 0), 6) as of_offered_ratio
from benchmark_failures f
join benchmark_stages g on g.benchmark_id = f.benchmark_id and g.stage = f.stage
  and g.scenario = f.scenario and g.operation = f.operation and g.server = f.server
where f.benchmark_id = (select max(benchmark_id) from benchmarks)
order by f.failed desc, f.server, f.stage
""",
    ),
    "benchmark_client": Query(
        description="How busy were the workers of each load test? A busy client measures itself.",
        sql="""
select benchmark_id, benchmark, worker, round(max(cpu_ratio), 3) as most_cpu_ratio,
       max(lag_p99_ms) as longest_lag_p99_ms, max(late_p99_ms) as longest_late_p99_ms,
       max(in_flight) as most_in_flight, max(backlog) as most_backlog, max(ports) as most_ports,
       round(max(memory_bytes) / 1048576.0, 1) as most_memory_mib
from benchmark_health
group by benchmark_id, worker
order by benchmark_id desc, worker
""",
    ),
}


_TIMED = """with timed as (
  select server, kind, duration_ms,
         row_number() over (partition by server, kind order by duration_ms) as place,
         count(*) over (partition by server, kind) as probes
  from probe_history
  where status in ('HEALTHY', 'DEGRADED') and coalesce(reason, '') not in ('auth_required', 'rate_limited')
    and not suspect and not maintenance and server like :server
    and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
)"""
"""Answered probes, each with its rank by duration among those of its server and kind."""

QUESTIONS: Mapping[str, Query] = {
    "failing": Query(
        description="What is failing now, and why? What was checked too long ago is not known now: @unchecked has it.",
        sql="""
select server, status, reason, detail, score, started_at
from latest_status
where status <> 'HEALTHY' and retired_at is null and known_until >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
order by status = 'UNKNOWN', score, server
""",
    ),
    "failures": Query(
        description="What failed in the last day, and how often?",
        params={"days": 1},
        sql="""
select server, kind, reason, count(*) as times, min(started_at) as first_seen, max(started_at) as last_seen
from probe_errors
where not suspect and not maintenance
  and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
group by server, kind, reason
order by times desc, server, kind
""",
    ),
    "remarks": Query(
        description="What is odd about servers that may well be healthy, since when and how often?",
        params={"days": 1},
        sql="""
select server, kind, remark, count(*) as times, min(started_at) as first_seen, max(started_at) as last_seen,
       max(detail) as detail
from remark_history
where started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
group by server, kind, remark
order by server, kind, remark
""",
    ),
    "availability": Query(
        description="How available was each server, of the time that is known? Cut to three digits, never rounded up.",
        sql="""
select server, availability_percent as available_percent, up_s, down_s, maintenance_s,
       up, counted, suspect, unknown, since, until
from availability
order by available_percent, server
""",
    ),
    "slowest": Query(
        description="Which probes were slowest in the last day, and where did their time go?",
        params={"days": 1, "n": 20},
        sql=f"""
select server, kind, status, started_at, duration_ms,
       {_STAGE_COLUMNS}
from probe_history
where status <> 'UNKNOWN' and not suspect and not maintenance
  and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
order by duration_ms desc
limit :n
""",  # noqa: S608 # names of the registry
    ),
    "stages": Query(
        description="Which stages does the time of the probes go to? Percent of the duration of all that succeeded.",
        params={"days": 1},
        sql=f"""
select kind, count(*) as probes, round(avg(duration_ms), 3) as average_ms,
       {_STAGE_PERCENTS}
from probe_history
where status in ('HEALTHY', 'DEGRADED') and coalesce(reason, '') not in ('auth_required', 'rate_limited')
  and not suspect and not maintenance
  and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
group by kind
order by kind
""",  # noqa: S608 # names of the registry
    ),
    "medians": Query(
        description="Which servers are slowest by the median of the probes that got their answer? Refusals are none.",
        params={"days": 1, "server": "%"},
        sql=f"""
{_TIMED}
select server, kind, probes, round(avg(duration_ms), 3) as median_ms
from timed
where place in ((probes + 1) / 2, probes / 2 + 1)
group by server, kind, probes
order by median_ms desc, server
""",  # noqa: S608 # our words
    ),
    "percentiles": Query(
        description="What are p50, p95 and p99 of each server? Null below 72 and 368 probes: too few to tell.",
        params={"days": 1, "server": "%"},
        sql=f"""
{_TIMED}
select server, kind, probes,
       max(case when place = (50 * probes + 99) / 100 then duration_ms end) as p50_ms,
       max(case when place = (95 * probes + 99) / 100 and probes >= 72 then duration_ms end) as p95_ms,
       max(case when place = (99 * probes + 99) / 100 and probes >= 368 then duration_ms end) as p99_ms,
       max(duration_ms) as longest_ms
from timed
group by server, kind, probes
order by p95_ms desc, longest_ms desc
""",  # noqa: S608 # our words
    ),
    "reasons": Query(
        description="Which reasons does each group fail for?",
        params={"days": 7},
        sql="""
select server_group, reason, count(*) as times, count(distinct server) as servers
from probe_errors
where not suspect and not maintenance
  and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
group by server_group, reason
order by server_group, times desc
""",
    ),
    "versions": Query(
        description="Which protocol versions and server versions are out there?",
        sql="""
select p.protocol_version, p.mcp_server_name, p.mcp_server_version, count(*) as servers
from latest_status l
join probe_history p on p.server = l.server and p.run_id = l.run_id
where l.retired_at is null and p.kind = 'mcp' and p.protocol_version is not null
group by p.protocol_version, p.mcp_server_name, p.mcp_server_version
order by servers desc, p.protocol_version desc
""",
    ),
    "context_cost": Query(
        description="How many tools does each server have, and how many tokens do they cost a model that reads them?",
        sql="""
select p.server, p.tool_count, p.tools_tokens,
       p.tools_tokens / nullif(p.tool_count, 0) as tokens_per_tool,
       round(100.0 * p.tools_tokens / sum(p.tools_tokens) over (), 1) as share_percent
from latest_status l
join probe_history p on p.server = l.server and p.run_id = l.run_id
where l.retired_at is null and p.tools_tokens is not null
order by p.tools_tokens desc, p.server
""",
    ),
    "contract_changes": Query(
        description="When did what a server offers change, and how badly?",
        sql="""
select server, version, seen_at,
       json_extract(c.value, '$.grade') as grade, json_extract(c.value, '$.kind') as change,
       json_extract(c.value, '$.item') as item, json_extract(c.value, '$.detail') as detail
from contract_history, json_each(changes) c
order by seen_at desc, server, version desc
""",
    ),
    "certificates": Query(
        description="Which certificates end within 30 days?",
        params={"days": 30},
        sql="""
select p.server, p.kind, p.certificate_expires_at,
       round(julianday(p.certificate_expires_at) - julianday('now'), 1) as days_left
from latest_status l
join probe_history p on p.server = l.server and p.run_id = l.run_id
where l.retired_at is null and p.certificate_expires_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+' || :days || ' days')
order by p.certificate_expires_at, p.server
""",
    ),
    "credentials": Query(
        description="Which servers want credentials that they were not given, or refuse those that they were given?",
        sql="""
select p.server, p.kind, p.reason, p.url, p.auth_metadata_url, p.detail
from latest_status l
join probe_history p on p.server = l.server and p.run_id = l.run_id
where l.retired_at is null and p.reason in ('auth_required', 'auth_rejected', 'auth_expired', 'auth_scope',
    'auth_server', 'issuer_not_trusted')
order by p.reason, p.server
""",
    ),
    "retries": Query(
        description="Which failures did a retry hide? These probes are HEALTHY, but not at the first attempt.",
        params={"days": 7},
        sql="""
select server, kind, count(*) as probes, sum(attempts - 1) as retries,
       group_concat(distinct earlier_reasons) as hidden_reasons, max(started_at) as last_seen
from probe_history
where status = 'HEALTHY' and attempts > 1 and not suspect and not maintenance
  and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
group by server, kind
order by retries desc, server
""",
    ),
    "suspect": Query(
        description="Which results are not counted because the checker itself was too late to be trusted?",
        sql="""
select c.run_id, c.server, c.status, c.reason, c.started_at,
       (select max(w.longest_lag_ms) from worker_history w where w.run_id = c.run_id) as longest_lag_ms
from check_history c
where c.suspect = 1
order by c.run_id desc, c.server
""",
    ),
    "runs": Query(
        description="Which runs did not finish, or took twice as long as the twenty before them?",
        sql="""
select run_id, state, started_at, duration_ms, round(before_ms) as before_ms, servers_expected, servers_checked
from (
  select *, avg(duration_ms) over (order by run_id rows between 20 preceding and 1 preceding) as before_ms
  from run_history
)
where state not in ('finished', 'running') or duration_ms > 2 * before_ms
order by run_id desc
""",
    ),
    "connections": Query(
        description="How often was an open connection used again, for each kind of probe?",
        sql="""
select kind, sum(created) as created, sum(reused) as reused,
       1.0 * sum(reused) / nullif(sum(created) + sum(reused), 0) as reuse_ratio,
       sum(closed_by_peer) as closed_by_peer, sum(evicted) as evicted,
       sum(waits) as waits, max(longest_wait_ms) as longest_wait_ms,
       sum(tls_handshakes) as tls_handshakes, sum(tls_resumed) as tls_resumed
from pool_history
group by kind
order by kind
""",
    ),
    "caches": Query(
        description="How often did each cache have what was looked for, run by run?",
        sql="""
select run_id, run_started_at, category, hits, misses, stale_hits, evicted,
       1.0 * hits / (hits + misses) as hit_ratio
from cache_history
where hits + misses > 0
order by run_id desc, category
""",
    ),
    "flapping": Query(
        description="Which servers go up and down? Changes of status in the last week, three or more.",
        params={"days": 7, "changes": 3},
        sql="""
with steps as (
  select server, status, started_at, lag(status) over (partition by server order by started_at, run_id) as before
  from check_history
  where status <> 'UNKNOWN' and not suspect and not maintenance
    and started_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :days || ' days')
)
select server, count(*) as changes, max(started_at) as last_change
from steps
where status <> before
group by server
having count(*) >= :changes
order by changes desc, server
""",
    ),
    "first_seen": Query(
        description="When was each reason seen first and last?",
        sql="""
select reason, kind, min(started_at) as first_seen, max(started_at) as last_seen,
       count(*) as times, count(distinct server) as servers
from probe_errors
where not suspect and not maintenance
group by reason, kind
order by last_seen desc, reason
""",
    ),
    "unchecked": Query(
        description="Which servers have not been checked in the last day?",
        params={"hours": 24},
        sql="""
select server, server_group, status, started_at as last_checked,
       round((julianday('now') - julianday(started_at)) * 24, 1) as hours_ago
from latest_status
where retired_at is null and started_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || :hours || ' hours')
order by started_at, server
""",
    ),
    "sessions": Query(
        description="Which probes left an MCP session open? One that its deadline cut off ends it afterwards.",
        sql="""
select server, started_at, status, reason, sessions_opened, coalesce(sessions_closed, 0) as sessions_closed
from probe_history
where sessions_opened > coalesce(sessions_closed, 0)
order by started_at desc
""",
    ),
    **BENCH_QUESTIONS,
}
