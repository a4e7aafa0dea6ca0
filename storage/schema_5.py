"""Version 5 of the schema: the tables of load tests."""

from __future__ import annotations

BENCHMARKS = (
    """create table bench_runs (id integer not null primary key autoincrement, name text not null, kind text
        not null, state text not null, started_at_ms integer not null, finished_at_ms integer, checker_version
        text not null, plan_digest text not null, seed integer not null, workers integer not null, slot_s
        integer not null, "plan" text, environment text, calibrations text, capacity text, notes text, host text
        not null, pid integer not null, client_bound text)""",
    """create table bench_series (run_id integer not null, series integer not null, scenario text not null,
        operation text not null, model text not null, server text not null, url text not null, primary key
        (run_id, series), foreign key(run_id) references bench_runs (id)) without rowid""",
    """create table bench_stages (run_id integer not null, stage integer not null, scenario text not null, name
        text not null, kind text not null, measured boolean not null, from_s float not null, until_s float not
        null, start_level float not null, end_level float not null, users integer, servers integer, block
        integer, primary key (run_id, stage), foreign key(run_id) references bench_runs (id)) without rowid""",
    """create table bench_slots (run_id integer not null, part integer not null, at_s integer not null, stage
        integer not null, series integer not null, offered integer not null, dropped integer not null, ok
        integer not null, failed integer not null, censored integer not null, done_ok integer not null,
        done_failed integer not null, connections integer not null, received_bytes integer not null, refused
        integer not null, max_us integer not null, reasons text, phases_us text, histograms blob, primary key
        (run_id, part, at_s, stage, series), foreign key(run_id) references bench_runs (id)) without rowid""",
    """create table bench_health (run_id integer not null, at_s integer not null, worker integer not null,
        cpu_ratio float not null, busy_ratio float not null, lag_p99_us integer not null, lag_max_us integer
        not null, late_p99_us integer not null, gc_us integer not null, in_flight integer not null, backlog
        integer not null, descriptors integer not null, ports integer not null, memory_bytes integer not null,
        primary key (run_id, at_s, worker), foreign key(run_id) references bench_runs (id)) without rowid""",
    """create table bench_thresholds (run_id integer not null, place integer not null, metric text not null,
        expression text not null, over_s float, value float, passed boolean not null, aborted boolean not null,
        at_s float, primary key (run_id, place), foreign key(run_id) references bench_runs (id)) without rowid""",
    """create table bench_levels (run_id integer not null, place integer not null, stage integer not null,
        level float not null, good boolean not null, why text not null, offered_per_s float not null,
        achieved_per_s float not null, p50_ms float, p99_ms float, failed_ratio float not null, client_bound
        boolean not null, primary key (run_id, place), foreign key(run_id) references bench_runs (id)) without
        rowid""",
    """create table bench_failures (run_id integer not null, series integer not null, stage integer not null,
        reason text not null, failed integer not null, primary key (run_id, series, stage, reason), foreign
        key(run_id) references bench_runs (id)) without rowid""",
    """create table bench_summaries (run_id integer not null, series integer not null, stage integer not null,
        seconds float not null, offered integer not null, dropped integer not null, ok integer not null, failed
        integer not null, censored integer not null, done_ok integer not null, done_failed integer not null,
        connections integer not null, received_bytes integer not null, refused integer not null, max_us integer
        not null, offered_per_s float not null, achieved_per_s float not null, ok_per_s float not null,
        failed_ratio float not null, response_p50_us integer, response_p90_us integer, response_p95_us integer,
        response_p99_us integer, response_p999_us integer, response_max_us integer, service_p50_us integer,
        service_p90_us integer, service_p95_us integer, service_p99_us integer, service_p999_us integer,
        service_max_us integer, first_byte_p50_us integer, first_byte_p90_us integer, first_byte_p95_us integer,
        first_byte_p99_us integer, first_byte_p999_us integer, first_byte_max_us integer, late_p50_us integer,
        late_p90_us integer, late_p95_us integer, late_p99_us integer, late_p999_us integer, late_max_us
        integer, primary key (run_id, series, stage), foreign key(run_id) references bench_runs (id)) without
        rowid""",
    """create table bench_baselines (name text not null, run_id integer not null, set_at_ms integer not null,
        primary key (name), foreign key(run_id) references bench_runs (id)) without rowid""",
    "create index bench_runs_by_name on bench_runs (name, plan_digest)",
)
"""As they were when version 5 came out: never edited, whatever storage/bench/tables.py becomes."""
