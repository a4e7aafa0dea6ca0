"""Connections of a worker, counted where they end: at the servers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from checker.limits import Pace, PoolLimits
from checker.probes.options import Retry
from fleets import Checked, Fleet, Seen, checked, rest_fleet
from servers_faults import FaultServer


class InThread:
    """Checks while the test looks on."""

    def __init__(self, *arguments: Any, **limits: Any) -> None:
        self._found: list[Checked] = []
        self._thread = threading.Thread(target=lambda: self._found.append(checked(*arguments, **limits)))
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def found(self) -> Checked:
        self._thread.join(60)
        return self._found[0]


def seen_when(fleet: Fleet, run: InThread, condition: Callable[[Seen], bool]) -> Seen:
    """What the fleet has seen at the first moment that is as wanted, while the run still goes on."""
    while run.goes_on:
        seen = fleet.seen()
        if condition(seen):
            return seen
    raise AssertionError("the run was over before")


def test_checks_of_one_server_one_after_the_other_share_one_connection() -> None:
    with Fleet(ok=1) as fleet:
        found = checked(rest_fleet(fleet.urls(), 300), concurrency=1)
        seen = fleet.seen()
    assert (seen.created, len(seen.asked_at_s)) == (1, 300)
    assert (found.pool.created, found.pool.reused, found.pool.most_open) == (1, 299, 1)


def test_ten_thousand_checks_of_a_hundred_servers_open_no_more_than_their_pools_hold() -> None:
    with Fleet(ok=100) as fleet:
        found = checked(rest_fleet(fleet.urls(), 10_000), concurrency=500, per_origin=2)
        seen = fleet.seen()
    assert set(found.reasons.values()) == {None}
    assert len(seen.asked_at_s) == 10_000
    assert max(seen.connections.values()) <= 2
    assert seen.created <= 200
    assert (found.pool.created, found.pool.reused) == (seen.created, 10_000 - seen.created)


def test_no_more_are_open_than_may_be_and_nobody_is_blamed_for_waiting() -> None:
    """180 checks of 60 servers of 150 ms take 2.7 s over ten connections: longer than any of them may take."""
    limits = {"rest": PoolLimits(max_connections=10)}
    with Fleet(delay_s=0.15, ok=60) as fleet:
        found = checked(rest_fleet(fleet.urls(), 180, timeout=2.0), concurrency=100, pools=limits)
        seen = fleet.seen()
    assert set(found.reasons.values()) == {None}
    assert found.pool.most_open == 10
    assert seen.most_open <= 10
    assert found.pool.created == seen.created
    assert found.pool.evicted == seen.created - found.pool.idle, "a connection to another server had to go"
    assert found.pool.waits == 170
    assert found.pool.wait_us > 170 * 150_000
    assert found.pool.longest_wait_us > 1_000_000


def test_a_wait_is_counted_once_for_each_attempt() -> None:
    """Every attempt but the first waits for its place at the origin, and for one of the connections besides."""
    limits = {"rest": PoolLimits(max_connections=1)}
    with Fleet(delay_s=0.01, ok=2) as fleet:
        found = checked(rest_fleet(fleet.urls(), 40), concurrency=40, per_origin=1, pools=limits)
    assert found.pool.waits == 39


def test_who_waits_is_not_overtaken_by_who_comes_later() -> None:
    """Also not by the next check of the greenlet that has just given its connection back."""
    limits = {"rest": PoolLimits(max_connections=1)}
    with Fleet(delay_s=0.02, ok=60) as fleet:
        found = checked(rest_fleet(fleet.urls()), concurrency=20, pools=limits)
    assert sorted(found.checks, key=lambda name: found.checks[name].started_at_ms) == sorted(found.checks)


def test_busy_origin_does_not_keep_the_checks_of_others_waiting() -> None:
    """Twenty checks of one server, two at once, come before thirty of others, and there are ten places."""
    with Fleet(delay_s=0.05, ok=30, busy=1) as fleet:
        fleet_of_one = rest_fleet(fleet.urls("busy"), 20, timeout=5.0)
        others = [replace(one, name=f"other {one.name}") for one in rest_fleet(fleet.urls())]
        found = checked([*fleet_of_one, *others], concurrency=10, per_origin=2)
        seen = fleet.seen()
    assert set(found.reasons.values()) == {None}
    began = {name: check.started_at_ms for name, check in found.checks.items()}
    busy = [began[one.name] for one in fleet_of_one]
    assert sorted(busy) == busy, "none overtakes another of its origin"
    assert max(began[one.name] for one in others) < busy[-2], "the others are through long before"
    (port,) = fleet.ports["busy"]
    assert seen.connections[port] == 2, "each place has its connection"
    assert found.pool.waits == 18
    assert found.pool.longest_wait_us > 8 * 50_000


def test_task_that_is_held_keeps_its_turn_through_retries_of_others() -> None:
    """Every attempt fails, and its backoff leaves the place to the next."""
    with Fleet(resetting=1) as fleet:
        again = Retry(max_attempts=2, initial_backoff=0.1, jitter=0.0)
        found = checked(rest_fleet(fleet.urls("resetting"), 6, retry=again), concurrency=6, per_origin=1)
        seen = fleet.seen()
    assert set(found.reasons.values()) == {"connection_closed"}
    assert len(seen.asked_at_s) == 12
    began = [check.started_at_ms for _, check in sorted(found.checks.items())]
    assert sorted(began) == began


def test_no_socket_is_left_by_checks_that_fail_or_are_ended() -> None:
    """Also while connecting: a server whose queue of connections is full does not answer one."""
    program = Path(__file__).parent / "support" / "open_sockets_program.py"
    behaviours = {"ok": 2, "resetting": 1, "hanging": 1, "dead": 1, "closes": 1}
    with Fleet(**behaviours) as fleet, socket.socket() as full, ExitStack() as kept:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        urls = [url for behaviour in behaviours for url in fleet.urls(behaviour)]
        urls.append(f"http://127.0.0.1:{full.getsockname()[1]}/")
        done = subprocess.run([sys.executable, program, json.dumps(urls)], capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["left"] == found["counted"] > 0, done.stderr
    assert (found["in_use"], found["after"], found["counted_after"]) == (0, 0, 0)
    assert "connect_timeout" in found["reasons"]
    assert None in found["reasons"]


def test_overflow_opens_more_and_keeps_no_more_than_may_be() -> None:
    limits = {"rest": PoolLimits(max_connections=5, when_full="overflow")}
    with Fleet(delay_s=1.0, ok=40, slow=1) as fleet:
        run = InThread(rest_fleet([*fleet.urls(), *fleet.urls("slow")]), concurrency=100, pools=limits)
        seen_when(fleet, run, lambda seen: len(seen.asked_at_s) == 41)
        seen = seen_when(fleet, run, lambda seen: sum(seen.open.values()) <= 5)
        found = run.found()
    assert set(found.reasons.values()) == {None}
    assert seen.most_open == 41, "nobody waited"
    assert found.pool.waits == 0
    assert found.pool.evicted >= 36


def test_idle_connections_are_closed_in_time() -> None:
    """While a slow server is still being waited for, the connections of the fast ones go."""
    limits = {"rest": PoolLimits(keepalive=0.1)}
    with Fleet(ok=10, slow=1) as fleet:
        (slow,) = fleet.ports["slow"]
        run = InThread(rest_fleet([*fleet.urls("slow"), *fleet.urls()]), concurrency=20, pools=limits)
        seen = seen_when(fleet, run, lambda seen: len(seen.asked_at_s) == 11 and set(seen.open) == {slow})
        found = run.found()
    assert seen.created == 11
    assert found.pool.evicted == 10


def test_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    limits = {"rest": PoolLimits(keepalive=0.05)}
    with Fleet(ok=1) as fleet:
        found = checked(
            rest_fleet(fleet.urls(), 4), concurrency=4, pools=limits, pace=Pace(rate_per_origin=2.0)
        )  # one each 500 ms
        seen = fleet.seen()
    assert set(found.reasons.values()) == {None}
    assert seen.created == 4
    assert (found.pool.created, found.pool.reused, found.pool.evicted) == (4, 0, 3)


def test_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    with Fleet(closes=1) as fleet:
        found = checked(rest_fleet(fleet.urls("closes"), 4), concurrency=4, pace=Pace(rate_per_origin=5.0))
        seen = fleet.seen()
    assert {(check.reason, check.probes[0].attempts) for check in found.checks.values()} == {(None, 1)}
    assert (seen.created, len(seen.asked_at_s)) == (4, 4)
    assert (found.pool.created, found.pool.reused) == (4, 0)
    assert 1 <= found.pool.closed_by_peer <= 3, "a request that begins while another goes on needs a new one anyway"


def test_connection_that_the_server_closes_just_then_is_replaced() -> None:
    """The server closes after each answer without a word: sometimes before the next request is sent, sometimes not."""
    with FaultServer("ok") as server:
        found = checked(rest_fleet([server.url()], 100), concurrency=1)
    assert set(found.reasons.values()) == {None}
    assert server.connections == 100
    assert (found.pool.created, found.pool.reused, found.pool.closed_by_peer) == (100, 0, 99)


def test_room_is_made_quickly_among_many_servers() -> None:
    """Each of 1,600 checks has to close a connection among up to 800 pools that have none open."""
    limits = {"rest": PoolLimits(max_connections=10)}
    with Fleet(ok=800) as fleet:
        found = checked(rest_fleet(fleet.urls(), 1600), concurrency=50, pools=limits)
        seen = fleet.seen()
    assert seen.most_open <= 10
    assert seen.created == found.pool.created
    assert found.span_s < 8


@pytest.mark.parametrize("workers", [1, 2])
def test_view_agrees_with_the_servers(tmp_path: Path, status: Callable[..., Any], workers: int) -> None:
    config = tmp_path / "fleet.yaml"
    with Fleet(delay_s=0.01, ok=20) as fleet:
        urls = fleet.urls()
        servers = [{"name": f"s{number}", "rest": urls[number % 20]} for number in range(400)]
        run = {"workers": workers, "concurrency": 60, "per_origin": 3, "pools": {"rest": {"max_connections": 40}}}
        config.write_text(yaml.safe_dump({"run": run, "servers": servers}))
        done: CompletedProcess[str] = status("check", config, "--format", "json")
        seen = fleet.seen()
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(status("sql", "select * from pool_history where kind = 'rest'", "--format", "json").stdout)
    assert row["created"] == seen.created
    assert row["created"] + row["reused"] == len(seen.asked_at_s) == 400
    assert row["most_open"] <= 40
    assert seen.most_open <= row["most_open"]
    assert max(seen.connections.values()) <= 3 or row["evicted"] or row["closed_by_peer"]
    assert row["created"] - row["evicted"] - row["closed_by_peer"] == row["idle"] + row["in_use"]
    assert row["in_use"] == 0
