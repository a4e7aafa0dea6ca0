"""The thresholds of a run: watched while it goes on for those that end it, and judged when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from checker.bench.plan import Threshold
from checker.bench.player import Second
from checker.bench.results import BenchRun, ThresholdResult
from checker.bench.thresholds.early import Early
from checker.bench.thresholds.grammar import Condition, condition
from checker.bench.thresholds.windows import whole_value, windows


class Watch:
    """A `checker.bench.player.Watcher` that says when a threshold with ``abort`` is broken."""

    def __init__(self, thresholds: Sequence[Threshold]) -> None:
        """Raises ValueError for a threshold that is none; those of a plan that was loaded are."""
        self._thresholds = [(threshold, condition(threshold)) for threshold in thresholds]
        self._early = {
            number: Early(found, threshold.over)
            for number, (threshold, found) in enumerate(self._thresholds)
            if threshold.abort
        }
        self._aborted_at_s: dict[int, float] = {}
        """Number of a threshold -> when it ended the run."""

    def take(self, second: Second) -> str | None:
        """Take the news; the reason to end the run, once."""
        reasons = []
        for number, early in self._early.items():
            early.add(second)
            threshold, found = self._thresholds[number]
            if self._aborted_at_s or second.at_s < threshold.delay:
                continue
            if (where := early.broken(second.run, second.at_s)) is not None:
                reasons.append((number, f"{found.metric_text} {found.expression_text} {where}"))
        self._aborted_at_s |= {number: second.at_s for number, _ in reasons}
        return f"threshold broken: {'; '.join(text for _, text in reasons)}" if reasons else None

    __call__ = take

    def results(self, run: BenchRun) -> tuple[ThresholdResult, ...]:
        """What became of every threshold, in the order of the plan, once the run is over.

        A threshold that nothing was measured for has no value and is not passed; neither is one that ended the run,
        or one with windows in a run without a single full one.
        """
        return tuple(
            _result(run, threshold, found, self._aborted_at_s.get(number))
            for number, (threshold, found) in enumerate(self._thresholds)
        )


def value_over(run: BenchRun, found: Condition, over_s: float | None) -> float | None:
    """What a condition comes to over all measured stages, or in the worst window of this length."""
    return whole_value(run, found) if over_s is None else _over_windows(run, found, over_s)[0]


def _result(run: BenchRun, threshold: Threshold, found: Condition, aborted_at_s: float | None) -> ThresholdResult:
    if threshold.over is None:
        value, at_s = whole_value(run, found), None
        passed = value is not None and found.holds(value)
    else:
        value, passed, at_s = _over_windows(run, found, threshold.over)
    return ThresholdResult(
        metric=threshold.metric,
        expression=threshold.expression,
        over_s=threshold.over,
        value=value,
        passed=passed and aborted_at_s is None,
        aborted=aborted_at_s is not None,
        at_s=at_s if aborted_at_s is None else aborted_at_s,
    )


def _over_windows(run: BenchRun, found: Condition, over_s: float) -> tuple[float | None, bool, float | None]:
    """The worst value, whether every window is as demanded and there is one, and the end of the first that is not."""
    worst: float | None = None
    broken_at_s: float | None = None
    judged = 0
    for window in windows(run, found, over_s):
        judged += 1
        holds = window.value is not None and found.holds(window.value)
        if not holds and broken_at_s is None:
            broken_at_s = window.until_s
        if window.value is not None and (worst is None or _is_worse(found, window.value, worst)):
            worst = window.value
    return worst, judged > 0 and broken_at_s is None, broken_at_s


def _is_worse(found: Condition, value: float, than: float) -> bool:
    if found.operator.is_upper:
        return value > than
    if found.operator.is_lower:
        return value < than
    return found.holds(than) and not found.holds(value)
