"""When arrivals are due: the level says how many, whoever of the workers makes them."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.loadtest.arrivals import LevelSpan, even, level_at, poisson

LEVELS = st.floats(0, 500)


@st.composite
def plans(draw: st.DrawFn) -> list[LevelSpan]:
    spans: list[LevelSpan] = []
    at_s = 0.0
    for number in range(draw(st.integers(1, 4))):
        until_s = at_s + draw(st.floats(0.01, 5))
        spans.append(LevelSpan(at_s, until_s, draw(LEVELS), draw(LEVELS), number))
        at_s = until_s
    return spans


@given(plans(), st.integers(1, 5))
def test_workers_together_make_what_the_levels_call_for(spans: list[LevelSpan], workers: int) -> None:
    shares = [list(even(spans, worker, workers)) for worker in range(workers)]
    numbers = sorted(number for share in shares for _, number, _ in share)
    assert numbers == list(range(len(numbers)))
    assert abs(len(numbers) - sum(span.arrivals for span in spans)) <= 0.5 + 1e-6


@given(plans())
def test_arrivals_are_in_order_and_inside_their_stage(spans: list[LevelSpan]) -> None:
    due = list(even(spans, 0, 1))
    assert all(one <= other for (one, *_), (other, *_) in pairwise(due))
    assert all(spans[stage].from_s <= at_s <= spans[stage].until_s for at_s, _, stage in due)


@given(plans())
def test_until_any_moment_there_have_been_as_many_as_the_area_under_the_level(spans: list[LevelSpan]) -> None:
    moments = [at_s for at_s, *_ in even(spans, 0, 1)]
    for span in spans:
        until_s = (span.from_s + span.until_s) / 2
        middle = span.level(until_s)
        area = sum(one.arrivals for one in spans if one.until_s <= span.from_s)
        area += (span.start + middle) / 2 * (until_s - span.from_s)
        assert sum(at_s <= until_s for at_s in moments) == pytest.approx(area, abs=0.51)


def test_a_steady_rate_comes_at_equal_distances() -> None:
    moments = [at_s for at_s, *_ in even([LevelSpan(0, 2, 50, 50, 0)], 0, 1)]
    assert len(moments) == 100
    assert {round(after - before, 9) for before, after in pairwise(moments)} == {0.02}


def test_random_arrivals_have_the_planned_number_and_distances_that_vary_as_much_as_they_last() -> None:
    spans = [LevelSpan(0, 100, 100, 100, 0)]
    moments = sorted(at_s for worker in range(3) for at_s, *_ in poisson(spans, worker, 3, Random(worker)))
    gaps = [after - before for before, after in pairwise(moments)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert len(moments) == pytest.approx(10_000, rel=0.04)
    assert deviation == pytest.approx(mean, rel=0.08)


def test_the_same_seed_gives_the_same_random_arrivals() -> None:
    spans = [LevelSpan(0, 10, 20, 80, 0)]
    assert list(poisson(spans, 0, 2, Random("a"))) == list(poisson(spans, 0, 2, Random("a")))


def test_before_and_after_the_stages_the_level_is_nothing() -> None:
    spans = [LevelSpan(1, 2, 5, 15, 0)]
    assert [level_at(spans, at_s) for at_s in (0.5, 1.0, 1.5, 2.0)] == [0.0, 5.0, 10.0, 0.0]
