"""`mcp-status bench`: stored load tests listed, compared, named and deleted, with exit codes for a pipeline."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_histories import AT_MS, played
from click.testing import CliRunner, Result
from msgspec.structs import replace

from checker.cli.root import group
from checker.errors import UsageError
from checker.loadtest.results import BenchState
from storage.loadtests.read import bench_baselines_of, bench_list
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

Status = Callable[..., subprocess.CompletedProcess[str]]
SLOWER, UNFINISHED = 3, 4


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs: two alike, one slower, one that never ended."""
    path = tmp_path_factory.mktemp("bench") / "history.db"
    runs = [played(seed=1), played(seed=2), played(seed=3, median_ms=9.0)]
    with open_store(path) as store:
        for place, run in enumerate(runs):
            run = replace(run, started_at_ms=AT_MS + place * 3_600_000)
            RecordingWriter(store, run).finish(run, "")
        RecordingWriter(store, replace(runs[0], state=BenchState.RUNNING, finished_at_ms=None, slots=(), health=()))
    return path


@pytest.fixture
def mine(told: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    path = tmp_path / "history.db"
    path.write_bytes(told.read_bytes())
    return path


def bench(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["bench", *arguments, "--db", str(path)], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["1", "2", "--effect-ms", "3"], 0, "Same"),
        (["1", str(SLOWER)], 99, "2026-11-23 12:00 to 2026-11-23 12:01"),
        ([str(SLOWER), "1"], 0, "Better"),
        (["1", str(UNFINISHED)], 0, "Cannot tell: load test 4 has not finished."),
        (["1", str(UNFINISHED), "--strict"], 1, "Cannot tell"),
        (["1", "2", "--effect-ms", "3", "--strict"], 0, "Same"),
        (["last-good", str(SLOWER)], 99, "last-good (2)"),
        (["1", str(SLOWER), "--effect", "200"], 0, "Same"),
        (["1", "2", "--block", "20s", "--strict"], 1, "About 3 more runs on each side would tell."),
    ],
)
def test_comparison_says_its_outcome_by_exit_code(told: Path, arguments: list[str], code: int, said: str) -> None:
    done = bench(told, "compare", *arguments, *(["--format", "html"] if said.startswith("last") else []))
    assert done.exception is None
    assert (done.return_value, said in done.stdout) == (code, True), done.stdout


def test_last_run_is_compared_with_the_last_good_one_by_default(mine: Path) -> None:
    assert bench(mine, "delete", str(UNFINISHED)).return_value == 0
    document = json.loads(bench(mine, "compare", "--format", "json").stdout)
    assert document["facts"] == {"baseline": "last-good (2)", "candidate": "last (3)", "block": "10 s"}
    assert document["level"] == "bad"
    assert {row["verdict"] for row in document["sections"]["compared"]} == {"worse", "same"}


def test_comparison_is_markdown_for_a_pull_request(told: Path, tmp_path: Path) -> None:
    file = tmp_path / "compared.md"
    assert bench(told, "compare", "1", str(SLOWER), "--format", "markdown", "-o", str(file)).return_value == 99
    assert file.read_text().startswith("**Worse: 3 worse")
    assert bench(told, "compare", "1", str(SLOWER), "--format", "markdown").stdout == file.read_text()


def test_list_has_unfinished_runs_too(told: Path) -> None:
    rows = json.loads(bench(told, "list", "--format", "json").stdout)
    assert [row["benchmark_id"] for row in rows] == [4, 3, 2, 1]
    assert [row["state"] for row in rows] == ["running", "finished", "finished", "finished"]
    assert rows[0]["p95_ms"] is None
    assert rows[1]["p95_ms"] == pytest.approx(13.5, rel=0.1)
    table = list(csv.DictReader(bench(told, "list", "--limit", "2", "--format", "csv").stdout.splitlines()))
    assert [row["benchmark_id"] for row in table] == ["4", "3"]
    assert "nightly" in bench(told, "list").stdout
    assert bench(told, "list", "--name", "nothing").stdout == "no load test yet\n"


def test_trend_is_that_of_the_newest_name(told: Path) -> None:
    document = json.loads(bench(told, "trend", "--format", "json").stdout)
    assert document["verdict"] == "Insufficient: 3 of 10 runs that changes of level need."
    assert document["notes"] == ["left out: load test 4 has not finished"]
    assert "<svg" in bench(told, "trend", "nightly", "--format", "html").stdout


def test_baseline_is_set_listed_used_and_removed(mine: Path) -> None:
    assert bench(mine, "baseline", "set", "release", "1").return_value == 0
    assert json.loads(bench(mine, "baseline", "list", "--format", "json").stdout)[0]["baseline"] == "release"
    assert bench(mine, "compare", "release", str(SLOWER)).return_value == 99
    refused = bench(mine, "delete", "1")
    assert isinstance(refused.exception, UsageError)
    assert "is the baseline 'release'" in str(refused.exception)
    assert bench(mine, "baseline", "remove", "release").return_value == 0
    assert bench_baselines_of(mine) == ()
    assert "no baseline yet" in bench(mine, "baseline", "list").stdout


def test_unfinished_run_can_be_no_baseline(mine: Path) -> None:
    refused = bench(mine, "baseline", "set", "release", "last")
    assert str(refused.exception) == "load test 4 has not finished: it can be no baseline"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["2", "3"], [4, 1]),
        (["--keep-last", "2"], [4, 3]),
        (["--older-than", "1h"], []),
        (["--older-than", "1h", "--keep-last", "1"], [4]),
    ],
)
def test_runs_are_deleted_by_number_or_age(mine: Path, arguments: list[str], left: list[int]) -> None:
    assert bench(mine, "delete", *arguments).return_value == 0
    assert [line.id for line in bench_list(mine)] == left


@pytest.mark.parametrize("arguments", [[], ["1", "--keep-last", "2"]])
def test_deleting_wants_numbers_or_an_age(mine: Path, arguments: list[str]) -> None:
    assert "name load tests by their numbers" in str(bench(mine, "delete", *arguments).exception)
    assert len(bench_list(mine)) == 4


def test_program_ends_with_the_code_and_its_help_lists_the_commands(told: Path, status: Status) -> None:
    done = status("bench", "compare", "1", str(SLOWER), "--db", told)
    assert (done.returncode, done.stderr) == (99, "")
    assert done.stdout.startswith("Worse: ")
    shown = status("bench", "--help").stdout
    assert all(name in shown for name in ("list", "compare", "trend", "baseline", "delete"))
    wrong = status("bench", "compare", "nothing", "--db", told)
    assert (wrong.returncode, "neither a number nor a baseline" in wrong.stderr) == (3, True)


def test_deleting_in_no_database_makes_none(tmp_path: Path) -> None:
    done: Any = bench(tmp_path / "none.db", "delete", "1")
    assert "no such database" in str(done.exception)
    assert not (tmp_path / "none.db").exists()
