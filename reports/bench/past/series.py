"""Which stored load tests make one series over time, and which of them are left out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from checker.bench.results import BenchRun
from checker.errors import UsageError
from reports.bench.past.sides import Judge, judged
from storage.bench.list import bench_list
from storage.bench.read import bench_run


@dataclass(frozen=True, slots=True)
class RunsOverTime:
    """Runs of one name."""

    name: str
    since_ms: int
    until_ms: int
    """When the first and the last began, of those that were left out too."""
    runs: tuple[BenchRun, ...]
    """The newest first; none where none is fit."""
    left_out: tuple[str, ...]
    """Which others there are, and why they are not among them."""


def runs_of(path: Path, name: str | None, most: int, judge: Judge, *, all_plans: bool = False) -> RunsOverTime:
    """The newest fit runs of a name, that of the newest load test where none is given, and of its newest plan.

    Raises UsageError where there is no load test of that name.
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
