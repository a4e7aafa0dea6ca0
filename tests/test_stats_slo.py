"""Availability, budgets, burn rates and repairs, with the numbers worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.stats.slo import (
    BURN_RULES,
    DAY_MS,
    DEFAULT_WINDOW_MS,
    HOUR_MS,
    MINUTE_MS,
    BudgetWindow,
    Repair,
    Severity,
    availability,
    burn_rate,
    burns,
    error_budget,
    exhaustion,
    repair,
    rules_for,
)

TIMES = st.integers(0, 10**12)
OBJECTIVES = st.floats(0.5, 0.99999)
LENGTHS = sorted({length for rule in BURN_RULES for length in (rule.long_ms, rule.short_ms)})


def windows(down_ratio: float, samples: int = 5, bad_samples: int = 5) -> dict[int, BudgetWindow]:
    """Each window with the same share of down time."""
    return {
        length: BudgetWindow(length * (1 - down_ratio), length * down_ratio, samples, bad_samples) for length in LENGTHS
    }


@given(TIMES, TIMES, OBJECTIVES)
def test_a_budget_that_is_used_up_is_a_burn_rate_of_1(up_ms: int, down_ms: int, objective: float) -> None:
    rate = burn_rate(up_ms, down_ms, objective)
    if rate is None:
        assert availability(up_ms, down_ms) is None
    else:
        assert error_budget(up_ms, down_ms, objective).left_ratio == pytest.approx(1 - rate, rel=1e-9, abs=1e-9)


@given(TIMES, TIMES)
def test_availability_is_a_ratio(up_ms: int, down_ms: int) -> None:
    share = availability(up_ms, down_ms)
    assert share is None or 0.0 <= share <= 1.0


def test_thirty_days_at_three_nines_allow_43_minutes() -> None:
    budget = error_budget(30 * DAY_MS - 10 * MINUTE_MS, 10 * MINUTE_MS, 0.999)
    assert budget.allowed_down_ms == pytest.approx(43.2 * MINUTE_MS)
    assert budget.left_down_ms == pytest.approx(33.2 * MINUTE_MS)
    assert budget.left_ratio == pytest.approx(33.2 / 43.2)


def test_the_budget_of_a_month_is_there_from_its_first_day() -> None:
    first = error_budget(23 * HOUR_MS, HOUR_MS, 0.999, period_ms=30 * DAY_MS)
    assert first.left_ratio == pytest.approx(1 - 60 / 43.2)
    assert error_budget(0, 0, 0.999).left_ratio == 1.0


def test_the_rules_page_at_the_shares_of_a_monthly_budget_that_the_workbook_names() -> None:
    used = [rule.burn * rule.long_ms / (30 * DAY_MS) for rule in BURN_RULES]
    assert pytest.approx(used) == [0.02, 0.05, 0.1]
    assert all(rule.long_ms == 12 * rule.short_ms for rule in BURN_RULES)


@pytest.mark.parametrize(
    ("down_ratio", "fired"),
    [
        (0.0145, [True, True, True]),
        (0.0143, [False, True, True]),
        (0.0011, [False, False, True]),
        (0.0009, [False] * 3),
    ],
)
def test_each_rule_fires_from_its_own_burn_rate_on(down_ratio: float, fired: list[bool]) -> None:
    assert fired == [burn.fires for burn in burns(windows(down_ratio), 0.999)]
    assert [burn.rule.severity for burn in burns(windows(0), 0.999)] == [Severity.PAGE, Severity.PAGE, Severity.TICKET]


def test_no_rule_fires_once_the_short_window_is_clean() -> None:
    seen = windows(0.5)
    for rule in BURN_RULES:
        if rule.short_ms != 6 * HOUR_MS:
            seen[rule.short_ms] = BudgetWindow(rule.short_ms, 0, 5, 0)
    assert [burn.fires for burn in burns(seen, 0.999)] == [False, False, True]


@pytest.mark.parametrize(("samples", "bad_samples", "fires"), [(3, 3, False), (4, 1, False), (4, 2, True)])
def test_few_samples_or_a_single_failure_do_not_page(samples: int, bad_samples: int, fires: bool) -> None:
    found = burns(windows(0.5, samples, bad_samples), 0.999)
    assert [fires] * 3 == [burn.fires for burn in found]
    assert found[0].short_burn == pytest.approx(500)


def test_a_window_that_knows_nothing_does_not_fire() -> None:
    found = burns({length: BudgetWindow(0, 0, 9, 9) for length in LENGTHS}, 0.99)
    assert [(one.long_burn, one.short_burn, one.fires) for one in found] == [(None, None, False)] * 3


def test_times_to_repair_and_between_failures() -> None:
    incidents = [(50.0, 150.0), (200.0, 210.0), (400.0, 430.0), (900.0, None)]
    found = repair(incidents, 100, 1000, up_ms=810)
    assert found == Repair(failures=3, repairs=3, unresolved=1, mttr_ms=140 / 3, mtbf_ms=270.0, longest_ms=100.0)


def test_incidents_outside_the_window_do_not_count() -> None:
    nothing = Repair(failures=0, repairs=0, unresolved=0, mttr_ms=None, mtbf_ms=None, longest_ms=None)
    assert nothing == repair([(0, 99), (1000, 1100), (2000, None)], 100, 1000, up_ms=900)


def test_an_incident_that_ends_later_is_unresolved_at_the_end_of_the_window() -> None:
    found = repair([(600.0, 5000.0)], 100, 1000, up_ms=500)
    assert (found.repairs, found.unresolved, found.mttr_ms, found.longest_ms) == (0, 1, None, 400.0)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300) | st.none()), max_size=20))
def test_successive_windows_count_each_failure_and_each_repair_once(spans: list[tuple[int, int | None]]) -> None:
    incidents = [(float(start), None if length is None else float(start + length)) for start, length in spans]
    parts = [repair(incidents, start, start + 100, up_ms=1) for start in range(0, 1400, 100)]
    assert len(incidents) == sum(part.failures for part in parts)
    assert sum(end is not None for _, end in incidents) == sum(part.repairs for part in parts)


def test_what_cannot_be_is_refused() -> None:
    for objective in (0.0, 1.0, 99.9):
        with pytest.raises(ValueError, match="between 0 and 1"):
            burn_rate(1, 1, objective)
    with pytest.raises(ValueError, match="0 or more"):
        availability(-1, 2)
    with pytest.raises(ValueError, match="before it starts"):
        repair([(5, 4)], 0, 10, up_ms=1)
    with pytest.raises(KeyError):
        burns({}, 0.99)


def test_rules_of_another_window_use_up_the_same_share_of_its_budget() -> None:
    week_ms = 7 * DAY_MS
    for rule, of_week in zip(BURN_RULES, rules_for(week_ms), strict=True):
        share = rule.burn * rule.long_ms / DEFAULT_WINDOW_MS
        assert of_week.burn == pytest.approx(max(1.0, share * week_ms / of_week.long_ms))
    assert rules_for(DEFAULT_WINDOW_MS) == BURN_RULES


def test_a_budget_lasts_as_long_as_the_rate_of_late_allows() -> None:
    """99.9% of 30 days leaves 43.2 minutes; 21.6 are used, and of late 1 in 1,000 minutes is down."""
    budget = error_budget(0, 21.6 * MINUTE_MS, 0.999, 30 * DAY_MS)
    assert exhaustion(budget, 999, 1).lasts_ms == pytest.approx(21.6 * MINUTE_MS * 1000)
    assert exhaustion(budget, 1000, 0).lasts_ms is None
    spent = exhaustion(error_budget(0, 50 * MINUTE_MS, 0.999, 30 * DAY_MS), 1000, 0)
    assert (spent.left_ms < 0, spent.lasts_ms) == (True, 0.0)
