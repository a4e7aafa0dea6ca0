"""The rules behind recommendations: evidence in, recommendations out. A new one is a function and a line in `RULES`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from checker.measures import PoolMeasures
from reports.advice import WAITED_SHARE, AdviceFacts, Rule, SettingRecommendation
from reports.worker_rules import WORKER_RULES
from storage.evidence import Evidence

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
    """Probe kind -> its counts over all runs; of the largest values the largest."""
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
    """At least a second, in steps a person would write."""
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
    """The setting that a cache without a hit hangs on, and what to do about it."""
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
    """How far the recent ones rank above the earlier ones, in standard deviations (Mann-Whitney, normal form)."""
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
