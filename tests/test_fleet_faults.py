"""A fleet of which a part is dead, hangs or resets: every row right, in time; and the timer behind all deadlines."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from time import perf_counter
from typing import Any

import gevent
import pytest
import yaml

from checker.limits import Limits
from checker.messages import Task
from checker.model import CheckResult, Server
from checker.probe_kinds import KINDS
from checker.probes.rest import RestOptions
from checker.worker.adaptive_concurrency import LagMeter
from checker.worker.checks import ServerChecker
from checker.worker.greenlets import Deadlines
from fleets import Fleet, checked, rest_fleet
from servers import RestServer

DEADLINE_S = 1.0
LOOKS_EVERY_S = 0.02
"""A `LagMeter` does not see the part of a delay that it would have slept anyway."""
BUSY_S = 0.5
"""What a busy machine may add."""
EXPECTED = {
    "ok": (170, None, None),
    "dead": (10, "connect_refused", "connect"),
    "hanging": (10, "first_byte_timeout", "wait"),
    "resetting": (10, "connection_closed", "wait"),
}


def found_at(checks: dict[str, CheckResult], port: int) -> list[tuple[str | None, str | None]]:
    """Reason and stage of the checks that went to this port."""
    probes = [check.probes[0] for check in checks.values()]
    return [(probe.reason, probe.failed_stage) for probe in probes if f":{port}/" in (probe.url or "")]


@pytest.mark.parametrize("concurrency", [500, 30])
def test_fleet_with_faults_takes_no_longer_than_the_deadline_and_the_healthy_part(concurrency: int) -> None:
    """With 30 at once as well: what hangs holds nobody's place but its own."""
    counts = {behaviour: count for behaviour, (count, _, _) in EXPECTED.items()}
    with Fleet(delay_s=0.02, **counts) as fleet:
        urls = [url for behaviour in counts for url in fleet.urls(behaviour)]
        random.Random(8).shuffle(urls)
        healthy = checked(rest_fleet(fleet.urls(), timeout=DEADLINE_S), concurrency)
        whole = checked(rest_fleet(urls, timeout=DEADLINE_S), concurrency)
    checks = dict(whole.checks)
    for behaviour, (_, reason, stage) in EXPECTED.items():
        for port in fleet.ports[behaviour]:
            assert found_at(checks, port) == [(reason, stage)]
    assert whole.span_s < DEADLINE_S + healthy.span_s + BUSY_S
    assert whole.pool.in_use == 0


def test_whole_run_of_a_fleet_with_faults_has_every_row_right(
    tmp_path: Path, status: Callable[..., CompletedProcess[str]]
) -> None:
    """The same fleet from its configuration to the database, over two workers."""
    counts = {behaviour: count for behaviour, (count, _, _) in EXPECTED.items()}
    config = tmp_path / "fleet.yaml"
    with Fleet(delay_s=0.02, **counts) as fleet:
        places = [(behaviour, url) for behaviour in counts for url in fleet.urls(behaviour)]
        random.Random(8).shuffle(places)
        servers = [{"name": f"{kind} {number}", "rest": url} for number, (kind, url) in enumerate(places)]
        defaults = {"rest": {"timeout": f"{DEADLINE_S}s"}}
        config.write_text(yaml.safe_dump({"run": {"workers": 2}, "defaults": defaults, "servers": servers}))
        done = status("check", config, "--quiet")
    assert done.returncode == 2, done.stderr
    asked = "select server, reason, failed_stage, started_at, duration_ms from probe_history"
    rows = json.loads(status("sql", asked, "--format", "json").stdout)
    assert len(rows) == len({row["server"] for row in rows}) == sum(counts.values())
    found = Counter((row["server"].partition(" ")[0], row["reason"], row["failed_stage"]) for row in rows)
    assert found == {(kind, reason, stage): count for kind, (count, reason, stage) in EXPECTED.items()}
    starts = [datetime.fromisoformat(row["started_at"]).timestamp() for row in rows]
    ends = [start + row["duration_ms"] / 1000 for start, row in zip(starts, rows, strict=True)]
    assert max(ends) - min(starts) < 2 * DEADLINE_S + BUSY_S, "the second deadline is for starting the second worker"


def test_server_that_hangs_does_not_take_the_time_of_its_neighbours() -> None:
    """Twenty healthy servers behind as many hanging ones are done long before the deadline of these."""
    with Fleet(ok=20, hanging=20) as fleet:
        urls = [*fleet.urls("hanging"), *fleet.urls()]
        found = checked(rest_fleet(urls, timeout=DEADLINE_S), concurrency=40)
    healthy = [check for check in found.checks.values() if check.reason is None]
    assert len(healthy) == 20
    assert max(check.duration_us for check in healthy) < DEADLINE_S * 1e6
    first = min(check.started_at_ms for check in found.checks.values())
    assert max(check.started_at_ms + check.duration_us / 1000 for check in healthy) - first < DEADLINE_S * 1000


def test_mistake_of_ours_outside_an_attempt_does_not_lose_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that fails stands for any mistake: the server is real, and its row is UNKNOWN."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("not thought of")

    monkeypatch.setattr("checker.worker.attempts.judge", fails)
    with RestServer() as server:
        # a plain GET that may have any answer is not judged at all
        one = Server(name="one", probes={"rest": RestOptions(url=server.url(), degraded_above=60.0)})
        checker = ServerChecker(Limits(concurrency=1, per_origin=1), grace=None)  # type: ignore[arg-type] # REST needs none
        check = checker.check(Task(server=one, memory={})).check
    assert (check.status, check.reason, check.detail) == ("UNKNOWN", "internal_error", "RuntimeError: not thought of")
    assert set(KINDS) > {"rest"}


# The timer itself, in this process.


def interrupted_after_s(deadlines: Deadlines, limit_s: float, work: Callable[[], Any]) -> float | None:
    """Seconds until the deadline came; None where the work was done before."""
    start = perf_counter()
    deadline = deadlines.set(limit_s)
    try:
        work()
    except gevent.Timeout as timeout:
        assert timeout is deadline.raised
        return perf_counter() - start
    finally:
        deadline.cancel()
    return None


def test_each_is_interrupted_in_its_own_time() -> None:
    """500 with limits between 20 and 520 ms in no order; what made the whole loop late is not their fault."""
    deadlines, draw, lag = Deadlines(), random.Random(3), LagMeter(too_late_s=1.0)
    limits_s = [0.02 + draw.randrange(500) / 1000 for _ in range(500)]
    running = [gevent.spawn(interrupted_after_s, deadlines, limit_s, lambda: gevent.sleep(30)) for limit_s in limits_s]
    late_s = sorted(one.get(timeout=20) - limit_s for one, limit_s in zip(running, limits_s, strict=True))
    gevent.sleep(LOOKS_EVERY_S)
    lag.stop()
    assert late_s[0] >= 0
    assert late_s[250] < 0.02 + lag.longest_s
    assert late_s[-1] < 0.02 + LOOKS_EVERY_S + lag.longest_s


def test_who_is_done_in_time_is_never_interrupted() -> None:
    deadlines = Deadlines()

    def work(number: int) -> list[float | None]:
        found = [interrupted_after_s(deadlines, 0.1, lambda: gevent.sleep(0.001)) for _ in range(20)]
        gevent.sleep(0.15 if number % 2 else 0)  # past all the deadlines that were cancelled
        return found

    running = [gevent.spawn(work, number) for number in range(50)]
    gevent.joinall(running, timeout=20, raise_error=True)
    interrupted = sum(after_s is not None for one in running for after_s in one.value)
    assert interrupted <= 50, "only where the machine was too busy to sleep for a millisecond within 100"


def test_deadline_that_is_set_later_and_ends_earlier_comes_in_time() -> None:
    deadlines = Deadlines()
    last = gevent.spawn(interrupted_after_s, deadlines, 0.6, lambda: gevent.sleep(30))
    gevent.sleep(0.05)
    middle = gevent.spawn(interrupted_after_s, deadlines, 0.3, lambda: gevent.sleep(30))
    gevent.sleep(0.05)
    first = gevent.spawn(interrupted_after_s, deadlines, 0.05, lambda: gevent.sleep(30))
    for one, limit_s in ((first, 0.05), (middle, 0.3), (last, 0.6)):
        assert limit_s <= one.get(timeout=20) < limit_s + 0.25


def test_deadline_comes_after_many_that_were_cancelled() -> None:
    deadlines = Deadlines()
    for _ in range(1000):
        deadlines.set(0.05).cancel()
    after_s = interrupted_after_s(deadlines, 0.1, lambda: gevent.sleep(30))
    assert after_s is not None
    assert 0.1 <= after_s < 1


def test_cancelled_deadlines_take_no_memory() -> None:
    """A worker that makes 10,000 checks a second would keep 300,000 of its last half minute."""
    deadlines = Deadlines()
    for _ in range(10_000):
        deadlines.set(30.0).cancel()
    assert len(deadlines) <= 1


def test_who_ends_another_that_was_due_leaves_it_alone() -> None:
    """Both are due at the same moment; the first one kills the second, which must not be thrown into any more."""
    deadlines = Deadlines()
    seen: list[str] = []

    def second() -> None:
        try:
            interrupted_after_s(deadlines, 0.05, lambda: gevent.sleep(30))
            seen.append("interrupted")
        except gevent.GreenletExit:
            seen.append("killed")
            raise

    def first() -> None:
        interrupted_after_s(deadlines, 0.05, lambda: gevent.sleep(30))
        victim.kill()

    killer = gevent.spawn(first)
    victim = gevent.spawn(second)
    gevent.joinall([killer, victim], timeout=20, raise_error=True)
    assert len(seen) == 1
