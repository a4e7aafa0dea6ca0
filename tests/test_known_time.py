"""Time is counted once: what is known of a server is the same wherever it is asked, and no check more makes it less."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pasts import past_of, write_past
from rollup_histories import buckets, write_run

import builders
from builders import AT_MS
from checker.model import Status
from reports import availability, incidents
from reports.objectives import standings
from reports.output_forms import per_cent, records, rounded
from storage.rollups.check_interval import LEAST_HOLD_MS, MOST_HOLD_MS, Rhythm, holds
from storage.rollups.fold import Outcomes, States, fold_checks
from storage.rollups.raw_rows import Checks
from storage.rollups.watermarks import Outcome
from storage.store import open_store

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
START_MS = AT_MS // DAY_MS * DAY_MS
numbers = count()
in_a_file = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def known(checks: Iterable[tuple[int, int]], until_ms: int) -> tuple[int, int]:
    """Milliseconds that one server was up and down by these checks, each a time and an outcome."""
    rows = sorted(checks)
    none, one = np.zeros(1, np.int64), np.full(1, -1)
    before = States(np.ones(1, np.int64), none, one, one, one, none, none, none, [Rhythm()])
    columns = (np.ones(len(rows), np.int64), np.arange(len(rows)), *np.array(rows, np.int64).reshape(-1, 2).T)
    found: Outcomes = fold_checks(Checks(*columns, np.full(len(rows), -1), ()), before, until_ms)[0]
    times_ms = found.times_ms.sum(axis=0)
    return int(times_ms[: Outcome.UNHEALTHY].sum()), int(times_ms[Outcome.UNHEALTHY])


CADENCES = st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS, 8 * HOUR_MS, DAY_MS, 7 * DAY_MS])
OUTCOMES = st.sampled_from([Outcome.HEALTHY, Outcome.UNHEALTHY])


@settings(max_examples=80, deadline=None)
@given(every_ms=CADENCES, outcomes=st.lists(OUTCOMES, min_size=4, max_size=25), data=st.data())
def test_checks_more_never_lower_coverage(every_ms: int, outcomes: list[Outcome], data: st.DataObject) -> None:
    """By hand, of another timer, in bursts: the time that the regular checks speak for stays known."""
    regular = [(START_MS + place * every_ms, outcome) for place, outcome in enumerate(outcomes)]
    last_ms = regular[-1][0]
    until_ms = last_ms + data.draw(st.integers(0, every_ms))
    before_ms = sum(known(regular, until_ms))
    more = st.tuples(st.integers(START_MS + 3 * every_ms, until_ms), OUTCOMES)
    extra = data.draw(st.lists(more, max_size=4))
    burst_ms = data.draw(st.integers(START_MS + 3 * every_ms, last_ms))
    extra += [
        (burst_ms + after_ms, Outcome.HEALTHY)
        for after_ms in data.draw(st.lists(st.integers(0, every_ms // 2), max_size=12))
        if burst_ms + after_ms <= until_ms
    ]
    second_ms = data.draw(st.none() | st.integers(0, every_ms - 1))
    if second_ms is not None:
        later = (at_ms + second_ms for at_ms, _ in regular[3:])
        extra += [(at_ms, Outcome.HEALTHY) for at_ms in later if at_ms <= until_ms]
    assert sum(known([*regular, *extra], until_ms)) >= before_ms


@settings(max_examples=80, deadline=None)
@given(every_ms=CADENCES, outcomes=st.lists(OUTCOMES, min_size=6, max_size=25), data=st.data())
def test_one_check_changes_availability_by_its_own_interval_at_most(
    every_ms: int, outcomes: list[Outcome], data: st.DataObject
) -> None:
    regular = [(START_MS + place * every_ms, outcome) for place, outcome in enumerate(outcomes)]
    missing = data.draw(st.none() | st.integers(4, len(regular) - 1))
    rows = [one for place, one in enumerate(regular) if place != missing]
    until_ms = rows[-1][0] + data.draw(st.integers(0, every_ms))
    one = data.draw(st.tuples(st.integers(rows[3][0], until_ms), OUTCOMES))
    assume(one[0] not in {at_ms for at_ms, _ in rows})
    next_ms = min((at_ms for at_ms, _ in rows if at_ms > one[0]), default=until_ms)
    up_ms, down_ms = known(rows, until_ms)
    after_up_ms, after_down_ms = known([*rows, one], until_ms)
    assert abs(after_down_ms - down_ms) <= next_ms - one[0]
    assert after_up_ms + after_down_ms >= up_ms + down_ms


@pytest.mark.parametrize(
    ("gaps_ms", "hold_ms"),
    [
        ([HOUR_MS] * 8, 3 * HOUR_MS),
        ([HOUR_MS] * 4 + [20_000], 3 * HOUR_MS),
        ([2000, HOUR_MS - 2000] * 4, 3 * HOUR_MS),
        ([60_000, DAY_MS - 60_000] * 4, 3 * DAY_MS),
        ([60_000, 60_000, DAY_MS - 120_000] * 4, 3 * DAY_MS),
        ([5 * MINUTE_MS] * 6 + [3 * DAY_MS], 15 * MINUTE_MS),
        ([MINUTE_MS] * 9 + [HOUR_MS] * 3, 3 * HOUR_MS),
        ([DAY_MS, *[MINUTE_MS] * 300], LEAST_HOLD_MS),
        ([365 * DAY_MS] * 3, MOST_HOLD_MS),
        ([DAY_MS], 36 * HOUR_MS),
        ([0, 0, 0], HOUR_MS),
    ],
    ids=str,
)
def test_check_speaks_for_three_typical_gaps(gaps_ms: Sequence[int], hold_ms: int) -> None:
    times_ms = START_MS + np.cumsum([0, *gaps_ms])
    found, after = holds(Rhythm(), times_ms.tolist())
    assert (found[-1], after.hold_ms) == (hold_ms, hold_ms)


@given(st.lists(st.integers(0, 9 * DAY_MS), max_size=40), st.integers(0, 40))
def test_rhythm_is_the_same_wherever_it_is_taken_up(gaps_ms: list[int], place: int) -> None:
    times_ms = (START_MS + np.cumsum([0, *gaps_ms])).tolist()
    whole, at_end = holds(Rhythm(), times_ms)
    first, middle = holds(Rhythm(), times_ms[:place])
    second, end = holds(middle, times_ms[place:])
    assert (first + second, end) == (whole, at_end)


@in_a_file
@given(
    words=st.lists(st.text("HDU?MS.", min_size=1, max_size=25), min_size=1, max_size=3),
    every_ms=st.sampled_from([MINUTE_MS, 7 * MINUTE_MS, HOUR_MS, 11 * HOUR_MS]),
    back_ms=st.sampled_from([2 * HOUR_MS, 2 * DAY_MS, 40 * DAY_MS]),
    late_ms=st.integers(0, 3 * DAY_MS),
)
def test_all_of_the_time_is_up_down_unknown_or_maintenance(
    words: list[str], every_ms: int, back_ms: int, late_ms: int, tmp_path: Path
) -> None:
    """And the same from raw rows, from buckets, and for availability and incidents."""
    named = {f"s{place}": f"H{word}" for place, word in enumerate(words)}
    told = []
    for roll in (True, False):
        path = tmp_path / f"{next(numbers)}.db"
        now_ms = write_past(path, named, every_ms=every_ms, roll=roll) + late_ms
        with past_of(path, now_ms, max(now_ms - back_ms, AT_MS)) as (past, period):
            happened = past.rollups.incidents(period.since_ms, period.until_ms)
            found = standings(past, period, happened)
            rows = {row["server"]: row for row in records(incidents.build(past, period).sections[2])}
        for one in found:
            times_ms = {name: value for name, value in one.numbers.items() if name.endswith("_ms")}
            assert sum(times_ms.values()) == one.watched_ms
            assert one.watched_ms == now_ms - max(period.since_ms, AT_MS)
            assert rows.get(one.name, {"down_ms": 0})["down_ms"] == one.numbers["unhealthy_ms"]
            assert sum(one.reasons.values()) == one.numbers["unhealthy_ms"]
        told.append([(one.name, one.numbers) for one in found])
    assert told[0] == told[1]


@in_a_file
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, MINUTE_MS, HOUR_MS, -HOUR_MS, -3 * DAY_MS, 800 * DAY_MS, -700 * DAY_MS]),
            st.sampled_from(list(Status)),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_rolling_takes_whatever_was_stored(steps: list[tuple[int, Status, bool]], tmp_path: Path) -> None:
    """Several checks in one millisecond, clocks that are set back, years between: and anew it is the same."""
    path, at_ms = tmp_path / f"{next(numbers)}.db", START_MS + 1000 * DAY_MS
    end_ms = at_ms
    with open_store(path) as store:
        for step_ms, status, roll in steps:
            at_ms = max(START_MS, at_ms + step_ms)
            end_ms = max(end_ms, at_ms)
            write_run(store, ["a"], at_ms, [builders.check("a", status=status, started_at_ms=at_ms)])
            if roll:
                store.roll(end_ms + HOUR_MS)
        store.roll(end_ms + DAY_MS)
        kept_up = buckets(path)
        store.roll(end_ms + DAY_MS, anew=True)
    assert buckets(path) == kept_up
    assert sum(row[5] + row[6] + row[7] + row[8] for row in kept_up["day_outcomes"] if row[1] == "check") == len(steps)


def test_incident_has_known_unknown_and_maintenance_parts(tmp_path: Path) -> None:
    word = "H" * 10 + "UU" + "M" * 24 + "H" * 10 + "U" + "." * 288 + "H" * 20 + "U"
    now_ms = write_past(tmp_path / "h.db", {"a": word}, every_ms=5 * MINUTE_MS) + DAY_MS
    with past_of(tmp_path / "h.db", now_ms) as (past, period):
        report = incidents.build(past, period)
    columns = ("state", "duration_ms", "down_ms", "unknown_ms", "maintenance_ms")
    found = [tuple(row[name] for name in columns) for row in records(report.sections[0])]
    minutes = [(state, *(value / MINUTE_MS for value in times)) for state, *times in found]
    assert minutes == [("unknown", 15, 15, 0, 0), ("over", 1445, 15, 1430, 0), ("over", 130, 10, 0, 120)]
    assert report.verdict.startswith("No server is down now")
    assert report.notes[-1].startswith("failing when checked last, and unknown since: a (since ")


@given(st.floats(0, 1), st.sampled_from([0.9, 0.99, 0.999, 0.9995, 0.99995, 0.999999]), st.booleans())
@settings(max_examples=300)
def test_ratio_is_never_shown_as_all_or_as_the_objective_that_it_misses(
    ratio: float, objective_ratio: float, near: bool
) -> None:
    if near:
        ratio = objective_ratio - ratio * 1e-7
    for shown in (rounded(ratio, objective_ratio), _number(per_cent(ratio, objective_ratio))):
        assert (shown >= objective_ratio) == (ratio >= objective_ratio)
        assert (shown == 1) == (ratio == 1)
        assert (shown == 0) == (ratio == 0)
        assert shown == pytest.approx(ratio, abs=0.0005 + 1e-9)  # a half is rounded up: by half a tenth of a percent


def _number(text: str) -> float:
    """The ratio that is read."""
    said = float(f"{text.removesuffix('%').lstrip('<> ')}e-2")
    return said + {"<": -1e-15, ">": 1e-15}.get(text[0], 0)


@pytest.mark.parametrize(
    ("every_ms", "alert", "note"),
    [(15 * MINUTE_MS, "page", False), (30 * MINUTE_MS, "page", False), (HOUR_MS, "page", False), (DAY_MS, None, True)],
)
def test_slow_checks_page_or_say_that_they_cannot(every_ms: int, alert: str | None, note: bool, tmp_path: Path) -> None:
    now_ms = write_past(tmp_path / "h.db", {"a": "H" * 30 + "U" * 6}, every_ms=every_ms)
    with past_of(tmp_path / "h.db", now_ms) as (past, period):
        report = availability.build(past, period, 0.999)
    (row,) = records(report.sections[0])
    assert row["alert"] == alert
    assert any("too seldom for a page" in one for one in report.notes) is note


def test_sql_says_what_the_report_says(tmp_path: Path) -> None:
    words = {"a": "H" * 50 + "U" + "HHMMSD?H", "b": "H" * 30 + "U" * 7 + "..H" + "H" * 20}
    fields = {name: {"objective": 0.97} for name in words}
    now_ms = time.time_ns() // 1_000_000  # which is what SQL calls now; the last checks spoke until an hour ago
    begin_ms = now_ms - (len(words["b"]) + 3) * HOUR_MS
    write_past(tmp_path / "h.db", words, every_ms=HOUR_MS, at_ms=begin_ms, servers=fields)
    with past_of(tmp_path / "h.db", now_ms, begin_ms) as (past, period):
        found = {one.name: one for one in standings(past, period, past.rollups.incidents(0, now_ms))}
    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        connection.row_factory = sqlite3.Row
        rows: dict[str, Any] = {row["server"]: row for row in connection.execute("select * from availability")}
        downs = dict(connection.execute("select server, sum(down_s) from incident_history group by server"))
    for name, one in found.items():
        assert rows[name]["availability_ratio"] == one.availability_ratio
        assert rows[name]["down_s"] * 1000 == one.numbers["unhealthy_ms"] == downs[name] * 1000
        assert rows[name]["availability_percent"] <= 100 * (one.availability_ratio or 0)


def test_newest_is_the_newest_by_time(tmp_path: Path) -> None:
    """A clock that was set back: the later run has the earlier check."""
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for at_ms, status in ((START_MS + HOUR_MS, Status.UNHEALTHY), (START_MS, Status.HEALTHY)):
            write_run(store, ["a"], at_ms, [builders.check("a", status=status, started_at_ms=at_ms)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select status from latest_status").fetchall() == [("UNHEALTHY",)]
    with past_of(path, START_MS + HOUR_MS + MINUTE_MS, START_MS) as (past, _):
        assert past.rollups.newest()[1].outcome is Outcome.UNHEALTHY
