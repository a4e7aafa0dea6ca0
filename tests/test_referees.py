"""The official clients are the referees: what all refuse is UNHEALTHY, what one refuses DEGRADED, the rest HEALTHY."""

from __future__ import annotations

import os

import pytest
from referees import CLIENTS, cases, recorded, serving, verdicts

from checker.model import CheckResult, Server, Status
from checker.probes.mcp.options import McpOptions
from conftest import check_all, missing
from real_servers import NotInstalled


@pytest.fixture(scope="module")
def checked() -> dict[str, CheckResult]:
    """Our verdict on each of the servers, all of one process."""
    with serving(cases()) as urls:
        servers = [
            Server(name=name, probes={"mcp": McpOptions(url=url, era="session", timeout=30.0)})
            for name, url in urls.items()
        ]
        return check_all(servers, concurrency=20)


def test_every_server_has_a_recorded_verdict() -> None:
    assert list(recorded()) == list(cases())


@pytest.mark.parametrize("name", cases())
def test_verdict_is_that_of_the_official_clients(checked: dict[str, CheckResult], name: str) -> None:
    (probe,) = checked[name].probes
    refusing = recorded()[name]
    said = (probe.status, probe.reason, probe.detail, probe.remarks)
    if not refusing:
        assert probe.status is Status.HEALTHY, said
    elif len(refusing) < len(CLIENTS) or name.split(":")[0] in ("resources", "resource_templates", "prompts"):
        assert probe.status is Status.DEGRADED, said
        assert probe.detail is not None
        assert ("Python SDK" in probe.detail) == ("python" in refusing) or "JSON Schema" in probe.detail, said
    else:
        assert probe.status is Status.UNHEALTHY, said


def test_recorded_verdicts_are_those_of_the_clients() -> None:
    try:
        found = verdicts(1 if "MCP_STATUS_EXAMPLES" in os.environ else 3)
    except NotInstalled as error:
        missing(str(error))
    kept = recorded()
    assert {name: one for name, one in found.items() if one != kept[name]} == {}
