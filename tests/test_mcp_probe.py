"""What the MCP probe says of servers of both eras, good ones and broken ones, and what it leaves behind: nothing."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from checker.model import CheckResult, ProbeResult, Server
from checker.probes.mcp.options import McpOptions
from conftest import check_all
from servers import McpServer, tool
from servers_faults import FaultServer


def mcp(name: str, url: str, **options: Any) -> Server:
    return Server(name=name, probes={"mcp": McpOptions(**{"url": url, "timeout": 3.0, **options})})


def only(check: CheckResult) -> ProbeResult:
    (probe,) = check.probes
    return probe


HTML = (200, "text/html", b"<html>Welcome</html>")
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str | None, str | None]]] = {
    # name: server's faults, options, (status, reason, failed stage)
    "session": ({}, {}, ("HEALTHY", None, None)),
    "session_sse": ({"sse": True}, {}, ("HEALTHY", None, None)),
    "sessionless": ({"eras": ("sessionless",)}, {}, ("HEALTHY", None, None)),
    "sessionless_sse": ({"eras": ("sessionless",), "sse": True}, {}, ("HEALTHY", None, None)),
    "both_eras": ({"eras": ("session", "sessionless")}, {}, ("HEALTHY", None, None)),
    "forced_session": ({"eras": ("session", "sessionless")}, {"era": "session"}, ("HEALTHY", None, None)),
    "stateless": ({"stateless": True}, {}, ("HEALTHY", None, None)),
    "older_version": ({"version": "2024-11-05"}, {}, ("HEALTHY", None, None)),
    "paged": ({"page": 1}, {}, ("HEALTHY", None, None)),
    "batch_reply": ({"batch": True}, {}, ("DEGRADED", "mcp_not_jsonrpc", "transfer")),
    "no_ping": ({"errors": {"ping": (200, -32601, "Method not found")}}, {}, ("HEALTHY", None, None)),
    "no_tools_announced": ({"capabilities": {}}, {}, ("HEALTHY", None, None)),
    "tools_expected": ({}, {"expected_tools": ("add", "search")}, ("HEALTHY", None, None)),
    "cannot_delete": ({"delete_status": 405}, {}, ("HEALTHY", None, None)),
    "redirected": ({"redirect_to": "/mcp/"}, {}, ("HEALTHY", None, None)),
    "token": (
        {"refuse": (401, {}), "token": "open"},
        {"bearer": "open"},
        ("HEALTHY", None, None),
    ),
    "stream_stays_open": ({"sse": True, "hold_open_s": 2.0}, {}, ("HEALTHY", None, None)),
    "chatty_stream": (
        {
            "sse": True,
            "before_reply": [
                {"jsonrpc": "2.0", "method": "notifications/message", "params": {}},
                {"jsonrpc": "2.0", "id": 1, "method": "ping"},
                {"jsonrpc": "2.0", "id": "s-7", "method": "sampling/createMessage", "params": {}},
            ],
        },
        {},
        ("HEALTHY", None, None),
    ),
    "unknown_version": ({"version": "1999-01-01"}, {}, ("UNHEALTHY", "mcp_version", "initialize")),
    "not_sessionless": ({}, {"era": "sessionless"}, ("UNHEALTHY", "mcp_version", "discover")),
    "html": (
        {"raw": dict.fromkeys(("server/discover", "initialize"), HTML)},
        {},
        ("UNHEALTHY", "mcp_not_jsonrpc", "initialize"),
    ),
    "not_json": (
        {"raw": {"tools/list": (200, "application/json", b"{oops")}},
        {},
        ("UNHEALTHY", "mcp_not_jsonrpc", "list"),
    ),
    "empty_body": (
        {"raw": {"initialize": (200, "application/json", b"")}},
        {},
        ("UNHEALTHY", "mcp_not_jsonrpc", "initialize"),
    ),
    "empty_stream": (
        {"raw": {"tools/list": (200, "text/event-stream", b": nothing\n\n")}},
        {},
        ("UNHEALTHY", "mcp_no_reply", "list"),
    ),
    "wrong_id": ({"patch": {"tools/list": {"id": 999}}}, {}, ("UNHEALTHY", "mcp_not_jsonrpc", "list")),
    "id_as_text": ({"patch": {"tools/list": {"id": "4"}}}, {}, ("HEALTHY", None, None)),
    "no_jsonrpc": ({"patch": {"initialize": {"jsonrpc": ...}}}, {}, ("UNHEALTHY", "mcp_not_jsonrpc", "initialize")),
    "no_result": ({"patch": {"initialize": {"result": ...}}}, {}, ("UNHEALTHY", "mcp_not_jsonrpc", "initialize")),
    "text_error": (
        {"patch": {"initialize": {"result": ..., "error": "no"}}},
        {},
        ("UNHEALTHY", "mcp_not_jsonrpc", "initialize"),
    ),
    "empty_result": ({"patch": {"initialize": {"result": {}}}}, {}, ("UNHEALTHY", "mcp_invalid_result", "initialize")),
    "tools_no_list": (
        {"patch": {"tools/list": {"result": {"tools": "none"}}}},
        {},
        ("UNHEALTHY", "mcp_invalid_result", "list"),
    ),
    "error": (
        {"errors": {"tools/list": (200, -32603, "database is down")}},
        {},
        ("UNHEALTHY", "mcp_error", "list"),
    ),
    "http_500": ({"raw": {"tools/list": (500, "text/plain", b"oops")}}, {}, ("UNHEALTHY", "http_status", "list")),
    "wrong_path": (
        {"raw": dict.fromkeys(("server/discover", "initialize"), (404, "text/plain", b"not here"))},
        {},
        ("UNHEALTHY", "http_status", "initialize"),
    ),
    "wrong_host": (
        {"errors": dict.fromkeys(("server/discover", "initialize"), (403, -32000, "Invalid Host"))},
        {},
        ("UNHEALTHY", "http_status", "discover"),
    ),
    "cursor_loop": ({"page": 1, "cursor_loop": True}, {}, ("UNHEALTHY", "mcp_pagination", "list")),
    "too_many_pages": ({"page": 1}, {"max_pages": 1}, ("UNHEALTHY", "mcp_pagination", "list")),
    "missing_tool": ({}, {"expected_tools": ("add", "fly")}, ("UNHEALTHY", "mcp_missing_tool", "list")),
    "no_tools_at_all": (
        {"capabilities": {}},
        {"expected_tools": ("add",)},
        ("UNHEALTHY", "mcp_missing_tool", "list"),
    ),
    "no_schema": ({"tools": [{"name": "a"}]}, {}, ("UNHEALTHY", "mcp_schema_invalid", "list")),
    "bad_schema": (
        {"tools": [tool("a", properties={"x": {"type": "strnig"}})]},
        {},
        ("DEGRADED", "mcp_schema_invalid", "list"),
    ),
    "not_object": (
        {"tools": [{"name": "a", "inputSchema": {"type": "array"}}]},
        {},
        ("UNHEALTHY", "mcp_schema_invalid", "list"),
    ),
    "doubled_tool": ({"tools": [tool("a"), tool("a")]}, {}, ("HEALTHY", None, None)),
    "ping_fails": ({"errors": {"ping": (200, -32603, "broken")}}, {}, ("DEGRADED", "mcp_error", "ping")),
    "auth_required": ({"refuse": (401, {})}, {}, ("DEGRADED", "auth_required", "discover")),
    "auth_forbidden": ({"refuse": (403, {})}, {}, ("DEGRADED", "auth_required", "discover")),
    "auth_as_expected": ({"refuse": (401, {})}, {"auth_required": "healthy"}, ("HEALTHY", None, None)),
    "auth_rejected": (
        {"refuse": (401, {}), "token": "open"},
        {"bearer": "wrong"},
        ("UNHEALTHY", "auth_rejected", "discover"),
    ),
    "rate_limited": ({"refuse": (429, {"Retry-After": "60"})}, {}, ("DEGRADED", "rate_limited", "discover")),
    "slow_list": ({"delay_s": {"tools/list": 5.0}}, {"timeout": 0.7}, ("UNHEALTHY", "first_byte_timeout", "list")),
    "slow_but_fine": ({"delay_s": {"ping": 0.2}}, {"degraded_above": 0.1}, ("DEGRADED", "slow", None)),
}


@pytest.fixture(scope="module")
def cases() -> Any:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(McpServer(**faults)) for name, (faults, _, _) in CASES.items()}
        results = check_all([mcp(name, servers[name].url(), **options) for name, (_, options, _) in CASES.items()])
        yield results, servers


@pytest.mark.parametrize("name", CASES)
def test_server_is_judged_by_what_it_does(cases: Any, name: str) -> None:
    probe = only(cases[0][name])
    assert (probe.status, probe.reason, probe.failed_stage) == CASES[name][2], probe.detail


@pytest.mark.parametrize("name", [name for name in CASES if name != "cannot_delete"])
def test_no_session_is_left_behind(cases: Any, name: str) -> None:
    server = cases[1][name]
    assert not server.open_sessions, f"{server.opened} opened"


@pytest.mark.parametrize("name", ["auth_required", "auth_forbidden", "rate_limited", "auth_rejected"])
def test_a_refusal_costs_one_request(cases: Any, name: str) -> None:
    assert cases[1][name].methods.total() == 1


def test_facts_of_both_eras_are_kept(cases: Any) -> None:
    session, sessionless = only(cases[0]["session"]), only(cases[0]["sessionless"])
    assert session.mcp is not None
    assert sessionless.mcp is not None
    assert (session.mcp.era, session.mcp.protocol_version) == ("session", "2025-11-25")
    assert (sessionless.mcp.era, sessionless.mcp.protocol_version) == ("sessionless", "2026-07-28")
    assert (session.mcp.server_name, session.mcp.server_version) == ("scripted", "1.2")
    assert (sessionless.mcp.server_name, sessionless.mcp.server_version) == ("scripted", "9")
    assert session.mcp.tools_digest == sessionless.mcp.tools_digest
    assert session.mcp.tool_count == 2
    assert (session.sessions_opened, session.sessions_closed) == (1, 1)


def test_every_stage_is_timed(cases: Any) -> None:
    stages = only(cases[0]["session"]).stages_us
    timed = ("discover", "initialize", "initialized", "ping", "list")
    assert {*timed, "close", "connect"} <= stages.keys()
    assert "wait" not in stages
    assert "initialize" not in only(cases[0]["sessionless"]).stages_us


def test_session_era_is_asked_as_the_specification_says(cases: Any) -> None:
    headers = dict(zip(("discover", "initialize"), cases[1]["session"].headers, strict=False))
    assert headers["discover"]["mcp-method"] == "server/discover"
    assert headers["discover"]["mcp-protocol-version"] == "2026-07-28"
    assert "mcp-protocol-version" not in headers["initialize"]
    assert all(sent["accept"] == "application/json, text/event-stream" for sent in cases[1]["session"].headers)
    later = cases[1]["session"].headers[2:]
    assert {sent["mcp-protocol-version"] for sent in later} == {"2025-11-25"}
    assert len({sent["mcp-session-id"] for sent in later}) == 1
    assert cases[1]["stateless"].methods["DELETE"] == 0, "no DELETE without a session id"


def test_one_connection_serves_a_whole_check(cases: Any) -> None:
    assert cases[1]["session"].connections == 1
    assert cases[1]["session_sse"].connections == 1
    assert cases[1]["sessionless"].connections == 1


def test_remembered_era_is_not_asked_for_again_until_it_fails() -> None:
    with McpServer() as server:
        check_all([mcp("a", server.url())], remembered=lambda _: {"mcp": {"mcp_era": "session"}})
        assert server.methods["server/discover"] == 0
    with McpServer(eras=("sessionless",)) as upgraded:
        found = check_all([mcp("a", upgraded.url())], remembered=lambda _: {"mcp": {"mcp_era": "session"}})
        assert found["a"].status == "HEALTHY"
    with McpServer() as downgraded:
        found = check_all([mcp("a", downgraded.url())], remembered=lambda _: {"mcp": {"mcp_era": "sessionless"}})
        assert found["a"].status == "HEALTHY"


@pytest.mark.parametrize("sse", [False, True])
def test_initialize_that_answers_after_the_deadline_leaves_no_session(sse: bool) -> None:
    with McpServer(delay_s={"initialize": 2.0}, sse=sse) as server:
        found = check_all([mcp("late", server.url(), timeout=1.0)])
        assert found["late"].reason == "first_byte_timeout"
        assert server.opened == 1, "the server did open it"
        assert not server.open_sessions


def test_endless_stream_of_comments_ends_with_the_deadline() -> None:
    with FaultServer("endless_comments") as server:
        start = time.monotonic()
        found = check_all([mcp("a", server.url(), timeout=1.0)])
    assert (found["a"].reason, time.monotonic() - start < 15) == ("deadline", True)


def test_probes_of_a_server_run_side_by_side() -> None:
    from checker.probes.rest import RestOptions
    from servers import RestServer, Scripted

    with McpServer(delay_s={"initialize": 0.6}) as one, RestServer({"/health": Scripted(delay_s=0.6)}) as other:
        probes = {"mcp": McpOptions(url=one.url()), "rest": RestOptions(url=other.url())}
        found = check_all([Server(name="both", probes=probes)])
    mcp_probe, rest_probe = found["both"].probes
    assert min(mcp_probe.duration_us, rest_probe.duration_us) > 600_000
    assert found["both"].duration_us < 0.8 * (mcp_probe.duration_us + rest_probe.duration_us)
