"""The run as CSV: a row for each series and stage, and for each series and slot of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from checker.bench.results import BenchRun, Slot
from checker.bench.summary import Summary, of_stage
from reports import render
from reports.bench.outcome import LoadTestOutcome
from reports.bench.percentiles import MEASURES, cells, columns
from reports.report import Insufficient
from reports.stats.intervals import fewest
from storage.rollups.histogram import Cells

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
"""Of a slot: column, histogram, quantile."""
_AT_ONCE = 5000
_LATENCIES = tuple(f"{histogram}_{column.name}" for histogram in MEASURES for column in columns())


def csv(outcome: LoadTestOutcome) -> str:
    """A row for each series and stage."""
    run = outcome.run
    header = ("run", *_NAMES, *_STAGE, *_COUNTS, *_RATES, *_LATENCIES)
    return "".join(render.csv_lines(header, list(_by_stage(run))))


def slots_csv(outcome: LoadTestOutcome) -> str:
    """A row for each slot as it was stored: one series, in one stage and one stretch of time."""
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
    return "".join(render.csv_lines(header, list(_by_slot(outcome.run))))


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
    """A quantile of each slot; None where its samples are too few."""
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
