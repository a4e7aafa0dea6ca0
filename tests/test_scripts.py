"""The scripts that start servers: the demo fleet is what its configuration says, and nothing outlives a script.

The README's tour is here because it needs the fleet's fixed ports, which one file at a time may have.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from conftest import ROOT, missing
from real_servers import COMPONENTS, SERVERS, folder_of, free_port, is_free

DEMO = ROOT / "config" / "demo.yaml"
NOT_HEALTHY = {
    "half of it down": ("DEGRADED", "http_status"),
    "protected": ("DEGRADED", "auth_required"),
    "busy queue": ("DEGRADED", "condition_failed"),
    "slow service": ("DEGRADED", "slow"),
    "tool is gone": ("UNHEALTHY", "mcp_missing_tool"),
    "web page instead of MCP": ("UNHEALTHY", "mcp_not_jsonrpc"),
    "tools cannot be listed": ("UNHEALTHY", "mcp_error"),
    "protocol of 1999": ("UNHEALTHY", "mcp_version"),
    "never answers": ("UNHEALTHY", "first_byte_timeout"),
    "a byte a second": ("UNHEALTHY", "deadline"),
    "not HTTP at all": ("UNHEALTHY", "http_malformed"),
    "nobody listens": ("UNHEALTHY", "connect_refused"),
}


@contextmanager
def started(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, text=True, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=20)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def need(*components: str) -> None:
    for name in components:
        if not (folder_of(COMPONENTS[name]) / ".installed").exists():
            missing(f"{name} is not installed")


def need_fleet_ports() -> None:
    if not all(is_free(port) for port in (18101, 18102, 18103, 18104, 18105, 18106, 18201, 18202, 18203, 18204)):
        missing("a port of the fleet is taken")


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_fleet_is_what_the_demo_configuration_says_and_ends_with_its_input(status: Any) -> None:
    need("python-sdk-1", "python-sdk-2")
    need_fleet_ports()
    with started("fleet", "--until-eof") as fleet:
        assert first_line(fleet) == "ready"
        children = psutil.Process(fleet.pid).children(recursive=True)
        done = status("check", DEMO, "--format", "json")
        fleet.communicate(timeout=20)  # closes the script's input
        assert fleet.returncode == 0
    assert done.returncode == 2, done.stderr
    found = {check["server"]: (check["status"], check["reason"]) for check in json.loads(done.stdout)["checks"]}
    configured = yaml.safe_load(DEMO.read_text())["servers"]
    healthy = {server["name"]: ("HEALTHY", None) for server in configured if server["tags"] == ["healthy"]}
    assert found == {**healthy, **NOT_HEALTHY}
    assert len(children) == 2
    assert not any(child.is_running() for child in children)


def tour() -> list[tuple[str, int]]:
    """The commands of the README's tour, each with the exit code that its comment tells, else 0."""
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## Tour\n")
    blocks = re.findall(r"```sh\n(.*?)```", rest.partition("\n## ")[0], re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    codes = [re.search(r"#.*exit code (\d+):", line) for line in lines]
    return [(line, int(code[1]) if code else 0) for line, code in zip(lines, codes, strict=True)]


@pytest.mark.timeout(400)
def test_every_command_of_the_tour_runs_as_it_is_written(tmp_path: Path) -> None:
    need("python-sdk-1", "python-sdk-2")
    need_fleet_ports()
    for name in ("config", "scripts", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "demo").mkdir()  # as scripts/quickstart leaves it
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("MCP_STATUS_DB", None)
    commands = tour()
    script = "\n".join(f"{line}\necho 'ended {number}' $?" for number, (line, _) in enumerate(commands))
    with started("fleet", "--until-eof") as fleet:
        assert first_line(fleet) == "ready"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=380,
        )
    parts = re.split(r"^ended \d+ (\d+)\n", done.stdout, flags=re.MULTILINE)
    found = []
    for (line, _), printed, code in zip(commands, parts[::2], parts[1::2], strict=False):
        client_was_busy = line.startswith("mcp-status bench quick") and code == "3" and "INVALID" in printed
        found.append((line, 0 if client_was_busy else int(code)))
    assert found == commands, done.stderr
    assert len(commands) > 20
    made = {path.name for path in (tmp_path / "demo").iterdir()}
    assert made >= {"history.db", "fleet.yaml", "incidents.html", "site", "load-test.html"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_started_server_with_its_script(number: signal.Signals) -> None:
    need("python-sdk-1")
    port = free_port()
    with started("mcp_servers", "start", "python-1", str(port)) as script:
        assert first_line(script) == f"python-1: http://127.0.0.1:{port}/mcp"
        children = psutil.Process(script.pid).children()
        script.send_signal(number)
        assert script.wait(20) == 128 + number
    assert len(children) == 1
    assert not children[0].is_running()
    assert is_free(port)


def test_fleet_names_the_port_that_is_taken() -> None:
    need_fleet_ports()
    with socket.create_server(("127.0.0.1", 18202)), started("fleet") as fleet:
        _, error = fleet.communicate(timeout=20)
    assert (fleet.returncode, error) == (
        1,
        "fleet: port 18202 is taken; end what listens there, perhaps another fleet\n",
    )


def test_server_is_not_taken_for_another_that_has_its_port() -> None:
    need("python-sdk-1")
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), started("mcp_servers", "start", "python-1", str(port)) as script:
        _, error = script.communicate(timeout=20)
    assert script.returncode == 1
    assert f"port {port} is taken" in error


@pytest.mark.parametrize("name", [server.name for server in SERVERS.values() if COMPONENTS[server.component].node])
def test_real_server_listens_on_loopback_alone(name: str) -> None:
    need(SERVERS[name].component)
    port = free_port()
    with started("mcp_servers", "start", name, str(port)) as script:
        assert first_line(script).startswith(f"{name}: ")
        (child,) = psutil.Process(script.pid).children()
        until, listening = time.monotonic() + 5, set()
        while not listening and time.monotonic() < until:
            listening = {one.laddr.ip for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}


def test_install_names_the_components_there_are() -> None:
    with started("mcp_servers", "install", "python-sdk-9") as script:
        _, error = script.communicate(timeout=20)
    assert script.returncode == 2
    assert "no component python-sdk-9; there are python-sdk-2, " in error
