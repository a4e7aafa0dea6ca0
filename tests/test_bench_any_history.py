"""Every load test of any history has its report, in every form: ended early, killed, empty, or the client's fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from bench_runs import Faults, load_run, stress_run, suite_run
from checker.cli.root import group
from checker.errors import CheckerError
from checker.loadtest.judging.saturation import judge
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Capacity
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

_SHORT = (("warm_up", 1, 40.0, 40.0), ("hold", 4, 100.0, 100.0))


def _of(run: BenchRun, **changes: object) -> BenchRun:
    return replace(run, id=None, **changes)  # type: ignore[arg-type] # any field


def _bound() -> BenchRun:
    run = load_run(stages=_SHORT, faults=Faults(client_bound=(0, 5)))
    health = [replace(one, late_p99_us=85_000, cpu_ratio=0.1) for one in run.health]
    return _of(run, health=health)


RUNS: dict[str, Callable[[], BenchRun]] = {
    "good": lambda: _of(load_run(stages=_SHORT)),
    "client bound": _bound,
    "client bound, no threshold": lambda: replace(_bound(), thresholds=()),
    "interrupted": lambda: _of(load_run(stages=_SHORT, cut_s=3.0)),
    "interrupted in its warm-up": lambda: _of(load_run(stages=_SHORT, cut_s=0.5), thresholds=()),
    "no operation finished": lambda: _of(
        load_run(stages=_SHORT, thresholds=()), slots=(), health=(), state=BenchState.ABORTED, notes=("refused",)
    ),
    "nothing at all": lambda: _of(
        load_run(stages=_SHORT), series=(), stages=(), slots=(), health=(), calibrations=(), thresholds=()
    ),
    "everything failed": lambda: _of(load_run(stages=_SHORT, faults=Faults(failing_ratio=1.0), thresholds=())),
    "no calibration": lambda: _of(load_run(stages=_SHORT), calibrations=()),
    "closed": lambda: _of(load_run(stages=_SHORT, model="closed")),
    "suite": lambda: _of(suite_run(users=(1,), counts=(1,), blocks=2)),
    "suite without a block": lambda: _of(suite_run(users=(1,), counts=(1,), blocks=1), stages=(), slots=(), health=()),
    "stress": lambda: _of(stress_run()),
    "stress without a level": lambda: _of(
        load_run(stages=_SHORT, thresholds=()),
        kind=BenchKind.STRESS,
        slots=(),
        capacity=Capacity(last_good=None, first_bad=None, knee=None, recovery_s=None, levels=()),
    ),
}
_NAMES = list(RUNS)
_KILLED = len(RUNS) + 1
_PAGES_ELSEWHERE = {"good", "client bound", "interrupted", "closed", "suite", "stress"}
"""Of which test_bench_report.py makes pages, which take time."""
_FORMS = ("table", "json", "csv", "csv-slots", "markdown", "junit", "hgrm", "prometheus", "html")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of each kind, each of a name of its own, and one that was killed in its third second."""
    path = tmp_path_factory.mktemp("any") / "history.db"
    with open_store(path) as store:
        for place, (name, made) in enumerate(RUNS.items()):
            run = replace(made(), name=name, plan_digest=f"{place:064}")
            found = judge(run)
            RecordingWriter(store, run).finish(run, found.reason if found.invalid else "")
        run = replace(RUNS["good"](), name="killed", state=BenchState.RUNNING, finished_at_ms=None, thresholds=())
        run = replace(run, plan={**run.plan, "thresholds": {"rest": ["p(95)<5"]}})
        recording = RecordingWriter(store, replace(run, slots=(), health=()))
        recording.append(run, [one for one in run.slots if one.at_s < 3], [one for one in run.health if one.at_s < 3])
    with sqlite3.connect(path) as connection:
        connection.execute("update bench_runs set pid = 0 where name = 'killed'")
    return path


def bench(path: Path, *arguments: str) -> Result:
    found = CliRunner().invoke(group, ["bench", *arguments, "--db", str(path)], standalone_mode=False)
    assert found.exception is None or isinstance(found.exception, CheckerError), (arguments, found.exception)
    return found


@pytest.mark.parametrize("form", _FORMS)
def test_every_run_has_its_report_in_every_form(history: Path, form: str) -> None:
    for number, name in enumerate([*_NAMES, "killed"], 1):
        if form == "html" and name in _PAGES_ELSEWHERE:
            continue
        found = bench(history, "report", str(number), "--format", form)
        assert (found.exception, found.exit_code) == (None, 0), number
        assert found.stdout.strip(), number
        if form == "json":
            assert orjson.loads(found.stdout)["verdict"]["text"]
        if form == "junit":
            assert ElementTree.fromstring(found.stdout).find("testsuite/testcase") is not None


def test_every_run_can_be_compared_and_followed(history: Path) -> None:
    assert all(name in bench(history, "list", "--format", "json").stdout for name in (*_NAMES, "killed"))
    for number, name in enumerate([*_NAMES, "killed"], 1):
        for pair in ((str(number), "1"), ("1", str(number)), (str(number), str(number))):
            found = bench(history, "compare", *pair)
            assert found.exception is None, (pair, found.exception)
            assert found.stdout.strip(), pair
        trend = bench(history, "trend", name)
        assert (trend.exception, trend.exit_code) == (None, 0), name
        assert trend.stdout.strip(), name
        bench(history, "baseline", "set", "one", str(number))


def test_a_killed_run_does_not_claim_that_its_plan_has_no_thresholds(history: Path) -> None:
    said = bench(history, "report", str(_KILLED)).stdout
    assert "UNFINISHED" in said
    assert "has no thresholds" not in said
    assert "The run did not finish: its thresholds were not judged." in said
