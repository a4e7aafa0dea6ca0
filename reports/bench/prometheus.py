"""The run as metrics in Prometheus' text format, for the textfile collector of its node exporter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from checker.bench.results import BenchState
from checker.bench.summary import Summary
from checker.plain_text import label_value
from reports.bench.outcome import LoadTestOutcome
from reports.bench.percentiles import quantile_cell, samples
from reports.bench.tables import series_summaries
from reports.bench.verdict import threshold_words
from reports.percentiles import QUANTILES

_Sample = tuple[dict[str, str], float]
_PREFIX = "mcp_status_bench"


def prometheus(outcome: LoadTestOutcome) -> str:
    """Gauges of the measured stages; quantiles are left out where samples are too few for them."""
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
    for histogram, words in (("response", "From scheduled to done."), ("service", "From sent to done.")):
        quantiles = [sample for labels, one in every for sample in _quantiles(labels, one, histogram)]
        yield from _metric(f"{histogram}_seconds", f"{words} Good ones.", quantiles)
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
