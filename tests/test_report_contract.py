"""The contract report: what changed over the fleet, the worst of it first, and who lags behind."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pasts import MINUTE_MS, past_of

from builders import AT_MS, check, facts, probe, run_info, server
from checker.model import Batch, ContractSnapshot, RunState
from histories import told_history
from reports.contract import build, order, spread
from reports.output_forms import document
from reports.report_model import Level, Report
from storage.store import open_store

Status = Callable[..., subprocess.CompletedProcess[Any]]
CONTRACTS = {
    "1": '{"tools":[{"inputSchema":{},"name":"find"}]}',
    "2": '{"tools":[{"description":"new","inputSchema":{},"name":"find"}]}',
    "3": '{"tools":[]}',
}


def written(path: Path, contracts: dict[str, str], **said: dict[str, Any]) -> int:
    """A run for each digit: which of the contracts each server has in it; gives when the next would begin."""
    with open_store(path) as store:
        for place in range(max(map(len, contracts.values()))):
            at_ms = AT_MS + place * MINUTE_MS
            run_id = store.begin_run(run_info(started_at_ms=at_ms), [server(name) for name in contracts])
            checks = [
                check(
                    name,
                    started_at_ms=at_ms,
                    probes=(
                        probe(
                            "mcp",
                            started_at_ms=at_ms,
                            mcp=facts(contract_digest=word[place] * 64, **said.get(name, {})),
                        ),
                    ),
                )
                for name, word in contracts.items()
            ]
            snapshots = [ContractSnapshot(digest=digit * 64, document=text) for digit, text in CONTRACTS.items()]
            store.write(run_id, Batch(checks=tuple(checks), contracts=tuple(snapshots)))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
    return at_ms + MINUTE_MS


def report_of(path: Path, now_ms: int, since_ms: int = AT_MS) -> Report:
    with past_of(path, now_ms, since_ms) as (past, period):
        return build(past, period)


def section(report: Report, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(report)["sections"][name]
    return found


def test_changes_are_listed_newest_first_and_servers_by_the_worst(tmp_path: Path) -> None:
    now_ms = written(tmp_path / "h.db", {"broken": "113", "calm": "111", "drifts": "122", "new": "333"})
    report = report_of(tmp_path / "h.db", now_ms)
    assert [(one["server"], one["version"], one["grade"]) for one in section(report, "changes")] == [
        ("broken", 2, "breaking"),
        ("drifts", 2, "risky"),
    ]
    assert [one["server"] for one in section(report, "servers")] == ["broken", "drifts", "calm", "new"]
    assert [one["worst_grade"] for one in section(report, "servers")] == ["breaking", "risky", None, None]
    assert (report.level, dict(report.facts)["first seen"]) == (Level.BAD, "4")
    assert report.verdict == "2 of 4 MCP servers changed their contracts, 1 in a breaking way: broken."


def test_changes_before_the_period_are_left_out(tmp_path: Path) -> None:
    now_ms = written(tmp_path / "h.db", {"a": "12" + "2" * 70})
    report = report_of(tmp_path / "h.db", now_ms, since_ms=now_ms - MINUTE_MS)
    assert (section(report, "changes"), report.level) == ([], Level.GOOD)
    assert report.verdict == "No contract of 1 MCP server changed."
    assert section(report, "servers")[0]["version"] == 2


def test_server_that_lags_behind_most_is_named(tmp_path: Path) -> None:
    said = {
        "a": {"server_version": "1.10.0"},
        "b": {"server_version": "1.10.0"},
        "c": {"server_version": "1.9.3", "protocol_version": "2024-11-05"},
        "d": {"server_name": "other", "server_version": "0.1"},
    }
    now_ms = written(tmp_path / "h.db", dict.fromkeys("abcd", "1"), **said)
    report = report_of(tmp_path / "h.db", now_ms)
    assert report.verdict == "No contract of 4 MCP servers changed; 1 runs an older version than most: c."
    assert [(one["protocol_version"], one["servers"], one["state"]) for one in section(report, "protocols")] == [
        ("2025-11-25", 3, None),
        ("2024-11-05", 1, "behind"),
    ]
    assert [(one["software"], one["software_version"], one["names"]) for one in section(report, "software")] == [
        ("demo", "1.10.0", ["a", "b"]),
        ("demo", "1.9.3", ["c"]),
        ("other", "0.1", ["d"]),
    ]


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.9.3", "1.10.0"), ("2024-11-05", "2025-06-18"), ("1.2.0-rc1", "1.2.0"), ("v1.2", "v1.2.1"), ("dev", "0.1")],
)
def test_versions_are_ordered_by_age(older: str, newer: str) -> None:
    assert order(older) < order(newer)


def test_nobody_is_behind_where_no_version_has_more_than_half() -> None:
    shares = spread({"a": ("", "1"), "b": ("", "2"), "c": ("x", "1"), "d": ("x", "2"), "e": ("x", "2")})
    assert [(one.of, one.version, one.behind) for one in shares if one.behind] == [("x", "1", True)]


def test_server_without_mcp_is_not_in_the_report(tmp_path: Path) -> None:
    with open_store(tmp_path / "h.db") as store:
        run_id = store.begin_run(run_info(), [server("rest")])
        store.write(run_id, Batch(checks=(check("rest", probes=(probe(),)),)))
    report = report_of(tmp_path / "h.db", AT_MS + MINUTE_MS)
    assert (report.level, section(report, "servers")) == (Level.UNKNOWN, [])


def test_command_prints_the_changes(status: Status, tmp_path: Path) -> None:
    told_history(tmp_path / "history.db")
    table = list(csv.DictReader(io.StringIO(status("report", "contract", "--format", "csv").stdout)))
    assert [(row["server"], row["grade"], row["change"], row["item"]) for row in table] == [
        ("files", "breaking", "tool_removed", "tool fetch")
    ]
