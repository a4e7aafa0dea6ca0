"""Workers killed, stopped and orphaned for real: every server is answered once, and no process stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from checker.limits import Limits
from checker.model import Batch, Server
from checker.probes.rest import RestOptions
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from conftest import workers_of
from servers import McpServer, RestServer, Scripted

ROOT = Path(__file__).resolve().parent.parent


def wait_for(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def slow_fleet(url: str, count: int) -> list[Server]:
    return [Server(name=f"s{number:04}", probes={"rest": RestOptions(url=url)}) for number in range(count)]


class Run:
    """A run of one worker in a thread, with what came out of it."""

    def __init__(self, servers: list[Server], **options: Any) -> None:
        self.batches: list[Batch] = []
        self.shards = Shards([Shard(tuple(servers[start : start + 20])) for start in range(0, len(servers), 20)])
        self.options = RunnerOptions(limits=Limits(concurrency=20, per_origin=20, **options))
        self.thread = threading.Thread(target=lambda: run_shards(self.shards, self.batches.append, self.options))
        self.thread.start()

    def worker(self) -> psutil.Process:
        found: psutil.Process = wait_for(lambda: workers_of())[-1]
        return found

    def names(self) -> Counter[str]:
        return Counter(check.server for batch in self.batches for check in batch.checks)

    def reasons(self) -> Counter[str | None]:
        return Counter(check.reason for batch in self.batches for check in batch.checks)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_worker_is_replaced_and_its_servers_are_checked_again(how: signal.Signals) -> None:
    with RestServer({"/slow": Scripted(delay_s=0.2)}) as server:
        run = Run(slow_fleet(server.url("/slow"), 200))
        wait_for(lambda: run.batches)
        run.worker().send_signal(how)
        run.thread.join(60)
    assert set(run.names().values()) == {1}
    assert len(run.names()) == 200
    assert run.reasons() == {None: 200}
    assert any(check.tries == 2 for batch in run.batches for check in batch.checks)
    assert not workers_of()


def test_silent_worker_is_replaced() -> None:
    with RestServer({"/slow": Scripted(delay_s=0.2)}) as server:
        run = Run(slow_fleet(server.url("/slow"), 100), heartbeat_timeout=3.0)
        wait_for(lambda: run.batches)
        run.worker().send_signal(signal.SIGSTOP)
        run.thread.join(60)
    assert (len(run.names()), set(run.names().values()), run.reasons()) == (100, {1}, {None: 100})


def test_servers_that_lose_two_workers_by_chance_are_answered_all_the_same() -> None:
    with RestServer({"/slow": Scripted(delay_s=3.0)}) as server:
        run = Run(slow_fleet(server.url("/slow"), 10))
        for asked in (10, 20):  # all ten are under way, then in one worker, after that in those of the quarantine
            wait_for(lambda asked=asked: len(server.requests) == asked)
            run.worker().kill()
        run.thread.join(60)
    assert (len(run.names()), set(run.names().values())) == (10, {1})
    assert run.reasons() == {None: 10}
    assert {check.tries for batch in run.batches for check in batch.checks} == {2, 3}


def test_slow_shard_does_not_hold_the_others() -> None:
    """Twenty servers of 3 s come first; the hundred fast ones behind them are done long before."""
    with RestServer({"/slow": Scripted(delay_s=3.0)}) as server:
        fast = [Server(name=f"f{number}", probes={"rest": RestOptions(url=server.url())}) for number in range(100)]
        run = Run([*slow_fleet(server.url("/slow"), 10), *fast])
        wait_for(lambda: len(run.names()) >= 100)
        assert {name[0] for name in run.names()} == {"f"}
        run.thread.join(60)
    assert len(run.names()) == 110


def test_results_stream_while_the_run_goes_on() -> None:
    with RestServer({"/slow": Scripted(delay_s=0.3)}) as server:
        run = Run(slow_fleet(server.url("/slow"), 100))
        wait_for(lambda: run.batches)
        assert run.thread.is_alive()
        run.thread.join(60)
    assert len(run.batches) > 2


def start_check(tmp_path: Path, servers: list[dict[str, Any]], *arguments: str) -> subprocess.Popen[bytes]:
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump({"servers": servers}))
    command = [sys.executable, "-m", "checker", "check", str(config), "--db", str(tmp_path / "h.db")]
    command += ["--format", "json", *arguments]
    with (tmp_path / "out.json").open("w") as out, (tmp_path / "err.txt").open("w") as err:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err, start_new_session=True)


def test_interrupt_keeps_what_is_done_and_ends_sessions(tmp_path: Path) -> None:
    with McpServer(delay_s={"tools/list": 0.5}) as server:
        fleet = [{"name": f"m{number}", "mcp": {"url": server.url(), "era": "session"}} for number in range(300)]
        process = start_check(tmp_path, fleet, "--workers", "2", "--concurrency", "40")
        wait_for(lambda: server.methods["DELETE"] > 10)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
        assert server.opened > 0
        assert not server.open_sessions
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["run"]["state"] == "interrupted"
    assert 0 < document["run"]["servers_checked"] == len(document["checks"]) < 300
    assert "Traceback" not in (tmp_path / "err.txt").read_text()


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with McpServer(delay_s={"tools/list": 1.0}) as server:
        fleet = [{"name": f"m{number}", "mcp": {"url": server.url(), "era": "session"}} for number in range(300)]
        process = start_check(tmp_path, fleet, "--workers", "2", "--concurrency", "40")
        wait_for(lambda: server.opened > 5)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=2.0)
        # one that has ended may wait for the system's first process to take note of it
        assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
        wait_for(lambda: not server.open_sessions, within_s=5)


def test_run_killed_with_its_parent_keeps_its_rows_and_the_next_one_works(tmp_path: Path, status: Any) -> None:
    database = tmp_path / "h.db"
    with RestServer({"/slow": Scripted(delay_s=0.05), "/held": Scripted(delay_s=20)}) as server:
        paths = ["/slow"] * 200 + ["/held"] * 200  # so that it cannot end before it is killed
        fleet = [{"name": f"r{number}", "rest": server.url(path)} for number, path in enumerate(paths)]
        process = start_check(tmp_path, fleet, "--workers", "1", "--concurrency", "10")
        count = ["sql", "select count(*) as n from check_history", "--format", "json", "--db", database]
        wait_for(lambda: database.exists() and '"n": 0' not in (status(*count).stdout or '"n": 0'))
        process.kill()
        process.wait()
        kept = json.loads(status(*count).stdout)[0]["n"]
        intact = json.loads(status("sql", "pragma integrity_check", "--format", "json", "--db", database).stdout)
        again = status("check", "--rest", server.url(), "--db", database)
    assert 0 < kept < 400
    assert intact == [{"integrity_check": "ok"}]
    assert again.returncode == 0, again.stderr
    states = status("sql", "select state from run_history order by run_id", "--format", "csv", "--db", database).stdout
    assert states.split() == ["state", "abandoned", "finished"]


def test_every_server_has_one_row_whatever_is_killed(tmp_path: Path) -> None:
    """Two workers, both killed in turn in the middle of 600 REST and 150 MCP checks."""
    with RestServer({"/slow": Scripted(delay_s=0.02)}) as rest, McpServer() as mcp:
        fleet: list[dict[str, Any]] = [{"name": f"r{number}", "rest": rest.url("/slow")} for number in range(600)]
        fleet += [{"name": f"m{number}", "mcp": mcp.url()} for number in range(150)]
        process = start_check(tmp_path, fleet, "--workers", "2", "--concurrency", "40")
        for asked in (60, 200):
            wait_for(lambda asked=asked: len(rest.requests) > asked)
            for worker in workers_of(process.pid)[:1]:
                worker.kill()
        process.wait(90)
    document = json.loads((tmp_path / "out.json").read_text())
    names = [check["server"] for check in document["checks"]]
    assert (len(names), len(set(names))) == (750, 750)
    assert document["run"]["state"] == "finished"


def test_worker_refuses_to_patch_too_late(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import ssl\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "checker.worker"], env=environment, capture_output=True, text=True, check=False, input=""
    )
    assert done.returncode == 4
    assert "ssl was imported before" in done.stderr


def test_patch_reads_no_metadata_and_plugins_of_gevent_still_load() -> None:
    code = """
import sys, gevent.events
told = []
gevent.events.subscribers.append(lambda event: told.append(type(event).__name__))
from checker.processes.monkey_patching import patch
patch("x")
print("importlib.metadata" in sys.modules)
import gevent
print("GeventDidPatchAllEvent" in told, type(gevent.get_hub().resolver).__module__)
"""
    environment = {**os.environ, "GEVENT_RESOLVER": "block"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue gevent.resolver.blocking\n"


def test_full_pipe_does_not_stop_the_hub() -> None:
    """A parent that does not read for two seconds must not make healthy servers look slow."""
    with RestServer() as server:
        shards = Shards([Shard(tuple(slow_fleet(server.url(), 3000)))])
        slow = threading.Event()
        found: list[int] = []

        def sink(batch: Batch) -> None:
            if not slow.is_set():
                slow.set()
                time.sleep(2)
            found.extend(check.duration_us for check in batch.checks)

        run_shards(shards, sink, RunnerOptions(limits=Limits(concurrency=10, per_origin=10)))
    assert len(found) == 3000
    assert max(found) < 1_000_000
