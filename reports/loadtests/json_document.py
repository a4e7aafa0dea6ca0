"""The run as one JSON document; `docs/bench.schema.json` is its contract."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from checker.loadtest.bottleneck import Saturation
from checker.loadtest.results import BenchRun, Capacity, StageSpan
from checker.loadtest.summary import Summary, measured, of_stage
from reports import output_forms, rows_as_text
from reports.check_documents import iso
from reports.loadtests import percentile_cells, tables
from reports.loadtests.client import client
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.percentile_cells import MEASURES, bounds_ms, endless
from reports.loadtests.recommendations import RunFacts, recommendations
from reports.loadtests.reproduce import command
from reports.loadtests.timeline import Timeline, widened
from reports.loadtests.verdict import verdict_of
from reports.percentile_cells import QUANTILES
from reports.report_model import Insufficient

SCHEMA = "https://mcp-status-check.invalid/bench.schema.json"
"""The name of the schema, which is in the documentation; no such address answers."""
_RATE_DIGITS, _MS_DIGITS, _RATIO_DIGITS = 3, 3, 6
_COUNTS = ("offered", "dropped", "ok", "failed", "censored", "refused", "resent", "connections", "received_bytes")


def json(outcome: LoadTestOutcome) -> str:
    """The document as JSON text."""
    return rows_as_text.json(document(outcome))


def document(outcome: LoadTestOutcome) -> dict[str, Any]:
    """The whole report as JSON values; times in ISO 8601 or in seconds from the start of the run."""
    run, verdict = outcome.run, verdict_of(outcome)
    every, whole = tables.series_summaries(run), measured(run)
    advice = recommendations(RunFacts(outcome=outcome, every=every, whole=whole))
    return {
        "$schema": SCHEMA,
        "verdict": {"word": verdict.word, "level": verdict.level.value, "text": verdict.line},
        "run": _run(run),
        "thresholds": [
            {**asdict(one.result), "told": one.word, "low": one.low, "high": one.high, "note": one.note or None}
            for one in outcome.told()
        ],
        "measured": figures(whole),
        "series": [
            {
                "scenario": series.scenario,
                "operation": series.operation,
                "model": series.model,
                "coordinated_omission": series.model == "closed",
                "server": series.server,
                "url": series.url,
                "measured": figures(one),
            }
            for series, one in every
        ],
        "stages": [{**_stage(span), "figures": figures(of_stage(run, at))} for at, span in enumerate(run.stages)],
        "over_time": _over_time(widened(run)),
        "capacity": None if run.capacity is None else _capacity(run.capacity),
        "client": _client(run, outcome.saturation),
        "recommendations": [asdict(one) for one in advice],
        "comparison": None if outcome.comparison is None else output_forms.document(outcome.comparison),
        "trend": None if outcome.trend is None else output_forms.document(outcome.trend),
        "notes": list(run.notes),
    }


def figures(one: Summary) -> dict[str, Any]:
    """Counts, rates, reasons, phases and percentiles of summed slots."""
    return {
        "seconds": round(one.seconds, 3),
        **{name: getattr(one, name) for name in _COUNTS},
        "failed_ratio": round(one.failed_ratio, _RATIO_DIGITS),
        "offered_per_s": round(one.offered_per_s, _RATE_DIGITS),
        "achieved_per_s": round(one.achieved_per_s, _RATE_DIGITS),
        "ok_per_s": round(one.ok_per_s, _RATE_DIGITS),
        "reasons": dict(one.reasons),
        "phases_mean_ms": {name: round(us / one.ok / 1000, _MS_DIGITS) for name, us in one.phases_us.items() if one.ok},
        "latency": {histogram: _latency(one, histogram) for histogram in MEASURES},
        "bounds": _bounds(one),
    }


def _bounds(one: Summary) -> dict[str, Any] | None:
    """Bounds of each percentile if operations that never ended are counted; null if all ended."""
    if not endless(one):
        return None
    return {f"{name}_ms": [_rounded(end) for end in bounds_ms(one, q)] for name, q in QUANTILES}


def _latency(one: Summary, histogram: Any) -> dict[str, Any]:
    """The percentiles of one histogram: null with too few samples, with the smallest number that would suffice."""
    columns = [column.name for column in percentile_cells.columns()]
    found: dict[str, Any] = {}
    few: dict[str, int] = {}
    for name, value in zip(columns, percentile_cells.cells(one, histogram), strict=True):
        if isinstance(value, Insufficient):
            few[name] = value.wanted
        found[name] = None if isinstance(value, Insufficient) else _rounded(value)
    _, *ends = percentile_cells.ends(one, histogram)
    intervals = {
        f"{name}_ms": [_rounded(ends[2 * place]), _rounded(ends[2 * place + 1])]
        for place, (name, _) in enumerate(QUANTILES)
    }
    return {**found, "intervals": intervals, "insufficient": few}


def _rounded(value: Any) -> Any:
    """Milliseconds rounded to a microsecond; an open end is null."""
    if isinstance(value, float):
        return None if abs(value) == float("inf") else round(value, _MS_DIGITS)
    return value


def _run(run: BenchRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind.value,
        "state": run.state.value,
        "started_at": iso(run.started_at_ms),
        "finished_at": iso(run.finished_at_ms),
        "checker_version": run.checker_version,
        "workers": run.workers,
        "slot_s": run.slot_s,
        "seed": run.seed,
        "plan_digest": run.plan_digest,
        "plan": run.plan,
        "environment": dict(run.environment),
        "command": command(run) or None,
    }


def _capacity(capacity: Capacity) -> dict[str, Any]:
    return {**asdict(capacity), "levels": [asdict(one) for one in capacity.levels]}


def _stage(span: StageSpan) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(span).items()}


def _over_time(run: BenchRun) -> dict[str, Any]:
    """Columns of equal length, with a value for each slot, over all series."""
    line = Timeline.of(run)
    p50, p95, p99 = line.quantiles_ms("response", (0.5, 0.95, 0.99))
    return {
        "slot_s": run.slot_s,
        "at_s": list(line.starts),
        "offered": [int(one) for one in line.sums("offered")],
        "achieved": [int(one) for one in line.sums("done_ok", "done_failed")],
        "ok": [int(one) for one in line.sums("done_ok")],
        "failed": [int(one) for one in line.sums("failed", "dropped")],
        "p50_ms": [_rounded(one) for one in p50],
        "p95_ms": [_rounded(one) for one in p95],
        "p99_ms": [_rounded(one) for one in p99],
        "max_ms": [_rounded(one) for one in line.longest_ms()],
    }


def _client(run: BenchRun, saturation: Saturation) -> dict[str, Any]:
    return {
        "invalid": saturation.invalid,
        "reason": saturation.reason or None,
        "spans": [
            {"from_s": one.from_s, "until_s": one.until_s, "worker": one.worker, "what": one.what}
            for one in saturation.spans
        ],
        "added_ms": saturation.claims.added_us / 1000,
        "affected": [
            {
                "server": run.series[one.series].server,
                "operation": run.series[one.series].operation,
                "scenario": run.series[one.series].scenario,
                "percentile": one.percentile,
                "measured_ms": _rounded(one.value_us / 1000),
                "low_ms": _rounded(one.low_us / 1000),
                "high_ms": None if one.is_open else _rounded(one.value_us / 1000),
            }
            for one in saturation.claims.numbers
        ],
        "workers": list(output_forms.records(client(run, saturation))),
        "calibrations": [asdict(one) for one in run.calibrations],
    }
