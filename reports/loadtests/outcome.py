"""A load test with all verdicts on it: the input of every form of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checker.loadtest.bottleneck import NO_LIMIT, Saturation
from checker.loadtest.results import BenchRun, Claim, ThresholdResult
from reports.report_model import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestOutcome:
    """A run, and the findings on it."""

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
        """Each threshold of the run, and the verdict on it."""
        claims: Sequence[Claim | None] = self.saturation.claims.thresholds or [None] * len(self.run.thresholds)
        return [_told(one, claim) for one, claim in zip(self.run.thresholds, claims, strict=True)]


@dataclass(frozen=True, slots=True)
class JudgedThreshold:
    """A threshold and the verdict on it."""

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
