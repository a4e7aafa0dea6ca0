"""Mann-Whitney against enumeration, Holm, and the four verdicts."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.stats.compare import (
    MOST_MORE_BLOCKS,
    CandidateOutcome,
    Rules,
    compare,
    compare_all,
    holm,
    median_difference,
)
from checker.stats.ranks import mann_whitney, mann_whitney_apart, smallest_p_value

SAMPLES = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=30)
DISTINCT = st.lists(st.integers(-99, 99).map(float), min_size=2, max_size=10, unique=True)
P_VALUES = st.lists(st.floats(0, 1), max_size=20)


@given(DISTINCT, st.data())
def test_the_exact_p_value_is_that_of_counting_all_divisions(values: list[float], data: st.DataObject) -> None:
    m = data.draw(st.integers(1, len(values) - 1))

    def score(chosen: tuple[float, ...]) -> float:
        return sum(mine > other for mine in chosen for other in values if other not in chosen)

    seen = mann_whitney(values[:m], values[m:])
    middle = m * (len(values) - m) / 2
    scores = [score(chosen) for chosen in combinations(values, m)]
    as_far = sum(abs(one - middle) >= abs(seen.u - middle) for one in scores)
    assert seen.exact
    assert seen.u == score(tuple(values[:m]))
    assert seen.p_value == pytest.approx(as_far / len(scores) if seen.u != middle else 1.0)


def test_known_values_of_mann_whitney() -> None:
    """The first is in many textbooks; the others are from scipy.stats.mannwhitneyu."""
    exact = mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12])
    assert (exact.u, exact.p_value) == (17.0, pytest.approx(1 / 9))
    tied = mann_whitney([1, 2, 2, 3, 5, 7], [2, 4, 6, 8, 9, 9, 11])
    assert (tied.u, tied.p_value, tied.exact) == (7.0, pytest.approx(0.05214252978823391), False)
    large = mann_whitney(np.arange(30.0), np.arange(30) * 1.1 + 3.05)
    assert (large.u, large.p_value) == (330.0, pytest.approx(0.0772719759293395))


@given(SAMPLES, SAMPLES)
def test_mann_whitney_is_symmetric_and_its_p_value_is_one(first: list[float], second: list[float]) -> None:
    here, there = mann_whitney(first, second), mann_whitney(second, first)
    assert here.u + there.u == len(first) * len(second)
    assert here.p_value == there.p_value
    assert 0.0 <= here.p_value <= 1.0


@given(SAMPLES, SAMPLES)
def test_mann_whitney_goes_by_order_only(first: list[float], second: list[float]) -> None:
    assert mann_whitney(first, second) == mann_whitney(np.exp(first), np.exp(second))


def test_the_approximation_meets_the_exact_value_where_one_gives_way_to_the_other() -> None:
    first, second = np.arange(25.0), np.arange(25) + 4.5
    exact, nearly = mann_whitney(first, second), mann_whitney([*first, 12.0], second)
    assert (exact.exact, nearly.exact) == (True, False)
    z = (abs(exact.u - 312.5) - 0.5) / math.sqrt(25 * 25 * 51 / 12)
    assert exact.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.05)
    assert nearly.p_value == pytest.approx(exact.p_value, rel=0.1)


def test_the_smallest_p_values_are_the_known_ones() -> None:
    assert [round(smallest_p_value(k, k), 4) for k in (3, 4, 5, 6)] == [0.1, 0.0286, 0.0079, 0.0022]
    assert smallest_p_value(5, 5) == mann_whitney(range(5), range(5, 10)).p_value


def test_samples_that_say_nothing_have_a_p_value_of_1() -> None:
    assert (mann_whitney([], [1, 2]).p_value, mann_whitney([3, 3, 3], [3, 3]).p_value) == (1.0, 1.0)


@given(P_VALUES)
def test_holm_keeps_the_order_and_never_makes_a_p_value_smaller(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    bonferroni = np.minimum(1.0, np.array(p_values) * len(p_values))
    assert ((p_values <= adjusted) & (adjusted <= bonferroni + 1e-15)).all()


def test_known_values_of_holm() -> None:
    assert pytest.approx(holm([0.01, 0.04, 0.03, 0.005]).tolist()) == [0.03, 0.06, 0.06, 0.02]


@given(SAMPLES, SAMPLES, st.integers(-50, 50))
def test_the_difference_moves_with_the_candidate(before: list[float], after: list[float], shift: int) -> None:
    here = median_difference(before, after, resamples=200)
    there = median_difference(before, np.array(after) + shift, resamples=200)
    assert (here.value + shift, here.low + shift, here.high + shift) == pytest.approx(
        (there.value, there.low, there.high)
    )
    assert min(after) - max(before) <= here.low <= here.high <= max(after) - min(before)


def test_the_interval_of_the_difference_encloses_the_true_one() -> None:
    random = np.random.default_rng(6)
    found = [median_difference(random.normal(100, 5, 12), random.normal(110, 5, 12), resamples=500) for _ in range(200)]
    assert sum(one.low <= 10 <= one.high for one in found) >= 184
    with pytest.raises(ValueError, match="no values"):
        median_difference([], [1.0])


def blocks(level: float, k: int = 8, spread: float = 0.01) -> list[float]:
    """Blocks evenly around a level, without ties."""
    return [level * (1 + spread * (at - (k - 1) / 2) / k) for at in range(k)]


@pytest.mark.parametrize(
    ("baseline", "candidate", "outcome"),
    [
        (blocks(100), blocks(120), CandidateOutcome.WORSE),
        (blocks(100), blocks(80.5), CandidateOutcome.BETTER),
        (blocks(100), blocks(101.3), CandidateOutcome.SAME),  # significant, and too small to matter
        (blocks(3), blocks(3.7), CandidateOutcome.SAME),  # by more than 5%, and less than 1 ms
        (blocks(100, spread=0.9), blocks(112, spread=0.9), CandidateOutcome.CANNOT_TELL),
        (blocks(100, k=4), blocks(300, k=20), CandidateOutcome.CANNOT_TELL),
    ],
)
def test_each_verdict_has_its_case(baseline: list[float], candidate: list[float], outcome: CandidateOutcome) -> None:
    found = compare(baseline, candidate)
    assert outcome == found.outcome
    assert (found.more_blocks is not None) == (outcome is CandidateOutcome.CANNOT_TELL)
    assert found.effect == pytest.approx(max(1.0, 0.05 * float(np.median(baseline))))


def test_where_higher_is_better_the_verdict_turns_around() -> None:
    rules = Rules(higher_is_better=True, least_effect=0.0)
    assert compare(blocks(100), blocks(120), rules).outcome == CandidateOutcome.BETTER
    assert compare(blocks(0.3), blocks(0.2), rules).outcome == CandidateOutcome.WORSE


@given(st.lists(st.floats(1, 100), min_size=5, max_size=15), st.lists(st.floats(1, 100), min_size=5, max_size=15))
def test_exchanged_sides_exchange_better_and_worse(first: list[float], second: list[float]) -> None:
    rules = Rules(least_effect_ratio=0.0, least_effect=5.0, resamples=200)
    turned = {CandidateOutcome.BETTER: CandidateOutcome.WORSE, CandidateOutcome.WORSE: CandidateOutcome.BETTER}
    here, there = compare(first, second, rules), compare(second, first, rules)
    if here.outcome in turned:
        assert turned[here.outcome] == there.outcome
    else:
        assert there.outcome not in turned


def test_too_few_blocks_ask_for_the_missing_ones() -> None:
    found = compare(blocks(100, k=3), [*blocks(200, k=5), math.nan])
    assert (found.more_blocks, found.difference, found.p_value) == (2, None, 1.0)
    nothing = compare([], [])
    assert (nothing.more_blocks, nothing.ratio, math.isnan(nothing.baseline)) == (5, None, True)


def test_the_blocks_asked_for_are_mostly_enough_to_tell() -> None:
    random = np.random.default_rng(11)
    told = 0
    for _ in range(40):
        first, second = random.normal(100, 8, 6), random.normal(112, 8, 6)
        found = compare(first, second)
        if found.more_blocks is not None:
            more = min(60, found.more_blocks)
            first = np.append(first, random.normal(100, 8, more))
            second = np.append(second, random.normal(112, 8, more))
            found = compare(first, second)
        told += found.outcome is CandidateOutcome.WORSE
    assert told >= 28


def test_hopeless_cases_ask_for_the_most_that_is_ever_asked_for() -> None:
    rules = Rules(least_effect_ratio=0.0, least_effect=1.0)
    found = compare([1.0, 2, 3, 4, 5, 6], [1.0, 2, 3, 5.99, 5.99, 5.99], rules)
    assert (found.outcome, found.more_blocks) == (CandidateOutcome.CANNOT_TELL, MOST_MORE_BLOCKS)


def test_a_difference_among_many_series_must_be_the_surer_and_more_blocks_make_it_so() -> None:
    pairs = [(blocks(100, k=5), blocks(130, k=5)), *[(blocks(50, k=5), blocks(50.01, k=5))] * 19]
    alone, among = compare(*pairs[0]), compare_all(pairs)[0]
    assert (alone.outcome, among.outcome) == (CandidateOutcome.WORSE, CandidateOutcome.CANNOT_TELL)
    assert among.p_adjusted == pytest.approx(20 * among.p_value)
    k = 5 + (among.more_blocks or 0)
    assert smallest_p_value(k, k) * 20 < 0.05
    pairs = [(blocks(100, k=k), blocks(130, k=k)), *[(blocks(50, k=k), blocks(50.01, k=k))] * 19]
    assert compare_all(pairs)[0].outcome == CandidateOutcome.WORSE


def test_series_without_enough_blocks_do_not_count_in_the_correction() -> None:
    found = compare_all([(blocks(100), blocks(130)), *[([1.0], [2.0])] * 50])
    assert found[0].p_adjusted == found[0].p_value
    assert [one.outcome for one in found[1:]] == [CandidateOutcome.CANNOT_TELL] * 50
    assert compare_all([]) == ()


def test_the_same_blocks_give_the_same_comparison() -> None:
    assert compare(blocks(100), blocks(104)) == compare(blocks(100), blocks(104))


@given(SAMPLES, SAMPLES)
def test_quicker_mann_whitney_is_the_same_test(first: list[float], second: list[float]) -> None:
    one, other = np.array(first), np.array(second)
    assert mann_whitney_apart(one, other) == mann_whitney(one, other)
