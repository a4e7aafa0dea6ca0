"""The Python library: fleets in every form, results as they come, workers that stay, and the ends of a run."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import checker.api
from checker.api import (
    Benchmark,
    Checker,
    CheckerError,
    ConfigError,
    History,
    Results,
    Status,
    StorageError,
    UsageError,
    check,
    check_as_dict,
    load_fleet,
    report_html,
    server,
)
from checker.metrics import PoolMeasures, WorkerMeasures, WorkerReport, since
from conftest import ROOT, workers_of
from servers import McpServer, RestServer, Scripted
from worker_template import forked_workers

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def rest() -> Iterator[RestServer]:
    paths = {"/slow": Scripted(delay_s=30.0), "/down": Scripted(status=500)}
    with RestServer(paths) as running:
        yield running


@pytest.fixture(scope="module")
def mcp() -> Iterator[McpServer]:
    with McpServer() as running:
        yield running


@pytest.fixture
def fleet(rest: RestServer, mcp: McpServer) -> dict[str, Any]:
    """A configuration as a mapping: one healthy server of each kind, one of both, and one that fails."""
    return {
        "defaults": {"rest": {"timeout": "5s"}},
        "servers": [
            {"name": "api", "rest": rest.url(), "tags": ["prod"]},
            {"name": "tools", "mcp": mcp.url(), "group": "ai"},
            {"name": "both", "mcp": mcp.url(), "rest": {"url": rest.url("/down")}},
            {"name": "down", "rest": rest.url("/down"), "tags": ["prod"]},
        ],
    }


STATUSES = {"api": "HEALTHY", "tools": "HEALTHY", "both": "DEGRADED", "down": "UNHEALTHY"}
_OF_ONE_RUN = ("run_id", "started_at", "duration_ms", "stages", "reused", "connections_opened")


def said(document: Any) -> Any:
    """A document without what is different in every run."""
    if isinstance(document, dict):
        return {key: said(value) for key, value in document.items() if key not in _OF_ONE_RUN}
    return [said(item) for item in document] if isinstance(document, list) else document


def test_results_are_those_of_the_command_line(
    fleet: dict[str, Any], tmp_path: Path, status: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(json.dumps(fleet))
    printed = json.loads(status("check", file, "--format", "json").stdout)
    results = check(file, database=tmp_path / "library.db")
    document = json.loads(json.dumps(results.as_dict()))
    assert said(document["checks"]) == said(printed["checks"])
    assert document.keys() == printed.keys()
    assert document["run"].keys() == printed["run"].keys()
    assert results.exit_code == status("check", file, "--quiet").returncode == 2


@pytest.fixture(scope="module")
def warm() -> Iterator[Checker]:
    with Checker() as one:
        yield one


@pytest.fixture
def workers() -> Iterator[Callable[[], set[int]]]:
    """The ids of the worker processes that the test has started, and that are there; none may be left at its end."""
    before = {one.pid for one in workers_of()}

    def now() -> set[int]:
        return {one.pid for one in workers_of()} - before

    yield now
    assert now() == set()


@pytest.fixture
def forked() -> Iterator[None]:
    """Workers that take no time to start, where the processes are not the point."""
    with forked_workers():
        yield


def statuses(results: Results) -> dict[str, str]:
    return {one.server: one.status for one in results}


def test_a_fleet_is_a_file_a_mapping_settings_dicts_or_objects(
    fleet: dict[str, Any], tmp_path: Path, warm: Checker
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(json.dumps(fleet))
    objects = [server(**one) for one in fleet["servers"]]
    for form in (file, str(file), fleet, load_fleet(file), fleet["servers"], objects, iter(objects)):
        assert statuses(warm.check(form)) == STATUSES, type(form)
    assert statuses(warm.check([*objects[:2], *fleet["servers"][2:]])) == STATUSES


def test_an_address_alone_is_a_server_of_the_kind_that_it_looks_like(
    rest: RestServer, mcp: McpServer, warm: Checker
) -> None:
    results = warm.check([rest.url(), mcp.url(), {"rest": rest.url("/down")}])
    assert sorted((one.probes[0].kind, one.status) for one in results) == [
        ("mcp", "HEALTHY"),
        ("rest", "HEALTHY"),
        ("rest", "UNHEALTHY"),
    ]
    assert results[f"127.0.0.1:{rest.port}/down"].reason == "http_status"


def test_text_with_a_dollar_is_text_in_values_of_a_program(warm: Checker, rest: RestServer) -> None:
    results = warm.check([{"name": "cost$", "rest": {"url": rest.url(), "headers": {"X-Key": "${HOME}"}}}])
    assert results["cost$"].status == Status.HEALTHY
    assert rest.requests[-1][2]["x-key"] == "${HOME}"


def test_servers_are_selected_as_on_the_command_line(fleet: dict[str, Any], warm: Checker) -> None:
    assert {one.server for one in warm.check(fleet, tags=["prod"])} == {"api", "down"}
    assert {one.server for one in warm.check(fleet, groups=["ai"])} == {"tools"}
    assert {one.server for one in warm.check(fleet, names=["both"])} == {"both"}


def test_results_say_what_a_caller_asks_first(fleet: dict[str, Any], warm: Checker) -> None:
    told = []
    results = warm.check(fleet, progress=told.append)
    assert results.status == Status.UNHEALTHY
    assert (results.counts[Status.HEALTHY], results.counts[Status.UNKNOWN], len(results)) == (2, 0, 4)
    assert [one.server for one in results.problems] == ["both", "down"]
    assert (told[-1].done, told[-1].total) == (4, 4)
    assert results.checks_per_second > 0
    assert sum(one.checks for one in results.metrics.workers) == 4
    with pytest.raises(KeyError):
        results["nobody"]
    assert check_as_dict(results["api"])["duration_ms"] > 0


def test_checks_come_as_they_are_done(rest: RestServer, warm: Checker) -> None:
    slow = {"name": "slow", "rest": {"url": rest.url("/slow"), "timeout": "1.5s"}}
    stream = warm.stream([slow, {"name": "fast", "rest": rest.url()}])
    began = time.monotonic()
    assert next(stream).server == "fast"
    assert time.monotonic() - began < 1.2
    assert [one.server for one in stream] == ["slow"]
    assert statuses(stream.results()) == {"fast": "HEALTHY", "slow": "UNHEALTHY"}
    assert list(stream) == []


def test_a_stream_gives_the_same_records_as_the_results(fleet: dict[str, Any], warm: Checker) -> None:
    stream = warm.stream(fleet)
    came = {one.server: one for one in stream}
    assert came == {one.server: one for one in stream.results()}


def test_reused_results_are_in_the_stream_as_well(rest: RestServer, warm: Checker) -> None:
    servers = [{"name": f"reused-{number}", "rest": rest.url()} for number in range(3)]
    warm.check(servers[:2])
    before = len(rest.requests)
    came = {one.server: one.cached_ms is not None for one in warm.stream(servers, max_age="1h")}
    assert came == {"reused-0": True, "reused-1": True, "reused-2": False}
    assert len(rest.requests) == before + 1


def test_workers_and_their_connections_stay_between_calls(rest: RestServer, workers: Callable[[], set[int]]) -> None:
    servers = [{"name": f"s{number}", "rest": rest.url()} for number in range(5)]
    with Checker(max_concurrent=1) as one:
        first = one.check(servers)
        opened, pids = rest.connections, [worker.pid for worker in first.metrics.workers]
        for _ in range(3):
            again = one.check(servers)
            assert [worker.pid for worker in again.metrics.workers] == pids
            assert [worker.checks for worker in again.metrics.workers] == [5], "of this run alone"
            (pool,) = (pool for pool in again.metrics.pools if pool.kind == "rest")
            assert (pool.created, pool.reused) == (0, 5)
        assert rest.connections == opened
        other_kind = one.check([{"name": "other", "mcp": {"url": rest.url()}}])
        assert [worker.pid for worker in other_kind.metrics.workers] == pids
        assert workers() == set(pids)


COUNTED = ("checks", "suspect_checks", "cpu_ms")
NUMBERS = st.integers(0, 10**9)


@given(st.builds(WorkerMeasures, **dict.fromkeys(WorkerMeasures.__struct_fields__, NUMBERS)), NUMBERS, NUMBERS)
def test_what_a_worker_counts_in_two_runs_adds_up_to_what_it_counts_in_both(
    first: WorkerMeasures, more: int, opened: int
) -> None:
    pools = (PoolMeasures(kind="rest", created=opened, most_open=opened), PoolMeasures(kind="mcp", reused=more))
    then = replace(first, **{name: getattr(first, name) + more for name in COUNTED}, peak_memory_bytes=more)
    later = (replace(pools[0], created=opened + more, most_open=opened + more), pools[1], PoolMeasures(kind="new"))
    found = since(WorkerReport(worker=then, pools=later), WorkerReport(worker=first, pools=pools))
    assert {name: getattr(found.worker, name) for name in COUNTED} == dict.fromkeys(COUNTED, more)
    assert found.worker.peak_memory_bytes == more
    assert [(one.created, one.reused, one.most_open) for one in found.pools] == [
        (more, 0, opened + more),
        (0, 0, 0),
        (0, 0, 0),
    ]


def test_a_worker_that_ended_meanwhile_is_replaced(rest: RestServer, workers: Callable[[], set[int]]) -> None:
    with Checker() as one:
        (worker,) = one.check(rest.url()).metrics.workers
        psutil.Process(worker.pid).kill()
        (other,) = one.check(rest.url()).metrics.workers
        assert other.pid != worker.pid
        assert workers() == {other.pid}


def test_the_limit_of_concurrent_checks_is_kept(warm: Checker) -> None:
    with RestServer({"/health": Scripted(delay_s=0.05)}) as counted:
        results = warm.check([{"name": f"c{number}", "rest": counted.url()} for number in range(8)], max_concurrent=2)
    assert counted.connections <= 2
    assert results.run.concurrency == 2


def test_leaving_a_loop_ends_the_run_and_keeps_what_is_done(
    rest: RestServer, tmp_path: Path, workers: Callable[[], set[int]]
) -> None:
    servers = [{"name": f"slow-{number}", "rest": rest.url("/slow")} for number in range(5)]
    with Checker(tmp_path / "history.db") as one:
        for first in one.stream([{"name": "fast", "rest": rest.url()}, *servers]):
            assert first.server == "fast"
            break
        gc.collect()
        assert workers() == set()
        assert (one.history.runs()[0].state, statuses(one.history.results())) == ("interrupted", {"fast": "HEALTHY"})
        other = Checker()
        left = other.stream(servers)
        other.close()
        assert list(left) == []
        with one.stream(servers) as stream:
            pass
        assert list(stream) == []
        assert one.check(rest.url()).status == Status.HEALTHY, "the next call is not harmed"


def test_calls_from_several_threads_do_not_disturb_each_other(rest: RestServer, warm: Checker) -> None:
    found: dict[int, dict[str, str]] = {}

    def ask(number: int) -> None:
        found[number] = statuses(warm.check([{"name": f"thread-{number}", "rest": rest.url()}]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {number: {f"thread-{number}": "HEALTHY"} for number in range(3)}


def test_a_call_inside_a_loop_over_another(rest: RestServer, warm: Checker) -> None:
    for outer in warm.stream([{"name": "outer", "rest": rest.url()}]):
        assert warm.check([{"name": "inner", "rest": rest.url()}]).status == outer.status


def test_an_asyncio_program_calls_in_a_thread(rest: RestServer, warm: Checker) -> None:
    async def main() -> list[Results]:
        calls = (asyncio.to_thread(warm.check, [{"name": name, "rest": rest.url()}]) for name in ("a", "b"))
        return await asyncio.gather(*calls)

    assert [one.status for one in asyncio.run(main())] == [Status.HEALTHY, Status.HEALTHY]


@pytest.mark.parametrize(
    ("servers", "key", "told"),
    [
        ([{"name": "a", "rest": {"url": "http://h/", "timout": 3}}], "servers[0].rest.timout", "did you mean"),
        ([{"name": "a", "rest": {"url": "http://h/", "timeout": "soon"}}], "servers[0].rest.timeout", "write a dur"),
        ([{"name": "a", "rest": "ftp://h/"}], "servers[0].rest.url", "not an http"),
        ([{"name": "a"}], "servers[0]", "nothing to check"),
        ([5], "servers[0]", "not a server"),
        ([], "servers", "at least one"),
    ],
)
def test_a_faulty_fleet_is_an_error_with_key_and_remedy(servers: Any, key: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check(servers)
    (fault,) = raised.value.faults
    assert (fault.key, fault.line) == (key, None)
    assert told in fault.text
    assert told in str(raised.value)
    copied = pickle.loads(pickle.dumps(raised.value))
    assert (str(copied), copied.faults) == (str(raised.value), raised.value.faults)


def test_a_faulty_file_is_an_error_with_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("servers:\n  - name: a\n    rest: {url: http://h/, timout: 3}\n")
    with pytest.raises(ConfigError) as raised:
        check(file)
    (fault,) = raised.value.faults
    assert (fault.file, fault.line, fault.key) == (str(file), 3, "servers[0].rest.timout")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda path: check(5), "give the path of a configuration"),  # type: ignore[arg-type] # that is the fault
        (lambda path: check("http://h/", environment="prod"), "an environment is one of a configuration"),
        (lambda path: check(path / "none.yaml"), "none.yaml"),
        (lambda path: check("http://127.0.0.1:9/", tags=["x"]), 'no tag "x"'),
        (lambda path: check("http://127.0.0.1:9/", max_age="soon"), "max_age='soon'"),
        (lambda path: Checker(max_concurrent=0), "max_concurrent=0"),
        (lambda path: Checker(":memory:"), "need a file"),
        (lambda path: check("http://127.0.0.1:9/", database=path), "a folder"),
        (lambda path: History(path / "none.db").servers(), "none.db"),
        (lambda path: Benchmark().load("http://127.0.0.1:9/"), "either rate"),
        (lambda path: Benchmark().load("http://127.0.0.1:9/", rate=5, think="1s"), "think"),
        (lambda path: Benchmark().compare(1, 2), "without a database"),
    ],
)
def test_every_failure_of_ours_has_one_base(
    call: Callable[[Path], object], told: str, tmp_path: Path, workers: Callable[[], set[int]]
) -> None:
    with pytest.raises(CheckerError) as raised:
        call(tmp_path)
    assert told in str(raised.value)
    assert workers() == set()


def test_a_closed_checker_says_so() -> None:
    one = Checker()
    one.close()
    one.close()
    assert not one.database.exists()
    with pytest.raises(UsageError, match="closed"):
        one.check("http://127.0.0.1:9/")


def test_history_gives_records_reports_and_rows(fleet: dict[str, Any], tmp_path: Path) -> None:
    with forked_workers(), Checker(tmp_path / "history.db") as one:
        for _ in range(3):
            results = one.check(fleet)
        history = one.history
    assert history.servers() == sorted(STATUSES)
    assert {check.server: check.status for check in history.latest()} == STATUSES
    assert [check.status for check in history.checks("down", since="1h", limit=2)] == ["UNHEALTHY"] * 2
    assert history.results() == history.results(results.run.id) == results
    assert len(history.contracts("tools")) == 1
    assert {row["server"] for row in history.records("availability")} == set(STATUSES)
    report = history.report("latency", since="1d", tags=["prod"])
    assert report.servers == 2
    assert "<html" in report_html(report)
    rows = list(history.sql("select count(*) as checks from check_history where server = :one", {"one": "api"}))
    assert rows == [{"checks": 3}]
    assert isinstance(history.recommendations(), tuple)
    with pytest.raises(UsageError, match="there are: availability"):
        history.report("weather")
    with pytest.raises(UsageError, match="did you mean 'tools'"):
        history.checks("tool")
    with pytest.raises(StorageError):
        History(tmp_path / "other.db").latest()


def test_history_gives_frames_of_pandas(rest: RestServer, warm: Checker) -> None:
    pandas = pytest.importorskip("pandas")
    warm.check([{"name": "framed", "rest": rest.url()}])
    frame = warm.history.frame("select * from check_history where server = 'framed'")
    assert list(frame["status"]) == ["HEALTHY"]
    assert isinstance(frame["started_at"].dtype, pandas.DatetimeTZDtype)


@pytest.mark.usefixtures("forked")
def test_load_tests_are_played_stored_compared_and_written(rest: RestServer, tmp_path: Path) -> None:
    benchmark = Benchmark(tmp_path / "history.db", calibrate=False)
    told: list[float] = []
    benchmark_of_one = Benchmark(calibrate=False, progress=lambda second: told.append(second.at_s))
    one = benchmark.load(rest.url(), rate=50, duration=1, thresholds=["p(95)<5000", "failed:rate<0.5"])
    assert (one.passed or one.limited_by_client, one.failed_ratio, len(one.thresholds)) == (True, 0.0, 2)
    assert one.p50_ms is not None
    assert one.p99_ms is not None
    assert 0 < one.p50_ms <= one.p99_ms
    grid = benchmark_of_one.suite(
        [{"name": "a", "rest": rest.url()}],
        concurrent_users=[1, 2],
        blocks=1,
        max_blocks=1,
        block_duration=1,
        warm_up=0,
    )
    assert [(stage.users, stage.servers) for stage in grid.run.stages if stage.measured] in (
        [(1, 1), (2, 1)],
        [(2, 1), (1, 1)],
    )
    assert told
    assert (grid.id, one.id) == (None, 1)
    assert benchmark.result(1).summary.ok == one.summary.ok
    assert [line.id for line in benchmark.results()] == [1]
    written = one.write(tmp_path / "report", ["json", "csv"])
    assert [file.name for file in written] == ["report.json", "stages.csv"]
    assert one.as_dict()["series"][0]["operation"] == "rest"
    assert "p99" in one.text()
    with pytest.raises(UsageError, match="there are: table"):
        one.write(tmp_path, ["pdf"])
    with pytest.raises(UsageError, match="not stored"):
        benchmark.compare(one, grid)


@pytest.mark.usefixtures("forked")
def test_a_stress_test_finds_the_level_at_which_the_objective_holds(rest: RestServer) -> None:
    found = Benchmark(calibrate=False).stress(
        rest.url(), start=20, maximum=20, level_duration=1, p99=5.0, achieved=0.5, recovery=0
    )
    assert found.capacity is not None
    assert (found.capacity.last_good, found.capacity.first_bad) == (20.0, None)


@pytest.mark.usefixtures("forked")
def test_scenarios_of_a_plan_file(rest: RestServer, tmp_path: Path) -> None:
    plan = {
        "servers": [{"name": "a", "rest": rest.url()}],
        "calibrate": False,
        "scenarios": {
            "light": {"operation": "rest", "rate": 20, "duration": "1s"},
            "heavy": {"operation": "rest", "rate": 9000, "duration": "60s"},
        },
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    played = Benchmark().scenarios(tmp_path / "plan.yaml", "light")
    assert {one.scenario for one in played.run.series} == {"light"}


def script(code: str, folder: Path, *arguments: str, wait: bool = True) -> Any:
    """A program in its own folder; its exit code and what it printed, or the running process."""
    file = folder / "program.py"
    file.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, file, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if not wait:
        return process
    out, err = process.communicate(timeout=110)
    return process.returncode, out, err


INTERRUPTED = """
import sys
from checker.api import Checker, Interrupted
slow, fast = sys.argv[1:]
servers = [{"name": "fast", "rest": fast}, {"name": "slow", "rest": slow}]
with Checker("history.db") as checker:
    try:
        for check in checker.stream(servers, progress=lambda now: now.done and print("waiting", flush=True)):
            print(check.server, flush=True)
    except Interrupted as stopped:
        print([one.server for one in stopped.results], stopped.results.run.state, flush=True)
    try:
        checker.check(servers, progress=lambda now: now.done and print("again", flush=True))
    except KeyboardInterrupt:
        print("twice", flush=True)
"""


def test_ctrl_c_loses_nothing_and_leaves_no_process(rest: RestServer, tmp_path: Path) -> None:
    process = script(INTERRUPTED, tmp_path, rest.url("/slow"), rest.url(), wait=False)
    lines = iter(process.stdout)
    assert "fast\n" in lines
    assert next(lines) == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert "['fast'] interrupted\n" in lines
    assert next(lines) == "again\n"
    process.send_signal(signal.SIGINT)
    assert [line for line in lines if line != "again\n"] == ["twice\n"]
    assert process.wait(10) == 0
    process.stdout.close()
    process.stderr.close()
    assert [run.state for run in History(tmp_path / "history.db").runs()] == ["interrupted", "interrupted"]


PLAIN = """
import os, sys
from checker.api import Checker
print("begun", flush=True)
checker = Checker()
results = checker.check([sys.argv[1]])
print(results)
child = os.fork()
if not child:
    own = checker.check([sys.argv[1]])
    checker.close()
    others = {one.pid for one in own.metrics.workers} - {one.pid for one in results.metrics.workers}
    os._exit(0 if own.status == "HEALTHY" and others else 1)
again = checker.check([sys.argv[1]])
pids = [[one.pid for one in found.metrics.workers] for found in (results, again)]
print(os.waitpid(child, 0)[1], pids[0] == pids[1])
stream = checker.stream([sys.argv[1]])
print("patched" if "gevent" in sys.modules else "not patched", checker.database)
"""


def test_a_plain_script_runs_once_and_ends_with_all_it_started(rest: RestServer, tmp_path: Path) -> None:
    """Without a guard of ``__main__``, without a block, with a stream that nobody reads, and with a fork of itself."""
    code, out, err = script(PLAIN, tmp_path, rest.url())
    begun, shown, forked, last = out.splitlines()
    assert (code, err, begun) == (0, "", "begun")
    assert shown == "<Results of run 1: 1 checks, HEALTHY>"
    assert forked == "0 True", "the fork has workers of its own, and those of its parent stay"
    said, database = last.rsplit(" ", 1)
    assert said == "not patched"
    assert not Path(database).parent.exists()
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or ())]


Example = Callable[..., str]


@pytest.fixture
def example(
    registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Example:
    """Run an example in a folder of its own; gives what it printed."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with forked_workers(), suppress(SystemExit):
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run


def test_example_check_servers(example: Example, rest: RestServer, mcp: McpServer, tmp_path: Path) -> None:
    assert "2 servers in" in example("check_servers.py", rest.url(), mcp.url())


def test_example_stream_checks_and_read_history(example: Example, fleet: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(json.dumps(fleet))
    printed = example("stream_checks.py", "fleet.yaml")
    assert sorted(line.split()[:2] for line in printed.splitlines()[:-1]) == sorted(
        [status, name] for name, status in STATUSES.items()
    )
    read = example("read_history.py", "history.db")
    assert "down: UNHEALTHY" in read
    assert "api: 100.000% available" in read
    assert "down: 1 checks that were not healthy" in read


def test_example_watch_servers(example: Example, rest: RestServer, tmp_path: Path) -> None:
    printed = example("watch_servers.py", "2", rest.url())
    assert "round 2: HEALTHY, 0 connections opened, 1 reused" in printed


def test_example_load_test(example: Example, rest: RestServer, tmp_path: Path) -> None:
    printed = example("load_test.py", rest.url(), "1", "results")
    assert "failed rate<0.01: 0.0 held" in printed
    assert (tmp_path / "results" / "report.html").exists()


def test_example_in_asyncio(example: Example, rest: RestServer) -> None:
    assert example("in_asyncio.py", rest.url()) == "HEALTHY; the event loop turned meanwhile: True\n"


def test_example_own_probe(example: Example, rest: RestServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as connection:
                connection.sendall(b"220 ready")

        greeting = threading.Thread(target=greet)
        greeting.start()
        printed = example("own_probe.py", rest.url(), f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        greeting.join()
    assert "jobs: HEALTHY" in printed
    assert "mail: HEALTHY" in printed
    assert "  greeting: HEALTHY, 1 attempts" in printed


@pytest.mark.usefixtures("registry")
def test_blocks_of_the_page_run_one_after_the_other(
    fleet: dict[str, Any],
    rest: RestServer,
    mcp: McpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As they stand, but for the addresses; without pandas, the block that takes it is left out."""
    page = (ROOT / "docs" / "library.md").read_text()
    if find_spec("pandas") is None:
        page = re.sub(r"<!-- pandas -->\n```python\n.*?```", "", page, flags=re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 8
    whole = "\n".join(blocks).replace("http://127.0.0.1:8000/health", rest.url())
    whole = whole.replace("http://127.0.0.1:8000/mcp", mcp.url()).replace('"2s", thresholds', '"1s", thresholds')
    (tmp_path / "fleet.yaml").write_text(json.dumps(fleet))
    monkeypatch.chdir(tmp_path)
    with forked_workers():
        exec(compile(whole, "library.md", "exec"), {"__name__": "page"})
    out = capsys.readouterr().out
    assert 'servers[0].rest.timout unknown key; did you mean "timeout"?' in out
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {"history.db", "results/report.html", "results/report.json"} <= written


def test_every_example_has_a_test() -> None:
    tests = Path(__file__).read_text()
    assert [file.name for file in EXAMPLES.glob("*.py") if f'"{file.name}"' not in tests] == []


def test_public_names_are_typed_and_told_of() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    assert [name for name in checker.api.__all__ if not re.search(rf"\b{name}\b", page)] == []
    assert (ROOT / "checker" / "py.typed").exists()
