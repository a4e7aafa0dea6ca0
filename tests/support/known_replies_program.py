"""Checks of generated MCP servers, each with nothing known of its replies and again with everything known.

`python known_replies_program.py SEED EXAMPLES` writes, as JSON, how many checks were compared, how many readings were
kept, and what differed. Servers echo secrets, and one secret is what another server says of its own accord.
"""

from gevent import monkey

monkey.patch_all()

import gc
import json
import random
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

for place in (Path(__file__).parent, Path(__file__).parents[2]):
    sys.path.insert(0, str(place))

from fuzz_replies import events, message
from msgspec import to_builtins
from msgspec.structs import replace

from accepting import Accepting
from checker.limits import Limits
from checker.messages import Task
from checker.model import Server
from checker.probes.mcp import known_replies
from checker.probes.mcp.options import McpOptions
from checker.units import Secret
from checker.worker.checks import Finished, ServerChecker
from checker.worker.loop import _GreenletGrace

SEED, EXAMPLES = int(sys.argv[1]), int(sys.argv[2])
SAID = "generated-4711-description"
"""Each server says this in a place that is kept: it is a secret for some checks only."""
ECHOED = "Bearer echoed-b7Qx9-token"


def serve(sock: socket.socket) -> None:
    """Answer by number and method alone, so that every check of a number gets the same bytes."""
    with suppress(OSError, ValueError):
        file = sock.makefile("rb")
        while line := file.readline(70_000):
            number = re.findall(r"/n/(\d+)", line.decode())[0]
            length, sent = 0, ""
            while (field := file.readline(70_000)).strip():
                name, _, value = field.decode("latin-1").partition(":")
                length = int(value) if name.lower() == "content-length" else length
                sent = value.strip() if name.lower() == "authorization" else sent
            sock.sendall(answer(number, line.split(b" ")[0], file.read(length), sent))


def answer(number: str, method: bytes, body: bytes, sent: str) -> bytes:
    """The whole reply."""
    asked: dict[str, Any] = json.loads(body) if body else {}
    name, request_id = asked.get("method", ""), asked.get("id")
    draw = random.Random(f"{SEED} {number} {name} {asked.get('params', {}).get('cursor')}")
    temper = random.Random(f"{SEED} {number}")
    oddness, is_stream, echoes = temper.choice((0, 0, 0.05, 0.3)), temper.random() < 0.4, temper.random() < 0.4
    if method != b"POST":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    if request_id is None:
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    text = message(draw, name, request_id, oddness)
    said = SAID if temper.random() < 0.8 else json.dumps(SAID).replace("g", "\\u0067")[1:-1]
    text = text.replace("does it", said).replace("generated", said, 1)
    if echoes and sent:
        text = text.replace(SAID, sent)
    status = b"400 Bad Request" if name == "server/discover" and temper.random() < 0.6 else b"200 OK"
    data = events(draw, [text], oddness) if is_stream else text.encode("utf-8", "surrogatepass")
    kind = b"text/event-stream" if is_stream else b"application/json"
    session = b"Mcp-Session-Id: s1\r\n" if name == "initialize" else b""
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n" % (status, kind, len(data), session)
    return head + data


def checked(checker: ServerChecker, number: int, options: McpOptions) -> Any:
    """All that a check finds, but for times and connections."""
    server = Server(name=f"example {number}", probes={"mcp": options})
    finished: Finished = checker.check(Task(number=0, server=server, memory={}, skip={}, share=1, tries=1))
    (outcome,) = finished.outcomes
    result = replace(
        outcome.result,
        started_at_ms=0,
        duration_us=0,
        stages_us=dict.fromkeys(outcome.result.stages_us.keys() - {"dns", "connect"}, 0),
        connections_opened=0,
        reused=None,
    )
    remembered = sorted((entry.category, entry.value) for entry in outcome.cache_entries)
    return to_builtins([result, remembered, outcome.contracts])


def main() -> None:
    readings: list[Any] = [one for one in gc.get_objects() if isinstance(one, known_replies.Readings)]
    kept = 0
    checker = ServerChecker(Limits(), _GreenletGrace())
    accepting = Accepting(serve, backlog=100)
    accepting.start()
    differences, compared = [], 0
    for number in range(EXAMPLES):
        url = f"http://127.0.0.1:{accepting.port}/n/{number}/mcp"
        plain = McpOptions(url=url, timeout=2.0, era="auto" if number % 3 else "session")
        ways = {
            "plain": plain,
            "its words are a secret": replace(plain, bearer=Secret(SAID)),
            "its echo is a secret": replace(plain, bearer=Secret(ECHOED.removeprefix("Bearer "))),
            "a tool is expected": replace(plain, expected_tools=("b",)),
        }
        cold = {}
        for name, options in ways.items():
            for one in readings:
                one.forget()
            cold[name] = checked(checker, number, options)
        names = [*ways] * 4
        random.Random(number).shuffle(names)
        for name in names:
            compared += 1
            warm = checked(checker, number, ways[name])
            if warm != cold[name]:
                differences.append({"number": number, "way": name, "cold": cold[name], "warm": warm})
        kept += sum(len(one._young) for one in readings)
    print(json.dumps({"compared": compared, "kept": kept, "differences": differences[:3]}, default=str))


main()
