"""Stress tests: the search against every monotone server, and whole tests against a queueing model of one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench_player import QueuePlayer, QueueServer
from checker.loadtest.judging.search import LevelVerdict, Purpose, Search, Step, knee
from checker.loadtest.judging.stress import StressResult, better_under_more_load, find_capacity
from checker.loadtest.plan import LoadLimits, Model, Plan, StageKind, Stress
from checker.loadtest.results import LevelResult
from checker.stats.scalability import fit

STRESS = Stress(start=20, factor=2.0, maximum=2000, level_duration=4, precision=0.1, p99=0.1, recovery=10)


def plan(stress: Stress = STRESS, limits: LoadLimits | None = None) -> Plan:
    return Plan(name="p", servers=(), stress=stress, limits=limits or LoadLimits())


def searched(search: Search, capacity: float) -> Search:
    """The search over a server that is good up to its capacity."""
    for _ in range(10_000):
        step = search.next_step()
        if step is None:
            return search
        search = search.then(step, LevelVerdict.GOOD if step.level <= capacity else LevelVerdict.BAD)
    raise AssertionError("the search does not end")


SEARCHES = st.builds(
    Search,
    start=st.floats(1, 5_000),
    factor=st.floats(1.1, 10),
    maximum=st.floats(1, 50_000),
    precision=st.floats(0.001, 0.9),
    whole=st.just(False),
)


@settings(deadline=None)
@given(SEARCHES, st.floats(0.5, 100_000))
def test_search_ends_around_the_capacity_of_every_monotone_server(search: Search, capacity: float) -> None:
    search = searched(search, capacity)
    good, bad = search.last_good, search.first_bad
    assert good is None or good <= capacity
    assert bad is None or capacity < bad
    if bad is None:
        assert good == search.maximum
    elif good is None:
        assert capacity < 1 or bad / max(2.0, search.factor) < 1
    else:
        assert 0 < bad - good <= search.precision * good


@settings(deadline=None)
@given(
    SEARCHES.map(lambda one: replace(one, whole=True, maximum=float(math.ceil(one.maximum)))), st.integers(0, 60_000)
)
def test_search_over_users_plays_whole_numbers_to_a_gap_of_one_at_least(search: Search, capacity: int) -> None:
    search = searched(search, capacity)
    assert all(step.level == int(step.level) >= 1 for step, _ in search.tried)
    good, bad = search.last_good, search.first_bad
    if good is not None and bad is not None:
        assert good <= capacity < bad
        assert bad - good <= max(1, search.precision * good)
    elif bad is not None:
        assert capacity == 0 or bad / max(2.0, search.factor) < 1.5


@settings(deadline=None)
@given(SEARCHES, st.floats(0.5, 100_000))
def test_number_of_levels_is_bounded(search: Search, capacity: float) -> None:
    found = searched(search, capacity)
    raised = 2 + max(0.0, math.log(max(1.0, search.maximum / search.start), search.factor))
    lowered = 1 + math.log2(max(2.0, search.start))
    # Each level narrows the gap to three quarters at most.
    widest = max(search.factor, 2.0) - 1
    narrowed = 1 + max(0.0, math.log(widest / search.precision, 4 / 3))
    assert len(found.tried) <= raised + lowered + narrowed + 2


@settings(deadline=None)
@given(SEARCHES, st.floats(0.5, 100_000))
def test_no_level_is_above_the_maximum_and_none_but_the_ends_is_played_twice(search: Search, capacity: float) -> None:
    found = searched(search, capacity)
    assert all(step.level <= search.maximum for step, _ in found.tried)
    others = [s.level for s, _ in found.tried if s.purpose not in (Purpose.CONFIRM_GOOD, Purpose.CONFIRM_BAD)]
    assert len(others) == len(set(others))


@settings(deadline=None)
@given(SEARCHES, st.lists(st.sampled_from(list(LevelVerdict)), min_size=80, max_size=80))
def test_whatever_a_server_does_the_search_ends_and_says_no_good_level_above_a_bad_one(
    search: Search, verdicts: list[LevelVerdict]
) -> None:
    for verdict in verdicts * 20:
        if (step := search.next_step()) is None:
            break
        search = search.then(step, verdict)
        assert len(search.tried) < 1000
    good, bad = search.last_good, search.first_bad
    assert good is None or bad is None or good < bad


def test_a_level_at_which_the_client_is_the_limit_is_played_once_more_and_then_ends_the_search() -> None:
    search = Search(start=10, factor=2, maximum=1000, precision=0.1)
    search = search.then(Step(10, Purpose.RAISE), LevelVerdict.GOOD).then(
        Step(20, Purpose.RAISE), LevelVerdict.CLIENT_BOUND
    )
    assert search.next_step() == Step(20, Purpose.RAISE)
    assert search.then(Step(20, Purpose.RAISE), LevelVerdict.GOOD).next_step() == Step(40, Purpose.RAISE)
    ended = search.then(Step(20, Purpose.RAISE), LevelVerdict.CLIENT_BOUND)
    assert ended.next_step() is None
    assert (ended.last_good, ended.first_bad, ended.ended_by_client) == (10, None, True)


def test_levels_that_narrow_down_have_few_digits() -> None:
    found = searched(Search(start=50, factor=2, maximum=10_000, precision=0.1), 273)
    assert [step.level for step, _ in found.tried] == [50, 100, 200, 400, 300, 240, 270, 280, 270, 280]


# Whole tests against a model of a server


def searched_on(
    server: QueueServer, stress: Stress = STRESS, **load_generator: object
) -> tuple[StressResult, QueuePlayer]:
    playing = QueuePlayer(server, **load_generator)  # type: ignore[arg-type]
    return find_capacity(playing, plan(stress)), playing


@pytest.mark.parametrize("by_active_stage", [False, True])
@pytest.mark.parametrize(("places", "service_ms"), [(1, 10.0), (2, 10.0), (4, 15.0)])
def test_capacity_of_a_queue_is_found_within_the_precision(
    places: int, service_ms: float, by_active_stage: bool
) -> None:
    found, _ = searched_on(QueueServer(places, service_ms, spread=0.5), by_active_stage=by_active_stage)
    good, bad = found.capacity.last_good, found.capacity.first_bad
    assert good is not None
    assert bad is not None
    assert bad - good <= 0.1 * good
    # A queue keeps p99 below ten service times until shortly before its capacity, and not for long above it.
    assert 0.7 * places * 1000 / service_ms <= good
    assert bad <= 1.15 * places * 1000 / service_ms


def test_every_level_is_held_and_measured_after_a_moment_to_settle_that_is_not() -> None:
    _, load_generator = searched_on(QueueServer())
    for scenario, _cell in load_generator.plays:
        settle, hold, *behind = scenario.stages
        assert (settle.kind, settle.duration, settle.target) == (StageKind.WARM_UP, 1.0, hold.target)
        assert (hold.kind, hold.duration) == (StageKind.HOLD, 4.0)
        assert [stage.kind for stage in behind] in ([], [StageKind.COOL_DOWN])
    assert [len(scenario.stages) for scenario, _ in load_generator.plays] == [2] * (len(load_generator.plays) - 1) + [3]


def test_recovery_is_the_time_that_the_queue_takes_to_drain() -> None:
    """A second at 320/s, of 100/s that it can do, is 2.2 s of waiting; a second at 20/s takes 0.8 s of that away."""
    stress = replace(STRESS, start=20, factor=4, precision=0.9, p99=0.4)
    found, _ = searched_on(QueueServer(), stress)
    last = found.capacity.levels[-1]
    assert not last.good
    waiting_s = 5 * (last.level / 100 - 1)
    expected_s = (waiting_s - 0.4) / 0.8
    assert found.capacity.recovery_s == pytest.approx(expected_s, abs=1.5)


def test_a_server_that_stays_broken_has_no_recovery_and_the_notes_say_so() -> None:
    """Once 200 wait it is ten times as slow for good: it can do 10/s then."""
    broken = False

    def slower(at_s: float, in_flight: int) -> float:
        nonlocal broken
        broken = broken or in_flight > 200
        return 10.0 if broken else 1.0

    found, load_generator = searched_on(QueueServer(slower=slower), replace(STRESS, recovery=5, precision=0.9))
    assert found.capacity.recovery_s is None
    assert "the objective did not hold again within 5 s after 60/s" in found.notes
    assert any(note.startswith("80/s was good once and bad once (nothing succeeded;") for note in found.notes)
    assert (found.capacity.last_good, found.capacity.first_bad) == (40.0, 60.0)
    assert [len(scenario.stages) for scenario, _ in load_generator.plays] == [2] * 7 + [3]


def test_the_client_as_the_limit_ends_the_search_and_is_no_capacity() -> None:
    found, _ = searched_on(QueueServer(places=100), cpu_us=5_000.0)
    capacity = found.capacity
    assert (capacity.last_good, capacity.first_bad) == (160.0, None)
    assert [(level.level, level.client_bound, level.good) for level in capacity.levels[-2:]] == [
        (320.0, True, False)
    ] * 2
    (note,) = [note for note in found.notes if "ended" in note]
    assert note.startswith(
        "the search ended at 320/s: the load generator was the limit: worker 0 used 100% of its core"
    )
    assert note.endswith("what the server can do above 160/s is not known")


def test_a_server_that_is_never_bad_has_more_than_was_tested() -> None:
    found, _ = searched_on(QueueServer(places=1000), replace(STRESS, maximum=150))
    assert (found.capacity.last_good, found.capacity.first_bad) == (150.0, None)
    assert found.notes == ("no level was bad up to 150/s, the highest that was allowed: the server can do more",)


def test_the_limit_on_the_rate_is_kept() -> None:
    load_generator = QueuePlayer(QueueServer(places=1000))
    find_capacity(load_generator, plan(STRESS, LoadLimits(max_rate=100)))
    assert max(stage.end_level for stage in load_generator.stages) == 100


def test_a_server_that_is_never_good_is_tried_down_to_one_a_second() -> None:
    found, _ = searched_on(QueueServer(service_ms=400))
    assert (found.capacity.last_good, found.capacity.recovery_s) == (None, None)
    assert "no level was good down to 1.25/s" in found.notes
    assert found.capacity.levels[0].why.startswith("p99 ")


def test_a_server_that_was_disturbed_once_is_said_to_be_unsteady() -> None:
    """It stops for half a second in the third level, which is good when it is played again."""
    found, _ = searched_on(QueueServer(places=100, slower=lambda at_s, in_flight: 50.0 if 13 < at_s < 15 else 1.0))
    notes = " ".join(found.notes)
    assert "80/s was good once and bad once (p99" in notes
    assert "no recovery to watch: 80/s was good when it was played again" in notes
    assert found.capacity.last_good is not None
    assert found.capacity.last_good < 80


def test_failures_break_the_objective_and_are_named() -> None:
    found, _ = searched_on(QueueServer(places=100, failing=lambda at_s: at_s > 20), replace(STRESS, recovery=0))
    first = next(level for level in found.capacity.levels if not level.good)
    assert "75% failed, not below 1%, most of them timeout" in first.why


def test_a_stop_ends_the_search_without_a_verdict_on_the_level_under_way() -> None:
    found, _ = searched_on(QueueServer(), stop_after=2)
    assert [level.level for level in found.capacity.levels] == [20.0]
    assert found.notes == ("the search did not come to its end: interrupted",)


def test_places_are_enough_for_the_objective() -> None:
    stress = replace(STRESS, start=2000, maximum=2000, p99=1.0, level_duration=1)
    _, load_generator = searched_on(QueueServer(places=1000), stress)
    ((scenario, _),) = load_generator.plays[:1]
    assert scenario.max_in_flight == 2000


def test_a_plan_without_a_stress_test_is_refused() -> None:
    with pytest.raises(ValueError, match="has no stress test"):
        find_capacity(QueuePlayer(), Plan(name="p", servers=()))


# Users, and the universal scalability law

USERS = Stress(model=Model.CLOSED, start=1, factor=2, maximum=64, level_duration=3, precision=0.2, p99=0.16, recovery=0)


def test_users_are_raised_until_the_objective_breaks() -> None:
    """Four places of 10 ms: from 64 users on each waits for 160 ms."""
    found, _ = searched_on(QueueServer(places=4, service_ms=10), replace(USERS, maximum=200))
    good, bad = found.capacity.last_good, found.capacity.first_bad
    assert good is not None
    assert bad is not None
    assert good < 64 <= bad + 1
    assert found.capacity.levels[-1].achieved_per_s == pytest.approx(400, rel=0.05)


def test_users_are_whole_at_a_maximum_that_is_not() -> None:
    found, _ = searched_on(QueueServer(places=100), replace(USERS, maximum=12.5, level_duration=1))
    assert [level.level for level in found.capacity.levels] == [1, 2, 4, 8, 12]


@pytest.mark.parametrize(("sigma", "kappa"), [(0.0, 0.0), (0.05, 0.0), (0.02, 0.001)])
def test_coefficients_of_an_exact_law_are_found(sigma: float, kappa: float) -> None:
    points = [(n, 50 * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))) for n in (1, 2, 4, 8, 16, 32, 64)]
    found = fit(points).usl
    assert found is not None
    assert (found.lambda_per_s, found.sigma, found.kappa) == pytest.approx((50, sigma, kappa), abs=1e-6)
    assert found.r_squared == pytest.approx(1)
    if kappa:
        assert found.peak_users == pytest.approx(math.sqrt((1 - sigma) / kappa))
        assert set(found.figures()) == {"lambda", "sigma", "kappa", "r_squared", "peak_users", "peak_per_s"}
    else:
        assert found.peak_users is None
        assert "peak_users" not in found.figures()


def test_a_peak_far_beyond_the_most_users_is_not_told() -> None:
    found = fit([(n, 50 * n / (1 + 0.01 * (n - 1) + 1e-6 * n * (n - 1))) for n in range(1, 9)]).usl
    assert found is not None
    assert found.peak_users is None


@settings(deadline=None)
@given(
    st.floats(1, 1000),
    st.floats(0, 0.9),
    st.floats(0, 0.05),
    st.lists(st.floats(0.97, 1.03), min_size=8, max_size=8),
)
def test_a_fit_with_noise_never_has_a_negative_coefficient(
    lambda_: float, sigma: float, kappa: float, noise: list[float]
) -> None:
    users = (1, 2, 4, 8, 16, 32, 64, 128)
    points = [
        (n, e * lambda_ * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))) for n, e in zip(users, noise, strict=True)
    ]
    found = fit(points)
    assert (found.usl is None) == bool(found.refused)
    if found.usl is not None:
        assert found.usl.lambda_per_s > 0
        assert 0 <= found.usl.sigma < 1
        assert found.usl.kappa >= 0


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(1, 10), (2, 20), (4, 40), (4, 41), (4, 39)], "3 levels are too few"),
        ([(1, 10), (2, 90), (4, 5), (8, 300), (16, 7), (32, 120)], "does not fit"),
        ([(1, 100), (2, 40), (4, 20), (8, 10), (16, 5)], "does not fit"),
    ],
)
def test_nonsense_is_refused_with_its_reason(points: list[tuple[float, float]], why: str) -> None:
    found = fit(points)
    assert found.usl is None
    assert why in found.refused


def test_a_test_over_users_carries_the_law_and_one_over_rates_does_not() -> None:
    """Each user that is served at the same time makes all of them 10% slower, which is a contention of 0.1."""
    server = QueueServer(places=100, service_ms=10, slower=lambda at_s, in_flight: 1 + 0.1 * in_flight)
    law = searched_on(server, USERS)[0].capacity.usl
    assert law is not None
    assert law["lambda"] == pytest.approx(100, rel=0.05)
    assert law["sigma"] == pytest.approx(0.1, rel=0.1)
    assert searched_on(QueueServer())[0].capacity.usl is None


# Servers that do better under more load


def test_a_server_that_does_better_under_more_load_is_said_to() -> None:
    """Cold in the first level, which is good all the same."""
    found, _ = searched_on(QueueServer(places=100, slower=lambda at_s, in_flight: 8.0 if at_s < 6 else 1.0))
    assert "more load was not always worse: p99 was 80 ms at 20 and 10 ms at 40" in found.notes


def test_failures_that_go_away_under_more_load_are_said() -> None:
    found = better_under_more_load([level(10, 5), level(20, 5, failed=0.08), level(40, 5, failed=0.001)])
    assert found == "more load was not always worse: 8% failed at 20, 0.1% at 40"


def test_a_queue_and_what_is_within_noise_contradict_nothing() -> None:
    assert better_under_more_load([level(10, 5), level(20, 4), level(40, 9), level(80, 400)]) == ""
    assert better_under_more_load([level(10, 1.5), level(20, 0.6)]) == ""
    assert better_under_more_load([replace(level(10, 500), client_bound=True), level(20, 5)]) == ""
    assert better_under_more_load([]) == ""


# The knee


def level(load: float, p99_ms: float, achieved: float | None = None, failed: float = 0.0) -> LevelResult:
    return LevelResult(
        stage=0,
        level=load,
        good=True,
        why="",
        offered_per_s=load,
        achieved_per_s=load if achieved is None else achieved,
        p50_ms=p99_ms / 2,
        p99_ms=p99_ms,
        failed_ratio=failed,
    )


def test_a_flat_curve_has_no_knee() -> None:
    assert knee([level(100, 10), level(200, 10.4), level(400, 11.2), level(800, 12)]) is None


def test_the_knee_is_where_p99_grows_and_what_is_achieved_does_not() -> None:
    found = knee([level(100, 10), level(200, 12), level(400, 400, achieved=205)])
    assert found is not None
    assert (found.level, found.why) == (
        200,
        "from 200 to 400 p99 rose from 12 to 400 ms and only 2.5% more was achieved",
    )


def test_the_knee_is_where_p99_rises_more_than_twice_as_steeply() -> None:
    found = knee([level(100, 10), level(200, 12), level(300, 40)])
    assert found is not None
    assert (found.level, "twice as steeply" in found.why) == (200, True)


def test_the_knee_is_where_failures_double() -> None:
    found = knee([level(100, 10), level(200, 10, failed=0.001), level(400, 10, failed=0.02)])
    assert found is not None
    assert found.why == "from 200 to 400 failures rose from 0.1% to 2%"


def test_small_steps_and_disturbed_repeats_bend_nothing() -> None:
    assert knee([level(100, 10), level(110, 30), level(200, 11), level(200, 80)]) is None


def test_levels_of_a_limited_client_bend_nothing() -> None:
    bound = replace(level(400, 900, achieved=200), client_bound=True)
    assert knee([level(100, 10), level(200, 10), bound]) is None
