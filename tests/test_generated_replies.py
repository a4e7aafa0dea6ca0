"""Whatever a server answers, it gets a verdict: never UNKNOWN, never a fault of ours, and not after its deadline.

MCP_STATUS_EXAMPLES=10000 makes more examples than the suite, MCP_STATUS_SEED other ones.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from generated_server import GeneratedServer

from checker.model import CheckResult, Server, Status
from checker.probes.conditions import JsonCondition
from checker.probes.mcp.options import Call, CallExpect, McpOptions
from checker.probes.oauth.options import OAuth
from checker.probes.options import Tls
from checker.probes.rest import Expect, RestOptions
from checker.units import Secret
from checker.worker.attempts import STUMBLED
from conftest import check_all
from servers_faults import certificates

EXAMPLES = int(os.environ.get("MCP_STATUS_EXAMPLES", "150"))
SEED = int(os.environ.get("MCP_STATUS_SEED", "20261129"))
AT_ONCE = 250
TIMEOUT_S = 2.0
LATE_S = 0.5
PROGRAMS = 12
"""One in so many examples is a program."""
HERE = Path(__file__).resolve().parent

_WANTED = (
    JsonCondition(path="$.*", matches="."),
    JsonCondition(path="$..total", less_than=5.0, otherwise="degraded"),
)
_CALLS = (
    Call(tool="a", arguments={"q": "é\r\n", "n": 1}, expect=CallExpect(text_regex="4", json=_WANTED)),
    Call(resource="file:///a", expect=CallExpect(json=_WANTED)),
    Call(prompt="p", arguments={"q": "x"}),
)


def example(number: int, url: str, trusted: str) -> Server:
    """The server to check for an example: every kind of probe, transport, era and HTTP path has its share."""
    draw = random.Random(f"{SEED} options {number}")
    name = f"example {number}"
    if number % PROGRAMS == 5:
        args = (str(HERE / "data" / "stdio" / "generated.py"), str(HERE), str(SEED), str(number))
        command: Any = {"command": sys.executable, "args": args, "timeout": 4.0, "shutdown_timeout": 0.2}
        return Server(
            name=name, probes={"mcp": McpOptions(**command, calls=_CALLS, era=draw.choice(("auto", "session")))}
        )
    common: dict[str, Any] = {
        "url": url,
        "timeout": TIMEOUT_S,
        "http": draw.choice(("fast", "fast", "urllib3")),
        "tls": Tls(ca_file=trusted) if url.startswith("https") else Tls(),
        "max_body": draw.choice((1 << 20, 1 << 20, 3000)),
        "max_items": draw.choice((1_000_000, 5000)),
    }
    if draw.random() < 0.25:
        expect = Expect(json=_WANTED, body_regex="jsonrpc", headers={"Content-Type": "json"})
        return Server(name=name, probes={"rest": RestOptions(**common, expect=expect)})
    way = draw.choice(("auto", "auto", "streamable-http", "sse"))
    if way == "sse":
        common["url"] = url.replace("/mcp", "/sse")
    if draw.random() < 0.2:
        common["oauth"] = OAuth(client_id="c", client_secret=Secret("secret-of-the-example"))
    era = "auto" if way == "sse" else draw.choice(("auto", "auto", "session", "sessionless"))
    calls = _CALLS if draw.random() < 0.5 else ()
    expected = ("a",) if draw.random() < 0.3 else ()
    common |= {"transport": way, "era": era, "calls": calls, "expected_tools": expected}
    return Server(name=name, probes={"mcp": McpOptions(**common)})


def faults(servers: list[Server], found: dict[str, CheckResult]) -> list[str]:
    """What must not come of any reply."""
    told = []
    for server in servers:
        (options,) = server.probes.values()
        check = found[server.name]
        detail = f"{server.name}: {check.status} {check.reason} {check.detail}"
        reasonless = check.status is not Status.HEALTHY and check.reason is None
        if check.status is Status.UNKNOWN or check.reason == "internal_error" or reasonless:
            told.append(detail)
        elif check.detail is not None and STUMBLED in check.detail:
            told.append(f"our own code stumbles: {detail}")
        elif check.duration_us > (options.timeout + LATE_S) * 1e6 and not check.suspect:
            told.append(f"{detail}, but only after {check.duration_us / 1e6:.2f} s of {options.timeout} s")
    return told


@pytest.mark.parametrize("part", range(-(-EXAMPLES // AT_ONCE)))
def test_every_generated_reply_is_a_verdict_on_the_server(part: int, tmp_path: Path) -> None:
    context = certificates(tmp_path)["good"]
    with ExitStack() as stack:
        plain = stack.enter_context(GeneratedServer(SEED))
        secure = stack.enter_context(GeneratedServer(SEED, context))
        numbers = range(part * AT_ONCE, min((part + 1) * AT_ONCE, EXAMPLES))
        servers = [
            example(number, (secure if number % 5 == 0 else plain).url(number), str(tmp_path / "ca.pem"))
            for number in numbers
        ]
        found = check_all(servers, concurrency=20)
    told = faults(servers, found)
    assert told == [], "\n".join(told)
    if len(numbers) > 200:
        assert len({check.reason for check in found.values()}) > 10, "the oddities reach many places"
        healthy = sum(check.status is Status.HEALTHY for check in found.values())
        assert healthy > len(numbers) // 60, "some are right to the end, so that the last stages are reached as well"
