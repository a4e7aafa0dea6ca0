"""The stdio servers themselves: each does what its name says, seen by plain pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import psutil
import pytest

from conftest import missing
from real_servers import STDIO, NotInstalled, conformance_command, stdio_command

SCRIPTS = Path(__file__).parent / "data" / "stdio"
MODERN = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
REFUSED = {"error": {"code": -32601, "message": "no"}}


class Pipes:
    """A started server; `lines` are those of its standard output, None is their end."""

    def __init__(self, process: subprocess.Popen[str], stderr: Path) -> None:
        self.process, self._stderr = process, stderr
        self.lines: Queue[str | None] = Queue()
        self.asked: list[str] = []
        """Methods of the requests that came from the server."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError):  # closed while it is read
            for line in self.process.stdout:
                self.lines.put(line)
            self.lines.put(None)

    def write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def line(self, within_s: float = 30) -> str | None:
        return self.lines.get(timeout=within_s)

    def ask(self, number: int, method: str, params: Any = None, wrong: str = "", within_s: float = 30) -> Any:
        """The reply; what the server asks meanwhile is answered properly, but for the method ``wrong``."""
        self.write({"id": number, "method": method, "params": params or {}})
        while (line := self.line(within_s)) is not None:
            message = json.loads(line)
            if "method" in message and "id" in message:
                self.asked.append(message["method"])
                proper = (message["method"] == "ping") != (message["method"] == wrong)
                self.write({"id": message["id"], **({"result": {}} if proper else REFUSED)})
            elif message.get("id") == number and "method" not in message:
                return message.get("result", message.get("error"))
        raise AssertionError(f"closed without a reply; {self.stderr()[-500:]}")

    def tools(self, number: int = 3) -> list[str]:
        return [tool["name"] for tool in self.ask(number, "tools/list")["tools"]]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def stderr(self) -> str:
        return self._stderr.read_text()


@contextmanager
def started(folder: Path, command: list[str], **variables: str) -> Iterator[Pipes]:
    """Run a server with pipes; whatever it started is killed at the end, also what left its group."""
    mark = uuid.uuid4().hex
    stderr = folder / "stderr"
    with stderr.open("w") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "TEST_MARK": mark, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    pipes = Pipes(process, stderr)
    try:
        yield pipes
    finally:
        for stray in marked(mark):
            with suppress(psutil.NoSuchProcess):
                stray.kill()
        process.wait(10)
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr] # they are pipes


def marked(mark: str) -> list[psutil.Process]:
    """Processes that inherited the mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextmanager
def script(folder: Path, name: str, **variables: str) -> Iterator[Pipes]:
    with started(folder, [sys.executable, str(SCRIPTS / f"{name}.py")], **variables) as pipes:
        yield pipes


def family(pipes: Pipes) -> list[psutil.Process]:
    """The server and what it started."""
    return marked(psutil.Process(pipes.process.pid).environ()["TEST_MARK"])


def is_proper(pipes: Pipes) -> bool:
    """Whether it is a proper server of the session era from here on."""
    assert pipes.ask(1, "initialize", HELLO)["protocolVersion"] == "2025-11-25"
    pipes.write({"method": "notifications/initialized"})
    assert pipes.ask(2, "ping") == {}
    called = pipes.ask(4, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    assert called["content"][0]["text"] == "3"
    return pipes.tools() == ["add"]


@pytest.mark.parametrize("name", STDIO)
def test_real_stdio_server_lists_its_tools(tmp_path: Path, name: str) -> None:
    try:
        command = stdio_command(name)
    except NotInstalled as error:
        missing(str(error))
    with started(tmp_path, command) as pipes:
        assert pipes.ask(1, "initialize", HELLO)["serverInfo"]["name"]
        pipes.write({"method": "notifications/initialized"})
        assert pipes.tools()
        pipes.close()
        assert pipes.process.wait(20) == 0


def test_conformance_suite_runs() -> None:
    try:
        command = conformance_command()
    except NotInstalled as error:
        missing(str(error))
    done = subprocess.run([*command, "list", "--client"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "auth/client-credentials-jwt" in done.stdout


@pytest.mark.parametrize("name", ["asks", "no_reply_to_discover", "stderr_flood"])
def test_proper_server_answers_and_ends_with_its_input(tmp_path: Path, name: str) -> None:
    with script(tmp_path, name) as pipes:
        assert is_proper(pipes)
        pipes.close()
        assert pipes.process.wait(10) == 0


def test_older_version_is_negotiated(tmp_path: Path) -> None:
    with script(tmp_path, "no_reply_to_discover") as pipes:
        versions = ("2024-11-05", "2026-07-28")
        replies = [pipes.ask(1, "initialize", {**HELLO, "protocolVersion": version}) for version in versions]
        assert [reply["protocolVersion"] for reply in replies] == ["2024-11-05", "2025-11-25"]


def test_silent_says_nothing(tmp_path: Path) -> None:
    with script(tmp_path, "silent") as pipes:
        pipes.write({"id": 1, "method": "initialize", "params": HELLO})
        with pytest.raises(Empty):
            pipes.line(within_s=0.5)
        assert pipes.process.poll() is None


def test_garbage_is_text(tmp_path: Path) -> None:
    with script(tmp_path, "garbage") as pipes:
        pipes.write({"id": 1, "method": "initialize", "params": HELLO})
        assert [pipes.line() for _ in range(3)] == [
            "Welcome to the server!\n",
            "Listening...\n",
            "I beg your pardon?\n",
        ]


def test_noisy_has_a_banner_and_a_log(tmp_path: Path) -> None:
    with script(tmp_path, "noisy") as pipes:
        assert pipes.line() == "*** add server 1.0 ***\n"
        assert is_proper(pipes)
        assert pipes.stderr().startswith("INFO: starting\nINFO: initialize\n")


def test_forked_child_is_deaf_and_keeps_standard_output_open(tmp_path: Path) -> None:
    with script(tmp_path, "forks") as pipes:
        assert is_proper(pipes)
        os.killpg(pipes.process.pid, signal.SIGTERM)
        assert pipes.process.wait(10) == -signal.SIGTERM
        with pytest.raises(Empty):
            pipes.line(within_s=0.3)
        os.killpg(pipes.process.pid, signal.SIGKILL)
        assert pipes.line() is None


def test_daemon_is_out_of_the_group(tmp_path: Path) -> None:
    with script(tmp_path, "daemonizes") as pipes:
        assert is_proper(pipes)
        (daemon,) = (process for process in family(pipes) if process.pid != pipes.process.pid)
        assert daemon.ppid() != pipes.process.pid
        assert os.getsid(daemon.pid) != os.getsid(pipes.process.pid)
        os.killpg(pipes.process.pid, signal.SIGKILL)
        assert pipes.line() is None
        assert daemon.is_running()


def test_dying_server_tells_its_secret_and_its_code(tmp_path: Path) -> None:
    with script(tmp_path, "dies", SECRET_TOKEN="open-sesame") as pipes:
        assert pipes.line() is None
        assert pipes.process.wait(10) == 3
        assert pipes.stderr() == "cannot open the database\nthe token was open-sesame\n"


def test_stubborn_server_ends_only_by_sigkill(tmp_path: Path) -> None:
    with script(tmp_path, "stubborn") as pipes:
        assert is_proper(pipes)
        pipes.close()
        pipes.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            pipes.process.wait(0.5)
        pipes.process.kill()
        assert pipes.process.wait(10) == -signal.SIGKILL


def test_flood_has_no_newline() -> None:
    with subprocess.Popen([sys.executable, str(SCRIPTS / "floods.py")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        received = process.stdout.read(20_000_000)
        process.kill()
    assert received == b"x" * 20_000_000


def test_flood_of_standard_error_blocks_who_does_not_read_it() -> None:
    command = [sys.executable, str(SCRIPTS / "stderr_flood.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(0.5)
        assert process.poll() is None
        _, stderr = process.communicate(timeout=60)
    assert len(stderr) == 50_000_000


def test_server_that_asks_gets_all_its_answers(tmp_path: Path) -> None:
    with script(tmp_path, "asks") as pipes:
        pipes.ask(1, "initialize", HELLO)
        assert pipes.tools() == ["add"]
        assert pipes.asked == ["ping", "sampling/createMessage", "roots/list", "elicitation/create"]


@pytest.mark.parametrize("method", ["ping", "sampling/createMessage", "roots/list", "elicitation/create"])
def test_server_that_asks_notices_a_wrong_answer(tmp_path: Path, method: str) -> None:
    with script(tmp_path, "asks") as pipes:
        pipes.ask(1, "initialize", HELLO, wrong=method)
        assert list(pipes.ask(2, "tools/list", wrong=method)["data"]) == [method]


def test_server_that_asks_waits_for_its_answers(tmp_path: Path) -> None:
    with script(tmp_path, "asks") as pipes:
        pipes.write({"id": 1, "method": "initialize", "params": HELLO})
        pipes.write({"id": 2, "method": "tools/list"})
        said = [json.loads(pipes.line() or "") for _ in range(6)]
        assert [message["id"] for message in said if "result" in message] == [1]
        with pytest.raises(Empty):
            pipes.line(within_s=0.5)


def test_discovery_crashes_a_server_and_initialize_does_not(tmp_path: Path) -> None:
    with script(tmp_path, "crashes_on_discover") as pipes:
        pipes.write({"id": 1, "method": "server/discover", "params": {"_meta": META}})
        assert pipes.line() is None
        assert pipes.process.wait(10) == 1
    with script(tmp_path, "crashes_on_discover") as pipes:
        assert is_proper(pipes)
        assert pipes.ask(5, "server/discover", {"_meta": META})["code"] == -32601


def test_sessionless_server_speaks_nothing_older(tmp_path: Path) -> None:
    with script(tmp_path, "sessionless") as pipes:
        refused = pipes.ask(1, "initialize", HELLO)
        assert (refused["code"], refused["data"]["supported"]) == (-32022, [MODERN])
        assert pipes.ask(2, "tools/list")["code"] == -32602
        assert pipes.ask(3, "ping", {"_meta": META})["code"] == -32601
        assert pipes.ask(4, "server/discover", {"_meta": META})["supportedVersions"] == [MODERN]
        listed = pipes.ask(5, "tools/list", {"_meta": META})
        assert (listed["resultType"], len(listed["tools"]), listed["ttlMs"]) == ("complete", 1, 0)


def test_unknown_method_gets_no_reply(tmp_path: Path) -> None:
    with script(tmp_path, "no_reply_to_discover") as pipes:
        pipes.write({"id": 1, "method": "server/discover", "params": {"_meta": META}})
        with pytest.raises(Empty):
            pipes.line(within_s=0.5)
        assert is_proper(pipes)
