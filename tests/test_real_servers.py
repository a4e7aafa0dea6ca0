"""The MCP servers nobody here wrote, judged right, with no session left in them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from checker.model import CheckResult, ProbeResult, Server
from checker.probes.mcp.options import McpOptions
from conftest import check_all
from real_servers import SERVERS

pytestmark = pytest.mark.xdist_group("real_servers")

EXPECTED: dict[str, tuple[str, str | None, str | None, int | None]] = {
    # name: status, reason, era, tools
    "python-2": ("HEALTHY", None, "sessionless", 2),
    "python-2-stateless": ("HEALTHY", None, "sessionless", 2),
    "python-1": ("HEALTHY", None, "session", 1),
    "python-1-stateless": ("HEALTHY", None, "session", 1),
    "fastmcp-4": ("HEALTHY", None, "sessionless", 5),
    "fastmcp-4-token": ("DEGRADED", "auth_required", None, None),
    "everything": ("HEALTHY", None, "session", None),
    "everything-sse": ("HEALTHY", None, "session", None),
    "python-1-sse": ("HEALTHY", None, "session", 1),
    "python-2-sse": ("HEALTHY", None, "session", 2),
    "mcp-proxy-sse": ("HEALTHY", None, "session", 1),
    "typescript-1": ("HEALTHY", None, "session", None),
    "typescript-1-oauth": ("DEGRADED", "auth_required", None, None),
    "typescript-2": ("HEALTHY", None, "sessionless", 1),
    "typescript-2-modern": ("HEALTHY", None, "sessionless", 1),
}


def mcp(name: str, url: str, **options: Any) -> Server:
    return Server(name=name, probes={"mcp": McpOptions(url=url, **options)})


def only(check: CheckResult) -> ProbeResult:
    (probe,) = check.probes
    return probe


def test_every_real_server_is_expected() -> None:
    assert set(EXPECTED) == set(SERVERS)


@pytest.mark.parametrize("name", EXPECTED)
def test_real_server_is_judged_right(real_url: Callable[[str], str], name: str) -> None:
    probe = only(check_all([mcp(name, real_url(name))])[name])
    status, reason, era, tools = EXPECTED[name]
    assert (probe.status, probe.reason) == (status, reason), probe.detail
    if era is not None:
        assert probe.mcp is not None
        assert probe.mcp.era == era
        assert tools in (None, probe.mcp.tool_count)
        assert probe.mcp.server_name
        assert probe.mcp.transport == ("sse" if name.endswith("-sse") else "streamable-http")
    assert probe.connections_opened == 1 or name.endswith("-sse")
    assert (probe.sessions_opened or 0) == (probe.sessions_closed or 0)


@pytest.mark.parametrize("name", ["python-2", "fastmcp-4", "typescript-2"])
def test_servers_of_both_eras_are_right_in_the_older_one(real_url: Callable[[str], str], name: str) -> None:
    probe = only(check_all([mcp(name, real_url(name), era="session")])[name])
    assert (probe.status, probe.mcp and probe.mcp.protocol_version) == ("HEALTHY", "2025-11-25"), probe.detail


def test_token_opens_what_is_protected(real_url: Callable[[str], str]) -> None:
    url = real_url("fastmcp-4-token")
    found = check_all([mcp("right", url, bearer="open-sesame"), mcp("wrong", url, bearer="closed-sesame")])
    assert (found["right"].status, found["wrong"].reason) == ("HEALTHY", "auth_rejected")


def test_metadata_address_of_an_oauth_server_is_noted(real_url: Callable[[str], str]) -> None:
    probe = only(check_all([mcp("oauth", real_url("typescript-1-oauth"))])["oauth"])
    assert "/.well-known/oauth-protected-resource" in (probe.auth_metadata_url or "")


@pytest.mark.parametrize("name", ["everything", "typescript-1", "python-1", "python-2"])
def test_ended_session_is_gone_from_the_server(real_url: Callable[[str], str], name: str) -> None:
    """Fifty checks, then the ids they used: a server that still knows one answers it with 200."""
    url = real_url(name)
    found = check_all([mcp(f"s{number}", url, era="session", timeout=60.0) for number in range(50)])
    assert {check.status for check in found.values()} == {"HEALTHY"}
    assert sum(only(check).sessions_opened or 0 for check in found.values()) == 50
    assert sum(only(check).sessions_closed or 0 for check in found.values()) == 50
    assert _open_and_delete(url) in (400, 404)


def _open_and_delete(url: str) -> int:
    """The status of a ping over a session that was ended the way the checker ends it: 200 would mean it lives on."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}

    def send(method: str, message: dict[str, Any] | None, extra: dict[str, str]) -> Any:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode() if message else None
        return urllib.request.Request(url, body, {**headers, **extra}, method=method)

    with urllib.request.urlopen(send("POST", {"id": 1, "method": "initialize", "params": hello}, {})) as reply:
        session = {"Mcp-Session-Id": reply.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
    urllib.request.urlopen(send("DELETE", None, session)).close()
    try:
        with urllib.request.urlopen(send("POST", {"id": 2, "method": "ping"}, session)) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
