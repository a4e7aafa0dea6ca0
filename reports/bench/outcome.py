"""A load test with all that was judged of it: what every form of its report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from checker.bench.results import BenchRun
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
        """Whether that was so for so long that the run says nothing of the servers."""
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
