"""Servers over stdio: real ones judged right, faulty ones with their reason, and no process left of any."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from checker.limits import Limits
from checker.model import Batch, CheckResult, ProbeResult, Server
from checker.probes.mcp.options import Call, McpOptions
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from checker.units import Secret
from conftest import ROOT, check_all, missing, workers_of
from real_servers import STDIO, NotInstalled, stdio_command

SCRIPTS = ROOT / "tests" / "data" / "stdio"


def faulty(fault: str, **options: Any) -> Server:
    """The server that one of the scripts is; ``speaks`` is the proper one."""
    values: dict[str, Any] = {"command": sys.executable, "args": (str(SCRIPTS / f"{fault}.py"),), **options}
    return Server(name=fault, probes={"mcp": McpOptions(**{"timeout": 4.0, **values})})


def only(check: CheckResult) -> ProbeResult:
    (probe,) = check.probes
    return probe


def left_over() -> list[list[str]]:
    """Command lines of the scripts that a check has started, and of what they have started, that are still there."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        with suppress(psutil.Error):  # it has just ended
            # other tests start these scripts themselves
            if any(str(SCRIPTS) in word for word in line) and "MCP_STATUS_STARTED" in process.environ():
                found.append(line)
    return found


@pytest.mark.parametrize("name", STDIO)
def test_real_stdio_server_is_healthy(name: str, tmp_path: Path) -> None:
    try:
        program, *args = stdio_command(name)
    except NotInstalled as error:
        missing(str(error))
    if name == "git":
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        args += ["--repository", str(tmp_path)]
    server = Server(name=name, probes={"mcp": McpOptions(command=program, args=tuple(args), timeout=60.0)})
    probe = only(check_all([server])[name])
    assert (probe.status, probe.reason) == ("HEALTHY", None), (probe.detail, probe.stderr_tail)
    assert probe.mcp is not None
    assert probe.mcp.transport == "stdio"
    assert probe.mcp.tool_count
    assert probe.mcp.contract_digest
    assert "start" in probe.stages_us
    assert probe.stderr_tail is None


EXPECTED = {
    # fault: status, reason, part of the detail
    "speaks": ("HEALTHY", None, ""),
    "silent": ("UNHEALTHY", "first_byte_timeout", "within 4 s"),
    "garbage": ("UNHEALTHY", "mcp_not_jsonrpc", "Welcome to the server!"),
    "dies": ("UNHEALTHY", "process_exited", "exited with code 3"),
    "floods": ("UNHEALTHY", "body_too_large", "more than 10485760 bytes"),
    "noisy": ("HEALTHY", None, ""),
    "stderr_flood": ("HEALTHY", None, ""),
    "forks": ("HEALTHY", None, ""),
    "daemonizes": ("HEALTHY", None, ""),
    "stubborn": ("HEALTHY", None, ""),
    "asks": ("HEALTHY", None, ""),
    "crashes_on_discover": ("HEALTHY", None, ""),
    "no_reply_to_discover": ("HEALTHY", None, ""),
    "sessionless": ("HEALTHY", None, ""),
}


def test_faulty_stdio_servers_get_their_reason_and_leave_nothing() -> None:
    servers = [faulty(fault, shutdown_timeout=0.5) for fault in EXPECTED]
    start = time.monotonic()
    checks = check_all(servers)
    assert time.monotonic() - start < 25
    for fault, (_, reason, _) in EXPECTED.items():
        if only(checks[fault]).reason != reason:  # on a busy machine one may not have had its time among so many
            checks |= check_all([faulty(fault, shutdown_timeout=0.5)])
    for fault, (status, reason, detail) in EXPECTED.items():
        probe = only(checks[fault])
        assert (fault, probe.status, probe.reason) == (fault, status, reason), (probe.detail, probe.stderr_tail)
        assert detail in (probe.detail or "")
        assert probe.duration_us < 4_500_000
    assert only(checks["sessionless"]).mcp.era == "sessionless"  # type: ignore[union-attr] # it is HEALTHY
    assert only(checks["crashes_on_discover"]).mcp.era == "session"  # type: ignore[union-attr] # it is HEALTHY
    assert left_over() == []


def test_last_words_are_kept_without_the_secret() -> None:
    probe = only(check_all([faulty("dies", env={"SECRET_TOKEN": Secret("open-sesame")})])["dies"])
    assert probe.stderr_tail == "cannot open the database\nthe token was ***"


def test_command_that_is_not_there_is_told() -> None:
    probe = only(check_all([faulty("speaks", command="no-such-program-here")])["speaks"])
    assert (probe.status, probe.reason, probe.failed_stage) == ("UNHEALTHY", "process_start", "start")
    assert probe.detail == "no-such-program-here: no such program in PATH; install it, or write its path"


def test_environment_of_a_command_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "of-the-shell")
    probe = only(check_all([faulty("dies")])["dies"])
    assert "the token was not set" in (probe.stderr_tail or "")


def test_named_tool_is_called_and_judged() -> None:
    calls = (Call(tool="add", arguments={"a": 1}), Call(tool="absent"))
    probe = only(check_all([faulty("speaks", calls=calls)])["speaks"])
    assert (probe.status, probe.reason, probe.failed_stage) == ("UNHEALTHY", "mcp_missing_tool", "call")
    assert "call" in probe.stages_us


def test_fleet_of_commands_keeps_to_its_limit() -> None:
    servers = [faulty("speaks", shutdown_timeout=1.0) for _ in range(1)]
    servers = [Server(name=f"s{number}", probes=servers[0].probes) for number in range(60)]
    most = 0
    batches: list[Batch] = []

    def sink(batch: Batch) -> None:
        nonlocal most
        most = max(most, len(left_over()))
        batches.append(batch)

    limits = Limits(concurrency=100, per_origin=30, processes=4)
    run_shards(Shards([Shard(tuple(servers))]), sink, RunnerOptions(limits=limits))
    statuses = [check.status for batch in batches for check in batch.checks]
    assert len(statuses) == 60
    assert set(statuses) == {"HEALTHY"}
    assert 1 <= most <= 4
    assert left_over() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_are_gone_when_the_worker_is_killed(number: int, tmp_path: Path, status: Callable[..., Any]) -> None:
    config = tmp_path / "fleet.yaml"
    fault = "forks.py, silent" if number == signal.SIGTERM else "silent.py"
    config.write_text(
        f"servers:\n  - name: a\n    mcp: {{command: {sys.executable}, args: [{SCRIPTS}/{fault}], timeout: 60s,"
        f" calls: [{{tool: add}}]}}\n"
        f"  - name: b\n    mcp: {{command: {sys.executable}, args: [{SCRIPTS / 'silent'}.py], timeout: 5s}}\n"
    )
    environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "h.db")}
    command = [sys.executable, "-m", "checker", "check", str(config), "--quiet"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        _until(lambda: len(left_over()) >= 2)
        (worker,) = workers_of(process.pid)
        os.kill(worker.pid, number)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
    _until(lambda: left_over() == [])


def test_programs_are_gone_when_the_parent_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "fleet.yaml"
    config.write_text(
        f"servers:\n  - name: a\n"
        f"    mcp: {{command: {sys.executable}, args: [{SCRIPTS / 'silent'}.py], timeout: 60s}}\n"
    )
    environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "h.db")}
    process = subprocess.Popen(
        [sys.executable, "-m", "checker", "check", str(config), "--quiet"], cwd=ROOT, env=environment
    )
    _until(lambda: len(left_over()) >= 1)
    process.kill()
    process.wait()
    _until(lambda: left_over() == [], within_s=3)


def _until(holds: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, left_over()
        time.sleep(0.1)
