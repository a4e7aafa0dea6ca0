"""Under pressure checks wait, nothing is lost or doubled, and what a late worker found is not counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from builders import server
from checker.limits import ResourceCaps
from checker.metrics import MetricsCollector, WorkerMeasures, WorkerReport
from checker.model import Batch
from checker.run.governor import Governor
from checker.run.queue import Shard, Shards
from fleets import Fleet
from servers import RestServer, Scripted
from worker_template import FRESH

ROOT = Path(__file__).resolve().parent.parent
STDIO = ROOT / "tests" / "data" / "stdio"
Status = Callable[..., subprocess.CompletedProcess[str]]


def fleet(path: Path, url: str, servers: int, limits: dict[str, Any], **run: Any) -> Path:
    """A configuration: the first five servers are critical, the others low."""
    document = {
        "run": {"limits": limits, "workers": 2, **run},
        "servers": [
            {"name": f"s{number}", "rest": url, "priority": "critical" if number < 5 else "low"}
            for number in range(servers)
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(autouse=True)
def fresh_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a checker takes of the machine is summed over its own children."""
    monkeypatch.setenv(FRESH, "1")


@pytest.fixture
def ask(status: Status) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a query over the test's database."""
    return lambda query: json.loads(status("sql", query, "--format", "json").stdout)


@contextmanager
def busy_machine() -> Iterator[None]:
    """Every core busy with something else."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) + 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def test_memory_above_its_limit_holds_everything_back_and_no_server_is_lost(
    tmp_path: Path, status: Status, ask: Callable[[str], list[dict[str, Any]]]
) -> None:
    with RestServer({"/": Scripted()}) as rest:
        limits = {"memory": "10MiB", "queue_wait": "1s", "interval": "100ms"}
        done = status("check", fleet(tmp_path / "fleet.yaml", rest.url("/"), 60, limits), "--format", "json")
        assert not rest.requests, "no server was called"
    assert done.returncode == 3
    assert "checks wait: memory of the checker" in done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert Counter((check["status"], check["reason"]) for check in checks) == {("UNKNOWN", "resource_limit"): 60}
    assert "run.limits.memory is 10 MiB" in checks[0]["detail"]
    (used,) = ask("select * from resource_history")
    assert used["dropped"] == used["most_waiting"] == 60
    assert used["closed_ms"] >= 1000
    (alert,) = ask("select resource, level from resource_alerts")
    assert alert == {"resource": "memory", "level": "hard"}


def test_checks_wait_while_a_started_server_takes_the_memory_and_go_on_when_it_is_gone(
    tmp_path: Path, ask: Callable[[str], list[dict[str, Any]]], status: Status
) -> None:
    """A command of the fleet itself takes 600 MiB for some seconds: what it starts counts as the checker's own."""
    command = {"command": sys.executable, "args": [str(STDIO / "hungry.py"), "600", "2"], "era": "session"}
    with Fleet(delay_s=0.25, ok=20) as rests:
        servers = [{"name": "hungry", "priority": "critical", "mcp": command}]
        servers += [{"name": f"s{number}", "rest": rests.urls()[number % 20]} for number in range(100)]
        limits = {"memory": "500MiB", "interval": "50ms", "queue_wait": "60s"}
        run = {"limits": limits, "workers": 1, "concurrency": 5, "pace": {"batch_size": 2}}
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"run": run, "servers": servers}))
        done = status("check", config, "--format", "json")
        seen = rests.seen()
    checks = json.loads(done.stdout)["checks"]
    assert sorted(check["server"] for check in checks) == sorted(one["name"] for one in servers)
    assert Counter(check["status"] for check in checks) == {"HEALTHY": 101}
    assert len(seen.asked_at_s) == 100, "each was called once"
    assert max(later - before for before, later in pairwise(seen.asked_at_s)) > 1.0, "nobody was called meanwhile"
    (used,) = ask("select * from resource_history")
    assert used["closed_ms"] > 1000
    assert (used["dropped"], used["most_waiting"] > 50) == (0, True), used
    alerts = ask("select resource from resource_alerts where level = 'hard'")
    assert {alert["resource"] for alert in alerts} == {"memory"}
    (counted,) = ask("select sum(counted) as checks from availability")
    assert counted["checks"] == 101 - sum(check["suspect"] for check in checks)


def test_checker_that_is_over_its_cpu_limit_waits_until_it_is_not_and_makes_all_checks(
    tmp_path: Path, ask: Callable[[str], list[dict[str, Any]]], status: Status
) -> None:
    """Starting takes more than 15% of the machine, so that it waits before the first check at the latest."""
    with Fleet(ok=20) as rests:
        limits = {"cpu_percent": 15, "interval": "100ms", "queue_wait": "60s"}
        servers = [{"name": f"s{number}", "rest": rests.urls()[number % 20]} for number in range(300)]
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"run": {"limits": limits, "workers": 2}, "servers": servers}))
        done = status("check", config, "--format", "json")
        asked = len(rests.seen().asked_at_s)
    checks = json.loads(done.stdout)["checks"]
    assert "checks wait: CPU of the checker" in done.stderr
    assert len({check["server"] for check in checks}) == len(checks) == asked == 300
    assert {check["status"] for check in checks} == {"HEALTHY"}
    (used,) = ask("select * from resource_history")
    assert used["closed_ms"] > 0
    assert (used["dropped"], used["most_waiting"]) == (0, 300)
    assert used["most_cpu_percent"] > 15


@pytest.mark.parametrize(
    ("resource", "limits"),
    [
        ("cpu", ResourceCaps(cpu_percent=80.0)),
        ("machine_memory", ResourceCaps(machine_memory_percent=80.0)),
        ("descriptors", ResourceCaps(descriptors_percent=80.0)),
        ("ports", ResourceCaps(ports_percent=80.0)),
    ],
)
def test_each_resource_closes_the_gate_at_its_limit_and_is_named(resource: str, limits: ResourceCaps) -> None:
    governor, shards, _ = governed(limits, 3)
    seen = []
    for value in (79.0, 81.0, 77.0, 70.0):
        governor._look(values(**{resource: value}))
        seen.append((shards.gate_open, governor.waits_for is not None))
    assert seen == [(True, False), (False, True), (False, True), (True, False)]
    _, alerts = governor.measured()
    assert {alert.resource for alert in alerts} == {resource}


def test_busy_machine_makes_checks_wait_and_all_are_made_when_it_is_not(
    tmp_path: Path, ask: Callable[[str], list[dict[str, Any]]]
) -> None:
    if os.environ.get("CI") != "true" and psutil.cpu_percent(1.0) > 75:
        pytest.skip("the machine is busy with something else, and will be when this test has stopped to keep it busy")
    with RestServer({"/": Scripted()}) as rest:
        # 99: other tests may keep the machine busy as well, but not without a pause
        limits = {"machine_cpu_percent": 99, "interval": "200ms", "queue_wait": "300s"}
        config = fleet(tmp_path / "fleet.yaml", rest.url("/"), 100, limits)
        command = [sys.executable, "-m", "checker", "check", str(config), "--format", "json"]
        environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "history.db")}
        with busy_machine():
            run = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            assert run.stderr is not None
            said = run.stderr.readline()
            asked_while_busy = len(rest.requests)
        try:
            stdout, _ = run.communicate(timeout=250)
        finally:
            run.kill()
            run.communicate()
    assert "checks wait: CPU of the machine" in said
    assert asked_while_busy == 0
    assert run.returncode in (0, 3)
    checks = json.loads(stdout)["checks"]
    assert len({check["server"] for check in checks}) == len(checks) == 100
    assert {check["status"] for check in checks} == {"HEALTHY"}
    assert len(rest.requests) == 100
    (used,) = ask("select closed_ms, dropped, most_waiting from resource_history")
    assert (used["dropped"], used["most_waiting"]) == (0, 100)
    assert used["closed_ms"] > 0


def test_overfull_queue_gives_up_the_lowest_priority_and_says_so(tmp_path: Path, status: Status) -> None:
    with RestServer({"/": Scripted()}) as rest:
        limits = {"memory": "10MiB", "queue_size": 8, "queue_wait": "1s", "interval": "100ms"}
        done = status("check", fleet(tmp_path / "fleet.yaml", rest.url("/"), 50, limits), "--format", "json")
    checks = {check["server"]: check for check in json.loads(done.stdout)["checks"]}
    assert len(checks) == 50
    overfull = {name for name, check in checks.items() if "more than 8 servers waited" in check["detail"]}
    assert len(overfull) == 42
    assert not overfull & {f"s{number}" for number in range(5)}, "critical servers wait to the last"


def test_ctrl_c_ends_a_run_that_waits(tmp_path: Path) -> None:
    with RestServer({"/": Scripted()}) as rest:
        config = fleet(tmp_path / "fleet.yaml", rest.url("/"), 50, {"memory": "10MiB", "interval": "100ms"})
        environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "history.db")}
        command = [sys.executable, "-m", "checker", "check", str(config)]
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        assert run.stderr is not None
        assert "checks wait" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
        run.stderr.close()


def test_what_a_late_worker_found_is_suspect_and_not_counted(
    tmp_path: Path, ask: Callable[[str], list[dict[str, Any]]]
) -> None:
    """The worker is stopped and continued while every check is under way: its loop is late, the servers are not."""
    with RestServer({"/": Scripted(delay_s=0.4, status=503)}) as rest:
        config = fleet(tmp_path / "fleet.yaml", rest.url("/"), 10, {"lag": "200ms"}, workers=1)
        environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "history.db")}
        command = [sys.executable, "-m", "checker", "check", str(config), "--format", "json"]
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + 30
        while len(rest.requests) < 10 and time.monotonic() < until:
            time.sleep(0.01)
        (worker,) = psutil.Process(run.pid).children()
        worker.suspend()
        time.sleep(0.5)  # how late the loop is to be
        worker.resume()
        stdout, _ = run.communicate(timeout=60)
    document = json.loads(stdout)
    assert {(check["status"], check["suspect"]) for check in document["checks"]} == {("UNHEALTHY", True)}
    assert document["run"]["suspect"] == 10
    assert set(document["run"]["counts"].values()) == {0}
    assert run.returncode == 3, "nothing is known of a server that a late worker found to be bad"
    (row,) = ask("select suspect, unhealthy, servers_checked from run_history")
    assert row == {"suspect": 10, "unhealthy": 0, "servers_checked": 10}
    assert {(one["counted"], one["availability_ratio"]) for one in ask("select * from availability")} == {(0, None)}


def governed(limits: ResourceCaps, servers: int) -> tuple[Governor, Shards, list[Batch]]:
    given_up: list[Batch] = []
    shards = Shards([Shard((server(f"s{number}"),)) for number in range(servers)])
    return Governor(limits, shards, MetricsCollector(), given_up.append), shards, given_up


def values(**given: float) -> dict[str, float]:
    return {"cpu": 0.0, "memory": 0, "machine_cpu": 0.0, "machine_memory": 0.0, "ports": 0.0, **given}


def test_level_is_left_below_its_threshold_only() -> None:
    governor, shards, _ = governed(ResourceCaps(machine_cpu_percent=50.0), 3)
    seen = []
    for value in (39, 41, 51, 49, 48, 47, 60, 30):
        governor._look(values(machine_cpu=float(value)))
        seen.append(shards.gate_open)
    assert seen == [True, True, False, False, False, True, False, True]
    measures, alerts = governor.measured()
    assert measures is not None
    assert [alert.level for alert in alerts] == ["warning", "hard", "hard"]
    assert (measures.warnings, measures.samples, measures.most_machine_cpu_percent) == (1, 8, 60.0)


def test_ports_come_from_what_workers_report() -> None:
    collector = MetricsCollector()
    for pid, ports in ((1, 5), (2, 70)):
        worker = WorkerMeasures(worker=0, pid=pid, ports_at_busiest_origin=ports)
        collector.take(WorkerReport(worker=worker))
    assert (collector.ports_at_busiest_origin, collector.workers) == (70, [1, 2])


def test_dropping_keeps_the_beginning_of_the_order() -> None:
    shards = Shards([Shard(tuple(server(f"{shard}{place}") for place in range(4))) for shard in "abc"])
    assert [one.name for one in shards.drop(6)] == ["c0", "c1", "c2", "c3", "b2", "b3"]
    assert shards.waiting == 6
    left = [one.name for _ in range(2) if (shard := shards.take(0)) for one in shard.servers]
    assert left == ["a0", "a1", "a2", "a3", "b0", "b1"]


def test_closed_gate_deals_nothing_and_keeps_runners() -> None:
    shards = Shards([Shard((server(),))])
    shards.open_gate(False)
    assert shards.take(0) is None
    assert shards.held_back
    shards.stop()
    assert not shards.held_back


def test_looking_does_not_hold_up_the_caller() -> None:
    governor, shards, _ = governed(ResourceCaps(interval=0.05), 1)
    before = threading.active_count()
    governor.start()
    governor.wait_for_first_look()
    assert (threading.active_count(), shards.gate_open) == (before + 1, True)
    governor.end()
