"""A contract that came in an earlier run is known by its bytes: the row is the one that reading it would make."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checker.contract.canonical_form import canonical
from checker.model import McpFacts
from checker.probes.mcp.jsonrpc import UnreadResult, parse, read
from checker.probes.mcp.known_contract import (
    CONTRACT_DIGEST,
    CONTRACT_SOURCE,
    EarlierContract,
    source_value,
)
from checker.secrets.known_secrets import begin
from offered import ENVELOPES, ODD_ENVELOPES
from servers import McpServer

Status = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = os.environ.get("MCP_STATUS_EXAMPLES", "30")
SEED = os.environ.get("MCP_STATUS_SEED", "20261130")
HERE = Path(__file__).parent
FACTS = McpFacts(era="session", transport="stdio")
INIT, TOOLS, MORE = b'{"protocolVersion":"2025-11-25"}', b'{"tools":[{"name":"a"}]}', b'{"tools":[{"name":"b"}]}'


def test_a_known_contract_is_told_as_one_that_is_read() -> None:
    program = HERE / "support" / "known_contract_program.py"
    done = subprocess.run([sys.executable, str(program), SEED, EXAMPLES], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["differences"] == []
    assert set(found["known"]) == {"json", "events", "sse", "stdio"}
    assert min(found["known"].values()) > 0, "else nothing was known again"


_MEMBERS = st.dictionaries(st.sampled_from(("a", "id", "result", "jsonrpc")), st.integers() | st.text(max_size=5))
_TEXTS = st.sampled_from(("{}", "{", "}", '"id":3', '"result":', ",", ":", "3", '"jsonrpc":"2.0"', " ", "[", "]", "\0"))


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(ENVELOPES + ODD_ENVELOPES), _MEMBERS.map(json.dumps) | st.lists(_TEXTS, max_size=12).map("".join)
)
@example('{"jsonrpc":"2.0","id":@,"result":#}', '{"a":1},"id":4,"b":{"c":1}')
@example('{"jsonrpc":"2.0","id":@,"result":#}', "{" * 3 + "}" * 3)
def test_a_result_is_read_apart_from_its_message_as_within_it(envelope: str, result: str) -> None:
    text = envelope.replace("@", "3").replace("#", result).encode()
    try:
        message: Any = parse(text)
    except Exception as failure:
        with pytest.raises(type(failure), match=f"^{re.escape(str(failure))}$"):
            read(text)
        return
    found, source = read(text)
    assert found == message
    if source:
        assert json.loads(source) == message["result"]
        assert set(message) == {"jsonrpc", "id", "result"}
        assert (message["jsonrpc"], type(message["id"])) == ("2.0", int)


@pytest.mark.parametrize("levels", [199, 200, 252, 253, 254, 255, 1022, 1023, 1024, 1025])
def test_a_result_that_is_nested_too_deeply_is_refused_as_its_message(levels: int) -> None:
    text = b'{"jsonrpc":"2.0","id":3,"result":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"
    outcomes = []
    for way in (parse, lambda text: read(text)[0]):
        try:
            outcomes.append(way(text))
        except Exception as failure:
            outcomes.append(str(failure))
    assert outcomes[0] == outcomes[1]


def _kept(sources: list[bytes], **changes: Any) -> tuple[dict[str, str], Any]:
    contract = canonical({"tools": [{"name": "a"}]})
    value = source_value(contract, sources, changes.get("expected", ()), changes.get("facts", FACTS))
    return {CONTRACT_DIGEST: contract.digest, CONTRACT_SOURCE: value or ""}, contract


def _recognised(memory: dict[str, str], sources: list[bytes], pages: list[bytes], **changes: Any) -> Any:
    earlier = EarlierContract.of(memory)
    assert earlier is not None
    for page in pages:
        earlier.expect()
        earlier.needs_no_reading(page)
        earlier.take(page)
    return earlier.recognised(sources, changes.get("expected", ()), changes.get("facts", FACTS))


def test_only_the_same_bytes_in_the_same_order_under_the_same_measure_are_recognised() -> None:
    begin("")
    sources = [INIT, b"tools", TOOLS, MORE]
    memory, contract = _kept(sources)
    found = _recognised(memory, sources, [TOOLS, MORE])
    assert found is not None
    facts = found.added_to(FACTS)
    assert (facts.tool_count, facts.tools_bytes, facts.tools_tokens) == (1, contract.tools_bytes, contract.tools_tokens)
    assert (facts.tools_digest, facts.contract_digest) == (contract.tools_digest, contract.digest)
    others: list[tuple[list[bytes], list[bytes]]] = [
        ([INIT, b"tools", MORE, TOOLS], [MORE, TOOLS]),
        ([INIT, b"tools", TOOLS], [TOOLS]),
        ([INIT, b"tools", TOOLS, MORE, MORE], [TOOLS, MORE, MORE]),
        ([INIT, b"tools", TOOLS, b"prompts", MORE], [TOOLS, MORE]),
        ([INIT, b"prompts", TOOLS, MORE], [TOOLS, MORE]),
        ([INIT, b"tools", TOOLS, MORE, b"prompts", b"none"], [TOOLS, MORE]),
        ([INIT + b" ", b"tools", TOOLS, MORE], [TOOLS, MORE]),
        ([INIT, b"tools", TOOLS + b" ", MORE], [TOOLS + b" ", MORE]),
    ]
    for other, pages in others:
        assert _recognised(memory, other, pages) is None
    assert _recognised(memory, sources, [TOOLS, MORE], expected=("a",)) is None
    assert _recognised(memory, sources, [TOOLS, MORE], facts=McpFacts(era="session", transport="sse")) is None
    assert _recognised(memory | {CONTRACT_DIGEST: "0" * 64}, sources, [TOOLS, MORE]) is None
    begin("a-secret-4711").acquired.add("protocolVersion")
    assert _recognised(memory, sources, [TOOLS, MORE]) is None, "a secret may be in it"
    begin("")


def test_only_the_last_page_of_a_list_is_left_unread_and_only_where_it_is_awaited() -> None:
    memory, _ = _kept([INIT, b"tools", TOOLS, MORE])
    earlier = EarlierContract.of(memory)
    assert earlier is not None

    def result_of(page: bytes) -> Any:
        message, source = read(b'{"jsonrpc":"2.0","id":7,"result":%s}' % page, earlier)
        assert source == page
        earlier.take(source)
        return message["result"]

    assert not isinstance(result_of(TOOLS), UnreadResult), "nothing is awaited"
    earlier.begin()
    earlier.expect()
    assert not isinstance(result_of(TOOLS), UnreadResult), "its cursor is needed"
    earlier.expect()
    last = result_of(MORE)
    assert isinstance(last, UnreadResult)
    assert last.read() == {"tools": [{"name": "b"}]}
    for page in (TOOLS, MORE):
        earlier.begin()
        earlier.expect()
        assert result_of(INIT)["protocolVersion"], "another contract"
        assert not isinstance(result_of(page), UnreadResult), "the answer to a call, say"
        earlier.begin()
        earlier.expect()  # and the list cannot be read
        assert earlier.recognised(None, (), FACTS) is None
        assert not isinstance(result_of(page), UnreadResult)


@pytest.mark.parametrize(
    "memory",
    [
        {},
        {CONTRACT_DIGEST: "0" * 64},
        {CONTRACT_SOURCE: "a b c d"},
        {CONTRACT_DIGEST: "0" * 64, CONTRACT_SOURCE: ""},
        {CONTRACT_DIGEST: "0" * 64, CONTRACT_SOURCE: "a b c"},
    ],
)
def test_what_is_not_all_there_is_nothing(memory: dict[str, str]) -> None:
    assert EarlierContract.of(memory) is None


def test_a_contract_of_many_pages_is_not_kept() -> None:
    contract = canonical({"tools": []})
    assert source_value(contract, [INIT, b"tools", *[TOOLS] * 32], (), FACTS) is not None
    assert source_value(contract, [INIT, b"tools", *[TOOLS] * 33], (), FACTS) is None
    assert source_value(contract, [INIT], (), FACTS) is None


def test_the_second_run_has_the_row_of_the_first(status: Status) -> None:
    def asked(query: str) -> list[Any]:
        return list(json.loads(status("sql", query, "--format", "json").stdout))

    with McpServer() as server:
        for _ in range(2):
            assert status("check", "--mcp", server.url(), "-q").returncode == 0
    kept = asked("select created_at_ms, value from cache_entries where category = 'mcp_contract_source'")
    assert len(kept) == 1
    rows = asked("select distinct mcp_facts_id, remarks, status from probes")
    assert len(rows) == 1
    assert len(asked("select * from contract_versions")) == 1
