"""Remarks: said, counted and kept beside the status, and part of it only where the configuration says so."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from builders import batch, check, probe, run_info, server
from checker.judge import judge
from checker.model import Reason, Remark, RemarkName, RunState, Status
from checker.probes import probe_of
from checker.probes.base import Observation, ProbeFailure
from checker.probes.mcp.options import McpOptions
from checker.settings.load import load
from reports.availability import build
from storage.report_history import open_past
from storage.rollups.read import Period
from storage.store import open_store

NOISY = Path(__file__).parent / "data" / "stdio" / "noisy.py"
BANNER = Remark(name=RemarkName.STDOUT_LINES, detail="printed a banner")
FLEET = """
defaults:
  remarks: degraded
  rest: {remarks: healthy}
servers:
  - {name: as the defaults, mcp: "http://h/mcp", rest: "http://h/"}
  - {name: at the server, remarks: healthy, mcp: "http://h/mcp", rest: {url: "http://h/"}}
  - {name: at the probe, remarks: healthy, mcp: {url: "http://h/mcp", remarks: degraded}}
environments:
  strict:
    servers: {as the defaults: {remarks: degraded}}
"""


def judged(remarks: str, failure: ProbeFailure | None = None) -> tuple[Status, Reason | None, str | None]:
    options, seen = McpOptions(url="http://h/mcp", remarks=remarks), Observation(failure=failure)  # type: ignore[arg-type] # one of two words
    seen.remark(RemarkName.STDOUT_LINES, "printed a banner")
    seen.remark(RemarkName.STDOUT_LINES, "printed another line")
    seen.remark(RemarkName.SESSION_END, "HTTP 500 to DELETE")
    verdict = judge(probe_of("mcp"), options, seen, 0, None)
    return verdict.status, verdict.reason, verdict.detail


def test_remark_counts_only_where_the_configuration_says_so_and_never_hides_a_failure() -> None:
    assert judged("healthy") == (Status.HEALTHY, None, None)
    assert judged("degraded") == (Status.DEGRADED, Reason.REMARK, "printed a banner; HTTP 500 to DELETE")
    refused = ProbeFailure(Reason.CONNECT_REFUSED, "nobody listens")
    assert judged("degraded", refused) == (Status.UNHEALTHY, Reason.CONNECT_REFUSED, "nobody listens")


def test_remarks_are_configured_for_all_servers_for_one_and_for_a_probe(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)

    def configured(environment: str | None) -> dict[str, list[str]]:
        servers = load(tmp_path / "fleet.yaml", environment, {}).servers
        return {one.name: [options.remarks for options in one.probes.values()] for one in servers}

    plain = {
        "as the defaults": ["degraded", "healthy"],
        "at the server": ["healthy", "healthy"],
        "at the probe": ["degraded"],
    }
    assert configured(None) == plain
    assert configured("strict") == {**plain, "as the defaults": ["degraded", "degraded"]}


def test_report_tells_the_remarks_of_newest_checks_only(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    remarked = (probe("mcp", remarks=(BANNER,), started_at_ms=now_ms - 60_000), probe("rest"))
    with open_store(tmp_path / "history.db") as store:
        for place, (old, new) in enumerate(((remarked, (probe("mcp"),)), ((probe("mcp"),), remarked))):
            at_ms = now_ms - 120_000 + 60_000 * place
            run_id = store.begin_run(run_info(started_at_ms=at_ms), [server("mended"), server("odd")])
            both = [check("mended", probes=old, started_at_ms=at_ms), check("odd", probes=new, started_at_ms=at_ms)]
            store.write(run_id, batch(*both))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
    with open_past(tmp_path / "history.db", now_ms) as past:
        report = build(past, Period.of(now_ms - 3_600_000, now_ms))
    (table,) = [section.table for section in report.sections if section.name == "remarks"]
    assert table is not None
    assert table.rows == [["odd", "mcp", "stdout_lines", "printed a banner", now_ms - 60_000]]


@pytest.mark.parametrize("remarks", ["healthy", "degraded"])
def test_every_output_of_a_check_has_the_remark(
    status: Callable[..., CompletedProcess[str]], tmp_path: Path, remarks: str
) -> None:
    mcp = {"command": sys.executable, "args": [str(NOISY)], "timeout": "10s"}
    fleet = {"defaults": {"remarks": remarks}, "servers": [{"name": "noisy", "mcp": mcp}]}
    file = tmp_path / "fleet.yaml"
    file.write_text(json.dumps(fleet))
    shown = status("check", file)
    assert shown.returncode == (1 if remarks == "degraded" else 0)
    assert "1 remark" in shown.stdout + shown.stderr
    assert "stdout_lines" in shown.stdout
    document = json.loads(status("check", file, "--format", "json").stdout)
    (one,) = document["checks"]
    said = one["remarks"][0]["detail"]
    assert (document["run"]["remarks"], one["status"]) == (1, "DEGRADED" if remarks == "degraded" else "HEALTHY")
    assert one["remarks"] == [{"kind": "mcp", "name": "stdout_lines", "detail": said}]
    assert (one["reason"], one["detail"]) == (("remark", said) if remarks == "degraded" else (None, None))
    assert "stdout_lines" in status("check", file, "--format", "csv").stdout
    (counted,) = json.loads(status("sql", "@remarks", "--format", "json").stdout)
    assert (counted["remark"], counted["times"]) == ("stdout_lines", 3)
    (latest,) = json.loads(status("sql", "select remark_count from latest_status", "--format", "json").stdout)
    assert latest["remark_count"] == 1
