"""Workers ended, wedged and filled up by one server among others: it is blamed, everybody else has a true result."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from checker.limits import Limits, ResourceCaps
from checker.metrics import ResourceAlert
from checker.model import Batch, CheckResult, Server
from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from conftest import ROOT, workers_of
from poison import PoisonServer

KILL, SEGFAULT, STOP = signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP
SPIN, SWELL, GROW = signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH
"""What tests/data/worker_traps makes of these."""
HOW = {
    KILL: "killed by signal 9, SIGKILL",
    SEGFAULT: "killed by signal 11, SIGSEGV",
    STOP: "silent for 3 s",
    SPIN: "busy without a word",
    SWELL: "run.limits.worker_memory is 256 MiB",
}


@pytest.fixture(autouse=True)
def traps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "data" / "worker_traps"))
    yield
    assert not workers_of()


def fleet(server: PoisonServer, poison: dict[int, int], count: int) -> list[Server]:
    """That many servers, of which those of these places send their worker a signal."""
    return [
        Server(
            name=f"s{place:03}",
            probes={"rest": RestOptions(url=server.url(poison.get(place, 0), f"s{place:03}"), timeout=10.0)},
        )
        for place in range(count)
    ]


def checked(
    servers: list[Server], concurrency: int = 40, **options: Any
) -> tuple[dict[str, CheckResult], list[ResourceAlert]]:
    """Each server's result, of which there is exactly one, and what was told of the workers."""
    batches: list[Batch] = []
    alerts: list[ResourceAlert] = []
    shards = Shards([Shard(tuple(servers[start : start + 50])) for start in range(0, len(servers), 50)])
    values: dict[str, Any] = {"heartbeat_timeout": 3.0, **options}
    limits = Limits(concurrency=concurrency, per_origin=concurrency, **values)
    run_shards(shards, batches.append, RunnerOptions(limits=limits, alert=alerts.append))
    found = [check for batch in batches for check in batch.checks]
    assert sorted(check.server for check in found) == sorted(server.name for server in servers)
    return {check.server: check for check in found}, alerts


def told_apart(results: dict[str, CheckResult], poison: dict[int, int]) -> None:
    """The poisonous ones are blamed for what they did, and the others have results as if nothing had happened."""
    for place, number in poison.items():
        check = results.pop(f"s{place:03}")
        assert (check.status, check.reason, check.score) == ("UNHEALTHY", "worker_lost", 0.0), check
        assert (check.detail or "").startswith("checking this server alone ended the worker twice: ")
        assert HOW[signal.Signals(number)] in (check.detail or "")
        assert {(probe.status, probe.reason, probe.score) for probe in check.probes} == {
            ("UNHEALTHY", "worker_lost", 0.0)
        }
    assert {(check.status, check.reason) for check in results.values()} <= {("HEALTHY", None)}


@pytest.mark.parametrize("how", [KILL, STOP, SPIN, SWELL])
def test_one_poisonous_server_is_blamed_and_the_others_are_healthy(how: signal.Signals) -> None:
    """Busy loops are found out long before the silence is over that a stopped worker is given."""
    count = 100 if how is KILL else 24
    poison = {17: int(how)}
    with PoisonServer(delay_s=0.05) as server:
        results, alerts = checked(
            fleet(server, poison, count),
            limits=ResourceCaps(worker_memory=256 * 1024**2),
            heartbeat_timeout=3.0 if how is STOP else 60.0,
        )
    told_apart(results, poison)
    assert {alert.resource for alert in alerts} <= {"worker", "worker_memory"}
    assert server.asked[f"/{int(how)}/s017"] <= 6, "a few workers for the groups it was in, and two for it alone"
    assert sum(server.asked.values()) < 3 * count


def test_several_poisonous_servers_among_many() -> None:
    poison = {11: int(KILL), 60: int(SEGFAULT), 119: int(KILL)}
    with PoisonServer(delay_s=0.02) as server:
        results, _ = checked(fleet(server, poison, 120))
    told_apart(results, poison)


def test_nothing_but_poison() -> None:
    poison = dict.fromkeys(range(3), int(KILL))
    with PoisonServer() as server:
        results, _ = checked(fleet(server, poison, 3))
    told_apart(results, poison)


def test_poison_among_waiting_ones_does_not_take_these() -> None:
    """Two at a time: what waits in the lost worker is not tried apart, and not counted as tried."""
    poison = {3: int(KILL)}
    with PoisonServer(delay_s=0.02) as server:
        results, _ = checked(fleet(server, poison, 60), concurrency=2)
    assert sum(check.tries == 1 for check in results.values()) > 40  # it goes on until the signal is there
    told_apart(results, poison)


def test_worker_that_somebody_else_ends_costs_no_server_its_result() -> None:
    """A server that was there by chance, even a second time, is answered in the third worker."""
    with PoisonServer(times=1) as server:
        results, _ = checked(fleet(server, {5: int(KILL), 6: int(STOP)}, 30))
    told_apart(results, {})


def test_poison_beside_programs_and_sessions() -> None:
    with PoisonServer(delay_s=0.05) as server:
        rest = fleet(server, {2: int(KILL)}, 10)
        speaks = McpOptions(command=sys.executable, args=(str(ROOT / "tests" / "data" / "stdio" / "speaks.py"),))
        programs = [Server(name=f"p{number}", probes={"mcp": speaks}) for number in range(6)]
        results, _ = checked([*rest, *programs])
    told_apart(results, {2: int(KILL)})


def test_server_with_two_probes_is_blamed_as_one() -> None:
    with PoisonServer(delay_s=0.05) as server:
        both = {
            "rest": RestOptions(url=server.url(KILL, "both")),
            "mcp": McpOptions(url=server.url(0, "both"), timeout=5.0),
        }
        results, _ = checked([Server(name="both", probes=both), *fleet(server, {}, 10)])
    check = results.pop("both")
    assert (check.status, check.reason, len(check.probes)) == ("UNHEALTHY", "worker_lost", 2)
    told_apart(results, {})


def test_run_that_is_stopped_while_suspects_are_tried_ends_soon() -> None:
    with PoisonServer(delay_s=0.05) as server:
        servers = fleet(server, {4: int(STOP)}, 20)
        shards, batches = Shards([Shard(tuple(servers))]), list[Batch]()
        options = RunnerOptions(limits=Limits(concurrency=40, per_origin=40, heartbeat_timeout=3.0))
        thread = threading.Thread(target=run_shards, args=(shards, batches.append, options))
        thread.start()
        path, until = f"/{int(STOP)}/s004", time.monotonic() + 30
        while server.asked[path] < 2 and time.monotonic() < until:
            time.sleep(0.02)
        shards.stop()
        thread.join(10)
        assert not thread.is_alive()
    names = Counter(check.server for batch in batches for check in batch.checks)
    assert set(names.values()) <= {1}


def test_worker_that_fills_up_is_replaced_before_anything_is_lost() -> None:
    """Three times it holds on to 150 MB for good: no server is to blame, and each is asked once."""
    full = {5: int(GROW), 25: int(GROW), 45: int(GROW)}
    with PoisonServer(delay_s=0.3, times=1) as server:
        results, alerts = checked(
            fleet(server, full, 60), concurrency=4, limits=ResourceCaps(worker_memory=160 * 1024**2)
        )
        assert set(server.asked.values()) == {1}
    told_apart(results, {})
    assert {check.tries for check in results.values()} == {1}
    assert {alert.resource for alert in alerts} == {"worker_memory"}
    assert len(alerts) >= 2
    assert "another takes its place" in alerts[0].detail


def test_quarantine_over_two_workers_is_stored_counted_and_told(tmp_path: Path, status: Callable[..., Any]) -> None:
    poison = {20: int(KILL), 80: int(SEGFAULT)}
    config = tmp_path / "fleet.yaml"
    with PoisonServer(delay_s=0.02) as server:
        servers = [{"name": one.name, "rest": one.probes["rest"].url} for one in fleet(server, poison, 110)]
        config.write_text(yaml.safe_dump({"run": {"workers": 2}, "servers": servers}))
        # owner_of looks below this process, where the command's workers are
        done = status("check", config, "--format", "json", env={"PYTHONPATH": os.environ["PYTHONPATH"]})
    checks = {check["server"]: check for check in json.loads(done.stdout)["checks"]}
    assert len(checks) == 110
    assert Counter((check["status"], check["reason"]) for check in checks.values()) == {
        ("HEALTHY", None): 108,
        ("UNHEALTHY", "worker_lost"): 2,
    }
    assert done.returncode == 2
    ask = status("sql", "select server from availability where availability_ratio = 0", "--format", "json")
    assert {row["server"] for row in json.loads(ask.stdout)} == {"s020", "s080"}
    alerts = json.loads(status("sql", "select * from resource_alerts", "--format", "json").stdout)
    assert {alert["resource"] for alert in alerts} == {"worker"}
    assert any("killed by signal 11, SIGSEGV" in alert["detail"] for alert in alerts)
