"""Views of load tests."""

from __future__ import annotations

from checker.loadtest.results import WorkerSecond
from checker.probe_kinds import OPERATIONS, in_words
from storage.loadtests.tables import ALL, COUNTS, QUANTILES, TIMED
from storage.view_columns import View, in_ms, iso_time

_Columns = tuple[tuple[str, str, str], ...]
_COUNT_WORDS = {
    "offered": "scheduled arrivals; in the closed model requests started",
    "dropped": "of these never sent: the run ended while they waited",
    "ok": "of these successful",
    "failed": "of these failed, timeouts too",
    "censored": "of the failed those that timed out: their time is the limit",
    "done_ok": "good ones that ended in this time",
    "done_failed": "failed ones that ended in this time",
    "connections": "connections opened",
    "received_bytes": "bytes received",
    "refused": "replies with 429, 503 or Retry-After",
    "resent": "sent again after a kept connection ended unanswered; 0 for load tests made before this was counted",
    "max_us": "longest response time of the good ones",
}
_TIME_WORDS = {
    "response": "from scheduled to done: what a caller sees",
    "service": "from sent to the end",
    "first_byte": "from sent to the first byte of the answer",
    "late": "from scheduled to sent: what the load generator added",
}
_QUANTILE_WORDS = {
    **{"p50": "median", "p90": "90th percentile", "p95": "95th percentile", "p99": "99th percentile"},
    **{"p999": "99.9th percentile", "max": "longest"},
}
_HEALTH_WORDS = {
    "worker": "number of the worker, from 0",
    "cpu_ratio": "CPU used, of one core",
    "busy_ratio": "share of the time for which its loop did not wait",
    "lag_p99_us": "99th percentile of how late its loop was",
    "lag_max_us": "latest that its loop was",
    "late_p99_us": "99th percentile of how late requests were started with connections free",
    "gc_us": "time in the cycle collector",
    "in_flight": "most operations at once",
    "backlog": "most queued arrivals",
    "descriptors": "file descriptors open",
    "ports": "connections opened to the busiest host in the last minute",
    "memory_bytes": "resident memory in bytes",
    "starved_us": "time for which it was ready to run and others had the CPU",
}
_RUN: _Columns = (
    ("benchmark_id", "r.id", "the load test"),
    ("benchmark", "r.name", "its name"),
    ("benchmark_started_at", iso_time("r.started_at_ms"), "its start, ISO 8601 UTC"),
)
_SERIES: _Columns = (
    ("scenario", "x.scenario", "scenario of the plan; null for all series together"),
    ("operation", "x.operation", in_words(OPERATIONS)),
    ("model", "x.model", "open or closed"),
    ("server", "x.server", "name of the server"),
    ("url", "x.url", "address without credentials and query values"),
)
_STAGE: _Columns = (
    ("stage", "g.stage", "number of the stage, from 0"),
    ("stage_name", "g.name", "name of the stage"),
    ("stage_kind", "g.kind", "warm_up, ramp_up, hold, step, spike, soak, ramp_down or cool_down"),
    ("measured", "g.measured", "1 if it counts in summaries and comparisons, else 0"),
    ("from_s", "g.from_s", "start of the stage, seconds from the start of the load test"),
    ("until_s", "g.until_s", "its end"),
    ("start_level", "g.start_level", "arrivals per second (open) or users (closed) at its start"),
    ("end_level", "g.end_level", "the same at its end"),
    ("users", "g.users", "of a suite: users of the cell"),
    ("servers", "g.servers", "of a suite: servers of the cell"),
    ("block", "g.block", "of a suite: which block of the cell"),
)


def _timed(name: str, expression: str, words: str) -> tuple[str, str, str]:
    """A duration column converted to milliseconds; other columns unchanged."""
    if name.endswith("_us"):
        return f"{name[:-3]}_ms", in_ms(expression), f"{words}, in milliseconds"
    return name, expression, words


_COUNTED: _Columns = (
    ("seconds", "round(s.seconds, 3)", "time that it covers"),
    *(_timed(name, f"s.{name}", _COUNT_WORDS[name]) for name in COUNTS if name != "max_us"),
    ("offered_per_s", "round(s.offered_per_s, 3)", "scheduled arrivals per second"),
    ("achieved_per_s", "round(s.achieved_per_s, 3)", "operations that ended per second, good or bad"),
    ("ok_per_s", "round(s.ok_per_s, 3)", "good ones that ended per second: the throughput"),
    ("failed_ratio", "round(s.failed_ratio, 6)", "failed or dropped, of those scheduled and completed, 0 to 1"),
    *(
        (f"{name}_{word}_ms", in_ms(f"s.{name}_{word}_us"), f"{_QUANTILE_WORDS[word]}: {_TIME_WORDS[name]}, ms")
        for name in TIMED
        for word in QUANTILES
    ),
)
_SUMMARIES = (
    "from bench_summaries s join bench_runs r on r.id = s.run_id "
    "left join bench_series x on x.run_id = s.run_id and x.series = s.series "
)
_BASELINES = "(select group_concat(b.name, ', ') from bench_baselines b where b.run_id = r.id)"
_THRESHOLDS = "(select count(*) from bench_thresholds t where t.run_id = r.id{})"

BENCH_VIEWS = (
    View(
        "benchmarks",
        "one load test",
        (
            ("benchmark_id", "r.id", "number of the load test"),
            ("benchmark", "r.name", "name of its plan"),
            ("kind", "r.kind", "load, suite or stress"),
            ("state", "r.state", "running (or killed), finished, interrupted or aborted"),
            ("started_at", iso_time("r.started_at_ms"), "start, ISO 8601 UTC"),
            ("finished_at", iso_time("r.finished_at_ms"), "end, ISO 8601 UTC; null if it never said"),
            ("duration_ms", "r.finished_at_ms - r.started_at_ms", "duration in milliseconds"),
            ("baselines", _BASELINES, "names of the baselines that it is; null if none"),
            ("thresholds", _THRESHOLDS.format(""), "thresholds that were set"),
            ("thresholds_broken", _THRESHOLDS.format(" and not t.passed"), "of these broken"),
            (
                "client_bound",
                "r.client_bound",
                "why the load generator was the limit; empty if not, null if not judged",
            ),
            *_COUNTED,
            ("workers", "r.workers", "worker processes"),
            (
                "plan_digest",
                "r.plan_digest",
                "SHA-256 of the load: without output and thresholds",
            ),
            ("plan", "r.plan", "the plan as it was written, without secrets, JSON object"),
            ("environment", "r.environment", "machine, cores, versions, JSON object"),
            ("notes", "r.notes", "what happened on the way, JSON list"),
            ("seed", "r.seed", "seed of random arrivals and of the order of blocks"),
            ("checker_version", "r.checker_version", "version of mcp-status-check"),
            ("host", "r.host", "machine that made it"),
        ),
        f"from bench_runs r left join bench_summaries s on s.run_id = r.id and s.series = {ALL} and s.stage = {ALL}",
    ),
    View(
        "benchmark_series",
        "one operation at one server over all measured stages of a load test, or all of them together",
        (*_RUN, *_SERIES, *_COUNTED),
        f"{_SUMMARIES}where s.stage = {ALL}",
    ),
    View(
        "benchmark_stages",
        "one operation at one server in one stage of a load test, or all of them together",
        (*_RUN, *_SERIES, *_STAGE, *_COUNTED),
        f"{_SUMMARIES}join bench_stages g on g.run_id = s.run_id and g.stage = s.stage",
    ),
    View(
        "benchmark_slots",
        "one operation at one server in one slot of a load test, by scheduled time",
        (
            *_RUN,
            *_SERIES,
            ("stage", "t.stage", "number of the stage, from 0"),
            ("at_s", "t.at_s", "start of the slot, seconds from the start of the load test"),
            ("slot_s", "r.slot_s", "its width in seconds"),
            *(_timed(name, f"{'max' if name == 'max_us' else 'sum'}(t.{name})", _COUNT_WORDS[name]) for name in COUNTS),
        ),
        "from bench_slots t join bench_runs r on r.id = t.run_id "
        "left join bench_series x on x.run_id = t.run_id and x.series = t.series "
        "group by t.run_id, t.at_s, t.stage, t.series",
    ),
    View(
        "benchmark_failures",
        "one reason for failures of an operation at a server in a stage of a load test",
        (
            *_RUN,
            *_SERIES,
            ("stage", "f.stage", "number of the stage, from 0"),
            ("reason", "f.reason", "why; http_status with the code behind it"),
            ("failed", "f.failed", "how many failed"),
        ),
        "from bench_failures f join bench_runs r on r.id = f.run_id "
        "left join bench_series x on x.run_id = f.run_id and x.series = f.series",
    ),
    View(
        "benchmark_health",
        "one second of a worker of a load test",
        (
            *_RUN,
            ("at_s", "h.at_s", "start of the second, from the start of the load test"),
            *(
                _timed(name, f"h.{name}", _HEALTH_WORDS[name])
                for name in WorkerSecond.__struct_fields__
                if name != "at_s"
            ),
        ),
        "from bench_health h join bench_runs r on r.id = h.run_id",
    ),
    View(
        "benchmark_thresholds",
        "one threshold of a load test",
        (
            *_RUN,
            ("metric", "t.metric", "what was measured, with the part in braces"),
            ("expression", "t.expression", "the condition; times are milliseconds"),
            ("over_s", "t.over_s", "length of the windows in seconds; null over all measured stages"),
            ("value", "t.value", "what was measured, in the unit of the expression; of windows the worst"),
            ("passed", "t.passed", "1 if it held, else 0"),
            ("aborted", "t.aborted", "1 if it ended the load test, else 0"),
            ("first_broken_s", "t.at_s", "when it was broken first, seconds from the start; null if not known"),
        ),
        "from bench_thresholds t join bench_runs r on r.id = t.run_id",
    ),
    View(
        "benchmark_levels",
        "one level of a stress test",
        (
            *_RUN,
            ("stage", "l.stage", "number of its stage"),
            ("level", "l.level", "arrivals per second (open) or users (closed)"),
            ("good", "l.good", "1 if the objective held, else 0"),
            ("why", "l.why", "what broke; empty for a good one"),
            ("client_bound", "l.client_bound", "1 if the load generator was the limit, else 0"),
            ("offered_per_s", "l.offered_per_s", "scheduled arrivals per second"),
            ("achieved_per_s", "l.achieved_per_s", "operations that ended per second"),
            ("p50_ms", "l.p50_ms", "median response time, milliseconds"),
            ("p99_ms", "l.p99_ms", "99th percentile of the response time, milliseconds"),
            ("failed_ratio", "l.failed_ratio", "failed, 0 to 1"),
        ),
        "from bench_levels l join bench_runs r on r.id = l.run_id",
    ),
)
