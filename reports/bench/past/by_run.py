"""Load tests compared with the run as the unit: one value of each statistic for every run of either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.bench.past.blocks import Blocks, Key, Statistic
from reports.stats.compare import Comparison, Rules, holm
from reports.stats.runs import Between, Runs, compared, run_of, runs_of, told


@dataclass(frozen=True, slots=True)
class OfRuns:
    """A statistic of a series in the runs of both sides."""

    key: Key
    statistic: Statistic
    runs: tuple[int, int]
    """That have a value: of the baseline, and of the candidate."""
    blocks: tuple[int, int]
    answers: int
    comparison: Comparison | None
    between: Between | None


Sides = tuple[Sequence[Mapping[Key, Blocks]], Sequence[Mapping[Key, Blocks]], Sequence[Mapping[Key, Blocks]]]
"""The series of each run: of the baseline, of the candidate, and of others of the same plan before it."""


def compared_runs(sides: Sides, keys: Sequence[Key], rules: Mapping[Statistic, Rules]) -> list[OfRuns]:
    """Every statistic of these series, which all runs of both sides have; corrected together for being many (Holm).

    What has the same value everywhere can never be significant, and makes nothing else harder to tell (Tarone,
    Biometrics 46, 1990).
    """
    found = []
    for key in keys:
        for statistic in Statistic:
            each = [[one[key] for one in side if key in one] for side in sides]
            if all(statistic in one.values for side in each[:2] for one in side):
                found.append((key, statistic, each))
    tested = []
    for _, statistic, each in found:
        baseline, candidate, others = (_runs(side, statistic) for side in each)
        known = min(baseline.values.size, candidate.values.size) > 0
        tested.append(told(baseline, candidate, others, share=statistic is Statistic.FAILED) if known else None)
    p_values = np.array([np.nan if one is None else one.p_value for one in tested])
    varied = np.array([one is not None and (one.error > 0 or one.p_value < 1) for one in tested], dtype=bool)
    adjusted = np.ones(len(tested))
    adjusted[varied] = holm(p_values[varied])
    rows = []
    for (key, statistic, each), one, p_adjusted in zip(found, tested, adjusted.tolist(), strict=True):
        answers = int(min(np.median(run.answers) for side in each[:2] for run in side))
        rule = rules[statistic]
        shares = statistic is Statistic.FAILED
        rows.append(
            OfRuns(
                key,
                statistic,
                (_known(each[0], statistic), _known(each[1], statistic)),
                (_blocks(each[0], statistic), _blocks(each[1], statistic)),
                answers,
                None if one is None else compared(one, p_adjusted, rule, share=shares),
                None if one is None else one.between,
            )
        )
    return rows


def _runs(side: Sequence[Blocks], statistic: Statistic) -> Runs:
    return runs_of([run_of(one.values[statistic]) for one in side if statistic in one.values])


def _known(side: Sequence[Blocks], statistic: Statistic) -> int:
    return sum(bool(np.any(~np.isnan(one.values[statistic]))) for one in side)


def _blocks(side: Sequence[Blocks], statistic: Statistic) -> int:
    return int(sum(np.sum(~np.isnan(one.values[statistic])) for one in side))
