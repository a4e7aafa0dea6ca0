"""A late client makes only that untold which its lateness can change: thresholds, numbers, levels of a stress test."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from test_bench_saturation import during, run, slot

from bench_runs import threshold
from checker.loadtest.judging.saturation import judge
from checker.loadtest.results import Calibration
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.recommendations import _client_advice
from reports.loadtests.verdict import verdict_of


@pytest.mark.parametrize(
    ("response_us", "late_us", "limit", "word", "told"),
    [
        (20_000, 3_000, "500", "PASSED", "passed"),
        (105_000, 85_000, "500", "PASSED", "passed"),
        (105_000, 85_000, "90", "INVALID", "cannot tell"),
        (900_000, 95_000, "500", "FAILED", "failed"),
        (2_000_000, 3_000_000, "9000", "INVALID", "cannot tell"),
    ],
)
def test_a_threshold_is_untold_only_where_lateness_could_turn_it(
    response_us: int, late_us: int, limit: str, word: str, told: str
) -> None:
    value = response_us / 1000
    one = threshold("response_time", f"p(95)<{limit}", value, value < float(limit))
    slots = [slot(at_s, response_us=response_us) for at_s in range(10)]
    late = run(10, slots=slots, change=during(0, 10, late_p99_us=late_us), thresholds=(one,))
    found = judge(late)
    assert [str(claim.told) for claim in found.claims.thresholds] == [told]
    assert verdict_of(LoadTestOutcome(run=late, saturation=found)).word == word


def test_a_limit_below_the_noise_of_the_calibration_cannot_be_told() -> None:
    noisy = Calibration(operation="rest", ceiling_per_s=9000.0, cpu_us=100.0, noise_p50_us=500, noise_p99_us=6_000)
    missed = run(10, thresholds=(threshold("response_time", "p(95)<4", 5.0, False),), calibrations=(noisy,))
    assert judge(missed).invalid
    assert not judge(replace(missed, calibrations=(replace(noisy, noise_p99_us=900),))).invalid


def test_advice_follows_from_the_workers_own_cpu() -> None:
    full = run(10, change=during(0, 10, cpu_ratio=0.99, late_p99_us=9_000))
    assert "more workers, a machine" in _client_advice(full, judge(full).spans)
    for starved_us, said in (
        (0, "others had the CPU or something"),
        (400_000, "while other processes had"),
        (900, "stopped"),
    ):
        starved = run(10, change=during(0, 10, cpu_ratio=0.1, late_p99_us=9_000, starved_us=starved_us))
        assert said in (advice := _client_advice(starved, judge(starved).spans))
        assert "more workers would not help" in advice
    one = run(10, workers=2, change=during(0, 10, cpu_ratio=0.99, late_p99_us=9_000))
    assert "one worker's core was full" in _client_advice(one, judge(one).spans)
