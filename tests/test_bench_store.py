"""Load tests in SQLite: written as they go, read back as they were, listed, kept as baselines, and dropped."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_histories import AT_MS, histogram, played, slot, threshold, worker_second
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from checker.errors import UsageError
from checker.limits import Keep
from checker.loadtest.protocols import Second
from checker.loadtest.results import (
    BenchKind,
    BenchRun,
    BenchState,
    Calibration,
    Capacity,
    LevelResult,
    Series,
    Slot,
    StageSpan,
    ThresholdResult,
    WorkerSecond,
)
from checker.loadtest.summary import measured, merged, of_stage
from checker.model import Reason
from storage.database_file import database_info, faults
from storage.loadtests import tables as bench_tables
from storage.loadtests.read import (
    bench_baselines_of,
    bench_list,
    bench_run,
    delete_benchmarks,
    prune_benchmarks,
    remove_baseline,
    set_baseline,
)
from storage.loadtests.write import RecordingWriter
from storage.sql import ask
from storage.store import open_store

ROOT = Path(__file__).resolve().parent.parent
DAY_MS = 86_400_000
COUNTS = st.integers(0, 2**40)
RATIOS = st.floats(0, 1e6)
WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
HISTOGRAMS = st.lists(st.integers(1, 10**9), max_size=20).map(histogram)
PLANS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    WORDS, st.recursive(st.none() | st.booleans() | COUNTS | RATIOS | WORDS, lambda some: st.lists(some, max_size=3))
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def stored(path: Path, *runs: BenchRun, client_bound: str | None = None) -> list[int]:
    with open_store(path) as store:
        return [RecordingWriter(store, run).finish(run, client_bound).id or 0 for run in runs]


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with ask(path, query, 20.0) as answer:
        return list(answer.rows)


def of_type(kind: type[Any], /, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any record of this kind: a strategy for each field by its type, unless it is given."""
    known: dict[Any, st.SearchStrategy[Any]] = {
        **{int: COUNTS, float: RATIOS, str: WORDS, bool: st.booleans(), bytes: HISTOGRAMS},
        **{int | None: st.none() | COUNTS, float | None: st.none() | RATIOS},
        Mapping[str, int]: st.dictionaries(WORDS, COUNTS, max_size=3),
    }
    by_type = {one.name: known[one.type] for one in fields(kind) if one.name not in given}
    return st.builds(kind, **by_type, **given)


def many(kind: type[Any], most: int = 3, /, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of_type(kind, **given), max_size=most).map(tuple)


SLOTS = st.lists(
    of_type(Slot, series=st.integers(0, 2), stage=st.integers(0, 2), at_s=st.integers(0, 3)), max_size=8
).map(tuple)
CAPACITIES = of_type(
    Capacity, levels=many(LevelResult), usl=st.none() | st.dictionaries(WORDS, RATIOS, min_size=1, max_size=3)
)
HEALTH = st.lists(of_type(WorkerSecond, at_s=st.integers(0, 5)), max_size=4, unique_by=lambda one: one.at_s)
RUNS = of_type(
    BenchRun,
    id=st.none(),
    kind=st.sampled_from(BenchKind),
    state=st.sampled_from(BenchState),
    plan=PLANS,
    environment=st.dictionaries(WORDS, WORDS, max_size=3),
    series=many(Series),
    stages=many(StageSpan, block=st.none() | st.integers(0, 9)),
    slots=SLOTS,
    health=HEALTH.map(lambda some: tuple(sorted(some, key=lambda one: one.at_s))),
    calibrations=many(Calibration, 2),
    thresholds=many(ThresholdResult),
    capacity=st.none() | CAPACITIES,
    notes=st.lists(WORDS, max_size=3).map(tuple),
)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(run=RUNS)
def test_run_is_read_back_as_it_was_written(run: BenchRun, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.db"
    run = replace(run, slots=[one for one in run.slots if one.series < len(run.series) and one.stage < len(run.stages)])
    (run_id,) = stored(path, run)
    assert bench_run(path, run_id) == replace(run, id=run_id, slots=merged(run.slots))


@settings(max_examples=60, deadline=None)
@given(slots=SLOTS)
def test_merging_adds_counts_and_histograms_of_a_key_whatever_their_order(slots: tuple[Slot, ...]) -> None:
    shuffled = list(slots)
    random.Random(len(slots)).shuffle(shuffled)
    found = merged(shuffled)
    assert found == merged(slots)
    assert merged(found) == found
    keys = [(one.at_s, one.stage, one.series) for one in found]
    assert keys == sorted({(one.at_s, one.stage, one.series) for one in slots})
    assert sum(one.offered for one in found) == sum(one.offered for one in slots)
    assert max((one.max_us for one in found), default=0) == max((one.max_us for one in slots), default=0)
    reasons: Counter[str] = Counter()
    for one in slots:
        reasons.update(one.reasons)
    assert sum(sum(one.reasons.values()) for one in found) == sum(reasons.values())


def test_merged_histogram_is_that_of_all_samples() -> None:
    times = np.random.default_rng(1).lognormal(8, 1, 900)
    parts = [slot(3, part) for part in np.array_split(times, 7)]
    (whole,) = merged(parts)
    assert (whole.response, whole.ok) == (histogram(times), 900)


def test_every_field_of_a_record_has_a_column() -> None:
    for layout, table in (
        (bench_tables.SERIES, bench_tables.bench_series),
        (bench_tables.STAGES, bench_tables.bench_stages),
        (bench_tables.SLOTS, bench_tables.bench_slots),
        (bench_tables.HEALTH, bench_tables.bench_health),
        (bench_tables.THRESHOLDS, bench_tables.bench_thresholds),
        (bench_tables.LEVELS, bench_tables.bench_levels),
    ):
        of_kind: Any = layout.kind
        assert {one.name for one in fields(of_kind)} == {*layout.plain, *layout.json, *layout.blobs}
        assert set(layout.names) <= {column.name for column in table.columns}
    assert {column.name for column in bench_tables.bench_runs.columns} - {"id", "host", "pid", "client_bound"} == {
        one.name for one in fields(BenchRun)
    } - {"id", "series", "stages", "slots", "health", "thresholds"}


def test_killed_run_keeps_what_it_had_and_is_shown_as_unfinished(path: Path) -> None:
    program = """
import os, signal, sys
from msgspec.structs import replace
from pathlib import Path
from bench_histories import played, slot, worker_second
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchState
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

run = replace(played(seconds=1), state=BenchState.RUNNING, finished_at_ms=None, slots=(), health=(), stages=())
full = played(seconds=1)
with open_store(Path(sys.argv[1])) as store:
    recording = RecordingWriter(store, run)
    for at_s in range(3):
        known = replace(run, stages=full.stages)
        news = [slot(at_s, [1000.0] * 10), slot(max(0, at_s - 1), [2000.0])]
        recording(Second(run=known, at_s=at_s, until_s=9, stages=(1,), slots=news, health=[worker_second(at_s)]))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"}
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    (line,) = bench_list(path)
    assert (line.state, line.killed, line.ended, line.p95_us) == (BenchState.RUNNING, True, False, None)
    run = bench_run(path, line.id)
    assert [(one.at_s, one.ok) for one in run.slots] == [(0, 12), (1, 11), (2, 10)]
    assert [one.name for one in run.stages] == ["warm_up 1", "hold 1"]
    assert [one.at_s for one in run.health] == [0, 1, 2]
    assert rows(path, "select at_s, ok from benchmark_slots") == [(0, 12), (1, 11), (2, 10)]
    assert rows(
        path, "select state, finished_at, p95_ms from (select *, response_p95_ms as p95_ms from benchmarks)"
    ) == [("running", None, None)]


def test_finishing_replaces_what_was_added_on_the_way(path: Path) -> None:
    run = played(seconds=2)
    with open_store(path) as store:
        recording = RecordingWriter(store, replace(run, state=BenchState.RUNNING, slots=(), health=()))
        recording.append(run, run.slots, run.health)
        recording.append(run, run.slots, run.health)
        recording.finish(run)
        recording.finish(run)
    assert bench_run(path, recording.run_id) == replace(run, id=recording.run_id)


def test_watching_a_second_ends_nothing(path: Path) -> None:
    run = played(seconds=1)
    with open_store(path) as store:
        second = Second(run=run, at_s=1.0, until_s=9.0, stages=(0,), slots=(), health=())
        assert RecordingWriter(store, run)(second) is None


def test_stored_summaries_are_those_of_the_slots(path: Path) -> None:
    run = played(seconds=20, servers=("search", "orders"), failed_ratio=0.1)
    (run_id,) = stored(path, run)
    whole = measured(run)
    found = whole.percentiles()
    assert found is not None
    assert rows(path, "select offered, ok, failed, ok_per_s, failed_ratio, response_p99_ms from benchmarks") == [
        (
            whole.offered,
            whole.ok,
            whole.failed,
            round(whole.ok_per_s, 3),
            round(whole.failed_ratio, 6),
            round(round(found.p99) / 1000, 3),
        )
    ]
    orders = measured(run, lambda one: one.series == 1).quantile_us(0.95)
    assert orders is not None
    assert rows(path, "select response_p95_ms from benchmark_series where server = 'orders'") == [
        (round(round(orders) / 1000, 3),)
    ]
    warm_up = of_stage(run, 0)
    assert rows(path, "select offered, measured from benchmark_stages where stage = 0 and server is null") == [
        (warm_up.offered, 0)
    ]
    assert rows(path, "select sum(failed) from benchmark_failures") == [(sum(one.failed for one in run.slots),)]
    assert rows(path, "select count(*), min(server) from benchmark_slots") == [(len(run.slots), "orders")]
    assert bench_list(path)[0].p95_us == round(found.p95)
    assert run_id == 1


def test_views_show_thresholds_levels_and_workers(path: Path) -> None:
    level = LevelResult(
        stage=1,
        level=50.0,
        good=True,
        why="",
        offered_per_s=50.0,
        achieved_per_s=49.0,
        p50_ms=2.0,
        p99_ms=9.0,
        failed_ratio=0.0,
    )
    capacity = Capacity(last_good=50.0, first_bad=None, knee=None, recovery_s=None, levels=(level,))
    run = played(seconds=1, thresholds=(threshold(True), threshold(False)), capacity=capacity)
    stored(path, run, client_bound="")
    assert rows(path, "select passed, value from benchmark_thresholds") == [(1, 400.0), (0, 600.0)]
    assert rows(path, "select level, p99_ms, good from benchmark_levels") == [(50.0, 9.0, 1)]
    seconds = rows(path, "select at_s, lag_p99_ms, cpu_ratio from benchmark_health")
    assert seconds[:2] == [(0, 0.3, 0.25), (1, 0.3, 0.25)]
    assert rows(path, "select thresholds, thresholds_broken, client_bound from benchmarks") == [(2, 1, "")]
    (line,) = bench_list(path)
    assert (line.thresholds, line.broken, line.client_bound) == (2, 1, "")


def test_reasons_may_be_enums(path: Path) -> None:
    (run_id,) = stored(path, played(seconds=1, slots=(slot(5, [1.0], failed=2, reasons={Reason.DNS: 2}),)))
    assert bench_run(path, run_id).slots[0].reasons == {"dns": 2}
    assert rows(path, "select reason, failed from benchmark_failures") == [("dns", 2)]


def test_list_is_newest_first_and_by_name_plan_and_state(path: Path) -> None:
    one, other = played(seconds=1), played(seconds=1, name="spike", plan_digest="e" * 64)
    stored(path, one, other, replace(one, state=BenchState.INTERRUPTED))
    assert [line.id for line in bench_list(path)] == [3, 2, 1]
    assert [line.id for line in bench_list(path, name="nightly", state=BenchState.FINISHED)] == [1]
    assert [line.id for line in bench_list(path, plan_digest="e" * 64)] == [2]
    assert [line.id for line in bench_list(path, limit=1)] == [3]
    assert bench_list(path)[0].environment["cores"] == "2"


def test_baseline_is_one_run_at_a_time_and_cannot_be_deleted(path: Path) -> None:
    stored(path, *(played(seconds=1) for _ in range(3)))
    with open_store(path) as store:
        set_baseline(store, "release", 1, AT_MS)
        set_baseline(store, "release", 2, AT_MS)
        with pytest.raises(UsageError, match="is the baseline 'release'"):
            delete_benchmarks(store, [1, 2])
        assert [line.id for line in bench_list(path)] == [3, 2, 1]
        delete_benchmarks(store, [1])
        assert prune_benchmarks(store) == [3]
        assert [(one.name, one.run_id) for one in bench_baselines_of(path)] == [("release", 2)]
        assert [line.baselines for line in bench_list(path)] == [("release",)]
        remove_baseline(store, "release")
        with pytest.raises(UsageError, match="no baseline 'release'; there are: none"):
            remove_baseline(store, "release")
        delete_benchmarks(store, [2])
    assert bench_list(path) == ()
    for table in bench_tables.PARTS:
        with sqlite3.connect(path) as connection:
            assert connection.execute(f"select count(*) from {table.name}").fetchone() == (0,)
        connection.close()


@pytest.mark.parametrize("name", ["7", "last", "last-good", "window:5", "", "a/b"])
def test_baseline_has_no_name_that_means_something_else(path: Path, name: str) -> None:
    stored(path, played(seconds=1))
    with open_store(path) as store, pytest.raises(UsageError, match="no name for a baseline"):
        set_baseline(store, name, 1, AT_MS)


def test_unfinished_or_unknown_run_is_no_baseline(path: Path) -> None:
    stored(path, replace(played(seconds=1), state=BenchState.ABORTED))
    with open_store(path) as store:
        with pytest.raises(UsageError, match="is aborted, not finished"):
            set_baseline(store, "release", 1, AT_MS)
        with pytest.raises(UsageError, match="no load test 9"):
            set_baseline(store, "release", 9, AT_MS)
    with pytest.raises(UsageError, match="no load test 9; the newest is 1"):
        bench_run(path, 9)


def test_pruning_keeps_the_newest_of_each_name_and_what_is_young(path: Path) -> None:
    stored(path, *(played(seconds=1, name=name, started_at_ms=AT_MS + at * DAY_MS) for at, name in enumerate("aaabb")))
    with open_store(path) as store:
        assert prune_benchmarks(store, AT_MS + 2 * DAY_MS, keep_last=1) == [1, 2]
        assert prune_benchmarks(store, keep_last=1) == [4]
    assert [line.id for line in bench_list(path)] == [5, 3]


def test_database_prune_drops_old_load_tests_but_no_baseline(path: Path) -> None:
    stored(path, *(played(seconds=1, started_at_ms=AT_MS + at * DAY_MS) for at in range(3)))
    with open_store(path) as store:
        set_baseline(store, "release", 1, AT_MS)
        pruned = store.prune(Keep(benchmarks=86400.0, max_size=None), AT_MS + 3 * DAY_MS - 1)
        assert pruned.rows == {"bench_runs": 1}
        assert [line.id for line in bench_list(path)] == [3, 1]
        store.prune(Keep(max_size=1), AT_MS + 3 * DAY_MS)
    assert [line.id for line in bench_list(path)] == [1]
    assert faults(path, quick=False) == []
    assert database_info(path)["rows_bench_runs"] == 1


def test_slots_of_health_go_by_time_and_worker(path: Path) -> None:
    health = tuple(worker_second(at_s, worker=worker) for at_s in range(3) for worker in range(2))
    (run_id,) = stored(path, played(seconds=1, health=health))
    assert bench_run(path, run_id).health == health
    assert bench_run(path, run_id, health=False).health == ()
