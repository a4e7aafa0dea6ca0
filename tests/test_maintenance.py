"""Maintenance windows: when they are, and that what is checked in them is stored, shown and not counted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.maintenance_windows import MaintenanceWindow, faults, in_maintenance
from checker.units import parse_objective
from servers import RestServer, Scripted


def at_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (
            MaintenanceWindow(start="2026-12-01T22:00Z", end="2026-12-01T23:00Z"),
            ["2026-12-01T22:00", "2026-12-01T22:59"],
            ["2026-12-01T21:59", "2026-12-01T23:00"],
        ),
        (
            MaintenanceWindow(start="2026-12-01T22:00", end="2026-12-01T23:00", timezone="Europe/Berlin"),
            ["2026-12-01T21:00"],
            ["2026-12-01T22:00"],
        ),
        (
            MaintenanceWindow(at="23:30", lasts="1h", days=("sat",)),
            ["2026-11-28T23:30", "2026-11-29T00:29"],
            ["2026-11-28T23:29", "2026-11-29T00:30", "2026-11-29T23:45"],
        ),
        (
            MaintenanceWindow(at="02:30", lasts="1h", timezone="Europe/Berlin"),
            ["2026-07-01T00:30", "2026-12-01T01:30"],
            ["2026-07-01T01:30", "2026-12-01T00:30"],
        ),
        (
            MaintenanceWindow(at="02:30+05:00", lasts="1h", days=("sat",), timezone="Asia/Tokyo"),
            ["2026-11-27T21:30", "2026-11-27T22:29"],  # Saturday where the offset is
            ["2026-11-27T21:29", "2026-11-27T22:30", "2026-11-28T02:30", "2026-11-28T21:30"],
        ),
        (
            MaintenanceWindow(at="23:30Z", lasts="1h", timezone="Asia/Tokyo"),
            ["2026-11-28T23:30", "2026-11-29T00:29"],
            ["2026-11-28T14:30", "2026-11-28T23:29"],
        ),
    ],
)
def test_window_covers_its_time_and_no_other(window: MaintenanceWindow, inside: list[str], outside: list[str]) -> None:
    assert list(faults(window)) == []
    assert [text for text in inside if not in_maintenance([window], at_ms(text))] == []
    assert [text for text in outside if in_maintenance([window], at_ms(text))] == []


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
def test_daily_window_is_as_long_on_the_days_when_clocks_change(zone: str) -> None:
    window = MaintenanceWindow(at="01:30", lasts="2h", timezone=zone)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    quarters = sum(
        in_maintenance([window], round((first + timedelta(minutes=15 * step)).timestamp() * 1000))
        for step in range(4 * 24 * 365)
    )
    assert abs(quarters * 15 - 365 * 120) <= 120, "at most one window lies across the ends of the year"


@given(st.floats(0.001, 99.999))
def test_objective_is_the_ratio_of_its_percentage(percent: float) -> None:
    spelled = f"{percent:.6f}%"
    assert parse_objective(spelled) == pytest.approx(float(spelled[:-1]) / 100, abs=1e-9)


def test_objective_is_taken_as_percentage_or_as_ratio() -> None:
    assert [parse_objective(one) for one in ("99.9%", 99.9, 0.999)] == [0.999] * 3


@pytest.fixture
def broken() -> Iterator[str]:
    with RestServer({"/": Scripted(503)}) as server:
        yield server.url("/")


def test_failure_under_maintenance_is_stored_and_shown_and_not_counted(
    broken: str, tmp_path: Path, status: Any
) -> None:
    today = datetime.now(UTC)
    start, end = (f"{today + timedelta(hours=hours):%Y-%m-%dT%H:%MZ}" for hours in (-1, 1))
    config = tmp_path / "fleet.yaml"
    config.write_text(
        f"defaults: {{maintenance: [{{start: '{start}', end: '{end}'}}], objective: 99.5%}}\n"
        f"servers:\n  - {{name: a, rest: '{broken}'}}\n  - {{name: b, rest: '{broken}', maintenance: []}}\n"
    )
    done = status("check", config, "--format", "json")
    checks = {one["server"]: one for one in json.loads(done.stdout)["checks"]}
    assert (checks["a"]["status"], checks["a"]["maintenance"]) == ("UNHEALTHY", True)
    assert (checks["b"]["status"], checks["b"]["maintenance"]) == ("UNHEALTHY", False)
    assert "under maintenance, not counted" in status("history", "a").stdout
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        assert connection.execute("select server, counted, maintenance from availability").fetchall() == [
            ("a", 0, 1),
            ("b", 1, 0),
        ]
        assert connection.execute("select distinct objective_ratio from servers").fetchall() == [(0.995,)]
    config.write_text(config.read_text().replace(", maintenance: []", ""))
    assert status("check", config).returncode == 0, "what is not counted fails nothing"
