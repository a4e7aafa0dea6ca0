"""The rules that turn evidence into recommendations; a new rule is a function and a line in `RULES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal

from msgspec import Struct

from checker.metrics import PoolMeasures
from storage.settings_evidence import Evidence, RunEvidence

FEWEST_RUNS = 3
"""Fewest runs: a single run may have been unusual."""
WAITED_SHARE = 0.2
"""Share of exchanges or checks that had to wait, from which on waiting is significant."""


class SettingRecommendation(Struct, frozen=True, kw_only=True):
    """A recommended change of a setting."""

    severity: Literal["worth doing", "consider"]
    setting: str
    suggestion: str
    evidence: str
    """One sentence with the numbers."""
    subject: str = "all runs"
    numbers: Mapping[str, float]


class AdviceFacts(Struct, frozen=True, kw_only=True):
    """The input of the rules."""

    evidence: Evidence
    timeouts_s: Mapping[str, float]
    """Probe kind -> the longest timeout in force; empty if unknown."""
    cores: int | None
    host: str
    """Host that has these cores: runs on other hosts are not judged by them."""


Rule = Callable[[AdviceFacts], Iterator[SettingRecommendation]]

_OFTEN = 0.5
"""Share of runs in which a symptom must appear."""
_LATE_MS, _ON_TIME_MS, _SUSPECT_SHARE = 100.0, 20.0, 0.01
_LONG_MS = 10_000
"""Shorter runs consist mostly of start-up: nothing can be gained."""
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
    """True if a worker used so much of its core that it delayed itself."""
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
    """True if the machine had no core left for another worker."""
    resources = run.measures.resources
    return resources is not None and resources.most_machine_cpu_percent >= _FULL_PERCENT


WORKER_RULES: tuple[Rule, ...] = (_too_many_at_once, _too_few_at_once, _workers)

_FEWEST_EXCHANGES = 200
_WAITED_MS = 50.0
_FEWEST_FOR_P999, _FEWEST_FOR_MOST = 1000, 50
_FAR_ABOVE = 10.0
_HEADROOM_P999, _HEADROOM_MOST = 3.0, 5.0
_FEWEST_LOOKUPS = 20
_RECENT, _FEWEST_EARLIER = 20, 50
_SLOWER_RATIO, _SLOWER_MS, _SURE = 1.25, 20.0, 4.0
_RETRIED_SHARE, _FEWEST_PROBES = 0.2, 20
_CLOSED_SHARE = 0.05
_OPTIONS = {
    "cpu": "cpu_percent",
    "memory": "memory",
    "machine_cpu": "machine_cpu_percent",
    "machine_memory": "machine_memory_percent",
    "descriptors": "descriptors_percent",
    "ports": "ports_percent",
}
"""Resource of an alert -> its option under ``run.limits``."""


def _pools(evidence: Evidence) -> dict[str, PoolMeasures]:
    """Probe kind -> its counts over all runs; for maxima, the largest."""
    found: dict[str, PoolMeasures] = {}
    for run in evidence.runs:
        for pool in run.measures.pools:
            before = found.get(pool.kind, PoolMeasures(kind=pool.kind))
            found[pool.kind] = PoolMeasures(
                kind=pool.kind,
                created=before.created + pool.created,
                reused=before.reused + pool.reused,
                closed_by_peer=before.closed_by_peer + pool.closed_by_peer,
                waits=before.waits + pool.waits,
                wait_us=before.wait_us + pool.wait_us,
                most_open=max(before.most_open, pool.most_open),
                paced=before.paced + pool.paced,
                paced_us=before.paced_us + pool.paced_us,
                program_waits=before.program_waits + pool.program_waits,
                program_wait_us=before.program_wait_us + pool.program_wait_us,
            )
    return found


def _waits(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    for kind, pool in _pools(facts.evidence).items():
        exchanges = pool.created + pool.reused
        waits = pool.waits - pool.paced  # the pace was asked for
        mean_ms = (pool.wait_us - pool.paced_us) / max(1, waits) / 1000
        share = waits / max(1, exchanges)
        if exchanges >= _FEWEST_EXCHANGES and share >= WAITED_SHARE and mean_ms >= _WAITED_MS:
            yield SettingRecommendation(
                severity="worth doing",
                setting="run.per_origin",
                subject=kind,
                suggestion=f"double it, or run.pools.{kind}.max_connections if {pool.most_open} is all it allows",
                evidence=f"{waits} waits on {exchanges} exchanges, {mean_ms:.0f} ms on average",
                numbers={"waits": waits, "exchanges": exchanges, "mean_wait_ms": round(mean_ms, 1)},
            )


def _waits_for_programs(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    checks = facts.evidence.checks
    for kind, pool in _pools(facts.evidence).items():
        mean_ms = pool.program_wait_us / max(1, pool.program_waits) / 1000
        if pool.program_waits >= max(_FEWEST_PROBES, WAITED_SHARE * checks) and mean_ms >= _WAITED_MS:
            yield SettingRecommendation(
                severity="consider",
                setting="run.processes",
                subject=kind,
                suggestion="raise it, where the machine has cores and memory for more programs at once",
                evidence=f"{pool.program_waits} waits for a place among the programs, {mean_ms:.0f} ms on average",
                numbers={"waits": pool.program_waits, "checks": checks, "mean_wait_ms": round(mean_ms, 1)},
            )


def _long_timeouts(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    for kind, timeout_s in facts.timeouts_s.items():
        durations = sorted(facts.evidence.durations_ms.get(kind, ()))
        if len(durations) < _FEWEST_FOR_MOST:
            continue
        sure = len(durations) >= _FEWEST_FOR_P999
        slow_ms = durations[int(len(durations) * 0.999)] if sure else durations[-1]
        if timeout_s * 1000 < _FAR_ABOVE * max(slow_ms, 100.0):
            continue
        wanted_s = _rounded_up(slow_ms * (_HEADROOM_P999 if sure else _HEADROOM_MOST) / 1000)
        what = "p99.9" if sure else "longest"
        yield SettingRecommendation(
            severity="consider",
            setting=f"defaults.{kind}.timeout",
            subject=kind,
            suggestion=f"{wanted_s:g}s instead of {timeout_s:g}s",
            evidence=f"{what} of {len(durations)} good probes: {slow_ms:.0f} ms; who hangs holds a place until then",
            numbers={"probes": len(durations), "slow_ms": round(slow_ms, 1), "timeout_s": timeout_s},
        )


def _rounded_up(seconds: float) -> float:
    """The duration rounded up to a usual step, at least one second."""
    return next((step for step in (1, 2, 3, 5, 10, 15, 20, 30, 60, 120) if step >= seconds), 300.0)


def _useless_caches(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    totals: dict[str, list[int]] = {}
    for run in facts.evidence.runs:
        for cache in run.measures.caches:
            total = totals.setdefault(cache.category, [0, 0, 0])
            for place, number in enumerate((cache.hits, cache.misses, cache.evicted)):
                total[place] += number
    began = sorted(run.started_at_ms for run in facts.evidence.runs)
    gap_s = median(after - before for before, after in pairwise(began)) / 1000
    for category, (hits, misses, evicted) in totals.items():
        if hits == 0 and misses >= _FEWEST_LOOKUPS:
            setting, suggestion = _for_more_hits(category, gap_s)
            yield SettingRecommendation(
                severity="consider",
                setting=setting,
                subject=category,
                suggestion=suggestion,
                evidence=f"none of {misses} lookups found anything",
                numbers={"hits": hits, "misses": misses, "gap_s": round(gap_s)},
            )
        if evicted >= _FEWEST_LOOKUPS and evicted > hits and hits + misses:  # what nobody asks for is not missed
            yield SettingRecommendation(
                severity="consider",
                setting=f"run.caches.{category}.size",
                subject=category,
                suggestion="larger, or run.caches.size where that is set: entries go before they are used",
                evidence=f"{evicted} entries had to go, {hits} lookups found one",
                numbers={"evicted": evicted, "hits": hits},
            )


def _for_more_hits(category: str, gap_s: float) -> tuple[str, str]:
    """The setting that prevents hits of a cache without any, and its recommended change."""
    if category == "results":
        return "run.max_age", f"longer than the {gap_s:.0f} s between runs, or leave it out"
    if category == "auth_tokens":
        return (
            "run.token_key",
            f"set one, so that tokens outlive a run; they have to live longer than {gap_s:.0f} s, too",
        )
    if category == "config":
        return "run.caches.config.enabled", "false: the configuration, or what it reads, is another one at every run"
    return f"run.caches.{category}.ttl", f"longer than the {gap_s:.0f} s between runs, or enabled: false"


def _slower_servers(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    for series in facts.evidence.series:
        recent, earlier = series.durations_ms[:_RECENT], series.durations_ms[_RECENT:]
        if len(recent) < _RECENT or len(earlier) < _FEWEST_EARLIER:
            continue
        now_ms, before_ms = median(recent), median(earlier)
        if now_ms < before_ms * _SLOWER_RATIO or now_ms - before_ms < _SLOWER_MS or _z(recent, earlier) < _SURE:
            continue
        yield SettingRecommendation(
            severity="consider",
            setting="degraded_above",
            subject=series.server,
            suggestion=f"look at the server; degraded_above: {before_ms * 2:.0f}ms makes a report of it",
            evidence=(
                f"median of the last {_RECENT} good checks {now_ms:.0f} ms, of the {len(earlier)} before "
                f"{before_ms:.0f} ms"
            ),
            numbers={"recent_ms": round(now_ms, 1), "earlier_ms": round(before_ms, 1), "earlier": len(earlier)},
        )


def _z(recent: Sequence[float], earlier: Sequence[float]) -> float:
    """Distance between ranks of recent and earlier values, in standard deviations (Mann-Whitney, normal form)."""
    import numpy as np

    few, many = np.asarray(recent), np.sort(np.asarray(earlier))
    below = np.searchsorted(many, few, side="left")
    equal = np.searchsorted(many, few, side="right") - below
    wins = float(np.sum(below + 0.5 * equal))
    expected = len(few) * len(many) / 2
    spread = (len(few) * len(many) * (len(few) + len(many) + 1) / 12) ** 0.5
    return float((wins - expected) / spread)


def _limits(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    used = [run.measures.resources for run in facts.evidence.runs if run.measures.resources is not None]
    for resource, option in _OPTIONS.items():
        alerts = [
            alert
            for run in facts.evidence.runs
            for alert in run.measures.alerts
            if alert.resource == resource and alert.level in ("hard", "warning")
        ]
        hard = [alert for alert in alerts if alert.level == "hard"]
        if not alerts:
            continue
        closed_s = sum(one.closed_ms for one in used) / 1000
        dropped = sum(one.dropped for one in used)
        newest = (hard or alerts)[0]
        waited = f"; checks waited {closed_s:.0f} s in all, {dropped} were given up" if hard else ""
        yield SettingRecommendation(
            severity="worth doing" if hard else "consider",
            setting=f"run.limits.{option}",
            suggestion=_for_a_limit(resource) if hard else "watch it",
            evidence=f"{newest.detail}: {len(hard)} times at its limit, {len(alerts) - len(hard)} warnings{waited}",
            numbers={"hard": len(hard), "warnings": len(alerts) - len(hard), "value": newest.value, "dropped": dropped},
        )


def _for_a_limit(resource: str) -> str:
    if resource.startswith("machine_"):
        return "look at what else runs on the machine, or raise it"
    return "raise it, or lower run.concurrency"


def _retried(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    for one in facts.evidence.retries:
        if one.probes >= _FEWEST_PROBES and one.retried >= _RETRIED_SHARE * one.probes:
            yield SettingRecommendation(
                severity="consider",
                setting=f"{one.kind}.retry",
                subject=one.server,
                suggestion="look at the server: retries hide that it fails now and then",
                evidence=f"{one.retried} of {one.probes} probes were good only after another attempt ({one.reason})",
                numbers={"retried": one.retried, "probes": one.probes},
            )


def _closed_by_peer(facts: AdviceFacts) -> Iterator[SettingRecommendation]:
    for kind, pool in _pools(facts.evidence).items():
        exchanges = pool.created + pool.reused
        if exchanges < _FEWEST_EXCHANGES or pool.closed_by_peer < _CLOSED_SHARE * exchanges:
            continue
        if pool.closed_by_peer > pool.reused:  # no time is short enough
            yield SettingRecommendation(
                severity="consider",
                setting="the servers",
                subject=kind,
                suggestion="let them keep connections open: they close them right after a reply, without saying so",
                evidence=f"servers had closed {pool.closed_by_peer} connections, {pool.reused} could be used again",
                numbers={"closed_by_peer": pool.closed_by_peer, "reused": pool.reused},
            )
        else:
            yield SettingRecommendation(
                severity="consider",
                setting=f"run.pools.{kind}.keepalive",
                subject=kind,
                suggestion="shorter than the servers keep idle connections",
                evidence=f"servers had closed {pool.closed_by_peer} idle connections, on {exchanges} exchanges",
                numbers={"closed_by_peer": pool.closed_by_peer, "exchanges": exchanges},
            )


RULES: tuple[Rule, ...] = (
    _waits,
    _waits_for_programs,
    *WORKER_RULES,
    _long_timeouts,
    _useless_caches,
    _slower_servers,
    _limits,
    _retried,
    _closed_by_peer,
)
