"""The field test: what is in its list, and what it calls wrong. The test itself takes half an hour and the network."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from field.referees import Ruling
from field.servers import SERVERS


def ruling(python: bool, typescript: bool, status: str, tools: int | None = 3) -> Ruling:
    clients: list[dict[str, Any]] = [{"accepts": one, "tools": 3 if one else None} for one in (python, typescript)]
    here = {"status": status, "reason": None, "detail": None, "tools": tools}
    return Ruling("demo", "stdio", *clients, here, 1.0)


def test_servers_are_many_pinned_and_each_in_a_folder_of_its_own() -> None:
    packages = {one.component.packages for one in SERVERS}
    assert len(packages) >= 40
    assert len({one.component.name for one in SERVERS}) == len(packages)
    assert len({one.name for one in SERVERS}) == len(SERVERS)
    for (package,) in packages:
        assert re.fullmatch(r"@?[\w./-]+(@|==)\d[\w.-]*", package), package
    assert {one.transport for one in SERVERS} == {"stdio", "http", "sse"}


@pytest.mark.parametrize(
    ("python", "typescript", "status", "is_wrong", "is_odd"),
    [
        (True, True, "HEALTHY", False, False),
        (True, True, "DEGRADED", False, False),
        (True, True, "UNHEALTHY", True, False),
        (True, True, "UNKNOWN", False, True),
        (False, False, "UNHEALTHY", False, False),
        (False, False, "DEGRADED", False, False),
        (False, False, "HEALTHY", True, False),
        (True, False, "DEGRADED", False, False),
        (True, False, "HEALTHY", False, True),
        (False, True, "UNHEALTHY", False, True),
    ],
)
def test_what_is_wrong_is_what_both_clients_contradict(
    python: bool, typescript: bool, status: str, is_wrong: bool, is_odd: bool
) -> None:
    found = ruling(python, typescript, status)
    assert (bool(found.wrong), bool(found.odd)) == (is_wrong, is_odd)


def test_another_count_of_tools_is_odd() -> None:
    assert "3" in ruling(True, True, "HEALTHY", tools=2).odd


def test_the_list_can_be_read_without_the_network() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "field_test"), "--list", "--only", "time"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "mcp-server-time==2026.10.19" in done.stdout
