"""What one server can make the history keep: bounded, told, and at nobody else's cost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rollup_histories import DAY_MS

import builders
from checker.contract.canonical_form import canonical
from checker.contract.outline import MOST_BYTES as OUTLINE_BYTES
from checker.contract.outline import compared, is_outline, outline
from checker.limits import Keep
from checker.model import Batch, CheckResult, ContractSnapshot, Reason, Status
from servers import McpServer, tool
from storage import contracts
from storage.store import Store, open_store

MIB = 1024**2
HOUR_MS = 3_600_000


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def offers(number: int, size: int = 100, tools: int = 1) -> dict[str, Any]:
    word = "".join(
        chr(ord("a") + int(digit)) for digit in str(number)
    )  # a number alone may be another one at each start
    listed = [{"name": f"t{place}", "description": f"{word} " + "x" * size} for place in range(tools)]
    return {"server": {"name": "churn"}, "tools": listed}


def seen(name: str, document: dict[str, Any], at_ms: int, **values: Any) -> tuple[CheckResult, ContractSnapshot]:
    contract = canonical(document)
    facts = builders.facts(
        contract_digest=contract.digest, server_version=str(at_ms), tools_digest=contract.tools_digest
    )
    probe = builders.probe("mcp", mcp=facts, started_at_ms=at_ms, **values)
    return (
        builders.check(name, started_at_ms=at_ms, probes=(probe,)),
        ContractSnapshot(digest=contract.digest, document=contract.text),
    )


def write(store: Store, at_ms: int, *told: tuple[CheckResult, ContractSnapshot]) -> None:
    names = [check.server for check, _ in told]
    run_id = store.begin_run(builders.run_info(started_at_ms=at_ms), [builders.server(name) for name in names])
    store.write(run_id, Batch(checks=tuple(one for one, _ in told), contracts=tuple(one for _, one in told)))


def test_a_large_contract_is_kept_as_its_outline(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for number in range(3):
            write(store, builders.AT_MS + number, seen("a", offers(number, 7_000_000), builders.AT_MS + number))
    documents = [json.loads(text) for (text,) in rows(path, "select document from contracts")]
    assert all(map(is_outline, documents))
    assert [one["tools"][0]["name"] for one in documents] == ["t0"] * 3
    (size,) = rows(path, "select min(contract_bytes) from contracts")[0]
    assert size > 7_000_000
    changes = [json.loads(text) for (text,) in rows(path, "select changes from contract_versions order by version")]
    assert [[change["kind"] for change in one] for one in changes] == [[], ["tool_changed"], ["tool_changed"]]
    assert path.stat().st_size < MIB


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "c": 3}, ["tool_removed", "tool_added"]),
        ({"a": 1}, {"a": 2}, ["tool_changed"]),
        ({"a": 1}, {"a": 1}, []),
    ],
)
def test_outlines_tell_what_was_added_removed_and_changed(
    old: dict[str, int], new: dict[str, int], kinds: list[str]
) -> None:
    before, after = (
        {"tools": [{"name": name, "description": str(text)} for name, text in one.items()]} for one in (old, new)
    )
    for pair in ((outline(before), outline(after)), (before, outline(after)), (outline(before), after)):
        assert [change.kind for change in compared(*pair)] == kinds


def test_an_outline_itself_is_bounded_and_still_compared() -> None:
    many = {"tools": [{"name": f"{number}{'n' * 5000}"} for number in range(20_000)], "instructions": "i" * 1_000_000}
    small = outline(many)
    assert len(json.dumps(small)) < OUTLINE_BYTES
    fewer = outline({**many, "tools": many["tools"][:19_999]})
    assert [(one.kind, one.grade) for one in compared(small, fewer)] == [("list_changed", "breaking")]
    assert [one.kind for one in compared(small, outline({**many, "instructions": "j"}))] == ["instructions_changed"]


@pytest.mark.parametrize(
    "odd", [{"tools": None}, {"tools": [1, None, {"name": 3}, {"name": "a"}, {"name": "a"}]}, {"tools": {}}, {}]
)
def test_an_outline_is_made_of_whatever_a_server_lists(odd: dict[str, Any]) -> None:
    assert compared(outline(odd), outline(odd)) == ()
    assert compared(outline(odd), outline(offers(1))) != ()
    assert compared(outline(offers(1)), outline(odd)) != ()


def test_of_many_versions_the_first_and_the_newest_stay(tmp_path: Path) -> None:
    path, versions = tmp_path / "h.db", contracts.MOST_VERSIONS + 40
    with open_store(path) as store:
        for number in range(versions):
            write(store, builders.AT_MS + number, seen("a", offers(number), builders.AT_MS + number))
    kept = [version for (version,) in rows(path, "select version from contract_versions order by version")]
    assert kept == [1, *range(versions - contracts.MOST_VERSIONS + 2, versions + 1)]
    assert rows(path, "select count(*) from contracts") == [(len(kept),)]
    from storage.database_file import database_info

    facts = database_info(path)
    assert (facts["contract_versions_not_kept"], facts["rows_contract_versions"]) == (40, contracts.MOST_VERSIONS)


def test_versions_of_a_server_take_no_more_than_their_share(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for number in range(30):
            at_ms = builders.AT_MS + number
            write(store, at_ms, seen("a", offers(number, 1_500_000), at_ms), seen("b", offers(0), at_ms))
    (size,) = rows(path, "select sum(document_bytes) from contracts")[0]
    assert size < contracts.MOST_BYTES_OF_A_SERVER
    kept = [version for (version,) in rows(path, "select version from contract_versions where server_id = 1")]
    assert kept[0] == 1
    assert kept[-1] == 30
    assert len(kept) >= contracts.FEWEST_VERSIONS


def test_what_two_servers_offer_stays_where_one_drops_it(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for number in range(contracts.MOST_VERSIONS + 10):
            at_ms = builders.AT_MS + number
            write(store, at_ms, seen("a", offers(number), at_ms), seen("b", offers(min(number, 5)), at_ms))
    lost = (
        "select count(*) from contract_versions v left join contracts c on c.digest = v.digest where c.digest is null"
    )
    assert rows(path, lost) == [(0,)]


def test_the_worst_changes_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for number in range(2):
            tools = [{"name": f"{number}-{place}", "inputSchema": {"type": "object"}} for place in range(500)]
            write(store, builders.AT_MS + number, seen("a", {"tools": tools}, builders.AT_MS + number))
    ((changes, breaking, cosmetic),) = rows(
        path, "select changes, breaking, cosmetic from contract_versions where version = 2"
    )
    assert (len(json.loads(changes)), breaking, cosmetic) == (contracts.MOST_CHANGES, 500, 500)
    assert {one["grade"] for one in json.loads(changes)} == {"breaking"}
    assert rows(path, "select change_count from contract_history where version = 2") == [(1000,)]


def test_broken_unicode_in_a_contract_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for number in range(2):
            document = {"tools": [{"name": f"a\ud800{number}", "description": "x" * number * 3_000_000}]}
            write(store, builders.AT_MS + number, seen("a", document, builders.AT_MS + number))
    assert rows(path, "select count(*) from contract_versions") == [(2,)]


def fleet(path: Path, days: int) -> int:
    """Three quiet servers and one that offers and says something else, at length, every time; gives the time after."""
    start_ms = builders.AT_MS // DAY_MS * DAY_MS
    with open_store(path) as store:
        for number, at_ms in enumerate(range(start_ms, start_ms + days * DAY_MS, HOUR_MS)):
            failed = {"status": Status.UNHEALTHY, "reason": Reason.MCP_ERROR, "stderr_tail": f"{number} " * 1500}
            quiet = [seen(name, offers(number // 48), at_ms) for name in ("q1", "q2", "q3")]
            write(store, at_ms, *quiet, seen("loud", offers(number, 300_000), at_ms, **failed))
        store.roll(start_ms + days * DAY_MS)
    return start_ms + days * DAY_MS


def test_pruning_takes_from_who_wrote_most(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    end_ms = fleet(path, 10)
    quiet = "where server_id <> (select id from servers where name = 'loud') order by 1, 2"
    queries = [f"select * from {table} {quiet}" for table in ("checks", "probes", "contract_versions")]
    queries.append("select digest from contracts where length(document) < 9999")
    before = [rows(path, query) for query in queries]
    statuses = rows(path, "select server_id, run_id, status, reason from checks order by 1, 2")
    large = path.stat().st_size
    with open_store(path) as store:
        pruned = store.prune(Keep(max_size=large // 4), end_ms)
    assert [rows(path, query) for query in queries] == before
    assert rows(path, "select server_id, run_id, status, reason from checks order by 1, 2") == statuses
    assert pruned.rows.keys() <= {"contract_versions", "texts", "mcp_facts", "urls", "contracts"}
    assert path.stat().st_size <= large // 4
    with open_store(path) as store:
        smaller = store.prune(Keep(max_size=3 * MIB), end_ms)
    assert smaller.rows.get("texts"), "the stories of its old failures go before anybody's checks"
    assert [rows(path, query) for query in queries] == before


def test_facts_and_addresses_go_with_the_rows_that_had_them(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    end_ms = fleet(path, 4)
    assert rows(path, "select count(*) from mcp_facts")[0][0] >= 96
    with open_store(path) as store:
        store.prune(Keep(raw=86400.0, max_size=None), end_ms)
    used = "(select mcp_facts_id from probes where mcp_facts_id is not null)"
    unused = f"select count(*) from mcp_facts where id not in {used}"
    assert rows(path, unused) == [(0,)]
    assert rows(path, "pragma foreign_key_check") == []


def test_what_is_printed_of_many_changes_is_short_and_says_how_many_more(
    status: Callable[..., Any], tmp_path: Path
) -> None:
    with McpServer(tools=[tool(f"old{place}") for place in range(300)]) as server:
        name = server.url().partition("//")[2].partition("/")[0]
        status("check", "--mcp", server.url())
        server.faults.tools = [tool(f"new{place}", properties={"a": {}}) for place in range(300)]
        printed = status("check", "--mcp", server.url()).stdout
        document = json.loads(status("contract", "diff", name, "1", "2", "--format", "json").stdout)
    assert len(printed.splitlines()) < 60
    assert "and 580 more (300 breaking, 300 cosmetic in all)" in printed
    assert f"mcp-status contract diff {name} 1 2 --all" in printed
    assert len(document["changes"]) == 600
    short = status("contract", "diff", name, "1", "2").stdout
    assert "and 550 more: " in short
    assert len(status("contract", "diff", name, "1", "2", "--all").stdout.splitlines()) > 600
    shown = status("contract", name).stdout
    assert "and 250 more: " in shown
    assert len(status("contract", name, "--all").stdout.splitlines()) > 300
    report = status("report", "contract")
    assert len(report.stdout.splitlines()) < 90
    assert "550 more changes are not listed" in report.stdout


def test_one_server_does_not_fill_the_table_of_a_run() -> None:
    from reports.tables import MOST_OF_A_SERVER, changes_left_out, changes_table
    from storage.history import ContractRow

    def row(server: str, count: int) -> ContractRow:
        change = {"kind": "tool_removed", "grade": "breaking", "item": "tool a", "detail": "no longer listed"}
        return ContractRow(
            server=server,
            version=2,
            run_id=1,
            seen_at_ms=0,
            digest="d",
            grade="breaking",
            changes=(change,) * min(count, 200),
            change_counts={"breaking": count, "risky": 0, "cosmetic": 0},
            document={},
            contract_bytes=1,
        )

    changed = [row("loud", 16_000), row("quiet", 3)]
    assert changes_table(changed).row_count == MOST_OF_A_SERVER + 3
    (line,) = changes_left_out(changed)
    assert line.startswith("loud: and 15,980 more")
    assert len(list(changes_left_out([row(f"s{place}", 1000) for place in range(500)]))) < 30
