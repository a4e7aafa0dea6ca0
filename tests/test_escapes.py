"""Whatever a program has started, and however it hid that, is gone after its check, and after the checker's own end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from checker.model import Server
from checker.probes.mcp.options import McpOptions
from conftest import ROOT, check_all, workers_of

SCRIPT = ROOT / "tests" / "data" / "stdio" / "escapes.py"
WAYS = ("daemon", "bare", "deaf", "storm", "comet", "bomb", "subreaper", "in_supervisors_group")
REBELS = ("kills_supervisor", "stops_supervisor", "stops_keeper", "kills_keeper", "orphan_of_ended")
"""These end what watches over them, or themselves: no answer is owed to them."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what leaves its process group is left")


def marked(mark: str) -> dict[int, str]:
    """The command lines that carry the mark, by process id, of processes that run."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if mark in line and "checker" not in line:
                found[int(entry.name)] = line
    return found


def escape(way: str, mark: str, name: str = "") -> Server:
    options = McpOptions(
        command=sys.executable, args=(str(SCRIPT), way, mark), timeout=20.0, shutdown_timeout=0.3, era="session"
    )
    return Server(name=name or way, probes={"mcp": options})


def until(holds: Callable[[], object], within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("way", [*WAYS, *REBELS])
def test_nothing_is_left_of_a_program_after_its_check(way: str) -> None:
    mark = f"escape-{uuid.uuid4().hex}"
    check = check_all([escape(way, mark)])[way]
    assert marked(mark) == {}
    if way in WAYS:
        assert check.status == "HEALTHY", (check.reason, check.detail, check.probes[0].stderr_tail)
    else:
        assert check.status in ("HEALTHY", "UNHEALTHY")


def test_all_of_them_side_by_side_do_not_harm_the_others() -> None:
    mark = f"escape-{uuid.uuid4().hex}"
    ways = [*WAYS, *REBELS]
    speaks = McpOptions(command=sys.executable, args=(str(SCRIPT.with_name("speaks.py")),), timeout=30.0)
    proper = [Server(name=f"proper{number}", probes={"mcp": speaks}) for number in range(13)]
    rebels = [escape(way, mark) for way in ways]
    checks = check_all([server for pair in zip(proper, rebels, strict=True) for server in pair])
    assert {checks[server.name].status for server in proper} == {"HEALTHY"}
    assert marked(mark) == {}


@pytest.mark.parametrize("victim", ["parent", "worker", "both"])
def test_nothing_is_left_when_the_checker_is_killed(victim: str, tmp_path: Path) -> None:
    mark = f"escape-{uuid.uuid4().hex}"
    hang = str(SCRIPT.with_name("forks.py"))
    servers = [
        {"name": way, "mcp": {"command": sys.executable, "args": [str(SCRIPT), way, mark, "silent"]}}
        for way in ("bare", "deaf", "storm", "subreaper")
    ]
    servers.append({"name": "hangs", "mcp": {"command": sys.executable, "args": [hang, "silent", mark]}})
    for server in servers:
        server["mcp"]["timeout"] = "100s"  # type: ignore[index] # it is a mapping; they are there when it happens
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump({"run": {"workers": 1}, "servers": servers}))
    environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "h.db")}
    process = subprocess.Popen(
        [sys.executable, "-m", "checker", "check", str(config), "--quiet"], cwd=ROOT, env=environment
    )
    try:
        until(lambda: len(marked(mark)) > 100)
        before = set(marked(mark))
        (worker,) = workers_of(process.pid)
        if victim != "worker":
            process.kill()
        if victim != "parent":
            worker.kill()
        if victim == "both":
            process.wait(30)
        until(lambda: before.isdisjoint(marked(mark)), within_s=30)
    finally:
        process.kill()
        process.wait()
    until(lambda: marked(mark) == {})  # also what a run that went on has started again
