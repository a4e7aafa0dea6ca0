"""Percentiles where operations never ended: the true one is between the bounds, whatever they would have taken."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bench_histories import histogram, played, slot
from hypothesis import given
from hypothesis import strategies as st

from bench_runs import bench_report
from checker.loadtest.results import BenchRun
from checker.loadtest.summary import measured
from reports.loadtests.json_document import figures
from reports.loadtests.percentile_cells import bounds_ms, endless

LIMIT_US = 2_000_000
TIMES = st.lists(st.integers(100, LIMIT_US - 1), min_size=1, max_size=60)


def run_of(good: list[int], timed_out: int, dropped: int, refused: int = 0) -> BenchRun:
    one = slot(
        5,
        np.array(good),
        failed=timed_out + refused,
        offered=len(good) + timed_out + refused + dropped,
        dropped=dropped,
        censored=timed_out,
        failed_response=histogram([LIMIT_US] * timed_out + [300] * refused),
    )
    played_run = played(seconds=1)
    return type(played_run)(**{**{name: getattr(played_run, name) for name in played_run.__slots__}, "slots": (one,)})


@given(TIMES, st.integers(0, 20), st.integers(0, 20), st.integers(0, 5), st.sampled_from((0.5, 0.9, 0.99)), st.data())
def test_the_true_percentile_is_between_the_bounds(
    good: list[int], timed_out: int, dropped: int, refused: int, q: float, data: st.DataObject
) -> None:
    slow = st.integers(LIMIT_US, 10 * LIMIT_US)
    later = data.draw(st.lists(slow, min_size=timed_out, max_size=timed_out))
    never = data.draw(st.lists(st.integers(1, 10 * LIMIT_US), min_size=dropped, max_size=dropped))
    every = sorted([*good, *later, *never])
    true_ms = every[max(1, math.ceil(q * len(every) - 1e-9)) - 1] / 1000
    whole = measured(run_of(good, timed_out, dropped, refused))
    low, high = bounds_ms(whole, q)
    assert endless(whole) == timed_out + dropped
    assert low * 0.9999 <= true_ms <= high * 1.0001


def test_a_report_says_what_never_ended() -> None:
    """Of 100 operations two timed out after 2 s: the p99 of the good ones flatters."""
    run = run_of([1000 + number for number in range(98)], timed_out=2, dropped=0)
    report = bench_report(run)
    (bounds,) = [one for one in report.sections if one.name == "bounds"]
    assert bounds.table is not None
    names = [column.name for column in bounds.table.columns]
    row = dict(zip(names, bounds.table.rows[0], strict=True))
    assert (row["n"], row["censored"]) == (100, 2)
    assert row["p99_low_ms"] == pytest.approx(2000, rel=0.02)
    assert row["p99_high_ms"] == math.inf
    assert row["p50_low_ms"] <= 1.05 <= row["p50_high_ms"]
    assert any("2 operations at search never completed" in note for note in report.notes)
    assert figures(measured(run))["bounds"]["p99_ms"][1] is None
    whole = run_of([1000] * 10, 0, 0)
    assert figures(measured(whole))["bounds"] is None
    assert "bounds" not in [one.name for one in bench_report(whole).sections]
