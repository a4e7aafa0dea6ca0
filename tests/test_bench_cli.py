"""`mcp-status bench` as a user calls it: exit codes, what is stored, what is printed, what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT
from servers import McpServer, RestServer, Scripted

Status = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("-d", "1s", "--warm-up", "0s", "--no-calibrate", "--rate", "40")


def quick(status: Status, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    return status("bench", "quick", url, *QUICK, *more)


def test_a_run_is_played_stored_reported_listed_and_played_again(status: Status, tmp_path: Path) -> None:
    with RestServer() as server:
        first = quick(status, server.url(), "-t", "p(95)<5000", "--output-dir", str(tmp_path / "out"), "--also", "json")
        again = status("bench", "rerun", "--live", "off")
    assert "1 of 1 thresholds hold" in first.stdout or "INVALID" in first.stdout, first.stderr
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["run"]["name"].startswith("127.0.0.1"), sorted(document)
    assert "run 2: " in again.stdout, again.stderr
    listed = json.loads(status("bench", "list", "--format", "json").stdout)
    assert [row["benchmark_id"] for row in listed] == [2, 1]
    reported = status("bench", "report", "1", "--format", "markdown")
    assert reported.returncode == 0
    assert "1 of 1 thresholds hold" in reported.stdout or "INVALID" in reported.stdout
    sql = status("sql", "select offered, ok from benchmark_series where benchmark_id = 1", "--format", "json")
    assert json.loads(sql.stdout)[0] == {"offered": 40, "ok": 40}


def test_the_first_run_of_a_plan_is_reported_although_there_is_nothing_to_compare_it_with(status: Status) -> None:
    with RestServer() as server:
        done = quick(status, server.url(), "--compare", "last-good", "--fail-on-regression")
    assert done.returncode in (0, 3), done.stderr
    assert "not compared: " in done.stderr
    assert "run 1: " in done.stdout


def test_a_broken_threshold_is_exit_code_99(status: Status) -> None:
    with RestServer({"/health": Scripted(status=500)}) as server:
        done = quick(status, server.url(), "-t", "failed:rate<0.01", "--no-store")
    assert done.returncode == 99, done.stderr
    assert done.stdout.startswith(("FAILED", "INVALID"))
    assert "http_status 500" in done.stdout


def test_a_threshold_with_abort_ends_the_run_early(status: Status) -> None:
    with RestServer({"/health": Scripted(status=500)}) as server:
        began = time.monotonic()
        done = quick(status, server.url(), "-d", "60s", "-t", "failed:rate<0.01", "--abort", "--no-store")
    assert done.returncode == 99
    assert time.monotonic() - began < 30
    assert "threshold broken" in done.stdout


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://192.0.2.1/", "--allow-public 192.0.2.1"),
        ("http://169.254.169.254/latest/", "--allow-public 169.254.169.254"),
        ("http://0.0.0.0:80/", "0.0.0.0"),
    ],
)
def test_load_goes_nowhere_else_than_to_private_addresses(status: Status, url: str, said: str) -> None:
    done = quick(status, url)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr


def test_mistakes_are_one_message_and_exit_code_3(status: Status, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "name: x\nservers: [{name: a, rest: http://127.0.0.1:1/}]\nscenarios: {s: {operation: rest, rat: 5}}"
    )
    for arguments, said in (
        (("run", plan), 'did you mean "rate"?'),
        (("run", tmp_path / "none.yaml"), "none.yaml"),
        (("quick", "http://127.0.0.1:1/", "--operation", "fetch"), "--operation fetch: write one of rest"),
        (("quick", "http://127.0.0.1:1/", "-t", "p(95)<"), "--threshold"),
        (("quick", "http://127.0.0.1:1/", "--rate", "1", "--users", "1"), "give one of them"),
        (("quick", "http://127.0.0.1:1/", "--operation", "mcp_call"), "tool"),
        (("quick", "http://127.0.0.1:1/", "--compare", "last-good", "--no-store"), "--compare needs the database"),
        (("report", "7"), "no such database"),
        (("quick", "nowhere"), 'mcp-status: "nowhere" is not an http or https address'),
        (("quick", "http://127.0.0.1:1/", "--also", "html"), "name that with --output-dir"),
        (("quick", "http://127.0.0.1:1/", "--output", "/nonexistent/x"), "/nonexistent/x: no folder"),
        (("quick", "http://127.0.0.1:1/", "--compare", "release"), "no such database"),
    ):
        done = status("bench", *arguments)
        assert done.returncode == 3, (arguments, done.stderr)
        assert said in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_ctrl_c_ramps_down_stores_and_reports(tmp_path: Path) -> None:
    database = tmp_path / "history.db"
    with RestServer() as server:
        command = [sys.executable, "-m", "checker", "bench", "quick", server.url(), "--rate", "50", "-d", "1h"]
        command += ["--no-calibrate", "--db", str(database)]
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 30
        while len(server.requests) < 60 and time.monotonic() < until:
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert "interrupted" in out
    listed = subprocess.run(
        [sys.executable, "-m", "checker", "bench", "list", "--format", "json", "--db", str(database)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [row["state"] for row in json.loads(listed.stdout)] == ["interrupted"]


def test_a_killed_run_keeps_what_it_had(tmp_path: Path) -> None:
    database = tmp_path / "history.db"
    with RestServer() as server:
        command = [sys.executable, "-m", "checker", "bench", "quick", server.url(), "--rate", "50", "-d", "1h"]
        command += ["--no-calibrate", "--warm-up", "0s", "--db", str(database)]
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while len(server.requests) < 150 and time.monotonic() < until:
            time.sleep(0.005)
        running.kill()
        running.wait()
        asked = len(server.requests)
    from storage.loadtests.read import bench_run

    run = bench_run(database, 1)
    assert run.state == "running"
    assert 40 <= sum(slot.offered for slot in run.slots) <= asked


def test_json_lines_are_one_object_a_second_on_standard_output(status: Status) -> None:
    with RestServer() as server:
        done = quick(status, server.url(), "-d", "2s", "--live", "json", "--no-store")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= 2
    assert lines[-1]["ok"] == 80


def test_a_plan_with_sessions_and_requests_side_by_side(status: Status, tmp_path: Path) -> None:
    with RestServer() as rest, McpServer() as mcp:
        plan = tmp_path / "plan.yaml"
        plan.write_text(
            f"""
name: both
servers: [{{name: shop, rest: "{rest.url()}", mcp: "{mcp.url()}"}}]
calibrate: false
scenarios:
  health: {{operation: rest, rate: 30, duration: 1s}}
  tools: {{operation: mcp_list, users: 2, duration: 1s, think_time: 50ms}}
thresholds:
  "response_time{{scenario:health}}": ["p(95)<5000"]
  failed: ["rate<0.01"]
"""
        )
        done = status("bench", "run", plan, "--format", "json")
        assert mcp.open_sessions == set()
    document = json.loads(done.stdout)
    assert {"health", "tools"} <= {row["scenario"] for row in document["series"]}
    assert len(rest.requests) == 30
    assert mcp.methods["tools/list"] > 10


def test_the_originals_scenarios_and_suite_are_played(status: Status, tmp_path: Path) -> None:
    with RestServer() as server:
        config = tmp_path / "config.yaml"
        config.write_text(
            f"""
servers: [{{name: shop, rest: "{server.url()}"}}]
benchmarking:
  output: {{directory: "{tmp_path / "out"}", formats: [csv, html], charts: {{enabled: false}},
    reports: {{include_charts: false, include_recommendations: false}}}}
  defaults: {{duration_seconds: 1, warmup_duration: 0, cooldown_duration: 0, iterations: 1}}
  scenarios: {{light_load: {{concurrent_users: 2, duration_seconds: 1, ramp_up_seconds: 0}}}}
"""
        )
        done = status("bench", "run", config, "--scenario", "light_load", "--no-calibrate", "--format", "csv")
    assert "light_load" in done.stdout, done.stderr
    assert "closed model" in done.stderr
    assert len(server.requests) > 20
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["report.html", "stages.csv"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Recommendations" not in page
    assert "<figure" not in page


def test_a_stress_test_finds_where_a_server_breaks(status: Status, tmp_path: Path) -> None:
    with RestServer({"/health": Scripted(delay_s=0.02)}) as server:
        plan = tmp_path / "plan.yaml"
        plan.write_text(
            f"""
name: small
servers: [{{name: shop, rest: "{server.url()}"}}]
calibrate: false
stress: {{model: closed, start: 2, factor: 2, maximum: 4, level_duration: 1s, p99: 10ms, recovery: 0s, precision: 0.5}}
"""
        )
        done = status("bench", "run", plan, "--format", "json")
    found = json.loads(done.stdout)["capacity"]
    assert found["first_bad"] is not None, done.stdout[:2000]
    assert found["last_good"] is None


def test_a_database_that_is_being_written_to_holds_up_no_load(status: Status, tmp_path: Path) -> None:
    from storage.sqlite_driver import driver

    database = tmp_path / "history.db"
    with RestServer() as server:
        quick(status, server.url())
        holder = driver().connect(str(database), isolation_level=None, check_same_thread=False)

        def hold() -> None:
            while len(server.requests) < 50:
                time.sleep(0.005)
            holder.execute("begin immediate")
            while len(server.requests) < 110:
                time.sleep(0.005)
            holder.execute("rollback")

        holding = threading.Thread(target=hold)
        holding.start()
        done = quick(status, server.url(), "-d", "2s", "-v")
        holding.join()
        holder.close()
    assert done.returncode in (0, 3), done.stderr
    rows = status("sql", "select ok from benchmark_series where benchmark_id = 2", "--format", "json").stdout
    assert json.loads(rows)[0] == {"ok": 80}


def test_a_run_that_cannot_be_stored_is_reported_all_the_same(status: Status, tmp_path: Path) -> None:
    from storage.sqlite_driver import driver

    with RestServer() as server:
        quick(status, server.url())

        def spoil() -> None:
            while len(server.requests) < 50:
                time.sleep(0.005)
            with driver().connect(str(tmp_path / "history.db")) as connection:
                connection.execute("drop table bench_slots")

        spoiling = threading.Thread(target=spoil)
        spoiling.start()
        done = quick(status, server.url(), "-d", "2s")
        spoiling.join()
    assert done.returncode == 3
    assert "not stored: " in done.stderr
    assert "80" in done.stdout
