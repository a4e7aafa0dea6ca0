"""The run as a comment on a pull request: verdict, thresholds, a table, what became better or worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from checker.bench.summary import measured
from checker.plain_text import markdown as escaped
from checker.plain_text import markdown_code
from reports.bench import tables
from reports.bench.client import affected_note
from reports.bench.compared import Compared, compared_rows
from reports.bench.outcome import LoadTestOutcome
from reports.bench.percentiles import quantile_cell
from reports.bench.reproduce import command
from reports.bench.rules import RunFacts, recommendations
from reports.bench.verdict import threshold_words, verdict_of
from reports.report import Insufficient, Level
from reports.show import duration, number, per_cent

MOST_LINES = 60
_MOST_THRESHOLDS, _MOST_SERIES, _MOST_COMPARED, _MOST_ADVICE = 12, 12, 10, 3
_MARKS = {"failed": "❌", "cannot tell": "❔", "passed": "✅"}
_SIGNS = {Level.GOOD: "✅", Level.WARNING: "⚠️", Level.BAD: "❌", Level.UNKNOWN: "❔"}


def markdown(outcome: LoadTestOutcome) -> str:
    """At most `MOST_LINES` lines."""
    run, verdict = outcome.run, verdict_of(outcome)
    every = tables.series_summaries(run)
    lines = [f"## {_SIGNS[verdict.level]} {escaped(f'{run.name}: {verdict.line}')}", ""]
    lines += _thresholds(outcome)
    lines += _series(every)
    if said := affected_note(run, outcome.saturation):
        lines += [escaped(said), ""]
    lines += _comparison(list(compared_rows(outcome.comparison)), outcome)
    advice = recommendations(RunFacts(outcome=outcome, every=every, whole=measured(run)))[:_MOST_ADVICE]
    lines += [f"- {escaped(f'{one.subject}: {one.suggestion} ({one.evidence})')}" for one in advice]
    lines += [""] if advice else []
    if any(series.model == "closed" for series, _ in every):
        lines += [f"{tables.CLOSED[0].upper()}{tables.CLOSED[1:]}.", ""]
    lines.append(f"{markdown_code(command(run) or run.name)}, seed {run.seed}, plan {run.plan_digest[:12]}")
    return "\n".join(lines) + "\n"


def _thresholds(outcome: LoadTestOutcome) -> Iterator[str]:
    found = sorted(outcome.told(), key=lambda one: list(_MARKS).index(one.word))
    for one in found[:_MOST_THRESHOLDS]:
        note = f", {one.note}" if one.note else ""
        yield f"- {_MARKS[one.word]} {escaped(f'{threshold_words(one.result)}{note}')}"
    yield from _left_out(len(found) - _MOST_THRESHOLDS, "thresholds")
    if found:
        yield ""


def _series(every: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    yield "| server | operation | model | offered /s | achieved /s | failed | resent | p50 | p95 | p99 | p99 service |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for series, one in every[:_MOST_SERIES]:
        rates = [number(one.offered_per_s), number(one.achieved_per_s), per_cent(one.failed_ratio), f"{one.resent:,}"]
        quantiles = [quantile_cell(one, q) for q in (0.5, 0.95, 0.99)]
        spelled = [_latency(value) for value in (*quantiles, quantile_cell(one, 0.99, "service"))]
        names = [escaped(name) for name in (series.server, series.operation, series.model)]
        yield f"| {' | '.join([*names, *rates, *spelled])} |"
    yield ""
    yield from _left_out(len(every) - _MOST_SERIES, "series")


def _comparison(rows: Sequence[Compared], outcome: LoadTestOutcome) -> Iterator[str]:
    """The verdict of the comparison where it is not the heading, and what is not the same, worse ones first."""
    if outcome.comparison is None:
        return
    if verdict_of(outcome).word != "REGRESSION":
        yield f"**Compared:** {escaped(outcome.comparison.verdict)}"
        yield ""
    told = sorted((one for one in rows if one.verdict in ("worse", "better")), key=lambda one: one.verdict != "worse")
    if told:
        yield "| series | baseline | candidate | difference | verdict |"
        yield "| --- | ---: | ---: | ---: | --- |"
        for one in told[:_MOST_COMPARED]:
            cells = (one.name, one.baseline, one.candidate, one.difference, one.verdict)
            yield f"| {' | '.join(map(escaped, cells))} |"
        yield ""
        yield from _left_out(len(told) - _MOST_COMPARED, "differences")


def _left_out(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"{count} more {what} are in the report."
        yield ""


def _latency(value: Any) -> str:
    if isinstance(value, Insufficient):
        return f"n < {value.wanted:,}"
    return "" if value is None else duration(value)
