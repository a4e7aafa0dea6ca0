"""The flap share against Nagios' definition, written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.stats.flapping import RESULTS, WEIGHTS, flap_ratio

HISTORIES = st.lists(st.integers(0, 3), max_size=60)


def written_out(statuses: list[int]) -> float:
    """The weighted changes among the last 21, the newest of weight 1.2."""
    last = statuses[-21:]
    last = [last[0]] * (21 - len(last)) + last if last else [0] * 21
    return sum((0.8 + 0.4 * at / 19) * (last[at + 1] != last[at]) for at in range(20)) / 20


@given(HISTORIES)
def test_the_ratio_is_that_of_nagios(statuses: list[int]) -> None:
    assert float(flap_ratio(statuses)) == pytest.approx(written_out(statuses))


def test_a_change_at_every_result_is_a_ratio_of_1_and_none_is_0() -> None:
    assert float(flap_ratio([0, 1] * 20)) == pytest.approx(1.0)
    assert float(flap_ratio([2] * 40)) == 0.0
    assert (WEIGHTS.sum().round(9), WEIGHTS[0], WEIGHTS[-1]) == (RESULTS - 1, 0.8, 1.2)


def test_a_recent_change_weighs_more_than_an_old_one() -> None:
    assert float(flap_ratio([0] * 20 + [1])) == pytest.approx(0.06)
    assert float(flap_ratio([0] + [1] * 20)) == pytest.approx(0.04)


@given(st.integers(1, 30).flatmap(lambda n: st.lists(st.lists(st.integers(0, 2), min_size=n, max_size=n), min_size=1)))
def test_many_servers_at_once_are_each_server_alone(rows: list[list[int]]) -> None:
    assert flap_ratio(rows, unknown=2).tolist() == pytest.approx([float(flap_ratio(row, unknown=2)) for row in rows])


@given(st.lists(st.integers(0, 1), min_size=1, max_size=15), st.data())
def test_unknown_is_taken_as_what_was_before(statuses: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(statuses)))
    filled = [*statuses[:at], statuses[max(0, at - 1)], *statuses[at:]]
    assert float(flap_ratio([*statuses[:at], 9, *statuses[at:]], unknown=9)) == pytest.approx(written_out(filled))
