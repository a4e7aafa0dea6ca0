"""Rules of a load test's recommendations. A new rule is a function and a line in `RULES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from checker.loadtest.bottleneck import BoundSpan
from checker.loadtest.results import BenchRun, Series
from checker.loadtest.summary import Summary, measured_stages, summarize
from checker.probe_kinds import OPERATIONS
from checker.stats.intervals import fewest
from reports.loadtests.client import bound_spans
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.percentile_cells import quantile_cell, samples
from reports.loadtests.timeline import Timeline, of_series
from reports.loadtests.verdict import level_unit
from reports.output_forms import duration, number, per_cent
from reports.ticks import clock

_CEILING_RATIO = 0.7
_CORE_FULL = 0.7
"""CPU of a worker below which it was not overloaded (above 85% it is judged to be the limit)."""
_STARVED_RATIO = 0.1
"""Share of their time for which workers waited for a CPU, above which other programs on the machine are the cause."""
_FAILED_RATIO = 0.001
_CHURN_RATIO, _FEWEST_OPERATIONS = 0.2, 100
_CONNECT_SHARE = 0.2
_COLD_S, _COLD_RATIO, _COLD_FEWEST = 10.0, 1.5, 36
_TAIL_RATIO = 10.0
_WAIT_RATIO, _WAIT_MS = 1.5, 5.0
_STALL_S = 2.0
_MOST_STALLS = 3
_MOST_REASONS = 5
_CONNECTING = ("dns", "connect", "tls")
_LOSES_CONNECTION = {
    "deadline",
    "first_byte_timeout",
    "connect_timeout",
    "connect_refused",
    "connect_failed",
    "connection_closed",
    "http_malformed",
}
"""Reasons of failures after which the client has to open another connection."""
_MENDED = {
    "rate_limited": "lower the rate below the server's rate limit, or have the limit raised for the test",
    "connect_refused": "look at the server's listen backlog and its limit of connections",
    "connect_timeout": "look at the server's listen backlog and its limit of connections",
    "connection_closed": "look for keep-alive times that are shorter than pauses between requests, and for crashes",
    "first_byte_timeout": "look at the server's queue and workers: it accepts connections and does not answer",
    "deadline": "look at the server's queue and workers: it starts replies and does not finish them",
    "http_status": "look at the server's log of that time",
    "mcp_session_expired": "look at how many sessions the server keeps, and for how long",
    "auth_expired": "use tokens that outlive the run",
}
"""Reason, without its code -> remedy."""


class Recommendation(Struct, frozen=True, kw_only=True):
    """A recommended action."""

    severity: Literal["worth doing", "consider"]
    subject: str
    suggestion: str
    evidence: str
    """One sentence with the numbers."""


class RunFacts(Struct, frozen=True, kw_only=True):
    """The input of the rules."""

    outcome: LoadTestOutcome
    every: Sequence[tuple[Series, Summary]]
    """The measured stages of each series."""
    whole: Summary
    """The sum of all series."""

    @property
    def run(self) -> BenchRun:
        """The run itself."""
        return self.outcome.run


Rule = Callable[[RunFacts], Iterator[Recommendation]]


def recommendations(facts: RunFacts) -> list[Recommendation]:
    """The recommendations of all rules, the most important first."""
    found = [one for rule in RULES for one in rule(facts)]
    return sorted(found, key=lambda one: one.severity != "worth doing")


def _client_bound(facts: RunFacts) -> Iterator[Recommendation]:
    spans = facts.outcome.saturation.spans
    if facts.outcome.saturation.invalid or spans:
        # Of several workers and signs at one time: each moment counts once.
        seconds = sum(one.until_x - one.from_x for one in bound_spans(facts.outcome.saturation))
        first = f", first at {clock(spans[0].from_s)}: {spans[0].what}" if spans else ""
        yield Recommendation(
            severity="worth doing" if facts.outcome.saturation.invalid else "consider",
            subject="client",
            suggestion=_client_advice(facts.run, spans),
            evidence=f"the load generator was the limit for {seconds:g} s{first}",
        )


def _client_advice(run: BenchRun, spans: Sequence[BoundSpan]) -> str:
    """Advice by cause: the workers' own CPU time in these seconds shows whether they were overloaded."""
    said = " ".join(one.what for one in spans)
    if "file descriptors" in said:
        return "raise the limit of open files (ulimit -n), or lower max_in_flight"
    if "local ports" in said:
        return "keep connections alive, or widen net.ipv4.ip_local_port_range: more workers need more ports, not fewer"
    seconds = [one for one in run.health if any(span.from_s <= one.at_s + 0.5 < span.until_s for span in spans)]
    if not seconds:
        return "look at what stopped the workers: they reported nothing in the hatched spans"
    used = {one.worker: max(each.cpu_ratio for each in seconds if each.worker == one.worker) for one in seconds}
    if max(used.values()) <= _CORE_FULL:
        starved_s = sum(one.starved_us for one in seconds) / 1e6
        if starved_s >= _STARVED_RATIO * len(seconds):
            return (
                "free the machine for the load generator, or use another one: its workers were ready to run for "
                f"{starved_s:.3g} s while other processes had the CPU; more workers would not help"
            )
        if any(one.starved_us for one in run.health):
            return (
                "look at what stopped the workers, such as a machine that sleeps or a debugger: they were late without "
                f"having used their cores, and waited for a CPU for only {starved_s:.3g} s; more workers would not help"
            )
        return (
            "free the machine for the load generator, or use another one: its workers were late without having used "
            "their cores, so that others had the CPU or something stopped them; more workers would not help"
        )
    if len(used) > 1 and min(used.values()) < _CORE_FULL / 2:
        return "spread the load over more servers or scenarios: one worker's core was full, and others were not"
    return "use use more workers, a machine with more cores, or a lower rate: the workers' cores were full"


def _near_the_ceiling(facts: RunFacts) -> Iterator[Recommendation]:
    for one in facts.run.calibrations:
        if one.ceiling_per_s and facts.whole.offered_per_s > _CEILING_RATIO * one.ceiling_per_s:
            yield Recommendation(
                severity="consider",
                subject="client",
                suggestion="add workers: latency also grows near the load generator's own maximum",
                evidence=(
                    f"{number(facts.whole.offered_per_s)} /s were offered, and the load generator can do "
                    f"{number(one.ceiling_per_s)} /s against an echo ({one.operation})"
                ),
            )


def _knee(facts: RunFacts) -> Iterator[Recommendation]:
    found = facts.run.capacity
    if found is not None and found.knee is not None:
        unit = level_unit(facts.run)
        good = "" if found.last_good is None else f"; {found.last_good:g} {unit} was the last good level"
        yield Recommendation(
            severity="worth doing",
            subject="capacity",
            suggestion=f"plan for less than {found.knee:g} {unit}, and alert before it",
            evidence=f"from {found.knee:g} {unit} on, latency grew faster than throughput{good}",
        )


def _errors(facts: RunFacts) -> Iterator[Recommendation]:
    offered = facts.whole.offered
    for reason, count in list(facts.whole.reasons.items())[:_MOST_REASONS]:
        if offered and count / offered >= _FAILED_RATIO and (todo := _MENDED.get(reason.split()[0])):
            yield Recommendation(
                severity="worth doing" if count / offered >= 10 * _FAILED_RATIO else "consider",
                subject=reason,
                suggestion=todo,
                evidence=f"{count:,} of {offered:,} operations ({per_cent(count / offered)})",
            )


def _censored(facts: RunFacts) -> Iterator[Recommendation]:
    if facts.whole.censored:
        yield Recommendation(
            severity="consider",
            subject="timeout",
            suggestion="a longer timeout shows how long these take; they are failures, and in no percentile",
            evidence=f"{facts.whole.censored:,} operations were cut off at their timeout",
        )


def _refused(facts: RunFacts) -> Iterator[Recommendation]:
    ended = facts.whole.ok + facts.whole.failed
    if facts.whole.refused and facts.whole.refused >= _FAILED_RATIO * ended:
        yield Recommendation(
            severity="worth doing",
            subject="refusals",
            suggestion="test below the server's rate limit, or have it lifted: above it only the limit is measured",
            evidence=f"{facts.whole.refused:,} of {ended:,} replies were 429, 503, or asked to retry later",
        )


def _churn(facts: RunFacts) -> Iterator[Recommendation]:
    for series, one in facts.every:
        ended = one.ok + one.failed
        if not _reconnects(series) and ended >= _FEWEST_OPERATIONS and _churned(facts, series, one):
            yield Recommendation(
                severity="worth doing",
                subject=_name(series),
                suggestion="let the server keep connections alive",
                evidence=f"{one.connections:,} connections were opened for {ended:,} operations",
            )


def _reconnects(series: Series) -> bool:
    return series.operation in OPERATIONS and OPERATIONS[series.operation].reconnects


def _churned(facts: RunFacts, series: Series, one: Summary) -> bool:
    """True if more connections were opened than the load needs at once, and than the client lost or closed itself."""
    lost = sum(count for reason, count in one.reasons.items() if reason.split()[0] in _LOSES_CONNECTION)
    place = facts.run.series.index(series)
    if series.model == "closed":
        mine = [stage for stage in facts.run.stages if stage.scenario == series.scenario]
        at_once = max((max(one.start_level, one.end_level) for one in mine), default=0.0)
    else:
        busiest = max(
            (slot.offered / facts.run.slot_s for slot in facts.run.slots if slot.series == place), default=0.0
        )
        at_once = busiest * one.max_us / 1e6
    return one.connections - lost - at_once > _CHURN_RATIO * (one.ok + one.failed)


def _connecting(facts: RunFacts) -> Iterator[Recommendation]:
    for series, one in facts.every:
        spent = sum(one.phases_us.values())
        connecting = sum(one.phases_us.get(name, 0) for name in _CONNECTING)
        if one.ok >= _FEWEST_OPERATIONS and spent and connecting / spent >= _CONNECT_SHARE:
            churned = _reconnects(series) or _churned(facts, series, one)
            reused = "look at DNS, the network and TLS: few connections were opened, and they took long"
            yield Recommendation(
                severity="consider",
                subject=_name(series),
                suggestion="reuse connections, and resume TLS sessions" if churned else reused,
                evidence=f"{per_cent(connecting / spent)} of the time went to DNS, connect and TLS",
            )


def _cold_start(facts: RunFacts) -> Iterator[Recommendation]:
    run = facts.run
    stages = measured_stages(run)
    if not stages or run.stages[stages[0]].block is not None or run.capacity is not None:
        return
    first_s = min(run.stages[at].from_s for at in stages)
    mine = [slot for slot in run.slots if slot.stage in set(stages)]
    early = summarize((slot for slot in mine if slot.at_s < first_s + _COLD_S), _COLD_S)
    later = summarize((slot for slot in mine if slot.at_s >= first_s + _COLD_S), 1.0)
    p50s = early.quantile_us(0.5), later.quantile_us(0.5)
    if min(samples(early), samples(later)) < _COLD_FEWEST or p50s[0] is None or p50s[1] is None:
        return
    if p50s[0] >= _COLD_RATIO * p50s[1]:
        yield Recommendation(
            severity="worth doing",
            subject="warm-up",
            suggestion="use a longer warm-up: the first seconds are measured cold",
            evidence=(
                f"p50 of the first {_COLD_S:g} measured seconds {duration(p50s[0] / 1000)}, then "
                f"{duration(p50s[1] / 1000)}"
            ),
        )


def _tail(facts: RunFacts) -> Iterator[Recommendation]:
    found = []
    for series, one in facts.every:
        p50, p99 = quantile_cell(one, 0.5, "service"), quantile_cell(one, 0.99, "service")
        if isinstance(p50, float) and isinstance(p99, float) and p50 and p99 / p50 >= _TAIL_RATIO:
            found.append((p99 / p50, p50, p99, series))
    if found and facts.run.capacity is None:
        ratio, p50, p99, series = max(found, key=lambda one: one[0])
        more = f"; {len(found)} of {len(facts.every)} series are like it" if len(found) > 1 else ""
        yield Recommendation(
            severity="consider",
            subject=_name(series),
            suggestion="look for pauses, locks and queues in the server: one in a hundred waits far longer",
            evidence=f"p99 of the service time {duration(p99)} is {ratio:.0f} times its p50, {duration(p50)}{more}",
        )


def _waiting(facts: RunFacts) -> Iterator[Recommendation]:
    for series, one in facts.every:
        response, service = quantile_cell(one, 0.99), quantile_cell(one, 0.99, "service")
        if not isinstance(response, float) or not isinstance(service, float):
            continue
        if response >= _WAIT_RATIO * service and response - service >= _WAIT_MS and not facts.outcome.saturation.spans:
            yield Recommendation(
                severity="consider",
                subject=_name(series),
                suggestion="raise max_in_flight, if outside callers would not queue either",
                evidence=f"p99 response {duration(response)}, service {duration(service)}: the rest was waiting",
            )


def _stalls(facts: RunFacts) -> Iterator[Recommendation]:
    line = Timeline.of(facts.run)
    found = []
    for place, series in enumerate(facts.run.series):
        mine = line.of_slots(of_series([place]))
        ended, offered = mine.sums("done_ok", "done_failed"), mine.sums("offered")
        waiting = np.cumsum(offered) - np.cumsum(ended) > 0
        silent = np.concatenate(([False], waiting & (ended == 0), [False]))
        edges = np.flatnonzero(np.diff(silent.astype(np.int8)))
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            seconds = float(line.seconds[begin:end].sum())
            if seconds >= _STALL_S:
                found.append((seconds, line.starts[begin], series))
    for seconds, at_s, series in sorted(found, key=lambda one: -one[0])[:_MOST_STALLS]:
        blind = "; the closed model shows it as a lower rate, not as latency" if series.model == "closed" else ""
        yield Recommendation(
            severity="worth doing",
            subject=_name(series),
            suggestion=f"look at what the server did at {clock(at_s)}: it stalled",
            evidence=(
                f"nothing completed for at least {seconds:g} s from {clock(at_s)}, with operations in flight{blind}"
            ),
        )


def _closed_objectives(facts: RunFacts) -> Iterator[Recommendation]:
    closed = [series for series in facts.run.series if series.model == "closed"]
    if closed and any(one.metric.startswith("response_time") for one in facts.run.thresholds):
        yield Recommendation(
            severity="worth doing",
            subject="model",
            suggestion="use the open model for response time thresholds",
            evidence=(
                f"{len(closed)} of {len(facts.run.series)} series use the closed model: a slow server slows its load"
            ),
        )


def _too_few(facts: RunFacts) -> Iterator[Recommendation]:
    short = [series for series, one in facts.every if 0 < samples(one) < fewest(0.99)]
    if short:
        yield Recommendation(
            severity="consider",
            subject="duration",
            suggestion=f"use longer or faster stages: p99 needs {fewest(0.99)} samples, p99.9 {fewest(0.999):,}",
            evidence=f"{len(short)} of {len(facts.every)} series have too few for a p99, first {_name(short[0])}",
        )


def _no_thresholds(facts: RunFacts) -> Iterator[Recommendation]:
    p95_us = facts.whole.quantile_us(0.95)
    if facts.run.kind == "load" and not facts.run.thresholds and p95_us is not None:
        yield Recommendation(
            severity="consider",
            subject="thresholds",
            suggestion=f"a threshold, such as response_time p(95)<{_rounded_up(1.5 * p95_us / 1000):g}",
            evidence=f"without one nothing fails the run; p95 was {duration(p95_us / 1000)}",
        )


def _rounded_up(value_ms: float) -> float:
    """The value rounded up to a natural round number."""
    steps = (step * 10.0**power for power in range(-1, 7) for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5))
    return next((step for step in steps if step >= value_ms), value_ms)


def _name(series: Series) -> str:
    return f"{series.server} {series.operation}"


RULES: tuple[Rule, ...] = (
    _client_bound,
    _near_the_ceiling,
    _knee,
    _errors,
    _censored,
    _refused,
    _churn,
    _connecting,
    _cold_start,
    _tail,
    _waiting,
    _stalls,
    _closed_objectives,
    _too_few,
    _no_thresholds,
)
