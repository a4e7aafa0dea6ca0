"""The verdict on a load test in one line: validity, pass or fail, and how far the run got."""

from __future__ import annotations

from statistics import median

from msgspec import Struct

from checker.loadtest.results import BenchKind, BenchRun, BenchState, Capacity, ThresholdResult
from checker.loadtest.summary import Summary, measured, of_stage
from reports.loadtests.outcome import JudgedThreshold, LoadTestOutcome
from reports.output_forms import duration, number, per_cent
from reports.report_model import Level
from reports.ticks import clock


class RunVerdict(Struct, frozen=True):
    """The verdict on a run."""

    word: str
    """INVALID, FAILED, ABORTED, INTERRUPTED, UNFINISHED, REGRESSION, CAPACITY, PASSED or MEASURED."""
    level: Level
    words: str
    """The text after the word."""

    @property
    def headline(self) -> str:
        """The word as a page says it."""
        return "Not judged" if self.word == "MEASURED" else self.word.capitalize()

    @property
    def line(self) -> str:
        """The whole verdict in one line."""
        return f"{self.word}: {self.words}"


def verdict_of(outcome: LoadTestOutcome) -> RunVerdict:
    """The first verdict that holds: a threshold is broken whatever the load generator did, it is inconclusive, ..."""
    run, told = outcome.run, outcome.told()
    broken = [one.result for one in told if one.word == "failed"]
    judged = bool(outcome.saturation.claims.thresholds)
    if outcome.saturation.invalid and not (broken and judged):
        reason = outcome.saturation.reason or "the load generator, not the server, was the limit"
        untold = [one for one in told if one.word == "cannot tell"]
        return RunVerdict("INVALID", Level.UNKNOWN, f"{reason}.{_cannot_tell(untold, len(told))}")
    if broken:
        return RunVerdict("FAILED", Level.BAD, f"{_broken(broken, len(run.thresholds))}.{_cut_short(run)}")
    if run.state is not BenchState.FINISHED:
        return _unfinished(run)
    if outcome.comparison is not None and outcome.comparison.level is Level.BAD:
        return RunVerdict("REGRESSION", Level.BAD, outcome.comparison.verdict)
    if run.capacity is not None:
        return RunVerdict("CAPACITY", _capacity_level(run.capacity), f"{capacity_words(run)}.")
    if run.thresholds:
        every = f"{len(run.thresholds)} of {len(run.thresholds)} thresholds hold"
        if notes := [one.note for one in told if one.note]:
            every = f"{every}, {notes[0]}"
        return RunVerdict("PASSED", Level.GOOD, f"{every}; {numbers(measured(run))}.")
    if run.kind is BenchKind.SUITE:
        return RunVerdict("MEASURED", Level.UNKNOWN, _suite_words(outcome))
    return RunVerdict("MEASURED", Level.UNKNOWN, f"{numbers(measured(run))}; no thresholds are set.")


def numbers(whole: Summary) -> str:
    """The measured stages in a few figures."""
    p95_us = whole.quantile_us(0.95)
    latency = "nothing was answered" if p95_us is None else f"p95 {duration(p95_us / 1000)}"
    rates = f"{number(whole.achieved_per_s)} of {number(whole.offered_per_s)} offered /s completed"
    return f"{latency}, {per_cent(whole.failed_ratio)} failed, {rates}"


def threshold_words(one: ThresholdResult) -> str:
    """The required and the measured value."""
    over = "" if one.over_s is None else f" over {one.over_s:g} s"
    return f"{one.metric} {one.expression}{over} (measured: {measured_words(one, one.value)})"


_TIMES = ("response_time", "service_time", "first_byte", "late")
_SHARES = ("failed", "timeouts", "refused", "resent")
_WHOLE_FROM = 1000


def limit_words(one: ThresholdResult) -> str:
    """The condition as in the plan, with the unit that a plain number has."""
    return f"{one.expression} ms" if _unit(one) == " ms" and one.expression[-1:].isdigit() else one.expression


def measured_words(one: ThresholdResult, value: float | None) -> str:
    """A value of a threshold's metric with its unit, in enough digits to be compared with the limit."""
    if value is None:
        return "nothing"
    unit = _unit(one)
    value = 100 * value if unit == "%" else value
    return f"{value:,.0f}{unit}" if abs(value) >= _WHOLE_FROM else f"{value:.4g}{unit}"


def _unit(one: ThresholdResult) -> str:
    """The unit of a threshold's values, empty for a number of operations."""
    metric = one.metric.partition("{")[0]
    if one.expression.startswith("count"):
        return ""
    return " ms" if metric in _TIMES else "%" if metric in _SHARES else " /s"


def capacity_words(run: BenchRun) -> str:
    """The last good level and the first bad one."""
    found = run.capacity
    assert found is not None  # noqa: S101 # asked for where there is one
    unit = level_unit(run)
    if found.last_good is None:
        return "no level was good" + ("" if found.first_bad is None else f", from {found.first_bad:g} {unit} on")
    if found.first_bad is None:
        return f"good up to {found.last_good:g} {unit}, the highest level that was tried"
    return f"good at {found.last_good:g} {unit}, bad at {found.first_bad:g}; between them nothing was tested"


def level_unit(run: BenchRun) -> str:
    """The unit of the levels of stages."""
    return "users" if is_closed(run) else "/s"


def is_closed(run: BenchRun) -> bool:
    """True if every series is of the closed model."""
    return bool(run.series) and all(one.model == "closed" for one in run.series)


def reached_s(run: BenchRun) -> float:
    """The end of the run so far, in seconds from its epoch."""
    return max((stage.until_s for stage in run.stages), default=0.0)


def _suite_words(outcome: LoadTestOutcome) -> str:
    """The extent of the measurements, and the cell with the best median throughput."""
    rates = {cell: [one.ok_per_s for one in blocks] for cell, blocks in cells_of(outcome).items()}
    if not rates:
        return "no block was measured."
    users, servers = max(rates, key=lambda cell: median(rates[cell]))
    blocks = sum(map(len, rates.values()))
    most = f"most throughput with {users} users and {servers} server{'' if servers == 1 else 's'}"
    return f"{len(rates)} cells in {blocks} blocks; {most}, {number(median(rates[users, servers]))} /s."


def cells_of(outcome: LoadTestOutcome) -> dict[tuple[int, int], list[Summary]]:
    """For a suite: users and servers -> the blocks of the cell, without client-bound ones."""
    found: dict[tuple[int, int], list[Summary]] = {}
    for at, stage in enumerate(outcome.run.stages):
        if stage.measured and stage.users is not None and stage.servers is not None:
            blocks = found.setdefault((stage.users, stage.servers), [])
            if at not in outcome.saturation.stages:
                blocks.append(of_stage(outcome.run, at))
    return {cell: blocks for cell, blocks in found.items() if blocks}


def _broken(broken: list[ThresholdResult], of: int) -> str:
    first = threshold_words(broken[0])
    return f"{len(broken)} of {of} threshold{'' if of == 1 else 's'}, {'first ' if len(broken) > 1 else ''}{first}"


def _cannot_tell(untold: list[JudgedThreshold], of: int) -> str:
    """A sentence about the first inconclusive threshold."""
    if not untold:
        return ""
    first = untold[0]
    low = measured_words(first.result, first.low)
    high = "whatever" if first.high is None else measured_words(first.result, first.high)
    between = f"without delays of the load generator between {low} and {high}"
    return f" {len(untold)} of {of} cannot be judged, first {threshold_words(first.result)}: {between}."


def _cut_short(run: BenchRun) -> str:
    if run.state is BenchState.FINISHED:
        return ""
    return f" The run was {run.state.value} after {clock(reached_s(run))}."


def _unfinished(run: BenchRun) -> RunVerdict:
    """The verdict on an unfinished run: everything measured up to its end is shown."""
    word = "UNFINISHED" if run.state is BenchState.RUNNING else run.state.value.upper()
    why = f" ({run.notes[-1]})" if run.notes and run.state is BenchState.ABORTED else ""
    after = f"after {clock(reached_s(run))}{why}; until then {numbers(measured(run))}."
    return RunVerdict(word, Level.WARNING, after)


def _capacity_level(found: Capacity) -> Level:
    return Level.BAD if found.last_good is None else Level.GOOD


def title_of(run: BenchRun) -> str:
    """The title of the report."""
    kinds = {BenchKind.LOAD: "Load test", BenchKind.SUITE: "Benchmark suite", BenchKind.STRESS: "Stress test"}
    return f"{kinds[run.kind]} {run.name}" + ("" if run.id is None else f", run {run.id}")
