"""Suites: the order of blocks, when a cell is done, what a budget leaves out, and which blocks are doubted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench_player import QueuePlayer, QueueServer
from checker.loadtest.judging.suite import cells, run_suite, shuffled, usable_servers
from checker.loadtest.plan import Model, Plan, StageKind, Suite
from checker.loadtest.results import BenchKind
from checker.model import Server
from checker.stats import intervals, robust
from checker.stats.robust import median_of_blocks, modified_z_of

SERVERS = tuple(Server(name=f"s{at}", probes={"rest": None, **({"mcp": None} if at else {})}) for at in range(3))
SUITE = Suite(concurrent_users=(1, 2), server_counts=(1, 3), blocks=5, max_blocks=7, block_duration=2, warm_up=1)


def plan(suite: Suite, **changes: Any) -> Plan:
    return replace(Plan(name="p", servers=SERVERS, suite=suite), **changes)


def steady(**changes: Any) -> QueuePlayer:
    return QueuePlayer(QueueServer(places=4, service_ms=20), kind=BenchKind.SUITE, **changes)


def noisy(**changes: Any) -> QueuePlayer:
    """Each second has a level of its own, so that blocks differ by far more than any precision."""
    levels = random.Random(1)
    by_second = [levels.uniform(0.5, 2.0) for _ in range(10_000)]
    server = QueueServer(places=4, service_ms=20, slower=lambda at_s, in_flight: by_second[int(at_s)])
    return QueuePlayer(server, kind=BenchKind.SUITE, **changes)


def order(load_generator: QueuePlayer) -> list[tuple[int, int, int]]:
    return [(cell.block, cell.users, cell.servers) for _, cell in load_generator.plays if cell is not None]


# Statistics of a few blocks


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=60))
def test_interval_of_the_median_is_that_of_the_reports(values: list[float]) -> None:
    ours, theirs = median_of_blocks(values), intervals.quantile(values, 0.5)
    assert (ours.low, ours.high) == (theirs.low, theirs.high)
    assert ours.low is None or ours.low <= ours.value
    assert ours.high is None or ours.value <= ours.high


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20))
def test_modified_z_is_that_of_the_reports(values: list[float]) -> None:
    assert [modified_z_of(values, at) for at in range(len(values))] == pytest.approx(
        robust.modified_z(values).tolist(), rel=1e-6, abs=1e-9
    )


def test_five_values_have_no_interval_of_95_per_cent_and_six_have() -> None:
    assert (median_of_blocks([1, 2, 3, 4, 5]).low, median_of_blocks([1, 2, 3, 4, 5]).high) == (None, None)
    assert (median_of_blocks([1, 2, 3, 4, 5, 6]).low, median_of_blocks([1, 2, 3, 4, 5, 6]).high) == (1, 6)


# The order


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_no_round_has_the_order_of_the_one_before(seed: int, size: int) -> None:
    rng, cells_of = random.Random(seed), [(users, 1) for users in range(1, size + 1)]
    rounds: list[Sequence[tuple[int, int]]] = [[]]
    for _ in range(10):
        rounds.append(shuffled(rng, cells_of, rounds[-1]))
    assert all(sorted(one) == cells_of for one in rounds[1:])
    assert all(one != other for one, other in pairwise(rounds[1:]))


def test_each_round_plays_every_cell_once() -> None:
    load_generator = noisy()
    run_suite(load_generator, plan(SUITE))
    played = order(load_generator)
    assert [block for block, _, _ in played] == sorted(block for block, _, _ in played)
    assert set(Counter(played).values()) == {1}
    assert set(Counter(block for block, _, _ in played).values()) == {4}


def test_the_same_seed_gives_the_same_order_and_another_one_another() -> None:
    players = [noisy(), noisy(), noisy()]
    for load_generator, seed in zip(players, (1, 1, 2), strict=True):
        run_suite(load_generator, plan(SUITE, seed=seed))
    first, again, other = map(order, players)
    assert first == again
    assert first != other


def test_a_block_is_users_of_the_closed_model_on_the_first_servers_after_a_warm_up() -> None:
    load_generator = noisy()
    run_suite(load_generator, plan(SUITE))
    for scenario, cell in load_generator.plays:
        assert cell is not None
        assert scenario.model is Model.CLOSED
        assert [(stage.kind, stage.duration, stage.target) for stage in scenario.stages] == [
            (StageKind.WARM_UP, 1.0, cell.users),
            (StageKind.HOLD, 2.0, cell.users),
        ]
        assert scenario.servers == ("s0", "s1", "s2")[: cell.servers]


def test_servers_without_what_the_operation_needs_are_passed_over() -> None:
    assert usable_servers(plan(SUITE), "mcp_ping") == ("s1", "s2")
    load_generator = noisy()
    found = run_suite(load_generator, plan(replace(SUITE, operation="mcp_ping", server_counts=(1, 2, 9))))
    assert {cell.servers for cell in found.cells} == {1, 2}
    assert "there are 2 servers for mcp_ping: larger counts were left out" in found.notes


# When a cell is done


def test_steady_cells_are_done_after_six_blocks_and_say_their_interval() -> None:
    load_generator = steady()
    found = run_suite(load_generator, plan(SUITE))
    assert [len(cell.blocks) for cell in found.cells] == [6, 6, 6, 6]
    assert all(cell.tight and cell.p95_ms is not None and cell.p95_ms.low is not None for cell in found.cells)
    assert found.notes == ()
    assert [(cell.servers, cell.users) for cell in found.cells] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert found.cells[1].ok_per_s.value == pytest.approx(100, rel=0.03)


def test_noisy_cells_are_played_to_the_most_blocks_and_said_to_be_wide() -> None:
    found = run_suite(noisy(), plan(SUITE))
    assert [len(cell.blocks) for cell in found.cells] == [7, 7, 7, 7]
    (note,) = found.notes
    assert note.startswith("after 7 blocks the interval of p95 is still wider than 5% for 1 user x 1 server")


def test_cells_without_a_success_are_played_to_the_least_number_of_blocks() -> None:
    load_generator = QueuePlayer(QueueServer(service_ms=20, failing=lambda at_s: True), kind=BenchKind.SUITE)
    found = run_suite(load_generator, plan(SUITE))
    assert [len(cell.blocks) for cell in found.cells] == [5, 5, 5, 5]
    assert {cell.p95_ms for cell in found.cells} == {None}


# Budget, stop, doubts


def test_a_budget_ends_the_suite_before_it_is_passed_and_names_what_is_missing() -> None:
    load_generator = noisy()
    found = run_suite(load_generator, plan(replace(SUITE, budget=45)))
    assert load_generator.stages[-1].until_s <= 45
    assert load_generator.now_s + 4 > 45
    (cut, *_) = found.notes
    assert cut.startswith("the budget of 45 s was used up in round 3, before ")
    assert "fewer than 5 blocks, too few to compare, have 1 user x 1 server" in cut


def test_a_stop_ends_the_suite_and_what_was_played_is_there() -> None:
    found = run_suite(noisy(stop_after=9), plan(SUITE))
    assert found.notes[0].startswith("stopped: interrupted in round 3, before ")
    assert sum(len(cell.blocks) for cell in found.cells) == 9


def test_a_block_that_was_cut_short_does_not_count() -> None:
    load_generator = noisy(stop_after=9)
    run_suite(load_generator, plan(SUITE))
    run = load_generator.so_far()
    cut = (*run.stages[:-1], replace(run.stages[-1], until_s=run.stages[-1].from_s + 0.5))
    assert sum(len(cell.blocks) for cell in cells(replace(run, stages=cut))) == 8


def test_a_slow_first_block_is_flagged_and_a_longer_warm_up_advised() -> None:
    server = QueueServer(places=4, service_ms=20, slower=lambda at_s, in_flight: 3.0 if at_s < 16 else 1.0)
    found = run_suite(QueuePlayer(server, kind=BenchKind.SUITE), plan(SUITE))
    assert all(cell.first_block_slow for cell in found.cells)
    assert found.notes[0].endswith("warm_up is 1 s, make it longer")


def test_a_slow_block_in_the_middle_is_not_a_cold_start() -> None:
    server = QueueServer(places=4, service_ms=20, slower=lambda at_s, in_flight: 3.0 if 16 <= at_s < 32 else 1.0)
    found = run_suite(QueuePlayer(server, kind=BenchKind.SUITE), plan(SUITE))
    assert not any(cell.first_block_slow for cell in found.cells)


def test_cells_at_which_the_client_is_the_limit_are_named() -> None:
    suite = replace(SUITE, concurrent_users=(1, 4), server_counts=(1,))
    found = run_suite(steady(cpu_us=5_000.0), plan(suite))
    assert [(cell.users, cell.client_bound) for cell in found.cells] == [(1, False), (4, True)]
    assert "the load generator, not the servers, was the limit in most blocks of 4 users x 1 server" in found.notes


def test_a_few_client_bound_blocks_are_left_out_of_the_median() -> None:
    load_generator = steady()
    run_suite(load_generator, plan(replace(SUITE, concurrent_users=(1,), server_counts=(1,))))
    run = load_generator.so_far()
    block = next(stage for stage in run.stages if stage.block == 2 and stage.measured)
    health = [
        replace(second, cpu_ratio=0.99, lag_p99_us=800) if block.from_s <= second.at_s < block.until_s else second
        for second in run.health
    ]
    (cell,) = cells(replace(run, health=health))
    assert [one.client_bound for one in cell.blocks] == [False, True, False, False, False, False]
    assert cell.p95_ms is not None
    assert (cell.p95_ms.n, cell.client_bound) == (5, False)


@pytest.mark.parametrize(("changes", "message"), [({"suite": None}, "no suite"), ({"servers": ()}, "no server")])
def test_a_plan_without_a_suite_or_servers_for_it_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_suite(steady(), replace(plan(SUITE), **changes))
