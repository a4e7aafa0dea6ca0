"""The built-in questions about load tests."""

from __future__ import annotations

from collections.abc import Mapping

from checker.queries import Query

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
