"""Selection of load tests to compare: the runs that a word stands for, and the runs that form a series over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from checker.errors import UsageError
from checker.loadtest.bottleneck import Saturation
from checker.loadtest.results import BenchRun, BenchState
from storage.loadtests.read import BenchLine, bench_baselines_of, bench_list, bench_run

MOST_TRIED = 50
"""Maximum number of runs read in search of a good one."""
ENOUGH_RUNS = 7
"""Runs of both sides: with fewer, others of the same plan are read to estimate the spread between runs."""


Judge = Callable[[BenchRun], Saturation]


class Side(Struct, frozen=True):
    """One side of a comparison: a run, or several as one pool."""

    label: str
    runs: tuple[BenchRun, ...]
    scenario: str = ""
    """Only this scenario; empty for all."""
    unfit: str = ""
    """The reason why nothing can be concluded from it; empty if something can."""
    stages_left_out: int = 0
    """Measured stages in which the load generator was the limit: they do not count as measured any more."""
    others: tuple[BenchRun, ...] = ()
    """For a baseline: further good runs of the candidate's plan, to estimate the spread between runs."""


class JudgedRun(Struct, frozen=True):
    """A run without the measured stages in which the load generator was the limit."""

    run: BenchRun
    unfit: str
    """The reason why it can be no side of a comparison; empty if it can."""
    left_out: int
    """Number of stages left out."""


def judged(run: BenchRun, judge: Judge) -> JudgedRun:
    """The run without its client-bound stages, and the reason if it cannot be compared."""
    if run.state is not BenchState.FINISHED:
        return JudgedRun(run, unfit(run, judge), 0)
    saturation = judge(run)
    bound = [at for at in saturation.stages if run.stages[at].measured]
    stages = tuple(replace(one, measured=one.measured and at not in bound) for at, one in enumerate(run.stages))
    reason = f"load test {run.id}: {saturation.reason}" if saturation.unfit else ""
    return JudgedRun(replace(run, stages=stages) if bound and not reason else run, reason, 0 if reason else len(bound))


def unfit(run: BenchRun, judge: Judge) -> str:
    """The reason why a run can be no side of a comparison; empty if it can."""
    if run.state is not BenchState.FINISHED:
        said = "has not finished" if run.state is BenchState.RUNNING else f"was {run.state}"
        return f"load test {run.id} {said}"
    return judged(run, judge).unfit


def sides(path: Path, baseline: str, candidate: str, judge: Judge) -> tuple[Side, Side]:
    """The sides that the two words stand for: a number, ``last``, ``last-good``, ``window:5``, or a baseline's name.

    ``last-good`` and ``window:N`` are the newest good runs of the same plan before the other side's; a good run has
    finished, passed its thresholds, and was not limited by the load generator. A scenario may follow any of them, after
    a slash. Raises UsageError if there is no such run, or no run of such a kind.
    """
    if _is_relative(candidate):
        raise UsageError(f"{candidate}: stands for a baseline; write it first: `bench compare {candidate} last`")
    then = _named(path, candidate, judge)
    relative = _is_relative(baseline)
    before = _relative(path, baseline, then.runs[0], judge) if relative else _named(path, baseline, judge)
    return replace(before, others=_others(path, before, then, judge)), then


def _others(path: Path, before: Side, then: Side, judge: Judge) -> tuple[BenchRun, ...]:
    """Good runs before the candidate, for sides with too few runs to estimate the spread between runs."""
    taken = {run.id for side in (before, then) for run in side.runs}
    if len(taken) >= ENOUGH_RUNS or len(taken) < 2 or before.unfit or then.unfit:
        return ()
    found = (one.run for one in good_runs(path, then.runs[0], judge) if one.run.id not in taken)
    return tuple(islice(found, ENOUGH_RUNS - len(taken)))


def sole(path: Path, word: str) -> BenchRun:
    """The run that a number, ``last`` or a baseline's name stands for; raises UsageError."""
    return bench_run(path, _number(path, word))


def good_runs(path: Path, like: BenchRun, judge: Judge) -> Iterator[JudgedRun]:
    """Good runs of the same plan that began before this one, the newest first."""
    found = bench_list(path, plan_digest=like.plan_digest, state=BenchState.FINISHED)
    older = [one for one in found if like.id is None or one.id < like.id]
    for line in older[:MOST_TRIED]:
        if line.broken or line.client_bound:
            continue
        found_run = judged(bench_run(path, line.id), judge)
        if not found_run.unfit:
            yield found_run


def _is_relative(word: str) -> bool:
    return word.partition("/")[0] == "last-good" or word.startswith("window:")


def _relative(path: Path, word: str, like: BenchRun, judge: Judge) -> Side:
    name, _, scenario = word.partition("/")
    wanted = 1
    if name != "last-good":
        number = name.removeprefix("window:")
        if not number.isdigit() or int(number) < 1:
            raise UsageError(f"{word}: write window:5 for the last five good runs")
        wanted = int(number)
    good = tuple(islice(good_runs(path, like, judge), wanted))
    if not good:
        raise UsageError(
            f"{word}: no run of the same plan before load test {like.id} has finished, kept its thresholds and was "
            "not limited by the client; name one by its number"
        )
    runs = tuple(one.run for one in good)
    numbers = ", ".join(str(run.id) for run in runs)
    known = _known_scenario(scenario, runs[0], word)
    return Side(f"{name} ({numbers})", runs, known, stages_left_out=sum(one.left_out for one in good))


def _named(path: Path, word: str, judge: Judge) -> Side:
    name, _, scenario = word.partition("/")
    found = judged(sole(path, name), judge)
    label = f"{name} ({found.run.id})" if not name.isdigit() else name
    return Side(
        f"{label}/{scenario}" if scenario else label,
        (found.run,),
        _known_scenario(scenario, found.run, word),
        found.unfit,
        found.left_out,
    )


def _number(path: Path, name: str) -> int:
    """The run that a number, ``last`` or a baseline's name stands for."""
    if name.isdigit():
        return int(name)
    if name == "last":
        found: tuple[BenchLine, ...] = bench_list(path, limit=1)
        if not found:
            raise UsageError(f"{path}: no load test yet; `mcp-status bench run` makes one")
        return found[0].id
    names = {one.name: one.run_id for one in bench_baselines_of(path)}
    if name not in names:
        raise UsageError(
            f"{name}: neither a number nor a baseline; write last, last-good, window:5 or one of: "
            f"{', '.join(names) or 'no baseline yet'}"
        )
    return names[name]


def _known_scenario(scenario: str, run: BenchRun, word: str) -> str:
    names = list(dict.fromkeys(one.scenario for one in run.series))
    if scenario and scenario not in names:
        raise UsageError(f"{word}: load test {run.id} has no scenario {scenario!r}; it has {', '.join(names)}")
    return scenario


class RunsOverTime(Struct, frozen=True):
    """The runs of one name over time."""

    name: str
    since_ms: int
    until_ms: int
    """The start of the first and the last run, including those that were left out."""
    runs: tuple[BenchRun, ...]
    """The newest first; empty if none is fit."""
    left_out: tuple[str, ...]
    """The other runs, and why they were left out."""


def runs_of(path: Path, name: str | None, most: int, judge: Judge, *, all_plans: bool = False) -> RunsOverTime:
    """The newest fit runs of a name, by default that of the newest load test, and of its newest plan.

    Raises UsageError if there is no load test of that name.
    """
    lines = bench_list(path, name=name)
    if not lines:
        raise UsageError(f"{path}: no load test {name or 'yet'}; `mcp-status bench list` shows them")
    same_name = [one for one in lines if one.name == lines[0].name]
    same_plan = [one for one in same_name if all_plans or one.plan_digest == same_name[0].plan_digest]
    found, left_out = [], []
    for line in same_plan[:most]:
        one = judged(bench_run(path, line.id), judge)
        if one.unfit:
            left_out.append(f"left out: {one.unfit}")
        else:
            found.append(one.run)
    if others := len(same_name) - len(same_plan):
        left_out.append(f"{others} more of this name had another plan; --all-plans takes them in")
    began_ms = [one.started_at_ms for one in same_plan[:most]]
    return RunsOverTime(same_name[0].name, min(began_ms), max(began_ms), tuple(found), tuple(left_out))
