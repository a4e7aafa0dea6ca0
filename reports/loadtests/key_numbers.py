"""The numbers at the top of a load test's page, each with the threshold that judges it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from checker.loadtest.results import BenchRun, Capacity
from checker.loadtest.summary import Summary, measured
from reports.loadtests.outcome import JudgedThreshold, LoadTestOutcome
from reports.loadtests.percentile_cells import longest_ms, quantile_cell, samples
from reports.loadtests.verdict import cells_of, level_unit, limit_words
from reports.output_forms import duration, number, per_cent
from reports.report_model import Insufficient, KeyNumber, Level

_LEVELS = {"passed": Level.GOOD, "failed": Level.BAD, "cannot tell": Level.UNKNOWN}
_WORST = ("failed", "cannot tell", "passed")
_QUANTILES = (("p50", 0.5, r"med|p\(50\)"), ("p95", 0.95, r"p\(95\)"), ("p99", 0.99, r"p\(99\)"))
"""Label, ratio, and the aggregates of thresholds that judge it."""


def key_numbers(outcome: LoadTestOutcome) -> list[KeyNumber]:
    """The numbers of a stress test's capacity, of a suite's best cell, or of the measured stages."""
    if outcome.run.capacity is not None:
        return list(_of_capacity(outcome.run, outcome.run.capacity))
    cells = cells_of(outcome)
    return list(_of_cells(outcome, cells) if cells else _of_load(outcome))


def _of_load(outcome: LoadTestOutcome) -> Iterator[KeyNumber]:
    whole = measured(outcome.run)
    for label, q, aggregate in _QUANTILES:
        value = quantile_cell(whole, q)
        note = f"{value.samples:,} of {value.wanted:,} samples" if isinstance(value, Insufficient) else "response time"
        yield _judged(outcome, label, _duration(value), note, "response_time", aggregate)
    longest = longest_ms(whole)
    answers = f"of {samples(whole):,} answers"
    yield _judged(outcome, "longest", _duration(longest), answers, "response_time", "max")
    yield _throughput(outcome, whole)
    yield _failed(outcome, whole)


def _throughput(outcome: LoadTestOutcome, whole: Summary) -> KeyNumber:
    note = f"of {number(whole.offered_per_s)} /s offered"
    return _judged(outcome, "throughput", f"{number(whole.ok_per_s)} /s", note, "(ok|achieved)", "rate|value")


def _failed(outcome: LoadTestOutcome, whole: Summary) -> KeyNumber:
    failed = whole.failed + whole.dropped
    ratio = per_cent(whole.failed_ratio) if whole.offered else "-"
    return _judged(outcome, "failed", ratio, f"{failed:,} of {whole.offered:,}", "failed", "rate|count|value")


def _judged(outcome: LoadTestOutcome, label: str, value: str, note: str, metric: str, aggregate: str) -> KeyNumber:
    """The number with the thresholds of the whole run that judge it; the worst of them gives its level."""
    wanted = re.compile(aggregate)
    found = [
        one
        for one in outcome.told()
        if re.fullmatch(metric, one.result.metric) and wanted.match(one.result.expression.replace(" ", ""))
    ]
    if not found or (outcome.saturation.invalid and not outcome.saturation.claims.thresholds):
        return KeyNumber(label, value, note)
    worst = min(found, key=lambda one: _WORST.index(one.word))
    return KeyNumber(label, value, _threshold_note(worst, len(found)), _LEVELS[worst.word])


def _threshold_note(one: JudgedThreshold, of: int) -> str:
    over = "" if one.result.over_s is None else f" over {one.result.over_s:g} s"
    others = f", {of - 1} more" if of > 1 else ""
    return f"{limit_words(one.result)}{over}: {one.word}{others}"


def _of_capacity(run: BenchRun, found: Capacity) -> Iterator[KeyNumber]:
    unit = level_unit(run)

    def level(value: float | None, missing: str) -> str:
        return missing if value is None else f"{value:g} {unit}"

    good = [one for one in found.levels if one.good and one.level == found.last_good]
    yield KeyNumber(
        "last good level",
        level(found.last_good, "none"),
        "the objective held",
        Level.BAD if found.last_good is None else Level.GOOD,
    )
    broken = next((one.why for one in found.levels if one.level == found.first_bad and one.why), "")
    yield KeyNumber("first bad level", level(found.first_bad, "none"), broken or "of those tried")
    if good:
        yield KeyNumber("p50 at the last good", _duration(good[-1].p50_ms), "response time")
        yield KeyNumber("p99 at the last good", _duration(good[-1].p99_ms), "response time")
        achieved = good[-1].achieved_per_s
        yield KeyNumber("achieved there", f"{number(achieved)} /s", f"{per_cent(good[-1].failed_ratio)} failed")
    yield KeyNumber("knee", level(found.knee, "not seen"), "latency grows faster from here")
    recovered = "not seen" if found.recovery_s is None else f"{found.recovery_s:g} s"
    yield KeyNumber("recovery", recovered, "after the last bad level")


def _of_cells(outcome: LoadTestOutcome, cells: dict[tuple[int, int], list[Summary]]) -> Iterator[KeyNumber]:
    rates = {cell: median([one.ok_per_s for one in blocks]) for cell, blocks in cells.items()}
    best = max(rates, key=lambda cell: rates[cell])
    yield KeyNumber("most throughput", f"{number(rates[best])} /s", _cell_words(best))
    p95s = {cell: found for cell, blocks in cells.items() if (found := _median_p95(blocks)) is not None}
    if best in p95s:
        yield KeyNumber("p95 there", duration(p95s[best]), "median of its blocks")
    if p95s:
        fastest = min(p95s, key=lambda cell: p95s[cell])
        yield KeyNumber("lowest p95", duration(p95s[fastest]), _cell_words(fastest))
        slowest = max(p95s, key=lambda cell: p95s[cell])
        yield KeyNumber("highest p95", duration(p95s[slowest]), _cell_words(slowest))
    yield _failed(outcome, measured(outcome.run))
    blocks = sum(map(len, cells.values()))
    yield KeyNumber("cells", f"{len(cells):,}", f"{blocks:,} blocks")


def _cell_words(cell: tuple[int, int]) -> str:
    users, servers = (f"{n:,} {word}{'' if n == 1 else 's'}" for n, word in zip(cell, ("user", "server"), strict=True))
    return f"{users}, {servers}"


def _median_p95(blocks: Sequence[Summary]) -> float | None:
    found = [us / 1000 for one in blocks if (us := one.quantile_us(0.95)) is not None]
    return median(found) if found else None


def _duration(value: Any) -> str:
    return duration(value) if isinstance(value, float) else "-"
