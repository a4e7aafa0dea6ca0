"""Rules about workers: whether they do too much at once, too little, or are too few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from reports.advice import FEWEST_RUNS, WAITED_SHARE, AdviceFacts, Rule, SettingRecommendation
from storage.evidence import RunEvidence

_OFTEN = 0.5
"""Share of runs that something has to be seen in."""
_LATE_MS, _ON_TIME_MS, _SUSPECT_SHARE = 100.0, 20.0, 0.01
_LONG_MS = 10_000
"""Shorter runs are mostly starting up: nothing is won."""
_IDLE_SHARE, _BUSY_SHARE = 0.3, 0.85
_FULL_PERCENT = 95.0


def _too_many_at_once(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    every_late = [run for run in facts.evidence.runs if _is_late(run)]
    if len(every_late) < max(FEWEST_RUNS, _OFTEN * len(facts.evidence.runs)):
        return
    late = [run for run in every_late if _did_much(run)]
    if len(late) < _OFTEN * len(every_late):  # lower concurrency would not make room for what else there is
        yield _machine_is_busy(every_late, len(facts.evidence.runs))
        return
    settled = median(sum(worker.concurrency_at_end for worker in run.measures.workers) for run in late)
    lag_ms = median(max(worker.lag_p99_us for worker in run.measures.workers) / 1000 for run in late)
    suspect = sum(worker.suspect_checks for run in late for worker in run.measures.workers)
    yield SettingRecommendation(
        severity="worth doing",
        setting="run.concurrency",
        suggestion=f"lower it to about {max(10, round(settled))}",
        evidence=(
            f"workers were {lag_ms:.0f} ms late (p99) in {len(late)} of {len(facts.evidence.runs)} runs, "
            f"{suspect} results suspect"
        ),
        numbers={"runs_late": len(late), "lag_p99_ms": round(lag_ms, 1), "suspect": suspect, "settled_at": settled},
    )


def _did_much(run: RunEvidence) -> bool:
    """Whether a worker used so much of its core that it held itself up."""
    return max(worker.cpu_ms for worker in run.measures.workers) >= _OFTEN * run.duration_ms


def _machine_is_busy(late: Sequence[RunEvidence], runs: int) -> SettingRecommendation:
    lag_ms = median(max(worker.lag_p99_us for worker in run.measures.workers) / 1000 for run in late)
    used = [max(worker.cpu_ms for worker in run.measures.workers) / run.duration_ms for run in late]
    return SettingRecommendation(
        severity="worth doing",
        setting="the machine",
        suggestion="look at what else runs there: workers wait for a core, or were stopped",
        evidence=(
            f"workers were {lag_ms:.0f} ms late (p99) in {len(late)} of {runs} runs, "
            f"and used {median(used):.0%} of a core themselves"
        ),
        numbers={"runs_late": len(late), "lag_p99_ms": round(lag_ms, 1), "cpu_share": round(median(used), 3)},
    )


def _is_late(run: RunEvidence) -> bool:
    workers = run.measures.workers
    checks = sum(worker.checks for worker in workers)
    suspect = sum(worker.suspect_checks for worker in workers)
    return bool(checks) and (
        suspect > _SUSPECT_SHARE * checks or max(worker.lag_p99_us for worker in workers) / 1000 > _LATE_MS
    )


def _too_few_at_once(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    idle = [run for run in facts.evidence.runs if _is_idle_at_its_limit(run)]
    if len(idle) < max(FEWEST_RUNS, _OFTEN * len(facts.evidence.runs)):
        return
    newest = idle[0]
    used = sum(worker.cpu_ms for worker in newest.measures.workers) / newest.duration_ms / max(1, newest.workers)
    yield SettingRecommendation(
        severity="worth doing",
        setting="run.concurrency",
        suggestion=f"raise it from {newest.concurrency} to {2 * newest.concurrency}",
        evidence=(
            f"in {len(idle)} of {len(facts.evidence.runs)} runs all {newest.concurrency} places were in use while "
            f"workers used {used:.0%} of a core; the newest took {newest.duration_ms / 1000:.0f} s"
        ),
        numbers={"runs": len(idle), "cpu_share": round(used, 3), "duration_ms": newest.duration_ms},
    )


def _is_idle_at_its_limit(run: RunEvidence) -> bool:
    share = run.concurrency // max(1, run.workers)
    workers, pools, resources = run.measures.workers, run.measures.pools, run.measures.resources
    waits = sum(pool.waits + pool.program_waits for pool in pools)  # more at once would only wait as well
    held_back = resources is not None and resources.closed_ms > _IDLE_SHARE * run.duration_ms
    in_use = run.spent_ms >= _OFTEN * run.concurrency * run.duration_ms  # not one server that took long, at the end
    return (
        in_use
        and not held_back
        and waits < WAITED_SHARE * run.checked
        and (
            bool(workers)
            and run.duration_ms >= _LONG_MS
            and all(worker.most_at_once >= share for worker in workers)
            and all(worker.cpu_ms < _IDLE_SHARE * run.duration_ms for worker in workers)
            and all(worker.lag_p99_us / 1000 < _ON_TIME_MS for worker in workers)
        )
    )


def _workers(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    cores = facts.cores
    if cores is None:
        return
    long_ones = [run for run in facts.evidence.runs if run.duration_ms >= _LONG_MS and run.measures.workers]
    here = [run for run in long_ones if run.host == facts.host]
    busy = [
        run
        for run in here
        if run.workers < min(cores, run.concurrency)
        and not _is_full(run)
        and min(worker.cpu_ms for worker in run.measures.workers) > _BUSY_SHARE * run.duration_ms
    ]
    if len(busy) >= max(FEWEST_RUNS, _OFTEN * len(here)):
        newest = busy[0]
        yield SettingRecommendation(
            severity="worth doing",
            setting="run.workers",
            suggestion=f"{cores} instead of {newest.workers}",
            evidence=f"in {len(busy)} of {len(here)} long runs every worker used its core; the machine has {cores}",
            numbers={"runs": len(busy), "workers": newest.workers, "cores": cores},
        )


def _is_full(run: RunEvidence) -> bool:
    """Whether the machine had no core left for another worker."""
    resources = run.measures.resources
    return resources is not None and resources.most_machine_cpu_percent >= _FULL_PERCENT


WORKER_RULES: tuple[Rule, ...] = (_too_many_at_once, _too_few_at_once, _workers)
