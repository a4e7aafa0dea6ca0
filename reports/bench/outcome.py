"""A load test with all that was judged of it: what every form of its report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from checker.bench.results import BenchRun, ThresholdResult
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


class Claim(Protocol):
    """What is known of a threshold of a run whose client was late."""

    @property
    def told(self) -> str:
        """passed, failed or cannot tell."""
        ...

    @property
    def low(self) -> float | None:
        """The least that the value may be without the client, in the unit of the threshold."""
        ...

    @property
    def high(self) -> float | None:
        """The most; None where that has no end."""
        ...

    @property
    def why(self) -> str:
        """What the client did to it; empty where it did nothing."""
        ...


class Affected(Protocol):
    """A percentile of the response time that would be another one without the client's lateness."""

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
        """As measured."""
        ...

    @property
    def low_us(self) -> float:
        """It may have been as short as this."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it may have been longer, too."""
        ...


class Claims(Protocol):
    """What the client's lateness leaves of what a run claims."""

    @property
    def thresholds(self) -> Sequence[Claim]:
        """Of each threshold, in the order of the run; none where nothing is to be said."""
        ...

    @property
    def numbers(self) -> Sequence[Affected]:
        """Percentiles that are the client's, too."""
        ...

    @property
    def added_us(self) -> int:
        """The most that a response time contains of the client's own."""
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
class NoClaims:
    """The `Claims` of a client that changed nothing."""

    thresholds: Sequence[Claim] = ()
    numbers: Sequence[Affected] = ()
    added_us: int = 0


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
    claims: Claims = NoClaims()


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

    def told(self) -> list[Told]:
        """Each threshold of the run, and what is known of it."""
        claims: Sequence[Claim | None] = self.saturation.claims.thresholds or [None] * len(self.run.thresholds)
        return [_told(one, claim) for one, claim in zip(self.run.thresholds, claims, strict=True)]


@dataclass(frozen=True, slots=True)
class Told:
    """A threshold, and what is known of it."""

    result: ThresholdResult
    word: str
    """passed, failed or cannot tell."""
    low: float | None = None
    high: float | None = None
    """Between which two the value lies without the client's lateness, where that is another one."""
    note: str = ""
    """What the client did: a clause that goes on from a comma."""


def _told(one: ThresholdResult, claim: Claim | None) -> Told:
    if claim is None:
        return Told(one, "passed" if one.passed else "failed")
    if not claim.why:
        return Told(one, str(claim.told))
    joined = "because" if claim.told == "cannot tell" else "though"
    return Told(one, str(claim.told), claim.low, claim.high, f"{joined} {claim.why}")
