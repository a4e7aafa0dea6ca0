"""Checks of generated MCP servers that have changed since an earlier check, with what is known of it and without.

`python known_contract_program.py SEED EXAMPLES` writes, as JSON, how many checks were compared, how often a contract
was recognised over which transport, and what differed.
"""

from gevent import monkey

monkey.patch_all()

import json
import queue
import random
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

for place in (Path(__file__).parent, Path(__file__).parents[2]):
    sys.path.insert(0, str(place))

from msgspec import to_builtins
from msgspec.structs import replace

import offered
from accepting import Accepting
from checker.limits import Limits
from checker.messages import Task
from checker.model import Server
from checker.probes.mcp.known_contract import CONTRACT_SOURCE, EarlierContract, KnownFacts
from checker.probes.mcp.options import Call, McpOptions
from checker.units import Secret
from checker.worker.checks import Finished, ServerChecker
from checker.worker.loop import _GreenletGrace

SEED, EXAMPLES = int(sys.argv[1]), int(sys.argv[2])
TRANSPORTS = ("json", "events", "json", "sse", "json", "events", "json", "stdio")
present: dict[str, Any] = {}
"""What is served at present."""
streams: dict[str, "queue.Queue[str]"] = {}
"""Those of HTTP+SSE, by the number of their session."""
recognised: list[bool] = []
_judged = EarlierContract.recognised


def _noted(self: EarlierContract, sources: Sequence[bytes] | None, *more: Any) -> KnownFacts | None:
    """The same, and the outcome is noted."""
    found = _judged(self, sources, *more)
    recognised.append(found is not None)
    return found


def serve(sock: socket.socket) -> None:
    """Answer in JSON, in a stream for each reply, or in one stream for all, as the path says."""
    with suppress(OSError, ValueError, queue.Empty), sock:
        file = sock.makefile("rb")
        while line := file.readline(70_000):
            method, path, _ = line.decode().split(" ")
            length = 0
            while (field := file.readline(70_000)).strip():
                name, _, value = field.decode("latin-1").partition(":")
                length = int(value) if name.lower() == "content-length" else length
            body = file.read(length)
            if method == "GET":
                return stream(sock, path)
            sock.sendall(replied(method, path, json.loads(body) if body else {}))


def stream(sock: socket.socket, path: str) -> None:
    """The stream of HTTP+SSE, until the client has gone."""
    number = f"{len(streams):06}"
    replies = streams[number] = queue.Queue()
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    sock.sendall(f"event: endpoint\ndata: {path}/{number}\n\n".encode())
    while True:
        sock.sendall(f"{event(replies.get(timeout=20))}\n\n".encode())


def event(text: str) -> str:
    """The lines of an event."""
    return "\n".join(f"data: {line}" for line in re.split(r"\r\n|\n|\r", text))


def replied(method: str, path: str, asked: dict[str, Any]) -> bytes:
    """A whole HTTP response."""
    text = offered.answer(present, asked) if method == "POST" else None
    if path.startswith("/sse") and text is not None:
        if path == "/sse":  # where Streamable HTTP is tried
            return b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
        streams[path.rpartition("/")[2]].put(text)
        text = None
    if text is None:
        return b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"202 Accepted" if method == "POST" else b"200 OK")
    data, kind = text.encode(), b"application/json"
    if path.startswith("/events"):
        data, kind = f": hello\n\n{event(text)}\n\n".encode(), b"text/event-stream"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nMcp-Session-Id: s1\r\n\r\n"
    return head % (kind, len(data)) + data


def checked(checker: ServerChecker, options: McpOptions, memory: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """All that a check finds, but for times and connections, and what is remembered after it."""
    server = Server(name="example", probes={"mcp": options})
    finished: Finished = checker.check(Task(server=server, memory={"mcp": memory}))
    (outcome,) = finished.outcomes
    stages = dict.fromkeys(outcome.result.stages_us.keys() - {"dns", "connect"}, 0)
    result = replace(
        outcome.result, started_at_ms=0, duration_us=0, stages_us=stages, connections_opened=0, reused=None
    )
    remembered = memory | {entry.category: entry.value for entry in outcome.cache_entries}
    return to_builtins([result, outcome.contracts]), remembered


def options_of(draw: random.Random, transport: str, port: int, file: Path) -> McpOptions:
    """How the server is checked."""
    if transport == "stdio":
        program = (str(Path(offered.__file__)), str(file))
        where = McpOptions(command=sys.executable, args=program, timeout=20.0, shutdown_timeout=0.2, max_pages=9)
    else:
        where = McpOptions(url=f"http://127.0.0.1:{port}/{transport}", timeout=5.0, max_pages=9)
    kind = draw.randrange(12)
    if kind == 0:
        return replace(where, expected_tools=draw.choice((("a",), ("a", "b"))))
    if kind == 1:
        return replace(where, lists=draw.choice((("tools",), ("tools", "prompts"), ())))
    if kind == 2:
        return replace(where, calls=(Call(tool="a"),))
    if kind == 3:
        return replace(where, ping=False)
    if kind == 4:
        return replace(where, max_pages=1)
    if kind == 5 and transport != "stdio":
        return replace(where, bearer=Secret(offered.SAID))
    return where


def main() -> None:
    EarlierContract.recognised = _noted  # type: ignore[method-assign] # only to count what it says
    checker = ServerChecker(Limits(), _GreenletGrace())
    accepting = Accepting(serve, backlog=100)
    accepting.start()
    differences: list[Any] = []
    compared, known = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "server.json"

        def offer(server: dict[str, Any]) -> None:
            present.clear()
            present.update(server)
            file.write_text(json.dumps(server))

        for number in range(EXAMPLES):
            draw = random.Random(f"{SEED} {number}")
            transport = TRANSPORTS[number % len(TRANSPORTS)]
            server = offered.generated(draw)
            if transport == "sse":
                server["is_modern"] = False
            options = options_of(draw, transport, accepting.port, file)
            offer(server)
            _, memory = checked(checker, options, {})
            for _ in range(3):
                after = server
                for _ in range(draw.choice((0, 1, 1, 2))):
                    after = offered.changed(draw, after)
                if transport in ("sse", "stdio") and after["envelope"] in offered.ODD_ENVELOPES:
                    after["envelope"] = server["envelope"]  # a broken reply there is waited for until the deadline
                offer(after)
                later = options if draw.random() < 0.7 else options_of(draw, transport, accepting.port, file)
                recognised.clear()
                found, left = checked(checker, later, memory)
                is_known = any(recognised)
                bare = {name: value for name, value in memory.items() if name != CONTRACT_SOURCE}
                expected, usual = checked(checker, later, bare)
                compared += 1
                known[transport] += is_known
                is_same = usual.get(CONTRACT_SOURCE, "") == memory.get(CONTRACT_SOURCE)
                if found != expected or left | usual != left or is_known != is_same:
                    case = {"number": number, "transport": transport, "server": after, "options": repr(later)}
                    differences.append([case, found, expected, left, usual, is_known])
    print(json.dumps({"compared": compared, "known": known, "differences": differences[:3]}, default=str))


if __name__ == "__main__":
    main()
