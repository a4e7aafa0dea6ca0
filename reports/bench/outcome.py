"""A load test with all that was judged of it: what every form of its report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from checker.bench.results import BenchRun, Claim, Claims, ThresholdResult
from reports.report import Report


class BoundSpan(Protocol):
    """A stretch in which the client was the limit, in seconds from the epoch."""

    @property
    def from_s(self) -> float:
        """Its beginning."""
        ...

    @property
    def until_s(self) -> float:
        """Its end."""
        ...

    @property
    def worker(self) -> int | None:
        """Which one; None for all of them together."""
        ...

    @property
    def what(self) -> str:
        """The worst of it, in words that go on from the name of the worker."""
        ...


class Noise(Protocol):
    """A percentile of a series that is no longer than what the client itself adds."""

    @property
    def series(self) -> int:
        """Index into the series of the run."""
        ...

    @property
    def percentile(self) -> str:
        """p50, p95 or p99."""
        ...

    @property
    def value_us(self) -> float:
        """Of the response time."""
        ...

    @property
    def noise_us(self) -> float:
        """Of the same client against an echo."""
        ...


class Saturation(Protocol):
    """Whether the client, and not the servers, set the limit: what judges the client gives."""

    @property
    def invalid(self) -> bool:
        """Whether what the run claims cannot be told for that."""
        ...

    @property
    def reason(self) -> str:
        """One sentence; empty where there is nothing to say."""
        ...

    @property
    def spans(self) -> Sequence[BoundSpan]:
        """When it was so."""
        ...

    @property
    def stages(self) -> Mapping[int, str]:
        """Index of each stage that says nothing of the servers, and why."""
        ...

    @property
    def noise(self) -> Sequence[Noise]:
        """Percentiles that say no more than "quick"."""
        ...

    @property
    def claims(self) -> Claims:
        """Of thresholds and numbers, what is left of them."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """A `BoundSpan` as plain values."""

    from_s: float
    until_s: float
    worker: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Client:
    """A `Saturation` as plain values; by default the client was no limit."""

    invalid: bool = False
    reason: str = ""
    spans: Sequence[BoundSpan] = ()
    stages: Mapping[int, str] = field(default_factory=dict)
    noise: Sequence[Noise] = ()
    claims: Claims = field(default_factory=Claims)


NO_LIMIT = Client()
"""Of a client that nobody has judged, or that was fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run, and what others found when they looked at it."""

    run: BenchRun
    saturation: Saturation = NO_LIMIT
    comparison: Report | None = None
    """With a baseline."""
    trend: Report | None = None
    """Over earlier runs."""
    charts: bool = True
    """Whether they are to be shown."""
    recommendations: bool = True
    """Whether it is to be said what to change."""

    def told(self) -> list[JudgedThreshold]:
        """Each threshold of the run, and what is known of it."""
        claims: Sequence[Claim | None] = self.saturation.claims.thresholds or [None] * len(self.run.thresholds)
        return [_told(one, claim) for one, claim in zip(self.run.thresholds, claims, strict=True)]


@dataclass(frozen=True, slots=True)
class JudgedThreshold:
    """A threshold, and what is known of it."""

    result: ThresholdResult
    word: str
    """passed, failed or cannot tell."""
    low: float | None = None
    high: float | None = None
    """Between which two the value lies without the client's lateness, where that is another one."""
    note: str = ""
    """What the client did: a clause that goes on from a comma."""


def _told(one: ThresholdResult, claim: Claim | None) -> JudgedThreshold:
    if claim is None:
        return JudgedThreshold(one, "passed" if one.passed else "failed")
    if not claim.why:
        return JudgedThreshold(one, str(claim.told))
    joined = "because" if claim.told == "cannot tell" else "though"
    return JudgedThreshold(one, str(claim.told), claim.low, claim.high, f"{joined} {claim.why}")
