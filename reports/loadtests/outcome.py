"""A load test with all verdicts on it: the input of every form of its report."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from checker.loadtest.bottleneck import NO_LIMIT, Saturation
from checker.loadtest.results import BenchRun, Claim, ThresholdResult
from reports.report_model import Report


class LoadTestOutcome(Struct, frozen=True, kw_only=True):
    """A run, and the findings on it."""

    run: BenchRun
    saturation: Saturation = NO_LIMIT
    comparison: Report | None = None
    """The comparison with a baseline, if there is one."""
    trend: Report | None = None
    """The trend over earlier runs."""
    charts: bool = True
    """True shows charts."""
    recommendations: bool = True
    """True shows recommendations."""

    def told(self) -> list[JudgedThreshold]:
        """Each threshold of the run, and the verdict on it."""
        claims: Sequence[Claim | None] = self.saturation.claims.thresholds or [None] * len(self.run.thresholds)
        return [_told(one, claim) for one, claim in zip(self.run.thresholds, claims, strict=True)]


class JudgedThreshold(Struct, frozen=True):
    """A threshold and the verdict on it."""

    result: ThresholdResult
    word: str
    """passed, failed or cannot tell."""
    low: float | None = None
    high: float | None = None
    """Bounds of the value without the load generator's lateness, if that differs."""
    note: str = ""
    """The load generator's effect: a clause that continues after a comma."""


def _told(one: ThresholdResult, claim: Claim | None) -> JudgedThreshold:
    if claim is None:
        return JudgedThreshold(one, "passed" if one.passed else "failed")
    if not claim.why:
        return JudgedThreshold(one, str(claim.told))
    joined = "because" if claim.told == "cannot tell" else "though"
    return JudgedThreshold(one, str(claim.told), claim.low, claim.high, f"{joined} {claim.why}")
