"""The run as CSV: a row for each series and stage, and for each series and slot of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from checker.bench.results import BenchRun, Slot
from checker.bench.summary import Summary, of_stage, over_time
from reports import render
from reports.bench.outcome import Outcome
from reports.bench.percentiles import MEASURES, cells, columns
from reports.report import Insufficient

_NAMES = ("scenario", "operation", "model", "server")
_COUNTS = ("offered", "dropped", "ok", "failed", "censored", "refused", "connections", "received_bytes")
_RATES = ("failed_ratio", "offered_per_s", "achieved_per_s", "ok_per_s")
_STAGE = ("stage", "kind", "measured", "from_s", "until_s", "start_level", "end_level", "users", "servers", "block")
_LATENCIES = tuple(f"{histogram}_{column.name}" for histogram in MEASURES for column in columns())


def csv(outcome: Outcome) -> str:
    """A row for each series and stage."""
    run = outcome.run
    header = ("run", *_NAMES, *_STAGE, *_COUNTS, *_RATES, *_LATENCIES)
    return "".join(render.csv_lines(header, list(_by_stage(run))))


def slots_csv(outcome: Outcome) -> str:
    """A row for each series and slot of time, of all stages: the slots as they are stored."""
    run = outcome.run
    header = ("run", *_NAMES, "at_s", "slot_s", *_COUNTS, *_RATES, *_LATENCIES)
    return "".join(render.csv_lines(header, list(_by_slot(run))))


def _by_stage(run: BenchRun) -> Iterator[list[Any]]:
    for place, series in enumerate(run.series):
        named = [run.id, *(getattr(series, name) for name in _NAMES)]
        for at, span in enumerate(run.stages):
            if span.scenario == series.scenario:
                stage = [span.name, *(getattr(span, name) for name in _STAGE[1:])]
                yield [*named, *stage, *_figures(of_stage(run, at, _of(place)))]


def _by_slot(run: BenchRun) -> Iterator[list[Any]]:
    for place, series in enumerate(run.series):
        named = [run.id, *(getattr(series, name) for name in _NAMES)]
        mine = [slot for slot in run.slots if slot.series == place]
        for at_s, one in over_time(mine, run.slot_s).items():
            yield [*named, at_s, run.slot_s, *_figures(one)]


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
