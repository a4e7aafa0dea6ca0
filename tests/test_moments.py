"""`--since` and `--until` in every form, `--problems`, and `--open`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from builders import AT_MS
from checker.cli.moments import parse_when
from checker.model import Batch, Reason, RunState, Status
from servers import RestServer
from storage.store import open_store

Run = Callable[..., subprocess.CompletedProcess[Any]]
NOW = datetime(2026, 11, 30, 18, 30).astimezone()
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("90", NOW - timedelta(seconds=90)),
        ("now", NOW),
        ("today", NOW.replace(hour=0, minute=0)),
        ("yesterday", NOW.replace(day=29, hour=0, minute=0)),
        ("18:00", NOW.replace(minute=0)),
        ("19:00:30", NOW.replace(day=29, hour=19, minute=0, second=30)),
        ("2026-11-01", datetime(2026, 11, 1).astimezone()),
        ("2026-11-01 07:05", datetime(2026, 11, 1, 7, 5).astimezone()),
        ("2026-11-01T07:05:09", datetime(2026, 11, 1, 7, 5, 9).astimezone()),
        ("2026-11-01T07:05Z", datetime(2026, 11, 1, 7, 5, tzinfo=UTC)),
        ("2026-11-01T07:05+05:30", datetime(2026, 11, 1, 7, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    ],
)
def test_time_is_read_in_every_form(text: str, expected: datetime) -> None:
    assert parse_when(text, NOW).before(round(NOW.timestamp() * 1000)) == round(expected.timestamp() * 1000)


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_time_with_its_offset_is_that_time(at: datetime) -> None:
    assert parse_when(at.isoformat(), NOW).before(0) == round(at.timestamp() * 1000)


@given(st.text(max_size=20))
def test_anything_else_is_refused_with_the_forms_that_there_are(text: str) -> None:
    try:
        parse_when(text, NOW)
    except ValueError as error:
        assert re.search("write (how long ago, a date or a time|a later one)", str(error))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Four checks of one server, an hour apart, of which the second failed."""
    path = tmp_path / "history.db"
    with open_store(path) as store:
        for hour in range(4):
            at_ms = AT_MS + hour * HOUR_MS
            said = {"status": Status.UNHEALTHY, "reason": Reason.DNS} if hour == 1 else {}
            run_id = store.begin_run(builders.run_info(started_at_ms=at_ms), [builders.server("a")])
            probe = builders.probe("rest", started_at_ms=at_ms, **said)
            store.write(run_id, Batch(checks=(builders.check("a", started_at_ms=at_ms, probes=(probe,), **said),)))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
    return path


def spelled(hours: float) -> str:
    return datetime.fromtimestamp(AT_MS / 1000 + hours * 3600, UTC).isoformat()


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ([], [4, 3, 2, 1]),
        (["--since", spelled(1)], [4, 3, 2]),
        (["--until", spelled(2)], [2, 1]),
        (["--since", spelled(0.5), "--until", spelled(2.5)], [3, 2]),
        (["--problems"], [2]),
        (["--problems", "--since", spelled(1.5)], []),
    ],
)
def test_history_is_that_of_the_time_asked_for(
    status: Run, history: Path, arguments: list[str], runs: list[int]
) -> None:
    done = status("history", "a", "--format", "json", *arguments)
    assert [one["run_id"] for one in json.loads(done.stdout)["checks"]] == runs


@pytest.mark.parametrize("report", ["availability", "incidents", "latency", "trends"])
def test_report_ends_where_it_is_told_to(status: Run, history: Path, report: str) -> None:
    until = spelled(2)
    period = json.loads(
        status("report", report, "--since", spelled(0), "--until", until, "--format", "json").stdout
    )  # fmt: skip
    since_ms, until_ms = (
        datetime.fromisoformat(period[name]).timestamp() * 1000 for name in ("since", "until")
    )  # fmt: skip
    assert since_ms <= AT_MS
    assert 0 <= until_ms - (AT_MS + 2 * HOUR_MS) < HOUR_MS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--since", "never"],
            "'never': write how long ago, a date or a time: 24h, 7d, yesterday, 2026-11-30, 18:00 or",
        ),
        (["--since", "1h", "--until", "2h"], "--since 1h --until 2h: nothing is between them"),
        (["--since", "2199-01-01"], "--since 2199-01-01: is still to come; write an earlier time"),
    ],
)
def test_time_that_cannot_be_meant_is_refused(status: Run, history: Path, arguments: list[str], said: str) -> None:
    for command in (["history", "a"], ["report", "availability"]):
        done = status(*command, *arguments)
        assert (done.returncode, done.stdout) == (3, "")
        assert said in done.stderr


def test_page_is_shown_in_the_browser_that_is_set(status: Run, tmp_path: Path) -> None:
    """A program in the place of a browser notes what it is given; without one the file is named."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/shown\n')
    browser.chmod(0o755)
    with RestServer() as rest:
        status("check", "--rest", rest.url())
    env = {"BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path)}
    assert status("report", "availability", "--open", "-o", tmp_path / "page.html", env=env).returncode == 0
    done = status("report", "recommendations", "--open", env=env)
    assert status("report", "site", tmp_path / "site", "--open", env=env).returncode == 0
    own, temporary, site = (tmp_path / "shown").read_text().split()
    assert (own, site) == ((tmp_path / "page.html").as_uri(), (tmp_path / "site" / "index.html").as_uri())
    page = Path(temporary.removeprefix("file://"))
    assert page.read_text().startswith("<!doctype html>")
    assert (str(page) in done.stderr, os.stat(page.parent).st_mode & 0o077) == (True, 0)
    assert "--open shows a page; leave out --format csv" in status(
        "report", "availability", "--open", "--format", "csv"
    ).stderr  # fmt: skip
