"""What the checker's own link, resolver and clock did is told as that, and no server can get it said of itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from math import inf
from pathlib import Path

import pytest

from builders import AT_MS, batch, check, probe, server
from checker.addresses import canary
from checker.model import Doubt, Reason, Status
from checker.run.own_network import OwnNetwork
from servers_faults import closed_port

AT_S = AT_MS // 1000
PROGRAM = Path(__file__).parent / "support" / "own_network_program.py"


def failed(name: str, reason: Reason = Reason.CONNECT_FAILED, url: str = "http://shop.example/health") -> object:
    rest = probe("rest", status=Status.UNHEALTHY, reason=reason, detail="no route", score=0.0, url=url)
    return check(name, status=Status.UNHEALTHY, reason=reason, detail="no route", score=0.0, probes=(rest,))


def verdicts(network: OwnNetwork) -> dict[str, tuple[str, str | None]]:
    return {one.server: (one.status.value, one.reason) for one in network.settled(inf)}


@pytest.mark.parametrize(
    ("fault", "reached", "status"),
    [
        ("route", (), "UNKNOWN"),
        ("route", (AT_S - 60, AT_S + 60), "UNKNOWN"),
        ("route", (AT_S,), "UNHEALTHY"),
        ("route", (AT_S + 2,), "UNHEALTHY"),
        ("resolver", (AT_S,), "UNKNOWN"),
        ("clock", (AT_S,), "UNKNOWN"),
    ],
)
def test_route_is_missing_only_where_nobody_else_was_reached(fault: str, reached: tuple[int, ...], status: str) -> None:
    network = OwnNetwork([server("a"), server("b")])
    doubtful = batch(
        failed("a"),
        check("b"),
        doubts=(Doubt(server="a", kind="rest", own_fault=fault),),  # type: ignore[arg-type] # a check
    )
    assert [one.server for one in network.without_doubtful(doubtful).checks] == ["b"]
    network.without_doubtful(batch(reached_s=reached))  # another worker, later
    assert network.settled(AT_S + 4) == (), "it waits for what others have reached"
    (settled,) = network.settled(AT_S + 60)
    assert settled.status.value == status
    if status == "UNKNOWN":
        assert (settled.reason, settled.score, settled.probes[0].score) == (Reason.OWN_NETWORK, None, None)
        assert (settled.detail or "").endswith(": no route")


def test_canaries_decide_about_failures_that_nothing_local_shows() -> None:
    names = ["timeout", "refused", "here", "route"]
    reasons = {"timeout": Reason.CONNECT_TIMEOUT, "refused": Reason.CONNECT_REFUSED, "here": Reason.CONNECT_FAILED}
    checks = [
        failed(name, reasons.get(name, Reason.CONNECT_FAILED), "http://127.0.0.1:1/" if name == "here" else "http://h/")
        for name in names
    ]
    doubts = (Doubt(server="route", kind="rest", own_fault="route"),)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        there, silent = f"127.0.0.1:{listener.getsockname()[1]}", "canary.invalid:9"
        for canaries, expected in (([silent, there], "UNHEALTHY"), ([silent], "UNKNOWN")):
            network = OwnNetwork([server(name) for name in names], canaries)
            kept = network.without_doubtful(batch(*checks, doubts=doubts))  # type: ignore[arg-type] # checks
            assert [one.server for one in kept.checks] == ["refused", "here"]
            assert {name: said[0] for name, said in verdicts(network).items()} == {
                "timeout": expected,
                "route": expected,
            }
    refusing = OwnNetwork([server("timeout")], [f"http://127.0.0.1:{closed_port()}"])
    refusing.without_doubtful(batch(checks[0]))  # type: ignore[arg-type] # a check
    assert verdicts(refusing) == {"timeout": ("UNHEALTHY", "connect_timeout")}


@pytest.mark.parametrize("text", ["", "host", "ftp://host", "host:port", "host:99999", "://"])
def test_canary_is_an_address_with_a_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|[Pp]ort"):
        canary(text)
    assert canary("https://[::1]/x") == ("::1", 443)


def _alone(scenario: str, tmp_path: Path) -> dict[str, list[str | None]]:
    """What a check says in a network of its own, without the world; skips where the system lets nobody have one."""
    unshare = shutil.which("unshare")
    if not unshare or not shutil.which("ip") or subprocess.run([unshare, "-rnm", "true"], check=False).returncode:
        pytest.skip("needs user, network and mount namespaces, and ip")
    done = subprocess.run(
        [unshare, "-rnm", sys.executable, PROGRAM, scenario, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str | None]] = json.loads(done.stdout)
    return found


def test_without_link_and_resolver_nothing_is_known_of_servers_elsewhere(tmp_path: Path) -> None:
    found = _alone("down", tmp_path)
    assert {name: said[:2] for name, said in found.items()} == {
        "name": ["UNKNOWN", "own_network"],
        "address": ["UNKNOWN", "own_network"],
        "here": ["HEALTHY", None],
        "counted": [0, 0],
    }


def test_server_whose_name_is_not_served_or_leads_nowhere_is_broken(tmp_path: Path) -> None:
    found = _alone("server", tmp_path)
    assert {name: said[:2] for name, said in found.items()} == {
        "fails": ["UNHEALTHY", "dns"],
        "unanswered": ["UNHEALTHY", "dns"],
        "missing": ["UNHEALTHY", "dns"],
        "other family": ["UNHEALTHY", "connect_failed"],
    }
