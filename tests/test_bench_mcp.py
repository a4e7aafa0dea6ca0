"""MCP operations under load: what real servers see of them, and what they leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from checker.loadtest.results import BenchRun
from checker.loadtest.summary import Summary
from loads import hold, mcp, of, played
from servers import McpServer

RATE, SECONDS = 20, 1.0
EVERY = round(RATE * SECONDS)
MOST = 2
"""Kept sessions of a scenario."""
CALLED = {"tools/call": {"content": [{"type": "text", "text": "3"}]}}
KEPT = {
    "ping": "mcp_ping",
    "list": "mcp_list",
    "call": "mcp_call",
}


@dataclass
class Played:
    """One play of everything side by side."""

    run: BenchRun
    servers: dict[str, McpServer]

    def __getitem__(self, scenario: str) -> Summary:
        return of(self.run, scenario)


@pytest.fixture(scope="module")
def everything() -> Iterator[Played]:
    with ExitStack() as stack:

        def start(**faults: object) -> McpServer:
            server: McpServer = stack.enter_context(McpServer(**faults))
            return server

        servers = {
            "check": start(),
            "churn": start(),
            "ping": start(),
            "list": start(),
            "call": start(answers=CALLED),
            "list_sse": start(sse=True),
            "list_sessionless": start(eras=("sessionless",)),
            "call_error": start(answers={"tools/call": {**CALLED["tools/call"], "isError": True}}),
            "call_unlisted": start(answers=CALLED),
            "list_refused": start(errors={"tools/list": (200, -32000, "no")}),
            "ping_forgotten": start(session_requests=5),
            "check_401": start(refuse=(401, {}), token="t"),
            "list_slow": start(delay_s={"tools/list": 1.0}),
        }
        scenarios = {}
        for name in servers:
            kind = name.partition("_")[0]
            operation = "mcp_churn" if kind == "churn" else KEPT.get(kind, "mcp_check")
            tool = "" if operation != "mcp_call" else "shred" if name == "call_unlisted" else "add"
            timeout = 0.3 if name == "list_slow" else 5.0
            most = MOST if name.partition("_")[0] in KEPT and name != "list_slow" else 100
            scenarios[name] = hold(
                RATE, SECONDS, operation=operation, servers=(name,), tool=tool, timeout=timeout, max_in_flight=most
            )
        run = played([mcp(name, server.url()) for name, server in servers.items()], scenarios)
        yield Played(run, servers)


@pytest.mark.parametrize("name", ["check", "churn", "ping", "list", "call", "list_sse", "list_sessionless"])
def test_operations_on_good_servers_succeed(everything: Played, name: str) -> None:
    assert everything[name].reasons == {}
    assert everything[name].ok == everything[name].offered == EVERY


@pytest.mark.parametrize(("name", "method"), [("ping", "ping"), ("list", "tools/list"), ("call", "tools/call")])
def test_kept_sessions_carry_many_operations(everything: Played, name: str, method: str) -> None:
    server = everything.servers[name]
    assert server.methods[method] >= EVERY
    assert 1 <= server.methods["initialize"] <= MOST


def test_churn_opens_and_ends_a_session_each_time(everything: Played) -> None:
    server = everything.servers["churn"]
    assert server.opened == server.deleted == EVERY


def test_a_full_check_is_a_session_with_ping_and_lists(everything: Played) -> None:
    methods = everything.servers["check"].methods
    assert methods["initialize"] == methods["ping"] == methods["tools/list"] == methods["DELETE"] == EVERY


@pytest.mark.parametrize("name", ["check", "churn", "ping", "list", "call", "list_sse", "call_error"])
def test_no_session_is_left_behind(everything: Played, name: str) -> None:
    assert everything.servers[name].open_sessions == set()


def test_only_the_named_tool_is_called(everything: Played) -> None:
    for name, server in everything.servers.items():
        called = {one["params"]["name"] for one in server.messages if one["method"] == "tools/call"}
        assert called <= {"add"}, name


def test_a_tool_that_is_not_listed_is_not_called(everything: Played) -> None:
    assert everything["call_unlisted"].reasons == {"mcp_missing_tool": EVERY}
    assert everything.servers["call_unlisted"].methods["tools/call"] == 0


def test_an_error_of_a_tool_is_told_apart_from_one_of_the_protocol(everything: Played) -> None:
    assert everything["call_error"].reasons == {"condition_failed isError": EVERY}
    assert everything["list_refused"].reasons == {"mcp_error": EVERY}
    for name in ("call_error", "list_refused"):
        assert everything.servers[name].methods["initialize"] <= MOST, "an error leaves the session as it was"


def test_a_forgotten_session_fails_once_and_is_opened_anew(everything: Played) -> None:
    forgotten = everything["ping_forgotten"]
    assert set(forgotten.reasons) == {"mcp_session_expired"}
    assert forgotten.ok > 0
    assert forgotten.failed > 0


def test_being_refused_is_failing_whatever_a_check_makes_of_it(everything: Played) -> None:
    assert everything["check_401"].reasons == {"auth_required": EVERY}


def test_an_operation_that_takes_too_long_is_ended_at_its_limit(everything: Played) -> None:
    slow = everything["list_slow"]
    assert slow.censored == slow.failed == EVERY
    ended_us = slow.quantile_us(0.5, "failed_response") or 0
    assert 295_000 <= ended_us < 900_000, "at its limit, of which a busy machine hears late"


def test_stages_of_an_operation_are_told(everything: Played) -> None:
    assert {"initialize", "ping", "list"} <= set(everything["check"].phases_us)
    assert {"initialize", "initialized", "close"} <= set(everything["churn"].phases_us)


def test_the_first_byte_of_an_answer_is_seen(everything: Played) -> None:
    listed = everything["list_sse"]
    assert 0 < (listed.quantile_us(0.5, "first_byte") or 0) <= (listed.quantile_us(0.5, "service") or 0) * 1.02
