"""What comparisons and trends of load tests say of services whose runs differ by chance, and of slower ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from checker.stats.compare import CandidateOutcome
from reports.loadtests.compare import Effects, compared_runs
from reports.loadtests.run_blocks import Blocks, Key, Statistic
from reports.loadtests.trend import followed
from simulated.figures import FALSE_ALARMS, Figure

_KEY = Key("s", "rest", "one")
_EFFECTS = Effects(response_ms=0.1)
_RULES = {one: _EFFECTS.rules(one) for one in Statistic}
_STATISTICS = ((Statistic.P50, 50.0), (Statistic.P95, 90.0), (Statistic.P99, 120.0))


def run(random: np.random.Generator, between: float, level: float = 1.0) -> dict[Key, Blocks]:
    """Six blocks of a run whose level is its own."""
    mine = level * np.exp(random.normal(0, between))
    values = {one: mine * ms * np.exp(random.normal(0, 0.01, 6)) for one, ms in _STATISTICS}
    return {_KEY: Blocks(np.full(6, 999.0), {**values, Statistic.FAILED: np.zeros(6)})}


def outcome(
    random: np.random.Generator, runs: tuple[int, int, int], between: float, level: float
) -> set[CandidateOutcome]:
    """What is said of a candidate of this level; runs of the baseline, of the candidate, and others before them."""
    sides = [[run(random, between, times) for _ in range(n)] for n, times in zip(runs, (1, level, 1), strict=True)]
    rows = compared_runs((sides[0], sides[1], sides[2]), [_KEY], _RULES)
    return {row.comparison.outcome for row in rows if row.comparison is not None}


def comparisons(scale: float) -> Iterator[Figure]:
    """Equal services told apart, and slower ones found."""
    random = np.random.default_rng(8)
    cases = round(1000 * scale)
    for words, runs in (
        ("one run against five", (5, 1, 0)),
        ("one against one, five others known", (1, 1, 5)),
        ("one against one, no others", (1, 1, 0)),
        ("five against five", (5, 5, 0)),
    ):
        for between in (0.01, 0.06):
            case = f"{words}, runs {between:.0%} apart"
            equal = [outcome(random, runs, between, 1.0) for _ in range(cases)]
            apart = sum(bool(one & {CandidateOutcome.WORSE, CandidateOutcome.BETTER}) for one in equal)
            yield Figure("false alarms", "load tests: equal ones told apart", case, apart, cases, FALSE_ALARMS)
            for level in (1.1, 1.5):
                slower = [outcome(random, runs, between, level) for _ in range(cases // 2)]
                found = sum(CandidateOutcome.WORSE in one for one in slower)
                yield Figure("power", f"load tests: {level - 1:.0%} slower", case, found, cases // 2, (0.0, 1.0))


def over_time(scale: float) -> Iterator[Figure]:
    """Changes of level over runs."""
    random = np.random.default_rng(9)
    cases = round(400 * scale)
    for n in (12, 30):
        for between in (0.02, 0.06):
            quiet = sum(_changed(random, n, between, 1.0) for _ in range(cases))
            found = sum(_changed(random, n, between, 1.3) for _ in range(cases // 2))
            case = f"{n} runs, {between:.0%} apart"
            yield Figure("false alarms", "load tests over time: steady ones", case, quiet, cases, FALSE_ALARMS)
            yield Figure("power", "load tests over time: 30% slower", case, found, cases // 2, (0.0, 1.0))


def _changed(random: np.random.Generator, n: int, between: float, level: float) -> bool:
    blocks = [run(random, between, level if number >= n // 2 else 1.0) for number in range(n)]
    return any(one.changes for one in followed(blocks))


LOAD_TESTS = (comparisons, over_time)
