"""What the slots of a load test come to, as rows: percentiles that SQL can ask for without histograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from checker.bench.results import BenchRun, Slot
from checker.bench.summary import Summary, covered_s, in_time, measured_stages, summarize
from storage.bench.tables import ALL, COUNTS, QUANTILES, RATES, TIMED, bench_failures, bench_summaries
from storage.rows import insert_rows

_NAMES = tuple(column.name for column in bench_summaries.columns)


def write_summaries(connection: Connection, run_id: int, run: BenchRun) -> None:
    """Write the summaries and the failures of a run whose slots are all there; there must be none of it yet."""
    groups = _grouped(run.slots)
    insert_rows(connection, bench_summaries, _NAMES, [(run_id, *row) for row in _summaries(run, groups)])
    insert_rows(
        connection, bench_failures, ("run_id", "series", "stage", "reason", "failed"), _failures(run_id, groups)
    )


_Groups = dict[tuple[int, int], list[Slot]]
"""Series and stage -> their slots."""


def _grouped(slots: Sequence[Slot]) -> _Groups:
    groups: _Groups = {}
    for slot in slots:
        groups.setdefault((slot.series, slot.stage), []).append(slot)
    return groups


def _summaries(run: BenchRun, groups: _Groups) -> Iterator[tuple[Any, ...]]:
    """The values of each row, in the order of the table's columns without the run."""
    every_measured = measured_stages(run)
    for series, one in enumerate(run.series):
        mine = [stage for stage in every_measured if run.stages[stage].scenario == one.scenario]
        yield _row(run, series, ALL, groups, [(series, stage) for stage in mine], covered_s(run, mine))
        for stage in range(len(run.stages)):
            if (series, stage) in groups:
                yield _row(run, series, stage, groups, [(series, stage)], covered_s(run, [stage]))
    numbers = range(len(run.series))
    whole = [(series, stage) for series in numbers for stage in every_measured]
    yield _row(run, ALL, ALL, groups, whole, covered_s(run, every_measured))
    for stage in range(len(run.stages)):
        yield _row(run, ALL, stage, groups, [(series, stage) for series in numbers], covered_s(run, [stage]))


def _row(
    run: BenchRun, series: int, stage: int, groups: _Groups, keys: Sequence[tuple[int, int]], seconds: float
) -> tuple[Any, ...]:
    slots = (slot for key in keys for slot in groups.get(key, ()))
    summary = summarize(in_time(run, slots, {stage_ for _, stage_ in keys}), seconds)
    counts = [getattr(summary, name) for name in COUNTS]
    rates = [getattr(summary, name) for name in RATES]
    return (series, stage, seconds, *counts, *rates, *_times(summary))


def _times(summary: Summary) -> Iterator[int | None]:
    """The percentiles of every histogram in whole microseconds."""
    for histogram in TIMED:
        found = summary.percentiles(histogram)
        for word in QUANTILES:
            yield None if found is None else round(getattr(found, word))


def _failures(run_id: int, groups: _Groups) -> list[tuple[Any, ...]]:
    rows = []
    for (series, stage), slots in sorted(groups.items()):
        reasons: Counter[str] = Counter()
        for slot in slots:
            reasons.update(slot.reasons)
        rows += [(run_id, series, stage, reason, number) for reason, number in reasons.items()]
    return rows
