"""One server before three judges: the official Python and TypeScript clients, and this checker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from field.servers import FieldServer

from real_servers import COMPONENTS, Component, NotInstalled, command_of, folder_of, free_port, node_folder

HERE = Path(__file__).parent
PYTHON_SDK = COMPONENTS["python-sdk-2"]
TYPESCRIPT_SDK = Component("typescript-client-2", ("@modelcontextprotocol/client@2.4.0",), node=True)
REFEREES = (PYTHON_SDK, TYPESCRIPT_SDK)
_GRACE_S = 5.0
"""On top of what a judge gives a server: its own start, and its end."""


@dataclass(frozen=True)
class Ruling:
    """What the three said of a server."""

    server: str
    transport: str
    python: Mapping[str, Any]
    typescript: Mapping[str, Any]
    here: Mapping[str, Any]
    """`status`, `reason`, `detail`, `tools`."""
    took_s: float

    @property
    def wrong(self) -> str:
        """What is wrong with what the checker said; empty where nothing is."""
        both = [one["accepts"] for one in (self.python, self.typescript)]
        status = self.here["status"]
        if all(both) and status == "UNHEALTHY":
            return "both clients accept it"
        if not any(both) and status == "HEALTHY":
            return "both clients refuse it"
        return ""

    @property
    def odd(self) -> str:
        """What is worth a look, though it is not wrong."""
        both = [one["accepts"] for one in (self.python, self.typescript)]
        counts = {one["tools"] for one in (self.python, self.typescript) if one["accepts"]}
        if self.here["status"] == "UNKNOWN":
            return "no verdict here"
        if any(both) and not all(both) and self.here["status"] in ("HEALTHY", "UNHEALTHY"):
            return "one client refuses it"
        if all(both) and self.here["status"] == "HEALTHY" and counts != {self.here["tools"]}:
            return f"tools: {sorted(map(str, counts))} of the clients, {self.here['tools']} here"
        return ""


def judged(server: FieldServer, seconds: float, checker: Path) -> Ruling:
    """The ruling; each judge takes ``seconds`` at most and a little. Raises NotInstalled."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="field-") as temporary, _asked(server, Path(temporary), seconds) as asked:
        python = _client([str(folder_of(PYTHON_SDK) / "venv/bin/python"), str(HERE / "python_client.py")], asked)
        node = str(node_folder(22) / "node")
        package = str(folder_of(TYPESCRIPT_SDK) / "package.json")
        typescript = _client([node, str(HERE / "typescript_client.cjs"), package], asked)
        here = _checked(checker, Path(temporary), asked)
    return Ruling(server.name, server.transport, python, typescript, here, time.monotonic() - start)


@contextmanager
def _asked(server: FieldServer, temporary: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """How the server is reached, for all judges alike; over HTTP it runs meanwhile."""
    folder, home = temporary / "folder", temporary / "home"
    folder.mkdir()
    home.mkdir()
    words = {"folder": str(folder), "port": str(free_port()) if server.path is not None else ""}
    program, *args = command_of(server.component, tuple(word.format(**words) for word in server.command))
    env = {name: value.format(**words) for name, value in server.env.items()}
    env |= _surroundings(home, Path(program).parent)
    if server.path is None:
        yield {"command": program, "args": args, "env": env, "cwd": str(folder), "seconds": seconds}
        return
    url = f"http://127.0.0.1:{words['port']}{server.path}"
    with _running([program, *args], env, folder, int(words["port"]), seconds):
        yield {"url": url, "transport": server.transport, "seconds": seconds}


def _surroundings(home: Path, programs: Path) -> dict[str, str]:
    """Variables of a server: a home of its own, and no way to anything but this machine."""
    nowhere = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
    )
    return {
        **nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
        "HOME": str(home),
        "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
        "DO_NOT_TRACK": "1",
        "NO_UPDATE_NOTIFIER": "1",
        "npm_config_offline": "true",
    }


def _client(command: Sequence[str], asked: Mapping[str, Any]) -> dict[str, Any]:
    out, _ = _run([*command, json.dumps(asked)], asked["seconds"] + _GRACE_S, asked.get("cwd"))
    for line in reversed(out.splitlines()):
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and "accepts" in said:
                return {"tools": None, **said}
    return {"accepts": False, "tools": None, "error": f"no answer within {asked['seconds']:g} s"}


def _checked(checker: Path, temporary: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: asked[name] for name in ("url", "command", "args", "env", "cwd") if name in asked}
    options["timeout"] = f"{asked['seconds']:g}s"
    (temporary / "config.json").write_text(json.dumps({"servers": [{"name": "one", "mcp": options}]}))
    words = ["check", str(temporary / "config.json"), "--db", str(temporary / "h.db"), "--format", "json"]
    out, err = _run([str(checker), *words], asked["seconds"] + 4 * _GRACE_S, str(temporary))
    try:
        (one,) = json.loads(out)["checks"]
    except ValueError:
        return {"status": "UNKNOWN", "reason": "no_result", "detail": err.strip()[-300:], "tools": None}
    facts = (one["probes"] or [{}])[0].get("mcp") or {}
    said = {name: one.get(name) for name in ("status", "reason", "detail", "remarks")}
    return {**said, "tools": facts.get("tool_count")}


def _run(command: Sequence[str], seconds: float, folder: str | None) -> tuple[str, str]:
    """Output and error of a program, which is ended with all it started when the time is over."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return "", f"no end within {seconds:g} s"
    finally:
        _end(process)


@contextmanager
def _running(command: list[str], env: Mapping[str, str], folder: Path, port: int, seconds: float) -> Iterator[None]:
    """The server, listening or not: that one does not is for the judges to find."""
    with (folder.parent / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until and process.poll() is None:
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                time.sleep(0.1)
            yield
        finally:
            _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()


def checker_program(root: Path) -> Path:
    """The checker of this working tree, else the one that is installed; raises NotInstalled."""
    own = root / ".venv" / "bin" / "mcp-status"
    found = own if own.exists() else shutil.which("mcp-status")
    if found is None:
        raise NotInstalled(f"no mcp-status beside {sys.executable}; run scripts/quickstart")
    return Path(found)
