"""The availability report says what its formula says, whatever was rolled, and leaves out what nobody knows."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pasts import HOUR_MS, MINUTE_MS, past_of, write_past

from builders import AT_MS
from reports.availability import build
from reports.objectives import alert, burn_by_length, burns_of
from reports.output_forms import document
from reports.report_model import Level, Report
from storage.rollups.buckets import NUMBERS
from storage.rollups.read import Period
from storage.rollups.watermarks import DAY_MS

ROOT = Path(__file__).resolve().parent.parent
Status = Callable[..., subprocess.CompletedProcess[Any]]


def report_of(path: Path, now_ms: int, objective_ratio: float | None = None, since_ms: int = AT_MS) -> Report:
    with past_of(path, now_ms, since_ms) as (past, period):
        return build(past, period, objective_ratio)


def rows_of(report: Report, section: str = "servers") -> dict[str, dict[str, Any]]:
    rows = document(report)["sections"][section]
    return {next(iter(row.values())): row for row in rows}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The server of docs/availability.md, its checks in an order that is mixed."""
    path = tmp_path_factory.mktemp("example") / "h.db"
    word = list("H" * 191 + "D" * 4 + "U?SM")
    random.Random(1).shuffle(word)
    fields = {"search": {"objective": 0.99}}
    return path, write_past(path, {"search": "".join(["H", *word])}, every_ms=5 * MINUTE_MS, servers=fields)


def test_example_of_the_documentation_is_what_the_report_says(example: tuple[Path, int]) -> None:
    report = report_of(*example)
    found, checks = rows_of(report)["search"], rows_of(report, "checks")["search"]
    assert found["availability_ratio"] == pytest.approx(980 / 985, abs=1e-6)
    assert (found["unknown_ms"], found["maintenance_ms"]) == (10 * MINUTE_MS, 5 * MINUTE_MS)
    assert (checks["unknown"], checks["suspect"], checks["maintenance"]) == (1, 1, 1)
    assert checks["insufficient"]["good_low_ratio"] == {"samples": 1, "wanted": 3}
    overspent = rows_of(report_of(*example, objective_ratio=0.999))["search"]
    words = (ROOT / "docs" / "availability.md").read_text()
    for shown in (
        f"| {100 * found['availability_ratio']:.3f}%",
        f"| {100 * found['coverage_ratio']:.2f}%",
        f"{found['budget_left_min']:.2f} min, {100 * found['budget_left_ratio']:.1f}%",
        f"{100 * overspent['budget_left_ratio']:.1f}% are left",
    ):
        assert shown in words, shown


def test_objective_is_met_or_missed_in_the_verdict_the_worst_first(tmp_path: Path) -> None:
    words = {"a": "H" * 99 + "U", "b": "H" * 90 + "U" * 10, "c": "H" * 100, "d": "U" * 100}
    objectives = {name: {"objective": 0.995} for name in "abc"}
    now_ms = write_past(tmp_path / "h.db", words, servers=objectives)
    report = report_of(tmp_path / "h.db", now_ms)
    assert report.level is Level.BAD
    assert report.verdict == "2 of 3 servers miss their objective: b (90.0% of 99.50%), a (99.00% of 99.50%)."
    assert list(rows_of(report)) == ["b", "a", "c", "d"]
    easy = report_of(tmp_path / "h.db", now_ms, 0.5)
    assert easy.verdict == "1 of 4 servers misses its objective: d (0% of 50.0%)."


def test_each_objective_has_its_window_and_tells_when_its_budget_is_used_up(tmp_path: Path) -> None:
    """Of a day at 90 % 144 minutes may be down, of 30 days 72 hours: an hour an hour ago is a third of the one."""
    words = {"day": "H" * 20 + "U" * 12 + "H" * 12, "month": "H" * 20 + "U" * 12 + "H" * 12, "free": "H" * 44}
    fields = {"day": {"objective": 0.9, "objective_window": 86_400.0}, "month": {"objective": 0.9}}
    now_ms = write_past(tmp_path / "h.db", words, every_ms=5 * MINUTE_MS, servers=fields)
    found = rows_of(report_of(tmp_path / "h.db", now_ms, since_ms=now_ms - HOUR_MS), "objectives")
    assert list(found) == ["day", "month"]
    assert [found[name]["window_ms"] for name in found] == [DAY_MS, 30 * DAY_MS]
    assert found["day"]["budget_left_min"] == pytest.approx(144 - 60, abs=6)
    assert found["month"]["budget_left_min"] == pytest.approx(72 * 60 - 60, abs=6)
    late_ratio = found["day"]["burn"] * 0.1
    assert found["day"]["exhausted_in_ms"] == pytest.approx(found["day"]["budget_left_min"] * MINUTE_MS / late_ratio)


def test_server_without_an_objective_has_no_budget(tmp_path: Path) -> None:
    now_ms = write_past(tmp_path / "h.db", {"a": "HHHU"})
    report = report_of(tmp_path / "h.db", now_ms)
    found = rows_of(report)["a"]
    assert [found[name] for name in ("objective_ratio", "budget_left_ratio", "budget_left_min", "alert")] == [None] * 4
    assert (report.level, document(report)["sections"]["burn"]) == (Level.UNKNOWN, [])


def test_coverage_begins_with_the_first_check_and_ends_where_the_checker_is_away(tmp_path: Path) -> None:
    words = {"old": "H" * 60 + "." * 120 + "H" * 60, "new": "." * 200 + "H" * 40}
    now_ms = write_past(tmp_path / "h.db", words)
    found = rows_of(report_of(tmp_path / "h.db", now_ms))
    assert found["old"]["coverage_ratio"] == pytest.approx((59 + 5 + 60) / 240)  # a check holds for five minutes
    assert found["new"]["coverage_ratio"] == 1.0


def test_coverage_is_exact_where_the_first_day_is_one_bucket(tmp_path: Path) -> None:
    """The period begins at midnight thirty days before; the server's first check was at noon of a day in it.

    It speaks for an hour, as nothing is known of the time between checks, and the last one for twelve hours.
    """
    now_ms = write_past(tmp_path / "h.db", {"a": "H" * 11 + "." * 14}, every_ms=4 * HOUR_MS)
    found = rows_of(report_of(tmp_path / "h.db", now_ms, since_ms=now_ms - 30 * DAY_MS))
    assert found["a"]["coverage_ratio"] == pytest.approx((1 + 36 + 12) / 100, abs=1e-6)


def test_group_adds_up_times_and_has_the_objective_that_all_have(tmp_path: Path) -> None:
    words = {"a": "H" * 10, "b": "U" * 10, "c": "H" * 10}
    fields = {
        "a": {"group": "shop", "objective": 0.9},
        "b": {"group": "shop", "objective": 0.9},
        "c": {"group": "attic", "objective": None},
    }
    now_ms = write_past(tmp_path / "h.db", words, servers=fields)
    found = rows_of(report_of(tmp_path / "h.db", now_ms), "groups")
    assert [found[name]["availability_ratio"] for name in ("shop", "attic", "all")] == [0.5, 1.0, 0.666667]
    assert [found[name]["objective_ratio"] for name in ("shop", "attic", "all")] == [0.9, None, None]


def test_states_leave_a_gap_where_nothing_is_known(tmp_path: Path) -> None:
    word = "H" * 60 + "." * 90 + "U" * 30 + "H" * 60
    now_ms = write_past(tmp_path / "h.db", {"a": word})
    (chart,) = report_of(tmp_path / "h.db", now_ms).sections[0].charts
    (line,) = chart.lines
    assert list(line.values) == [1.0, 1.0, 0.0, 1.0]  # the last check before the gap holds for four minutes more
    silent = write_past(tmp_path / "g.db", {"a": "H" * 60 + "." * 120 + "?" * 60 + "H"})
    (chart,) = report_of(tmp_path / "g.db", silent).sections[0].charts
    assert list(chart.lines[0].values) == [1.0, 1.0, None, None, 1.0]


def test_numbers_at_the_top_of_the_page_are_the_answer(tmp_path: Path) -> None:
    words = {"a": "H" * 10, "b": "HHHHHUUUUU"}
    fields = {name: {"objective": 0.9} for name in words}
    now_ms = write_past(tmp_path / "h.db", words, servers=fields)
    report = report_of(tmp_path / "h.db", now_ms)
    shown = {one.label: (one.value, one.note, one.level) for one in report.numbers}
    assert shown["availability"] == ("75.0%", "lowest 50.0%, b", Level.BAD)
    assert shown["objectives met"] == ("1 of 2", "1 missed", Level.BAD)
    assert shown["least budget left"] == ("-400.0%", "b", Level.BAD)
    assert shown["down"][1].startswith("1 incident")
    assert [label for label in shown if label.startswith("p")] == ["p50", "p95", "p99"]
    with past_of(tmp_path / "h.db", now_ms) as (past, period):
        assert build(past, period, pictures=False).numbers == ()


def test_server_that_was_not_checked_in_the_period_is_left_out_and_counted(tmp_path: Path) -> None:
    write_past(tmp_path / "h.db", {"old": "HHH"})
    now_ms = write_past(tmp_path / "h.db", {"a": "HHH"}, at_ms=AT_MS + 10 * DAY_MS)
    report = report_of(tmp_path / "h.db", now_ms, since_ms=now_ms - DAY_MS)
    assert (list(rows_of(report)), report.notes) == (["a"], ("1 server not checked in this time, and left out",))


def test_burn_rates_are_those_of_their_windows(tmp_path: Path) -> None:
    """Down for the last six of 240 minutes; half past an hour, so that hours and windows do not agree."""
    word = "H" * 234 + "U" * 6
    now_ms = write_past(tmp_path / "h.db", {"a": word}, at_ms=AT_MS + 30 * MINUTE_MS)
    with past_of(tmp_path / "h.db", now_ms) as (past, _):
        (found,) = burns_of(past, {past.servers[0].id: 0.99}).values()
    minutes = {length_ms // MINUTE_MS: rate for length_ms, rate in burn_by_length(found).items()}
    assert minutes == pytest.approx({5: 100.0, 30: 20.0, 60: 10.0, 360: 2.5, 4320: 2.5})
    assert alert(found) == "ticket"


def test_page_is_sent_while_a_server_is_down_and_not_after_one_bad_check(tmp_path: Path) -> None:
    words = {"down": "H" * 40 + "U" * 20, "once": "H" * 59 + "U", "fine": "H" * 60, "away": "H" * 20 + "." * 40}
    now_ms = write_past(tmp_path / "h.db", words)
    with past_of(tmp_path / "h.db", now_ms) as (past, _):
        names = {server.id: server.name for server in past.servers}
        found = {names[one]: burns for one, burns in burns_of(past, dict.fromkeys(names, 0.999)).items()}
    alerts = {name: alert(burns) for name, burns in found.items()}
    assert alerts == {"down": "page", "once": None, "fine": None, "away": None}
    assert burn_by_length(found["away"])[5 * MINUTE_MS] is None
    assert burn_by_length(found["fine"])[5 * MINUTE_MS] == 0.0


@settings(max_examples=8, deadline=None)
@given(
    words=st.lists(st.text("HDU?MS.", min_size=1, max_size=30), min_size=1, max_size=3),
    every_ms=st.sampled_from([7 * MINUTE_MS, HOUR_MS, 11 * HOUR_MS]),
    back_ms=st.sampled_from([2 * HOUR_MS, 2 * DAY_MS, 5 * DAY_MS, 40 * DAY_MS]),
    rolled=st.booleans(),
    late_ms=st.integers(0, 3 * HOUR_MS),
)
def test_sums_of_the_database_are_those_of_the_buckets(
    words: list[str], every_ms: int, back_ms: int, rolled: bool, late_ms: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "h.db"
        named = {f"s{place}": f"H{word}" for place, word in enumerate(words)}
        now_ms = write_past(path, named, every_ms=every_ms, roll=rolled) + late_ms
        with past_of(path, now_ms, now_ms - back_ms) as (past, period):
            found = past.rollups.outcomes(period)
            ids = [server.id for server in past.servers]
            wanted = np.zeros((len(ids), len(NUMBERS)), np.int64)
            places = [ids.index(found.series[one].server_id) for one in found.buckets.series.tolist()]
            np.add.at(wanted, places, found.buckets.numbers)
            sums = past.outcome_sums(ids, period)
            times = past.group_times(dict.fromkeys(ids, "shop"), period)
        assert sums.tolist() == wanted.tolist()
        by_slot = dict.fromkeys(found.buckets.slot.tolist(), (0, 0))
        for slot, numbers in zip(found.buckets.slot.tolist(), found.buckets.numbers.tolist(), strict=True):
            up_ms, down_ms = by_slot[slot]
            by_slot[slot] = up_ms + numbers[6] + numbers[7], down_ms + numbers[8]
        assert {slot: both for (_, slot), both in times.items() if any(both)} == {
            slot: both for slot, both in by_slot.items() if any(both)
        }


@settings(max_examples=8, deadline=None)
@given(word=st.text("HDU?MS", min_size=5, max_size=90), late_ms=st.integers(0, 10 * MINUTE_MS))
def test_short_windows_are_a_count_of_minutes(word: str, late_ms: int) -> None:
    """Checks each minute hold to the next one, for five minutes at most."""
    held: list[str] = []
    for place, letter in enumerate(f"H{word}"):
        held.append(letter)
        if letter == "." and place > 0:
            checked = f"H{word}"[:place].rstrip(".")
            held[-1] = checked[-1] if place - (len(checked) - 1) < 5 else "?"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "h.db"
        now_ms = write_past(path, {"a": f"H{word}"}, roll=False)
        with past_of(path, now_ms) as (past, _):
            (found,) = burns_of(past, {past.servers[0].id: 0.9}).values()
    rates = burn_by_length(found)
    for minutes in (5, 30, 60):
        last = held[-minutes:]
        known = sum(last.count(letter) for letter in "HDU")
        wanted = last.count("U") / known / 0.1 if known else None
        assert rates[minutes * MINUTE_MS] == (None if wanted is None else pytest.approx(wanted))


def test_command_prints_every_form(status: Status, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    words = {"a": "H" * 9 + "U", "b": "H" * 10}
    write_past(tmp_path / "history.db", words, at_ms=now_ms - 10 * MINUTE_MS)
    verdict = "1 of 2 servers misses its objective: a ("
    assert verdict in status("report", "availability", "--objective", "99.9").stdout
    found = json.loads(
        status("report", "availability", "--since", "1h", "--objective", "99%", "--format", "json").stdout
    )
    assert (found["level"], set(found["sections"])) == (
        "bad",
        {"servers", "groups", "checks", "burn", "objectives", "repairs"},
    )
    table = list(csv.DictReader(io.StringIO(status("report", "availability", "--format", "csv").stdout)))
    assert [(row["server"], row["budget_left_ratio"]) for row in table] == [("a", ""), ("b", "")]
    wrong = status("report", "availability", "--objective", "100")
    assert (wrong.returncode, "write more than 0% and less than 100%" in wrong.stderr) == (3, True)


def test_period_of_an_empty_selection_says_that_nothing_is_known(tmp_path: Path) -> None:
    now_ms = write_past(tmp_path / "h.db", {"a": "H"})
    later_ms = now_ms + 40 * DAY_MS
    report = report_of(tmp_path / "h.db", later_ms, since_ms=later_ms - DAY_MS)
    assert (report.level, report.verdict) == (Level.UNKNOWN, "Nothing is known of any server in this time.")
    assert Period.of(later_ms - DAY_MS, later_ms).since_ms == report.since_ms
