"""Check servers with functions of your own: a queue that is too long, and a server that greets.

python examples/own_probe.py http://127.0.0.1:8000/health tcp://127.0.0.1:25

The functions run in the workers, once for each attempt, side by side with thousands of others.
"""

import sys

from checker.api import Checker, Degraded, ProbeContext, Unhealthy, probe


@probe
def queue(probe: ProbeContext, key: str = "depth", limit: int = 100) -> None:
    """A queue that says in JSON how long it is."""
    depth = probe.request().json().get(key, 0)
    if depth > 10 * limit:
        raise Unhealthy(f"{depth} jobs wait")
    if depth > limit:
        raise Degraded(f"{depth} jobs wait, more than {limit}")


@probe(name="greeting")
def check_greeting(probe: ProbeContext, expected: str = "") -> None:
    """A server that speaks first when it is connected to."""
    connection = probe.connect()
    with probe.timed("wait"):
        said = connection.recv(512).decode()
    assert said.startswith(expected), f"the greeting is another one: {said!r}"


http_url, tcp_url = sys.argv[1:]
fleet = {
    "defaults": {"queue": {"retry": {"max_attempts": 3}, "breaker": {"failures": 5}}},
    "servers": [
        {"name": "jobs", "queue": {"url": http_url, "limit": 50, "timeout": "2s"}},
        {"name": "mail", "greeting": {"url": tcp_url, "expected": "220 "}, "rest": http_url},
    ],
}

with Checker() as checker:
    for check in checker.stream(fleet):
        print(f"{check.server}: {check.status} {check.detail or ''}")
        for one in check.probes:
            print(f"  {one.kind}: {one.status}, {one.attempts} attempts, {one.duration_us / 1000:.1f} ms")
