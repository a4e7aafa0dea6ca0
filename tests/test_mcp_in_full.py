"""Transports beyond the first, sessions that get lost, requests of the server's own, lists and named calls."""

from __future__ import annotations

import time
from typing import Any

import pytest

from checker.limits import Limits
from checker.model import Batch, ProbeResult, Server
from checker.probes.conditions import JsonCondition
from checker.probes.mcp.options import Call, CallExpect, McpOptions
from checker.probes.options import ApiKey, Basic, Retry
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from checker.units import Secret
from conftest import check_all
from servers import McpServer, tool
from servers_sse import SseServer

EVERYTHING = {"tools": {}, "resources": {}, "prompts": {}}
OFFERS = {
    "resources/list": {"resources": [{"uri": "a:b", "name": "b"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "a:{x}", "name": "x"}]},
    "prompts/list": {"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": True}]}]},
}


def check(url: str, remembered: dict[str, str] | None = None, **options: Any) -> ProbeResult:
    server = Server(name="a", probes={"mcp": McpOptions(url=url, **{"timeout": 5.0, **options})})
    (probe,) = check_all([server], remembered=lambda _: {"mcp": remembered or {}})["a"].probes
    return probe


def batch_of(url: str, **options: Any) -> Batch:
    batches: list[Batch] = []
    server = Server(name="a", probes={"mcp": McpOptions(url=url, **options)})
    run_shards(Shards([Shard((server,))]), batches.append, RunnerOptions(limits=Limits(concurrency=1, per_origin=1)))
    (batch,) = batches
    return batch


def test_lost_session_is_started_over_once() -> None:
    with McpServer(session_requests=2) as server:  # the first session is gone before tools/list
        probe = check(server.url())
        assert (probe.status, probe.reason) == ("UNHEALTHY", "mcp_session_expired")
        assert server.methods["initialize"] == 2
    with McpServer(session_requests=2) as server:
        probe = check(server.url(), ping=False)
        assert (probe.status, probe.sessions_opened, probe.sessions_closed) == ("HEALTHY", 1, 1)


def test_session_that_is_lost_once_is_no_fault() -> None:
    with McpServer(lose_first_session=True) as server:
        probe = check(server.url())
        assert (probe.status, probe.detail) == ("HEALTHY", None)
        assert server.methods["initialize"] == 2
        assert not server.open_sessions


@pytest.mark.parametrize("era", ["session", "sessionless"])
def test_every_list_is_read_and_counted(era: str) -> None:
    with McpServer(eras=(era,), capabilities=EVERYTHING, answers=OFFERS) as server:
        probe = check(server.url())
        assert probe.mcp is not None
        counts = (probe.mcp.tool_count, probe.mcp.resource_count, probe.mcp.template_count, probe.mcp.prompt_count)
        assert (probe.status, counts) == ("HEALTHY", (2, 1, 1, 1)), probe.detail
        assert probe.mcp.tools_tokens == -(-(probe.mcp.tools_bytes or 0) // 4)


def test_contract_is_handed_on_only_when_it_is_new() -> None:
    with McpServer(capabilities=EVERYTHING, answers=OFFERS) as server:
        (contract,) = batch_of(server.url()).contracts
        (fact,) = (entry for entry in batch_of(server.url()).cache_entries if entry.category == "mcp_contract_digest")
        assert fact.value == contract.digest
        for offered in ('"uri":"a:b"', '"uriTemplate":"a:{x}"', '"name":"greet"', '"name":"add"', '"version":"1.2"'):
            assert offered in contract.document


def test_list_other_than_tools_that_breaks_is_a_degradation_and_no_contract() -> None:
    broken = {"prompts/list": (200, -32603, "broken")}
    with McpServer(capabilities=EVERYTHING, answers=OFFERS, errors=broken) as server:
        probe = check(server.url())
        assert (probe.status, probe.reason, probe.failed_stage) == ("DEGRADED", "mcp_error", "list")
        assert probe.mcp is not None
        assert probe.mcp.contract_digest is None
        assert batch_of(server.url()).contracts == ()


@pytest.mark.parametrize(("levels", "verdict"), [(200, ("HEALTHY", None)), (400, ("UNHEALTHY", "mcp_not_jsonrpc"))])
def test_list_that_is_nested_too_deeply_is_no_list(levels: int, verdict: tuple[str, str | None]) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}
    with McpServer(tools=[{**tool("a"), "_meta": deep}]) as server:
        probe = check(server.url())
        assert (probe.status, probe.reason) == verdict, probe.detail
        assert probe.mcp is not None
        assert (probe.mcp.contract_digest is None) == (probe.status != "HEALTHY")


def test_templates_may_be_unknown_where_resources_are_not() -> None:
    with McpServer(capabilities={"resources": {}}, answers={"resources/list": {"resources": []}}) as server:
        probe = check(server.url())
        assert (probe.status, probe.mcp and probe.mcp.resource_count) == ("HEALTHY", 0)


def test_requests_of_the_server_are_answered_while_it_works() -> None:
    asked = ["ping", "sampling/createMessage", "roots/list", "elicitation/create"]
    with McpServer(sse=True, ask_before={"tools/list": asked}) as server:
        probe = check(server.url())
        assert (probe.status, probe.detail) == ("HEALTHY", None)
        expected = {"ask ping": {}, **{f"ask {method}": -32601 for method in asked[1:]}}
        assert server.client_answers == expected


def test_cut_off_stream_is_taken_up_again() -> None:
    with McpServer(sse=True, cut_streams=1) as server:
        probe = check(server.url())
        assert (probe.status, server.methods["GET"]) == ("HEALTHY", 1), probe.detail


@pytest.mark.parametrize(("asked", "tries", "status"), [("1", 2, "HEALTHY"), ("60", 1, "DEGRADED")])
def test_retry_after_is_respected(asked: str, tries: int, status: str) -> None:
    with McpServer(refuse=(429, {"Retry-After": asked}), refuse_first=1) as server:
        start = time.monotonic()
        probe = check(server.url(), retry=Retry(max_attempts=3, initial_backoff=0.01, max_backoff=5.0))
        took = time.monotonic() - start
    assert (probe.attempts, probe.status) == (tries, status)
    assert took >= 1.0 if tries == 2 else took < 5


CALL = {"tools/call": {"content": [{"type": "text", "text": "3 apples"}], "structuredContent": {"total": 3}}}
CALLS: dict[str, tuple[dict[str, Any], Call, tuple[str, str | None, str | None]]] = {
    "fine": (
        CALL,
        Call(
            tool="add",
            expect=CallExpect(json=(JsonCondition(path="$.structuredContent.total", equals=3),), text_regex="apples"),
        ),
        ("HEALTHY", None, None),
    ),
    "wrong value": (
        CALL,
        Call(tool="add", expect=CallExpect(json=(JsonCondition(path="$.structuredContent.total", equals=4),))),
        ("UNHEALTHY", "condition_failed", "tool add: $.structuredContent.total is 3, expected 4"),
    ),
    "wrong text": (
        CALL,
        Call(tool="add", expect=CallExpect(text_regex="pears")),
        ("UNHEALTHY", "condition_failed", "tool add: text is '3 apples', does not match 'pears'"),
    ),
    "error": (
        {"tools/call": {"isError": True, "content": [{"type": "text", "text": "out of apples"}]}},
        Call(tool="add"),
        ("UNHEALTHY", "condition_failed", "tool add: reports an error: out of apples"),
    ),
    "expected error": (
        {"tools/call": {"isError": True, "content": []}},
        Call(tool="add", expect=CallExpect(is_error=True)),
        ("HEALTHY", None, None),
    ),
    "no such method": ({}, Call(prompt="greet"), ("UNHEALTHY", "mcp_error", "prompt greet: -32601 Method not found")),
    "not listed": (CALL, Call(tool="gone"), ("UNHEALTHY", "mcp_missing_tool", "tool gone: not listed")),
    "resource": (
        {"resources/read": {"contents": [{"uri": "a:b", "text": "hello"}]}},
        Call(resource="a:b", expect=CallExpect(text_regex="^hello$")),
        ("HEALTHY", None, None),
    ),
    "prompt": (
        {"prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "hello Ada"}}]}},
        Call(prompt="greet", arguments={"who": "Ada"}, expect=CallExpect(text_regex="Ada")),
        ("HEALTHY", None, None),
    ),
    "malformed": (
        {"tools/call": {"content": 7}},
        Call(tool="add"),
        ("UNHEALTHY", "mcp_invalid_result", "tool add: content is not a list"),
    ),
    "slow": (
        CALL,
        Call(tool="add", expect=CallExpect(degraded_above=0.000001)),
        ("DEGRADED", "slow", None),
    ),
}


@pytest.mark.parametrize("era", ["session", "sessionless"])
@pytest.mark.parametrize("name", CALLS)
def test_named_call_is_made_and_judged(name: str, era: str) -> None:
    answers, call, (status, reason, detail) = CALLS[name]
    with McpServer(eras=(era,), answers=answers) as server:
        probe = check(server.url(), calls=(call,))
        assert (probe.status, probe.reason) == (status, reason), probe.detail
        if detail is not None and "Method not found" not in detail:
            assert probe.detail == detail
        sent = [one for one in server.messages if one["method"] in ("tools/call", "prompts/get", "resources/read")]
        assert len(sent) == (0 if name == "not listed" else 1)
        if call.arguments:
            assert sent[0]["params"]["arguments"] == call.arguments


def test_nothing_is_called_that_the_config_does_not_name() -> None:
    with McpServer(capabilities=EVERYTHING, answers={**OFFERS, **CALL}) as server:
        check(server.url())
        assert not {"tools/call", "prompts/get", "resources/read"} & set(server.methods)


def test_tool_with_a_mark_that_is_no_header_is_not_called() -> None:
    marked = tool("add", properties={"a": {"type": "string", "x-mcp-header": "not a token"}})
    with McpServer(tools=[marked], answers=CALL) as server:
        probe = check(server.url(), calls=(Call(tool="add", arguments={"a": "b"}),))
        assert (probe.status, probe.reason, server.methods["tools/call"]) == ("UNHEALTHY", "mcp_schema_invalid", 0)


def test_arguments_with_a_mark_travel_as_headers() -> None:
    schema = {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer", "x-mcp-header": "N"}}
    with McpServer(eras=("sessionless",), tools=[tool("add", properties=schema)], answers=CALL) as server:
        check(server.url(), calls=(Call(tool="add", arguments={"region": "Zürich", "n": 7}),))
        headers = server.headers[-1]
        assert (headers["mcp-name"], headers["mcp-param-n"]) == ("add", "7")
        assert headers["mcp-param-region"] == "=?base64?WsO8cmljaA==?="


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"basic": Basic(username="u", password=Secret("p"))}, "authorization", "Basic dTpw"),
        ({"api_key": ApiKey(value=Secret("k-1"))}, "x-api-key", "k-1"),
        ({"api_key": ApiKey(header="Private-Token", value=Secret("k-1"))}, "private-token", "k-1"),
    ],
)
def test_credentials_go_with_every_request(options: dict[str, Any], header: str, value: str) -> None:
    with McpServer() as server:
        assert check(server.url(), **options).status == "HEALTHY"
        assert {sent.get(header) for sent in server.headers} == {value}


SSE: dict[str, tuple[dict[str, Any], tuple[str, str | None, str | None]]] = {
    # behaviour of the HTTP+SSE server: status, reason, part of the detail
    "proper": ({}, ("HEALTHY", None, None)),
    "absolute": ({"endpoint": "{origin}/messages"}, ("HEALTHY", None, None)),
    "chatty": ({"notify_first": True}, ("HEALTHY", None, None)),
    "asks": ({"ask_first": True}, ("HEALTHY", None, None)),
    "other origin": (
        {"endpoint": "http://127.0.0.2:9/messages"},
        ("UNHEALTHY", "redirect_blocked", "another origin"),
    ),
    "no endpoint": ({"endpoint": None}, ("UNHEALTHY", "deadline", "the reply to initialize did not end")),
    "message first": ({"event": "message"}, ("UNHEALTHY", "deadline", "the reply to initialize did not end")),
    "post refused": ({"post_status": 500}, ("UNHEALTHY", "http_status", "HTTP 500 to initialize")),
    "never replies": ({"silent": True}, ("UNHEALTHY", "deadline", "the reply to initialize did not end")),
    "hangs up": ({"hang_up": True}, ("UNHEALTHY", "mcp_no_reply", "ended without a reply")),
}


@pytest.mark.parametrize("name", SSE)
@pytest.mark.parametrize("transport", ["auto", "sse"])
def test_http_sse_server_is_judged_by_what_it_does(name: str, transport: str) -> None:
    behaviour, (status, reason, detail) = SSE[name]
    with SseServer(**behaviour) as server:
        probe = check(server.url(), transport=transport, timeout=2.0)
        if transport == "auto" and name in ("no endpoint", "message first"):  # how it refused POST tells more
            assert (probe.status, probe.reason) == ("UNHEALTHY", "http_status")
        else:
            assert (probe.status, probe.reason) == (status, reason), probe.detail
            assert (detail or "") in (probe.detail or "")
        assert server.streams_closed_within(3)


def test_found_transport_is_remembered_until_it_fails() -> None:
    with SseServer() as server:
        probe = check(server.url(), remembered={"mcp_transport": "sse"})
        assert (probe.status, server.posts_to_stream) == ("HEALTHY", 0)
        assert check(server.url()).status == "HEALTHY"
        assert server.posts_to_stream > 0
    with McpServer() as upgraded:
        assert check(upgraded.url(), remembered={"mcp_transport": "sse"}).status == "HEALTHY"


def test_address_that_is_neither_says_both() -> None:
    with McpServer(raw=dict.fromkeys(("server/discover", "initialize"), (404, "text/html", b"no"))) as server:
        probe = check(server.url())
    assert (probe.reason, probe.http_status) == ("http_status", 404)
    assert probe.detail == (
        "HTTP 404 to initialize: no MCP endpoint over Streamable HTTP at this address, nor over HTTP+SSE"
    )
