"""The scripts that start servers: the demo fleet is what its configuration says, and nothing outlives a script.

The README's commands are here because it needs the fleet's fixed ports, which one file at a time may have.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

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


class Command(NamedTuple):
    """A command of the README, with the lines of its here-document."""

    text: str
    code: int
    """The exit code that its comment tells, else 0."""
    is_in_second_terminal: bool


def readme_commands() -> list[Command]:
    """Every command of the README, in order."""
    found = []
    parts = re.split(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    for words, block in zip(parts[::2], parts[1::2], strict=False):
        is_second = "In a second terminal" in words.strip().splitlines()[-1]
        for text in commands_of(block):
            code = re.search(r"#.*exit code (\d+):", text)
            found.append(Command(text, int(code[1]) if code else 0, is_second))
    return found


def commands_of(block: str) -> Iterator[str]:
    """The commands of a block: a line each, or all lines of a here-document."""
    lines = iter(block.splitlines())
    for line in lines:
        text, end = line, re.search(r"<<'(\w+)'", line)
        while end and text.splitlines()[-1] != end[1]:
            text += "\n" + next(lines)
        yield text


class Terminal:
    """A shell to which commands are given one after the other, as somebody would type them."""

    def __init__(self, folder: Path, environment: dict[str, str], errors: IO[str]) -> None:
        script, self._commands = os.pipe()
        # the commands come by a pipe of their own: what they start has no standard input
        self._shell = subprocess.Popen(
            ["bash", f"/dev/fd/{script}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(script,),
            text=True,
        )
        os.close(script)

    def run(self, command: str) -> tuple[str, int]:
        """What the command prints, and its exit code."""
        os.write(self._commands, f"{command}\necho 'ended with' $?\n".encode())
        printed = []
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            if ended := re.fullmatch(r"(.*)ended with (\d+)\n", line, re.DOTALL):
                return "".join([*printed, ended[1]]), int(ended[2])
            printed.append(line)
        raise AssertionError(f"the shell ended in: {command}")

    def close(self) -> None:
        os.close(self._commands)
        assert self._shell.stdout is not None
        self._shell.stdout.close()
        self._shell.wait(20)


def fresh_clone(folder: Path) -> Path:
    """A copy of the project where nothing was run yet, but for .venv: its packages are those of the tests.

    What scripts/quickstart would download for it is for `scripts/test`, which made this one in the same way.
    """
    made_here = (".git", ".venv*", "demo", "*.egg-info", ".*_cache", ".hypothesis", "*.pyc.*", "*.db")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*made_here))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (packages,) = folder.glob(".venv/lib/python*/site-packages")
    (packages / "project.pth").write_text(f"{folder}\n{sysconfig.get_path('purelib')}\n")
    command = folder / ".venv" / "bin" / "mcp-status"
    command.write_text(f"#!{folder}/.venv/bin/python\nfrom checker.__main__ import main\nmain()\n")
    command.chmod(0o755)
    stamped = 'set -e; . scripts/venv.sh; python=$(find_python); stamp "" >.venv/.installed'
    subprocess.run(["sh", "-c", stamped, "scripts/test"], cwd=folder, check=True)
    return folder


@pytest.mark.timeout(400)
def test_every_command_of_the_readme_runs_as_it_is_written_in_a_fresh_clone(tmp_path: Path) -> None:
    need("python-sdk-1", "python-sdk-2")
    need_fleet_ports()
    environment = {**os.environ, "PYTHON": sys.executable}
    environment["PATH"] = os.pathsep.join(
        one for one in environment["PATH"].split(os.pathsep) if Path(one) != Path(sys.executable).parent
    )
    environment.pop("MCP_STATUS_DB", None)
    clone = fresh_clone(tmp_path / "clone")
    commands, found = readme_commands(), []
    with (tmp_path / "errors").open("w+") as errors, ExitStack() as stack:
        terminal = Terminal(clone, environment, errors)
        stack.callback(terminal.close)
        for command in commands:
            if command.is_in_second_terminal:
                words = [str(clone / command.text)]
                second = subprocess.Popen(words, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True)
                stack.enter_context(second)
                stack.callback(second.terminate)
                assert first_line(second) == "ready"
                code = 0
            else:
                printed, code = terminal.run(command.text)
                if command.text.startswith("mcp-status bench quick") and code == 3 and "INVALID" in printed:
                    code = 0  # the machine was too busy to make the load
            found.append(command._replace(code=code))
        errors.seek(0)
        assert found == commands, errors.read()
    assert commands[0].text.startswith("scripts/quickstart ")
    assert len(commands) > 25
    made = {path.name for path in (clone / "demo").iterdir()}
    assert made >= {"history.db", "imported.yaml", "fleet.yaml", "incidents.html", "site", "load-test.html"}


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


def python_scripts() -> list[Path]:
    files = [one for one in (ROOT / "scripts").iterdir() if one.is_file() and not one.suffix]
    return [one for one in sorted(files) if "python" in one.read_text().splitlines()[0]]


def test_script_without_its_packages_says_so_in_a_sentence() -> None:
    def run(script: Path) -> tuple[str, int, str]:
        command = [sys.executable, "-S", "-E", str(script), "--help"]  # -S: without what is installed
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return script.name, done.returncode, done.stderr

    with ThreadPoolExecutor(2) as executor:
        found = list(executor.map(run, python_scripts()))
    assert {name for name, code, _ in found if code == 0} >= {"fleet", "mcp_servers"}, "they need no package"
    assert len(found) > 15
    for name, code, said in found:
        if code:
            assert re.fullmatch(rf"{name}: \w+ is not installed for .*; run scripts/test once, .*\n", said), said
