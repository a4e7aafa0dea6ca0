"""The worst documents that servers can send, in one worker beside healthy servers: told in time, holding up nobody."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from checker.contract.canonical_form import canonical
from checker.limits import Limits
from checker.model import CheckResult, Server
from checker.probes import offload, offloaded_jobs
from checker.probes.conditions import JsonCondition
from checker.probes.mcp.options import Call, CallExpect, McpOptions
from checker.probes.rest import Expect, RestOptions
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards
from checker.units import Bytes
from checker.worker.cpu_offload import Judges
from checker.worker.greenlets import DeadlinePassed, Deadlines
from conftest import check_all
from servers import McpServer, RestServer, Scripted, tool

MIB = 1024 * 1024
HEALTHY = 40


def listed(result: bytes) -> dict[str, Any]:
    """A server whose tool list has this result."""
    body = b'{"jsonrpc":"2.0","id":@id@,"result":' + result + b"}"
    return {"raw": {"tools/list": (200, "application/json", body)}}


def many_tools(number: int, **schema: Any) -> bytes:
    return json.dumps({"tools": [tool(f"t{index}", title=str(index), **schema) for index in range(number)]}).encode()


HOSTILE_MCP: dict[str, bytes] = {
    "arrays": b'{"tools":[' + b"[]," * (2 * MIB // 3) + b"1]}",
    "objects": b'{"tools":[' + b"{}," * (600 * 1024 // 3) + b"{}]}",
    "beside": b'{"tools":[],"x":[' + b"[]," * (600 * 1024 // 3) + b"1]}",
    "keys": b'{"tools":[],' + b",".join(b'"k%d":1' % index for index in range(200_000)) + b"}",
    "deep": b'{"tools":[{"name":"x","inputSchema":{"type":"object","a":' + b"[" * 900 + b"]" * 900 + b"}}]}",
    "many_tools": many_tools(20_000),
    "long_name": json.dumps({"tools": [tool("x" * 5 * MIB)]}).encode(),
    "long_escapes": b'{"tools":[{"name":"' + b"\\u0000" * (5 * MIB // 6) + b'"}]}',
    "big_number": b'{"tools":[{"name":"x","inputSchema":{"type":"object","minimum":' + b"9" * 200_000 + b"}}]}",
    "wide_schema": many_tools(1, enum=[f"v{index}" for index in range(150_000)]),
}


def test_worst_documents_hold_up_nobody(tmp_path: Path, status: Callable[..., CompletedProcess[str]]) -> None:
    nested = b'{"a":' * 300 + b"1" + b"}" * 300
    paths = {
        "/arrays": Scripted(body=b"[" + b"[]," * (MIB // 4) + b"1]"),
        "/descent": Scripted(body=nested),
        "/wide": Scripted(body=b"[" + b'{"a":1},' * 20_000 + b"1]"),
        "/text": Scripted(body=b" " * 900_000),
        "/searched": Scripted(body=json.dumps([{"a": "a" * 800_000, "b": "(a?){30}b"}]).encode()),
    }
    wanted = {
        "/arrays": {"json": [{"path": "$..*", "equals": 7}]},
        "/descent": {"json": [{"path": "$..*..*..*..*", "equals": 7}]},
        "/wide": {"json": [{"path": "$..a", "equals": 7}]},
        "/text": {"body_regex": r"(\w|\s){1,200}UP$"},
        "/searched": {"json": [{"path": "$[?search(@.a, @.b)]"}]},
    }
    with ExitStack() as stack:
        rest = stack.enter_context(RestServer(paths))
        hostile = {name: stack.enter_context(McpServer(**listed(text))) for name, text in HOSTILE_MCP.items()}
        good = [stack.enter_context(McpServer()) for _ in range(4)]
        servers: list[dict[str, Any]] = [
            {"name": f"rest {path}", "rest": {"url": rest.url(path), "timeout": "60s", "expect": expect}}
            for path, expect in wanted.items()
        ]
        servers += [
            {"name": name, "mcp": {"url": one.url(), "timeout": "60s", "max_body": "16MiB"}}
            for name, one in hostile.items()
        ]
        servers += [{"name": f"h{number}", "mcp": good[number % 4].url()} for number in range(HEALTHY)]
        servers += [{"name": f"r{number}", "rest": rest.url()} for number in range(HEALTHY)]
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"run": {"workers": 1}, "servers": servers}))
        done = status("check", config, "--quiet")
    asked = "select server, status, reason, detail, duration_ms from probe_history"
    rows = {row["server"]: row for row in json.loads(status("sql", asked, "--format", "json").stdout)}
    assert done.returncode in (2, 3), [row for row in rows.values() if row["status"] != "HEALTHY"]
    assert {name for name, row in rows.items() if row["status"] == "HEALTHY"} >= {
        *(f"h{number}" for number in range(HEALTHY)),
        *(f"r{number}" for number in range(HEALTHY)),
    }
    bad = {name: row for name, row in rows.items() if name[0] not in "hr" or name.startswith("rest")}
    assert {row["reason"] for row in bad.values()}.isdisjoint({"internal_error", "worker_lost", "deadline"}), bad
    assert {row["status"] for name, row in bad.items()} <= {"UNHEALTHY", "DEGRADED", "HEALTHY"}
    healthy = {name for name, row in bad.items() if row["status"] == "HEALTHY"}
    assert healthy <= {"beside", "keys", "many_tools", "long_name", "wide_schema"}, bad
    asked = "select longest_lag_ms, lag_p99_ms, cpu_ms, peak_memory_bytes from worker_history"
    (worker,) = json.loads(status("sql", asked, "--format", "json").stdout)
    assert worker["cpu_ms"] < 6000, "the work was done elsewhere"
    assert worker["peak_memory_bytes"] < 250 * MIB
    if os.getloadavg()[0] < (os.cpu_count() or 1):  # else others than the servers may have held up the worker
        assert worker["lag_p99_ms"] < 100
        assert worker["longest_lag_ms"] < 500


@pytest.fixture
def elsewhere() -> Iterator[list[str]]:
    """As in a worker, with the jobs done here; the names of those that were."""
    done: list[str] = []

    def run(job: str, args: list[Any], length: int) -> Any:
        done.append(job)
        offload.do_elsewhere(None)
        try:
            return offloaded_jobs.JOBS[job](*args)
        finally:
            offload.do_elsewhere(run)

    offload.do_elsewhere(run)
    yield done
    offload.do_elsewhere(None)


def only(server: Server) -> CheckResult:
    return check_all([server])[server.name]


def mcp(url: str, **options: Any) -> Server:
    return Server(name="x", probes={"mcp": McpOptions(**{"url": url, "timeout": 60.0, **options})})


@pytest.mark.parametrize("page", [0, 400])
def test_a_large_offer_is_judged_as_a_small_one_is(page: int) -> None:
    """Over pages that are small alone, and in one message: the same digest and the same complaints."""
    tools = [tool(f"t{index:04}", properties={"a": {"type": "string", "title": str(index)}}) for index in range(3000)]
    tools += [{"name": "bad", "inputSchema": {"type": "object", "required": 1}}]
    found = []
    with McpServer(tools=tools, **({"page": page} if page else {})) as server:
        check = only(mcp(server.url(), expected_tools=("t0001", "absent"), max_pages=1000))
    (probe,) = check.probes
    found.append(probe)
    assert probe.mcp is not None
    assert (probe.status, probe.reason) == ("UNHEALTHY", "mcp_missing_tool")
    assert probe.mcp.tool_count == 3001
    expected = canonical({"tools": tools})
    assert probe.mcp.tools_digest == expected.tools_digest
    assert probe.mcp.tools_bytes == expected.tools_bytes
    assert probe.mcp.contract_digest is not None


def test_a_large_healthy_offer_is_healthy_and_can_be_called() -> None:
    tools = [tool(f"t{index:04}", properties={"a": {"type": "string"}}) for index in range(4000)]
    content = [{"type": "text", "text": f"line {number}"} for number in range(8000)]
    answers = {"tools/call": {"content": content, "structuredContent": {"total": 8000}}}
    expect = CallExpect(text_regex="line 7999$", json=(JsonCondition(path="$.structuredContent.total", equals=8000),))
    with McpServer(tools=tools, answers=answers, eras=("session", "sessionless")) as server:
        check = only(mcp(server.url(), calls=(Call(tool="t0007", expect=expect),), expected_tools=("t3999",)))
        bad = only(mcp(server.url(), calls=(Call(tool="t0007", expect=CallExpect(text_regex="no such")),)))
        absent = only(mcp(server.url(), calls=(Call(tool="t9999"),)))
    (probe,) = check.probes
    assert (probe.status, probe.reason, probe.detail) == ("HEALTHY", None, None)
    assert (bad.probes[0].status, bad.probes[0].reason) == ("UNHEALTHY", "condition_failed")
    assert (absent.probes[0].status, absent.probes[0].reason) == ("UNHEALTHY", "mcp_missing_tool")


def test_a_large_body_is_judged_as_a_small_one_is() -> None:
    body = json.dumps({"items": [{"id": index, "state": "up"} for index in range(20_000)], "total": 20_000}).encode()
    with RestServer({"/large": Scripted(body=body)}) as server:
        for expect, status in (
            (Expect(body_regex='"total": 20000}$'), "HEALTHY"),
            (Expect(body_regex="no such"), "UNHEALTHY"),
            (Expect(json=(JsonCondition(path="$.total", equals=20_000),)), "HEALTHY"),
            (Expect(json=(JsonCondition(path="$.items[*].state", equals="up"),)), "HEALTHY"),
            (Expect(json=(JsonCondition(path="$.items[*].id", greater_than=1e6, otherwise="degraded"),)), "DEGRADED"),
        ):
            options = RestOptions(url=server.url("/large"), expect=expect, max_body=Bytes(4 * MIB))
            assert only(Server(name="x", probes={"rest": options})).status == status


def test_a_deadline_that_passes_before_anything_is_judged_is_not_the_servers() -> None:
    judges = Judges()
    deadline = Deadlines().set(0.001)  # a process takes longer to start
    with pytest.raises(DeadlinePassed) as passed:
        judges.run("find", ["a", "a"], 1)
    deadline.cancel()
    assert passed.value.kept_waiting_s > 0
    assert judges.run("find", ["a", "a"], 1), "who comes after it is judged"
    judges.end()


def test_work_that_passes_its_time_is_the_servers_fault() -> None:
    nested = b'{"a":' * 400 + b"1" + b"}" * 400
    condition = JsonCondition(path="$..*..*..*..*", equals=7)
    with RestServer(
        {"/deep": Scripted(body=nested), "/fine": Scripted(body=b"[" + b'{"a":1},' * 5000 + b"1]")}
    ) as server:
        deep = RestOptions(url=server.url("/deep"), expect=Expect(json=(condition,)))
        fine = RestOptions(url=server.url("/fine"), expect=Expect(json=(JsonCondition(path="$..a", equals=1),)))
        start = time.perf_counter()
        found = check_all([Server(name="deep", probes={"rest": deep}), Server(name="fine", probes={"rest": fine})])
        took_s = time.perf_counter() - start
    assert (found["deep"].status, found["deep"].reason) == ("UNHEALTHY", "condition_failed")
    assert found["fine"].status == "HEALTHY"
    assert took_s < 40


def test_what_is_small_is_judged_on_the_spot(elsewhere: list[str]) -> None:
    from checker.probes.conditions import json_unmet
    from checker.probes.mcp.jsonrpc import parse

    assert json_unmet(b'{"status": "UP"}', [JsonCondition(path="$.status", equals="UP")]) == []
    assert parse(json.dumps({"result": {"tools": [tool(f"t{index}") for index in range(100)]}}).encode())
    assert elsewhere == []


@pytest.mark.parametrize("text", [b"[" * 50_000, b"[" + b"1," * 40_000, b'{"a":' * 30_000, b'"' + b"x" * 300_000])
def test_what_is_no_json_is_said_whatever_its_size(text: bytes, elsewhere: list[str]) -> None:
    from checker.probes.base import ProbeFailure
    from checker.probes.mcp.jsonrpc import parse

    with pytest.raises(ProbeFailure, match="not JSON"):
        parse(text)
    assert elsewhere == ["skim"]


def test_a_secret_that_is_repeated_in_what_is_large_is_masked() -> None:
    """What is judged beside the worker is masked there: in the contract before its digest, and in every detail."""
    secret = "correct-horse-battery-staple"
    tools = [tool(f"t{index:04}", title=f"{secret} {index}") for index in range(3000)]
    tools.append({"name": secret, "inputSchema": {"type": "object", "required": secret}})
    batches: list[Any] = []
    with McpServer(tools=tools) as server:
        one = mcp(server.url(), bearer=secret)
        limits = Limits(concurrency=1, per_origin=1)
        run_shards(Shards([Shard((one,))]), batches.append, RunnerOptions(limits=limits))
    (contract,) = [contract for batch in batches for contract in batch.contracts]
    assert "t2999" in contract.document
    assert secret not in repr(batches)
