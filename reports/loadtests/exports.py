"""Exports of a run: Markdown, CSV, JUnit XML, Prometheus metrics, HdrHistogram's ``.hgrm``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from msgspec import Struct

from checker.loadtest.results import BenchRun, BenchState, Slot
from checker.loadtest.summary import HistogramName, Summary, measured, of_stage
from checker.stats.histogram import Cells, middle_us
from checker.stats.intervals import fewest
from checker.untrusted_text import label_value, markdown_code, markup
from checker.untrusted_text import markdown as escaped
from reports import rows_as_text
from reports.check_documents import iso
from reports.loadtests import tables
from reports.loadtests.client import affected_note
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.percentile_cells import MEASURES, cells, columns, quantile_cell, samples
from reports.loadtests.recommendations import RunFacts, recommendations
from reports.loadtests.reproduce import command
from reports.loadtests.tables import series_summaries
from reports.loadtests.verdict import reached_s, threshold_words, verdict_of
from reports.output_forms import duration, number, per_cent, words
from reports.percentile_cells import QUANTILES
from reports.report_model import Insufficient, Level, Report

_NAMED = ("scenario", "operation", "server", "users", "servers", "statistic")
_NUMBERS = ("baseline", "candidate", "difference", "low", "high")


class Compared(Struct, frozen=True):
    """One statistic of one series."""

    name: str
    verdict: str
    """better, worse, same or cannot tell."""
    baseline: str
    candidate: str
    difference: str
    """With its interval, if there is one."""

    @property
    def is_told(self) -> bool:
        """True if the comparison reached a verdict."""
        return self.verdict in ("better", "worse", "same")


def compared_rows(report: Report | None) -> Iterator[Compared]:
    """The rows of the first table with verdicts; none without a comparison."""
    for section in report.sections if report is not None else ():
        columns = (
            {column.name: (at, column) for at, column in enumerate(section.table.columns)} if section.table else {}
        )
        if section.table is None or "verdict" not in columns:
            continue
        for row in section.table.rows:
            said = {
                name: "" if isinstance(row[at], Insufficient) else words(column, row[at])
                for name, (at, column) in columns.items()
            }
            baseline, candidate, difference, low, high = (said.get(name, "") for name in _NUMBERS)
            yield Compared(
                name=" ".join(dict.fromkeys(said[name] for name in _NAMED if said.get(name))),
                verdict=said["verdict"],
                baseline=baseline,
                candidate=candidate,
                difference=f"{difference} ({low} to {high})" if low and high else difference,
            )
        return


_NAMES = ("scenario", "operation", "model", "server")
_COUNTS = ("offered", "dropped", "ok", "failed", "censored", "refused", "resent", "connections", "received_bytes")
_RATES = ("failed_ratio", "offered_per_s", "achieved_per_s", "ok_per_s")
_STAGE = ("stage", "kind", "measured", "from_s", "until_s", "start_level", "end_level", "users", "servers", "block")
_OF_SLOTS = (
    ("response_p50_ms", "response", 0.5),
    ("response_p95_ms", "response", 0.95),
    ("response_p99_ms", "response", 0.99),
    ("service_p50_ms", "service", 0.5),
    ("service_p99_ms", "service", 0.99),
    ("late_p99_ms", "late", 0.99),
)
"""For a slot: column, histogram, quantile."""
_AT_ONCE = 5000
_LATENCIES = tuple(f"{histogram}_{column.name}" for histogram in MEASURES for column in columns())


def csv(outcome: LoadTestOutcome) -> str:
    """One CSV row for each series and stage."""
    run = outcome.run
    header = ("run", *_NAMES, *_STAGE, *_COUNTS, *_RATES, *_LATENCIES)
    return "".join(rows_as_text.csv_lines(header, list(_by_stage(run))))


def slots_csv(outcome: LoadTestOutcome) -> str:
    """One CSV row for each slot as stored: one series, in one stage and one period."""
    header = (
        "run",
        *_NAMES,
        "stage",
        "at_s",
        "slot_s",
        *_COUNTS,
        *(name for name, _, _ in _OF_SLOTS),
        "response_max_ms",
    )
    return "".join(rows_as_text.csv_lines(header, list(_by_slot(outcome.run))))


def _by_stage(run: BenchRun) -> Iterator[list[Any]]:
    for place, series in enumerate(run.series):
        named = [run.id, *(getattr(series, name) for name in _NAMES)]
        for at, span in enumerate(run.stages):
            if span.scenario == series.scenario:
                stage = [span.name, *(getattr(span, name) for name in _STAGE[1:])]
                yield [*named, *stage, *_figures(of_stage(run, at, _of(place)))]


def _by_slot(run: BenchRun) -> Iterator[list[Any]]:
    slots = sorted(run.slots, key=lambda slot: (slot.series, slot.stage, slot.at_s))
    for first in range(0, len(slots), _AT_ONCE):
        some = slots[first : first + _AT_ONCE]
        quantiles = zip(*(_quantiles_ms(some, histogram, q) for _, histogram, q in _OF_SLOTS), strict=True)
        for slot, found in zip(some, quantiles, strict=True):
            series = run.series[slot.series]
            named = [run.id, *(getattr(series, name) for name in _NAMES), run.stages[slot.stage].name]
            counts = [getattr(slot, name) for name in _COUNTS]
            yield [*named, slot.at_s, run.slot_s, *counts, *found, slot.max_us / 1000 if slot.ok else None]


def _quantiles_ms(slots: Sequence[Slot], histogram: str, q: float) -> list[float | None]:
    """A quantile of each slot; None if it has too few samples."""
    cells = Cells.of_blobs(np.arange(len(slots)), [getattr(slot, histogram) for slot in slots])
    enough = cells.counts(len(slots)) >= fewest(q)
    found = cells.quantiles(len(slots), (q,))[:, 0] / 1000
    return [round(value, 3) if there else None for value, there in zip(found.tolist(), enough.tolist(), strict=True)]


def _figures(one: Summary) -> list[Any]:
    counts = [getattr(one, name) for name in _COUNTS]
    rates = [round(getattr(one, name), 6) for name in _RATES]
    latencies = [_plain(value) for histogram in MEASURES for value in cells(one, histogram)]
    return [*counts, *rates, *latencies]


def _plain(value: Any) -> Any:
    if isinstance(value, Insufficient):
        return None
    return round(value, 3) if isinstance(value, float) else value


def _of(place: int) -> Callable[[Slot], bool]:
    return lambda slot: slot.series == place


def junit(outcome: LoadTestOutcome) -> str:
    """One test suite for Jenkins and GitLab; an invalid or unfinished run is a failure of its own."""
    run, verdict = outcome.run, verdict_of(outcome)
    name = markup(f"bench {run.name}")
    stamp = (iso(run.started_at_ms) or "").removesuffix("Z").partition(".")[0]
    suite = Element("testsuite", name=name, timestamp=stamp, time=f"{reached_s(run):.3f}")
    for told in outcome.told():
        one = told.result
        over = "" if one.over_s is None else f" over {one.over_s:g} s"
        case = _case(suite, f"{name}.thresholds", f"{one.metric} {one.expression}{over}")
        if told.word == "failed":
            _failed(case, threshold_words(one))
        elif told.word == "cannot tell":
            SubElement(case, "skipped", message=markup(f"cannot tell, {told.note}: {threshold_words(one)}"))
    for row in compared_rows(outcome.comparison):
        case = _case(suite, f"{name}.comparison", row.name)
        said = f"{row.verdict}: {row.baseline} → {row.candidate}, {row.difference}"
        if row.verdict == "worse":
            _failed(case, said)
        elif not row.is_told:
            SubElement(case, "skipped", message=markup(said))
    case = _case(suite, f"{name}.run", "the run is valid and complete")
    if outcome.saturation.invalid or run.state is not BenchState.FINISHED:
        _failed(case, verdict.line)
    for word, tag in (("tests", "testcase"), ("failures", "testcase/failure"), ("skipped", "testcase/skipped")):
        suite.set(word, str(len(suite.findall(tag))))
    suite.set("errors", "0")
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _case(suite: Element, group: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=group, name=markup(name), time="0")


def _failed(case: Element, message: str) -> None:
    SubElement(case, "failure", message=markup(message), type="threshold").text = markup(message)


_Sample = tuple[dict[str, str], float]
_PREFIX = "mcp_status_bench"


def prometheus(outcome: LoadTestOutcome) -> str:
    """Gauges of the measured stages; quantiles with too few samples are left out."""
    return "".join(_lines(outcome))


def _lines(outcome: LoadTestOutcome) -> Iterator[str]:
    run = outcome.run
    every = [({"run": run.name, **_labels(series)}, one) for series, one in series_summaries(run)]
    name = {"run": run.name}
    valid = not outcome.saturation.invalid and run.state is BenchState.FINISHED
    finished_s = (run.finished_at_ms or run.started_at_ms) / 1000
    yield from _metric(
        "valid", "1 if the run is complete and the load generator was not its limit.", [(name, float(valid))]
    )
    yield from _metric("finished_timestamp_seconds", "When the run ended, Unix time.", [(name, finished_s)])
    held = [
        ({**name, "threshold": threshold_words(one.result).partition(" (")[0]}, float(one.word == "passed"))
        for one in outcome.told()
        if one.word != "cannot tell"
    ]
    yield from _metric("threshold_passed", "1 if the threshold holds; absent where that cannot be judged.", held)
    yield from _metric(
        "offered_per_second", "Operations scheduled.", [(labels, one.offered_per_s) for labels, one in every]
    )
    achieved = [(labels, one.achieved_per_s) for labels, one in every]
    yield from _metric("achieved_per_second", "Operations completed.", achieved)
    yield from _metric("failed_ratio", "Share that failed.", [(labels, one.failed_ratio) for labels, one in every])
    resent = [(labels, float(one.resent)) for labels, one in every]
    yield from _metric(
        "resent_operations", "Sent again: the server closed a kept-alive connection without an answer.", resent
    )
    for histogram, meaning in (("response", "From scheduled to done."), ("service", "From sent to done.")):
        quantiles = [sample for labels, one in every for sample in _quantiles(labels, one, histogram)]
        yield from _metric(f"{histogram}_seconds", f"{meaning} Good ones.", quantiles)
        counts = [(labels, float(samples(one, histogram))) for labels, one in every]  # type: ignore[arg-type] # literals
        yield from _metric(f"{histogram}_samples", "Samples of the quantiles.", counts)


def _labels(series: Any) -> dict[str, str]:
    return {name: getattr(series, name) for name in ("scenario", "operation", "model", "server")}


def _quantiles(labels: dict[str, str], one: Summary, histogram: Any) -> Iterator[_Sample]:
    for _, q in QUANTILES:
        value = quantile_cell(one, q, histogram)
        if isinstance(value, float):
            yield {**labels, "quantile": f"{q:g}"}, value / 1000


def _metric(name: str, words: str, samples_of: Sequence[_Sample]) -> Iterator[str]:
    """A gauge with its help; none without samples."""
    if not samples_of:
        return
    yield f"# HELP {_PREFIX}_{name} {words}\n# TYPE {_PREFIX}_{name} gauge\n"
    for labels, value in samples_of:
        spelled = ",".join(f'{label}="{label_value(text)}"' for label, text in labels.items())
        yield f"{_PREFIX}_{name}{{{spelled}}} {value:.9g}\n"


_PER_HALVING = 5
"""Ticks for each halving of the remaining share, the default of HdrHistogram's text format."""
_HEAD = f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n"


def hgrm(outcome: LoadTestOutcome) -> str:
    """Response and service time in milliseconds: a block for each series, named in a comment before it."""
    parts = []
    for series, one in series_summaries(outcome.run):
        for histogram in ("response", "service"):
            title = f"# {series.scenario} {series.operation} {series.server}: {histogram} time, ms\n"
            parts.append(title + spectrum(one, histogram))
    return "\n".join(parts) or f"# {outcome.run.name}: nothing was played\n"


def spectrum(one: Summary, histogram: HistogramName) -> str:
    """One block: value, percentile as a ratio, samples up to it, and 1/(1 - percentile)."""
    cells = one.histograms[histogram]
    total = int(cells.count.sum())
    if not total:
        return f"{_HEAD}#[Mean = 0.000, StdDeviation = 0.000]\n#[Max = 0.000, Total count = 0]\n"
    values_ms, within = middle_us(cells.bin) / 1000, np.cumsum(cells.count)
    longest_ms = (one.quantile_us(1.0, histogram) or 0.0) / 1000
    rows = []
    for ratio in _ratios(total):
        place = int(np.searchsorted(within, np.ceil(ratio * total - 1e-9)))
        value = min(float(values_ms[place]), longest_ms)
        odds = f"{1 / (1 - ratio):14.2f}" if ratio < 1 else ""
        rows.append(f"{value:12.3f} {ratio:14.12f} {int(within[place]):10d} {odds}".rstrip() + "\n")
    mean = float((cells.count * values_ms).sum()) / total
    deviation = float(np.sqrt((cells.count * (values_ms - mean) ** 2).sum() / total))
    foot = f"#[Mean = {mean:12.3f}, StdDeviation = {deviation:12.3f}]\n"
    return f"{_HEAD}{''.join(rows)}{foot}#[Max = {longest_ms:12.3f}, Total count = {total:12d}]\n"


def _ratios(total: int) -> Iterator[float]:
    """Ratios from 0 to 1, with equally many steps in each halving of the rest, as far as there are samples."""
    step, left = 0, 1.0
    while left * total >= 1:
        yield 1 - left + left / 2 * (step % _PER_HALVING) / _PER_HALVING
        step += 1
        left = 0.5 ** (step // _PER_HALVING)
    yield 1.0


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
    """The verdict of the comparison unless it is the heading, and all rows that differ, worse ones first."""
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
