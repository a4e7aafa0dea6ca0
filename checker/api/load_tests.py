"""Load tests from a program: a load on one address, scenarios, suites, stress tests, comparisons."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from checker.api.fleets import Servers, settings_of
from checker.api.results import database_at
from checker.errors import UsageError
from checker.secrets.known_secrets import know

if TYPE_CHECKING:
    from checker.loadtest.plan import Plan
    from checker.loadtest.protocols import Watcher
    from checker.loadtest.results import BenchRun, Capacity, ThresholdResult
    from checker.loadtest.run import LoadEnd
    from checker.loadtest.summary import Summary
    from reports.loadtests.compare import BenchComparison
    from reports.loadtests.outcome import LoadTestOutcome
    from storage.loadtests.read import BenchLine

_FORMS = ("html", "json")


@dataclass(frozen=True)
class LoadResult:
    """The result of a load test."""

    end: LoadEnd
    """The run with all its measurements, and the verdict on the load generator."""

    @property
    def run(self) -> BenchRun:
        """The run: plan, series, stages, histograms of every second, environment."""
        return self.end.run

    @property
    def id(self) -> int | None:
        """Its number in the history; None if it was not stored."""
        return self.end.run.id

    @cached_property
    def summary(self) -> Summary:
        """All measured stages together: counts, reasons of failures, histograms."""
        from checker.loadtest.summary import measured

        return measured(self.end.run)

    def percentile_ms(self, ratio: float) -> float | None:
        """A percentile of the response time: ``percentile_ms(0.99)``; None without a successful answer."""
        found = self.summary.quantile_us(ratio)
        return None if found is None else found / 1000

    @property
    def p50_ms(self) -> float | None:
        """The median response time."""
        return self.percentile_ms(0.5)

    @property
    def p95_ms(self) -> float | None:
        """The response time that 95% stay below."""
        return self.percentile_ms(0.95)

    @property
    def p99_ms(self) -> float | None:
        """The response time that 99% stay below."""
        return self.percentile_ms(0.99)

    @property
    def ok_per_s(self) -> float:
        """Throughput: successful operations per second."""
        return self.summary.ok_per_s

    @property
    def failed_ratio(self) -> float:
        """Share of operations that failed."""
        return self.summary.failed_ratio

    @property
    def thresholds(self) -> tuple[ThresholdResult, ...]:
        """Each threshold with its value and verdict."""
        return self.end.run.thresholds

    @property
    def passed(self) -> bool:
        """True if it ran to its end, every threshold held, and the load generator was not the limit."""
        held = all(one.passed for one in self.end.run.thresholds)
        return held and self.end.run.state == "finished" and not self.end.saturation.invalid

    @property
    def limited_by_client(self) -> str:
        """Why the load generator was the limit; empty if it was not."""
        return self.end.saturation.reason if self.end.saturation.invalid else ""

    @property
    def capacity(self) -> Capacity | None:
        """What a stress test found: the last good level, the first bad one, each level; None for another test."""
        return self.end.run.capacity

    def write(self, folder: str | PathLike[str], formats: Sequence[str] = _FORMS) -> list[Path]:
        """Write reports into the folder: html, json, csv, junit, markdown, hgrm, prometheus, png, svg."""
        from reports.loadtests.output_forms import FILES, IMAGES, write_folder

        for name in formats:
            if name not in FILES and name not in IMAGES:
                raise UsageError(f'no format "{name}"; there are: {", ".join((*FILES, *IMAGES))}')
        return write_folder(self._outcome, Path(folder), formats)

    def as_dict(self) -> dict[str, Any]:
        """The document that `mcp-status bench report --format json` prints; docs/bench.schema.json describes it."""
        import orjson

        from reports.loadtests.json_document import json

        document: dict[str, Any] = orjson.loads(json(self._outcome))
        return document

    def text(self) -> str:
        """The report as text."""
        from reports.loadtests.report import text

        return text(self._outcome)

    @property
    def _outcome(self) -> LoadTestOutcome:
        from reports.loadtests.outcome import LoadTestOutcome

        return LoadTestOutcome(run=self.end.run, saturation=self.end.saturation)


class LoadTestInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a load test: the load was ramped down, and what was measured is kept."""

    def __init__(self, result: LoadResult) -> None:
        super().__init__()
        self.result = result
        """Everything up to then."""


class Benchmark:
    """Load tests, stored in a history if there is one.

    Load goes to loopback and private addresses only, but for ``public_hosts``: those that you may test. Ctrl-C ramps
    the load down within two seconds and raises LoadTestInterrupted with the result so far.
    """

    def __init__(
        self,
        database: str | Path | None = None,
        *,
        workers: int | None = None,
        calibrate: bool = True,
        seed: int = 1,
        public_hosts: Sequence[str] = (),
        progress: Watcher | None = None,
        log_level: int = logging.CRITICAL,
    ) -> None:
        """``database`` is the SQLite file with the history; without one, nothing is stored.

        ``workers`` are processes that make the load, by default as many as needed. ``calibrate`` measures the load
        generator against a loopback echo first, which takes three seconds. ``progress`` is called once a second; text
        that it returns ends the test, and is the reason in its notes.
        """
        self.database = None if database is None else database_at(database)
        self._workers, self._calibrate, self._seed = workers, calibrate, seed
        self._public_hosts, self._progress, self._log_level = tuple(public_hosts), progress, log_level

    def load(
        self,
        servers: Servers,
        *,
        rate: float | None = None,
        users: int | None = None,
        duration: float | str = 30.0,
        warm_up: float | str = 0.0,
        ramp_up: float | str = 0.0,
        ramp_down: float | str = 0.0,
        cool_down: float | str = 0.0,
        operation: str | None = None,
        thresholds: Sequence[str] = (),
        name: str = "load",
        **scenario: Any,
    ) -> LoadResult:
        """Put load on servers: ``rate`` arrivals per second (open model), or ``users`` who wait for their answers.

        ``operation`` is what one arrival does: rest, mcp_list, mcp_check, ...; by default what fits the first server.
        Thresholds are such as "p(99)<250" for the response time in milliseconds, or "failed:rate<0.01". ``scenario``
        are further keys of a scenario in a plan: think_time, timeout, arrivals, tool, arguments, max_in_flight.
        """
        if (rate is None) == (users is None):
            raise UsageError("give either rate (arrivals per second) or users (who wait for their answers)")
        chosen = settings_of(servers).servers
        level = {"rate": rate} if users is None else {"users": users}
        around = {"warm_up": warm_up, "ramp_up": ramp_up, "ramp_down": ramp_down, "cool_down": cool_down}
        written = {
            "operation": operation or _usual_operation(chosen[0].probes, "tool" in scenario),
            **level,
            "duration": duration,
            **{key: value for key, value in around.items() if value},
            **scenario,
        }
        values: dict[str, Any] = {"scenarios": {name: written}}
        if thresholds:
            values["thresholds"] = _by_metric(thresholds)
        return self._played(values, servers, name)

    def scenarios(self, plan: str | PathLike[str], *names: str, environment: str | None = None) -> LoadResult:
        """Play a plan's file, or a legacy configuration: all of its scenarios side by side, or those named.

        A plan may also be a suite or a stress test. Raises ConfigError for a file with faults.
        """
        from checker.settings.loadtests.plan_file import load_plan

        return self.play(load_plan(fspath(plan), environment, scenarios=names))

    def suite(
        self,
        servers: Servers,
        *,
        concurrent_users: Sequence[int] = (1, 5, 10, 20, 50, 100),
        server_counts: Sequence[int] = (1,),
        operation: str | None = None,
        name: str = "suite",
        **suite: Any,
    ) -> LoadResult:
        """Measure a grid of concurrent users and server counts, each cell in several blocks, in interleaved order.

        ``suite`` are further keys of a suite in a plan: blocks, max_blocks, block_duration, warm_up, precision, budget.
        """
        chosen = settings_of(servers).servers
        written = {
            "operation": operation or _usual_operation(chosen[0].probes, "tool" in suite),
            "concurrent_users": list(concurrent_users),
            "server_counts": list(server_counts),
            **suite,
        }
        return self._played({"suite": written}, servers, name)

    def stress(
        self, servers: Servers, *, operation: str | None = None, name: str = "stress", **stress: Any
    ) -> LoadResult:
        """Raise the load until the objective breaks, then narrow down: the result's ``capacity`` is what was found.

        ``stress`` are the keys of a stress test in a plan: model, start, factor, maximum, level_duration, precision,
        and the objective: p99 (seconds), failed, achieved.
        """
        chosen = settings_of(servers).servers
        written = {"operation": operation or _usual_operation(chosen[0].probes, "tool" in stress), **stress}
        return self._played({"stress": written}, servers, name)

    def play(self, plan: Plan) -> LoadResult:
        """Play a plan."""
        from checker.loadtest.run import LoadRequest, load_test

        know(options for one in plan.servers for options in one.probes.values())
        plan = replace(
            plan,
            workers=self._workers or plan.workers,
            seed=self._seed,
            calibrate=self._calibrate and plan.calibrate,
            public_hosts=(*plan.public_hosts, *self._public_hosts),
        )
        watchers: tuple[Watcher, ...] = () if self._progress is None else (self._progress,)
        end = load_test(LoadRequest(plan=plan, database=self.database, watchers=watchers, log_level=self._log_level))
        result = LoadResult(end)
        if end.signal is not None:
            raise LoadTestInterrupted(result)
        return result

    def compare(self, baseline: LoadResult | int | str, candidate: LoadResult | int | str = "last") -> BenchComparison:
        """Compare two stored load tests: by result, number, "last", "last-good", "window:5" or a baseline's name.

        ``outcome`` of the comparison is better, same, worse or cannot tell; ``rows`` have each statistic with its
        interval. Raises UsageError if there is no such test.
        """
        from checker.loadtest.judging.saturation import judge
        from reports.loadtests.compare import compare_sides
        from reports.loadtests.compared_runs import sides

        return compare_sides(*sides(self._stored(), _word(baseline), _word(candidate), judge))

    def results(self, limit: int | None = None) -> tuple[BenchLine, ...]:
        """The stored load tests, newest first."""
        from storage.loadtests.read import bench_list

        return bench_list(self._stored(), limit=limit)

    def result(self, which: int | str = "last") -> LoadResult:
        """A stored load test by its number, "last", or the name of a baseline."""
        from checker.loadtest.judging.saturation import judge
        from checker.loadtest.run import LoadEnd
        from reports.loadtests.compared_runs import sole

        run = sole(self._stored(), str(which))
        return LoadResult(LoadEnd(run, judge(run)))

    def _stored(self) -> Path:
        if self.database is None:
            raise UsageError("nothing is stored without a database; make it with one: Benchmark('history.db')")
        return self.database

    def _played(self, values: Mapping[str, Any], servers: Servers, name: str) -> LoadResult:
        from checker.settings.loadtests.plan_file import plan_of_values

        return self.play(plan_of_values(values, settings_of(servers).servers, name))


def _usual_operation(probes: Mapping[str, Any], calls_tool: bool) -> str:
    """The operation that fits a server: a call if a tool is named, the tool list of MCP, else its kind's first."""
    from checker.probe_kinds import KINDS

    kind = next(iter(probes))
    if kind == "mcp":
        return "mcp_call" if calls_tool else "mcp_list"
    operations = KINDS[kind].operations
    if not operations:
        raise UsageError(f"servers of kind {kind} cannot be put under load; name an operation of another kind")
    return operations[0].name


def _by_metric(thresholds: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in thresholds:
        metric, _, expression = text.rpartition(":")
        found.setdefault(metric or "response_time", []).append(expression.strip())
    return found


def _word(which: LoadResult | int | str) -> str:
    if isinstance(which, LoadResult):
        if which.id is None:
            raise UsageError("a load test that was not stored cannot be compared; play it with a database")
        return str(which.id)
    return str(which)
