"""The incidents report: what was down and why, which of it was one fault, and who flaps."""

from __future__ import annotations

import csv
import io
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pasts import MINUTE_MS, past_of, write_past

from checker.model import Reason
from checker.stats.flapping import flap_ratio
from reports.incidents import TOGETHER_MS, build, clusters, flapping_servers
from reports.output_forms import document
from reports.report_model import Level, Report
from storage.rollups.read import Incident

Status = Callable[..., subprocess.CompletedProcess[Any]]
FLEET = {
    "a": "HUUUUUHHHHHHHHHHHHHH",
    "b": "HHUUUHHHHHHHHHHHHHHH",
    "c": "HHHHHHHHHHHHHHHHHHUU",
    "d": "HHHHHHHHHHHHHHHHHHHH",
}
REASONS = {"a": Reason.DNS, "b": Reason.DNS, "c": Reason.DEADLINE}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Two servers down together for want of DNS, one that is down now, one that never was."""
    path = tmp_path_factory.mktemp("fleet") / "h.db"
    return path, write_past(path, FLEET, reasons=REASONS)


def report_of(path: Path, now_ms: int, min_duration_ms: float = 0) -> Report:
    with past_of(path, now_ms) as (past, period):
        return build(past, period, min_duration_ms)


def section(report: Report, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(report)["sections"][name]
    return found


def test_incidents_are_listed_newest_first_with_what_began_them(fleet: tuple[Path, int]) -> None:
    report = report_of(*fleet)
    listed = section(report, "incidents")
    assert [(one["server"], one["state"], one["duration_ms"] // MINUTE_MS) for one in listed] == [
        ("c", "now", 2),
        ("b", "over", 3),
        ("a", "over", 5),
    ]
    assert [one["reason"] for one in listed] == ["deadline", "dns", "dns"]
    assert [one["detail"] for one in listed] == ["deadline it was", "dns it was", "dns it was"]
    assert listed[0]["ended_at"] is None
    assert report.level is Level.BAD
    assert report.verdict.startswith("1 server is down now: c (since 2026-11-23 12:18); 3 incidents of 2 faults")


def test_incidents_with_the_same_cause_are_one_fault(fleet: tuple[Path, int]) -> None:
    report = report_of(*fleet)
    (fault,) = section(report, "causes")
    assert (fault["servers"], fault["reasons"], fault["names"], fault["hosts"]) == (2, ["dns"], ["a", "b"], [])
    assert [one["cause_servers"] for one in section(report, "incidents")] == [1, 2, 2]


def test_servers_on_the_same_host_are_one_fault_whatever_the_reason(tmp_path: Path) -> None:
    words = {"a": "HHUUUH", "b": "HHUUUH", "c": "HHUUUH"}
    addresses = {"a": {"url": "http://gateway:8080/a"}, "b": {"url": "http://gateway:8080/b"}}
    reasons = {"a": Reason.CONNECT_REFUSED, "b": Reason.DEADLINE, "c": Reason.DNS}
    now_ms = write_past(tmp_path / "h.db", words, servers=addresses, reasons=reasons)
    (fault,) = section(report_of(tmp_path / "h.db", now_ms), "causes")
    assert (fault["names"], fault["hosts"]) == (["a", "b"], ["gateway:8080"])


def test_repairs_and_downtime_are_those_of_the_incidents(fleet: tuple[Path, int]) -> None:
    report = report_of(*fleet)
    by_name = {one["server"]: one for one in section(report, "servers")}
    assert list(by_name) == ["a", "b", "c"]
    assert (by_name["a"]["mttr_ms"], by_name["a"]["mtbf_ms"]) == (5 * MINUTE_MS, 15 * MINUTE_MS)
    assert (by_name["c"]["mttr_ms"], by_name["c"]["unresolved"]) == (None, 1)
    assert [(one["reason"], one["down_ratio"]) for one in section(report, "reasons")] == [
        ("dns", 0.8),
        ("deadline", 0.2),
    ]


def test_short_incidents_are_left_out_and_counted(fleet: tuple[Path, int]) -> None:
    report = report_of(*fleet, min_duration_ms=4 * MINUTE_MS)
    assert [one["server"] for one in section(report, "incidents")] == ["a"]
    assert list(report.notes) == ["2 incidents shorter than 4.00 min are left out"]


def test_unknown_and_maintenance_neither_begin_nor_end_an_incident(tmp_path: Path) -> None:
    now_ms = write_past(tmp_path / "h.db", {"a": "HMM?SSHH", "b": "HUU?MUUH"})
    (one,) = section(report_of(tmp_path / "h.db", now_ms), "incidents")
    assert (one["server"], one["duration_ms"]) == ("b", 6 * MINUTE_MS)


def test_detail_is_gone_with_its_raw_row(tmp_path: Path) -> None:
    """The incident of an hour that was rolled, of which only the bucket is left."""
    now_ms = write_past(tmp_path / "h.db", {"a": "HUUH" + "H" * 120})
    from storage.connections import writing_connection

    with writing_connection(tmp_path / "h.db", 1.0) as connection, connection.begin():
        for part in ("recent_checks", "sorted_checks"):
            connection.exec_driver_sql(f"delete from {part} where run_id < 10")
    (one,) = section(report_of(tmp_path / "h.db", now_ms), "incidents")
    assert (one["server"], one["duration_ms"], one["detail"]) == ("a", 2 * MINUTE_MS, None)


def test_fleet_without_incidents_is_good(tmp_path: Path) -> None:
    now_ms = write_past(tmp_path / "h.db", {"a": "HHHD"})
    report = report_of(tmp_path / "h.db", now_ms)
    assert (report.level, report.verdict) == (Level.GOOD, "No server is down now, and there was no incident.")


INCIDENTS = st.lists(
    st.builds(
        lambda server, start, length, reason: Incident(
            server, start * 10_000, None if length is None else (start + length) * 10_000, reason, 0, 0, 0
        ),
        st.integers(1, 6),
        st.integers(0, 60),
        st.none() | st.integers(1, 40),
        st.sampled_from([None, "dns", "deadline"]),
    ),
    max_size=25,
    unique_by=lambda one: (one.server_id, one.started_at_ms),
)
HOSTS = {1: {"x"}, 2: {"x", "y"}, 3: {"y"}, 4: {"z"}, 5: set[str](), 6: {"z"}}


@settings(max_examples=200, deadline=None)
@given(incidents=INCIDENTS)
def test_clusters_are_what_pairs_lead_to(incidents: list[Incident]) -> None:
    """The sweep finds what comparing all pairs would."""

    def linked(one: Incident, other: Incident) -> bool:
        first, second = sorted((one, other), key=lambda each: (each.started_at_ms, each.server_id))
        alike = one.reason is not None and one.reason == other.reason
        alike = alike or bool(HOSTS[one.server_id] & HOSTS[other.server_id])
        near = second.started_at_ms - first.started_at_ms <= TOGETHER_MS
        return alike and near and (first.ended_at_ms is None or first.ended_at_ms > second.started_at_ms)

    groups = [{one} for one in incidents]
    for one in incidents:
        for other in incidents:
            if one is not other and linked(one, other):
                mine, theirs = (next(group for group in groups if each in group) for each in (one, other))
                if mine is not theirs:
                    groups.remove(theirs)
                    mine |= theirs
    found = clusters(incidents, HOSTS)
    assert sorted(map(len, found)) == sorted(map(len, groups))
    assert {frozenset(cluster) for cluster in found} == {frozenset(group) for group in groups}


def test_flapping_is_reckoned_from_the_newest_checks_of_each_server(tmp_path: Path) -> None:
    words = {"flaps": "H" * 10 + "HU" * 11, "new": "UH", "steady": "H" * 32, "once": "H" * 20 + "U" * 12}
    now_ms = write_past(tmp_path / "h.db", words)
    with past_of(tmp_path / "h.db", now_ms) as (past, _):
        (one,) = flapping_servers(past)
        (chosen,) = [server for server in flapping_servers(past, -1.0) if server.server.name == "new"]
    assert (one.server.name, one.checks, one.flap_ratio) == ("flaps", 21, pytest.approx(1.0))
    assert (chosen.checks, chosen.flap_ratio) == (2, pytest.approx(1.2 / 20))


@settings(max_examples=15, deadline=None)
@given(word=st.text("HDU?MS", min_size=1, max_size=40))
def test_flap_ratio_is_that_of_the_history_in_which_unknown_is_no_change(
    tmp_path_factory: pytest.TempPathFactory, word: str
) -> None:
    path = tmp_path_factory.mktemp("flaps") / "h.db"
    now_ms = write_past(path, {"a": word}, roll=False)
    with past_of(path, now_ms) as (past, _):
        (found,) = flapping_servers(past, -1.0)
    wanted = flap_ratio([{"H": 0, "D": 1, "U": 2}.get(letter, 3) for letter in word[-21:]], 3)
    assert found.flap_ratio == pytest.approx(float(wanted))


def test_command_leaves_short_incidents_out(status: Status, tmp_path: Path) -> None:
    at_ms = time.time_ns() // 1_000_000 - 22 * MINUTE_MS  # the last check was 3 minutes ago
    write_past(tmp_path / "history.db", FLEET, at_ms=at_ms, reasons=REASONS)
    done = status("report", "incidents", "--min-duration", "4m", "--format", "csv")
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sorted(row["server"] for row in table) == ["a", "c"]  # c has been down since
    assert "down now: c" in status("report", "incidents").stdout
