"""How fast and how many at once: rate, jitter, adaptive concurrency and lateness, seen from the servers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from checker.limits import Limits, Pace
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from checker.worker.adaptive_concurrency import FEWEST, LATE_S, MOST_MORE, Concurrency, LagMeter
from conftest import workers_of
from fleets import Checked, Fleet, checked, rest_fleet
from servers import RestServer, Scripted
from worker_template import FRESH

RATE = 40.0


def test_rate_of_an_origin_is_kept() -> None:
    with Fleet(ok=1) as fleet:
        found = checked(rest_fleet(fleet.urls(), 100), concurrency=100, pace=Pace(rate_per_origin=RATE))
        seen = fleet.seen()
    assert len(seen.asked_at_s) == 100
    assert 99 / seen.span_s == pytest.approx(RATE, rel=0.1)
    assert found.pool.waits >= 99
    assert max(check.duration_us for check in found.checks.values()) < seen.span_s * 1e6 / 2, (
        "waiting is not on the clock"
    )


def test_rate_is_for_each_origin_on_its_own() -> None:
    with Fleet(ok=10) as fleet:
        found = checked(rest_fleet(fleet.urls(), 110), concurrency=200, pace=Pace(rate_per_origin=10.0))
        seen = fleet.seen()
    assert set(found.reasons.values()) == {None}
    assert 1.0 <= seen.span_s + 0.1 < 2.0, "eleven at each, 100 ms apart"


def test_workers_that_share_an_origin_keep_its_rate_together(tmp_path: Path, status: Callable[..., Any]) -> None:
    config = tmp_path / "fleet.yaml"
    with Fleet(ok=1) as fleet:
        (url,) = fleet.urls()
        servers = [{"name": f"s{number}", "rest": url} for number in range(100)]
        config.write_text(
            yaml.safe_dump({"run": {"workers": 2, "pace": {"rate_per_origin": RATE}}, "servers": servers})
        )
        done = status("check", config)
        seen = fleet.seen()
    assert done.returncode == 0, done.stderr
    assert len(seen.asked_at_s) == 100
    assert 98 / seen.span_s < RATE * 1.1


def test_first_attempts_at_an_origin_do_not_come_all_at_once() -> None:
    with Fleet(ok=1) as fleet:
        checked(rest_fleet(fleet.urls(), 30), concurrency=30, pace=Pace(jitter=0.1))
        seen = fleet.seen()
    since_first_s = [at_s - seen.asked_at_s[0] for at_s in seen.asked_at_s]
    assert len(since_first_s) == 30
    assert sum(since_s < 0.002 for since_s in since_first_s) <= 10
    assert seen.span_s > 0.03


def test_single_server_is_not_delayed() -> None:
    start = time.monotonic()
    with Fleet(ok=5) as fleet:
        checked(rest_fleet(fleet.urls()), concurrency=5, pace=Pace(jitter=1000.0))
    assert time.monotonic() - start < 20


def test_a_thousand_slow_servers_take_little_longer_than_one() -> None:
    """Each takes a second; one worker begins with few at once and adds more as long as it keeps up."""
    with Fleet(delay_s=1.0, ok=1000) as fleet:
        start = time.monotonic()
        found = checked(rest_fleet(fleet.urls()), concurrency=1000)
        took_s = time.monotonic() - start
        seen = fleet.seen()
    assert set(found.reasons.values()) == {None}
    assert len(seen.asked_at_s) == 1000
    assert seen.span_s < 2.5
    assert found.span_s < 3.5
    assert took_s < 10
    assert found.report.worker.most_at_once > 500


def batches_of(checks: int, delay_s: float, timeout_s: float) -> list[int]:
    """How many results each batch had, of checks that are made one after the other."""
    sizes: list[int] = []
    limits = Limits(concurrency=1, per_origin=1, pace=Pace(batch_timeout=timeout_s))
    with Fleet(delay_s=delay_s, ok=1) as fleet:
        shards = Shards([Shard(tuple(rest_fleet(fleet.urls(), checks)))])
        run_shards(shards, lambda batch: sizes.append(len(batch.checks)), RunnerOptions(limits=limits))
    return sizes


def test_results_are_handed_over_when_a_hundred_are_there() -> None:
    sizes = batches_of(250, 0.0, timeout_s=60.0)
    assert sum(sizes) == 250
    assert len(sizes) == 3
    assert min(sizes[:2]) >= 100


def test_results_are_handed_over_after_the_batch_timeout() -> None:
    assert len(batches_of(20, 0.1, timeout_s=0.2)) >= 8, "two seconds of a check each tenth"


# The rules of adaptive concurrency: pure.

looks = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.lists(st.floats(0.1, 10_000), max_size=60), st.integers(0, 100)),
    max_size=80,
)


@given(st.integers(1, 5000), looks)
def test_what_is_allowed_stays_within_its_bounds(most: int, seen: list[Any]) -> None:
    concurrency = Concurrency(most, adaptive=True)
    assert concurrency.allowed == min(FEWEST, most)
    for look in seen:
        before = concurrency.allowed
        concurrency.look(*look)
        assert min(FEWEST, most) <= concurrency.allowed <= most
        assert concurrency.allowed <= before + MOST_MORE


@given(st.integers(1, 5000), looks)
def test_it_grows_only_when_all_are_in_use_and_nobody_is_late(most: int, seen: list[Any]) -> None:
    concurrency = Concurrency(most, adaptive=True)
    for lag_s, all_in_use, durations_ms, strained in seen:
        before = concurrency.allowed
        concurrency.look(lag_s, all_in_use, durations_ms, strained)
        if not all_in_use or lag_s > LATE_S:
            assert concurrency.allowed <= before


@given(st.integers(1, 5000), looks)
def test_nothing_changes_where_it_is_not_adaptive(most: int, seen: list[Any]) -> None:
    concurrency = Concurrency(most, adaptive=False)
    for look in seen:
        concurrency.look(*look)
        assert concurrency.allowed == most


@pytest.mark.parametrize(("lag_s", "strained"), [(LATE_S * 2, 0), (0.0, 100)], ids=["lag", "strain"])
def test_it_steps_back_and_grows_slowly_from_then_on(lag_s: float, strained: int) -> None:
    concurrency = Concurrency(2000, adaptive=True)
    fine: tuple[float, bool, list[float], int] = (0.0, True, [10.0] * 30, 0)
    while concurrency.allowed < 2000:
        concurrency.look(*fine)
    concurrency.look(lag_s, True, [10.0] * 30, strained)
    stepped = concurrency.allowed
    assert FEWEST <= stepped < 2000
    concurrency.look(lag_s, True, [10.0] * 30, strained)
    assert concurrency.allowed == stepped, "the effect of a step is waited for"
    grown = []
    for _ in range(30):
        before = concurrency.allowed
        concurrency.look(*fine)
        grown.append(concurrency.allowed - before)
    assert grown[0] == 0
    assert 0 < max(grown) <= 200
    assert concurrency.allowed <= 2000


def test_a_few_failures_are_no_strain() -> None:
    concurrency = Concurrency(2000, adaptive=True)
    for _ in range(20):
        concurrency.look(0.0, True, [10.0] * 70, 30)
    assert concurrency.allowed == 2000


def test_it_stops_to_grow_where_everybody_gets_slower() -> None:
    concurrency = Concurrency(2000, adaptive=True)
    concurrency.look(0.0, True, [10.0] * 30, 0)
    allowed = concurrency.allowed
    for _ in range(20):
        concurrency.look(0.0, True, [100.0] * 30, 0)
    assert concurrency.allowed == allowed


# Lateness.


def test_results_of_a_worker_that_stood_still_are_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped for most of a second in the middle of 20 checks, which it cannot have timed well."""
    found: list[Checked] = []
    monkeypatch.setenv(FRESH, "1")  # a child of this process, so that it is found
    with RestServer({"/slow": Scripted(delay_s=0.5)}) as server:
        servers = rest_fleet([server.url("/slow")], 40)
        thread = threading.Thread(target=lambda: found.append(checked(servers, concurrency=20)))
        thread.start()
        while len(server.requests) < 20 and thread.is_alive():
            time.sleep(0.01)
        (worker,) = workers_of()
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.9)  # how long it stands still
        worker.send_signal(signal.SIGCONT)
        thread.join(60)
    suspect = {name for name, check in found[0].checks.items() if check.suspect}
    assert {f"s{number:05}" for number in range(20)} <= suspect
    assert found[0].report.worker.suspect_checks == len(suspect)
    assert found[0].report.worker.longest_lag_us >= 500_000


def test_who_runs_first_after_a_standstill_knows_of_it() -> None:
    lag = LagMeter(too_late_s=0.25)
    gevent.sleep(0.05)
    began = time.perf_counter()
    assert not lag.saturated_since(began)
    time.sleep(0.4)  # this process is not patched: the whole loop stands still
    assert lag.saturated_since(began)
    gevent.sleep(0.05)
    assert lag.saturated_since(began)
    assert lag.longest_s >= 0.25
    lag.stop()
