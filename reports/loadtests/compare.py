"""Comparison of load tests, better or worse: by blocks or by runs, never by single requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from checker.loadtest.results import BenchKind, BenchRun
from checker.loadtest.summary import BLOCK_S
from checker.stats import Floats
from checker.stats.compare import (
    ASSUMED_RATIO,
    FEWEST_BLOCKS,
    Between,
    CandidateOutcome,
    Comparison,
    Rules,
    Runs,
    compare,
    compare_all,
    compared,
    holm,
    run_of,
    runs_of,
    told,
)
from checker.stats.ranks import mann_whitney
from reports.loadtests.compared_runs import Side
from reports.loadtests.reproduce import differences
from reports.loadtests.run_blocks import FEWEST_ANSWERS, Blocks, Key, Statistic, blocks_of
from reports.output_forms import per_cent


class OfRuns(Struct, frozen=True):
    """A statistic of a series in the runs of both sides."""

    key: Key
    statistic: Statistic
    runs: tuple[int, int]
    """Runs with a value: of the baseline, and of the candidate."""
    blocks: tuple[int, int]
    answers: int
    comparison: Comparison | None
    between: Between | None


Sides = tuple[Sequence[Mapping[Key, Blocks]], Sequence[Mapping[Key, Blocks]], Sequence[Mapping[Key, Blocks]]]
"""The series of each run: of the baseline, of the candidate, and of others of the same plan before it."""


def compared_runs(sides: Sides, keys: Sequence[Key], rules: Mapping[Statistic, Rules]) -> list[OfRuns]:
    """Every statistic of these series that all runs of both sides have, with Holm's correction for many comparisons.

    A statistic with the same value everywhere can never be significant, and does not make the correction of the others
    stricter (Tarone, Biometrics 46, 1990).
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
                (_known_runs(each[0], statistic), _known_runs(each[1], statistic)),
                (_blocks(each[0], statistic), _blocks(each[1], statistic)),
                answers,
                None if one is None else compared(one, p_adjusted, rule, share=shares),
                None if one is None else one.between,
            )
        )
    return rows


def _runs(side: Sequence[Blocks], statistic: Statistic) -> Runs:
    return runs_of([run_of(one.values[statistic]) for one in side if statistic in one.values])


def _known_runs(side: Sequence[Blocks], statistic: Statistic) -> int:
    return sum(bool(np.any(~np.isnan(one.values[statistic]))) for one in side)


def _blocks(side: Sequence[Blocks], statistic: Statistic) -> int:
    return int(sum(np.sum(~np.isnan(one.values[statistic])) for one in side))


class Effects(Struct, frozen=True, kw_only=True):
    """The smallest differences that count, and the significance level of a verdict."""

    ratio: float = 0.05
    """Share of the baseline's median."""
    response_ms: float = 1.0
    """Milliseconds of response times; the larger of this and ``ratio`` counts."""
    failed_ratio: float = 0.01
    """Difference of failure rates: 0.01 is one in a hundred requests."""
    alpha: float = 0.05
    """Probability that equal runs are judged different in any series and statistic."""
    block_s: float = BLOCK_S

    def rules(self, statistic: Statistic) -> Rules:
        """The rules that apply to this statistic."""
        common = Rules(alpha=self.alpha, least_effect_ratio=self.ratio)
        if statistic is Statistic.FAILED:
            return replace(common, least_effect=self.failed_ratio)
        if statistic is Statistic.OK_RATE:
            return replace(common, least_effect=0.0, higher_is_better=True)
        return replace(common, least_effect=self.response_ms)


class Row(Struct, frozen=True):
    """A statistic of a series on both sides."""

    key: Key
    statistic: Statistic
    blocks: tuple[int, int]
    """Blocks with a value: of the baseline, and of the candidate."""
    answers: int
    """Successful answers in a block, the smaller side's median."""
    comparison: Comparison | None
    """None if blocks have too few answers for the statistic."""
    runs: tuple[int, int] = (1, 1)
    """Runs with a value."""
    between: Between | None = None
    """The spread between runs; None if both sides are of one run, and blocks are the unit."""

    @property
    def outcome(self) -> CandidateOutcome:
        """The verdict."""
        return CandidateOutcome.CANNOT_TELL if self.comparison is None else self.comparison.outcome


class BenchComparison(Struct, frozen=True):
    """The comparison of two sides."""

    baseline: Side
    candidate: Side
    outcome: CandidateOutcome
    """Worse if any row is; better if any row is and none is worse; same if all are."""
    reason: str
    """The reason why the comparison is inconclusive whatever the rows say; empty if the rows are the reason."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    by_run: bool = False
    """True if the run is the unit, False if the block is, since both sides are of one run."""

    @property
    def unit(self) -> str:
        """The unit of comparison: runs or blocks."""
        return "runs" if self.by_run else "blocks"

    def count(self, outcome: CandidateOutcome) -> int:
        """The number of rows with this verdict."""
        return sum(row.comparison is not None and row.outcome is outcome for row in self.rows)

    @property
    def more(self) -> int | None:
        """Number of further units on each side that would probably settle the open rows; None if nothing is open."""
        open_rows = [
            row.comparison for row in self.rows if row.outcome is CandidateOutcome.CANNOT_TELL and row.comparison
        ]
        needed = [one.more_blocks for one in open_rows if one.more_blocks is not None]
        return max(needed, default=None)


def compare_sides(baseline: Side, candidate: Side, effects: Effects = Effects()) -> BenchComparison:  # noqa: B008 # frozen
    """Every statistic of every series that both sides have, with Holm's correction for multiple comparisons."""
    before, after = (_pooled(side, effects.block_s) for side in (baseline, candidate))
    if baseline.scenario or candidate.scenario:
        before, after = _alike(before, after)
    reason = next(filter(None, (baseline.unfit, candidate.unfit, _incomparable(baseline, candidate))), "")
    pairs = {key: (before[key], after[key]) for key in before if key in after}
    if not reason and not pairs:
        reason = "no series is in both"
    by_run = not _one_run(baseline, candidate)
    rows = _by_run(baseline, candidate, list(pairs), effects) if by_run else compared_rows(pairs, effects)
    if reason:
        rows = tuple(_untold(row) for row in rows)
    return BenchComparison(
        baseline,
        candidate,
        CandidateOutcome.CANNOT_TELL if reason else _overall(rows),
        reason,
        rows,
        tuple(_notes(baseline, candidate, before, after, rows, effects)),
        by_run,
    )


def _one_run(baseline: Side, candidate: Side) -> bool:
    """True if both sides are parts of one run, whose blocks share all other conditions."""
    runs = [*baseline.runs, *candidate.runs]
    first = runs[0]
    return all(run is first or (run.id is not None and run.id == first.id) for run in runs)


def _by_run(baseline: Side, candidate: Side, keys: Sequence[Key], effects: Effects) -> tuple[Row, ...]:
    """The rows with the run as the unit."""
    scenario = baseline.scenario
    each = [[blocks_of(run, side.scenario, effects.block_s) for run in side.runs] for side in (baseline, candidate)]
    each.append([blocks_of(run, scenario, effects.block_s) for run in baseline.others])
    if baseline.scenario or candidate.scenario:
        servers = [{key.server for one in side for key in one} for side in each[:2]]
        sole = all(len(names) == 1 for names in servers)
        each = [[_renamed(one, sole) for one in side] for side in each]
    rules = {one: effects.rules(one) for one in Statistic}
    found = compared_runs((each[0], each[1], each[2]), keys, rules)
    return tuple(
        Row(one.key, one.statistic, one.blocks, one.answers, one.comparison, one.runs, one.between) for one in found
    )


def compared_rows(pairs: Mapping[Key, tuple[Blocks, Blocks]], effects: Effects) -> tuple[Row, ...]:
    """The rows of series from the given blocks of both sides."""
    found: list[tuple[Key, Statistic, Floats, Floats]] = [
        (key, one, _known(before.values[one]), _known(after.values[one]))
        for key, (before, after) in pairs.items()
        for one in Statistic
        if one in before.values and one in after.values
    ]
    verdicts = _verdicts([(statistic, before, after) for _, statistic, before, after in found], effects)
    rows = []
    for (key, statistic, before, after), verdict in zip(found, verdicts, strict=True):
        answers = int(min(np.median(side.answers) for side in pairs[key]))
        small = answers < FEWEST_ANSWERS.get(statistic, 0) and min(before.size, after.size) < FEWEST_BLOCKS
        rows.append(Row(key, statistic, (before.size, after.size), answers, None if small else verdict))
    return tuple(rows)


def _verdicts(series: Sequence[tuple[Statistic, Floats, Floats]], effects: Effects) -> list[Comparison]:
    """The comparisons of all, in order; those that could be significant form one family.

    A statistic with the same value in all blocks can never be significant, so it does not make the correction of the
    others stricter (Tarone, Biometrics 46, 1990).
    """
    found: list[Comparison | None] = [None] * len(series)
    tested = [at for at, (_, *sides) in enumerate(series) if min(one.size for one in sides) >= FEWEST_BLOCKS]
    tested = [at for at in tested if len(np.unique(np.concatenate(series[at][1:]))) > 1]
    p_values = {at: mann_whitney(*series[at][1:]).p_value for at in tested}
    for statistic in Statistic:
        mine = [at for at in tested if series[at][0] is statistic]
        family = [p_value for at, p_value in p_values.items() if at not in set(mine)]
        compared = compare_all([series[at][1:] for at in mine], effects.rules(statistic), family)
        for at, comparison in zip(mine, compared, strict=True):
            found[at] = comparison
    return [
        one if one is not None else compare(before, after, effects.rules(statistic))
        for one, (statistic, before, after) in zip(found, series, strict=True)
    ]


def _pooled(side: Side, block_s: float) -> dict[Key, Blocks]:
    """The blocks of all runs of a side; only for series that all of them have."""
    each = [blocks_of(run, side.scenario, block_s) for run in side.runs]
    common = [key for key in each[0] if all(key in one for one in each)]
    return {key: reduce(Blocks.plus, (one[key] for one in each)) for key in common}


def _alike(*both: dict[Key, Blocks]) -> list[dict[Key, Blocks]]:
    """Two scenarios under common keys: without the scenario, and without the server if each side has only one."""
    one_server = all(len({key.server for key in side}) == 1 for side in both)
    return [_renamed(side, one_server) for side in both]


def _renamed(side: Mapping[Key, Blocks], one_server: bool) -> dict[Key, Blocks]:
    return {replace(key, scenario="", server="" if one_server else key.server): blocks for key, blocks in side.items()}


def _incomparable(baseline: Side, candidate: Side) -> str:
    """The reason why the kinds of the runs cannot be compared; empty if they can."""
    kinds = {run.kind for side in (baseline, candidate) for run in side.runs}
    if BenchKind.STRESS in kinds:
        return "a stress test finds its own levels; compare the capacities"
    if len(kinds) > 1:
        return f"one is a {baseline.runs[0].kind}, the other a {candidate.runs[0].kind}"
    return ""


def _overall(rows: Sequence[Row]) -> CandidateOutcome:
    outcomes = [row.outcome for row in rows if row.comparison is not None]
    for one in (CandidateOutcome.WORSE, CandidateOutcome.BETTER, CandidateOutcome.CANNOT_TELL):
        if one in outcomes:
            return one
    return CandidateOutcome.SAME if outcomes else CandidateOutcome.CANNOT_TELL


def _untold(row: Row) -> Row:
    """The row with its values, but without a verdict: more blocks of an unfit run would add no evidence."""
    if row.comparison is None:
        return row
    return replace(row, comparison=replace(row.comparison, outcome=CandidateOutcome.CANNOT_TELL, more_blocks=None))


def _notes(
    baseline: Side,
    candidate: Side,
    before: Mapping[Key, Blocks],
    after: Mapping[Key, Blocks],
    rows: Sequence[Row],
    effects: Effects,
) -> list[str]:
    """Notes that a reader needs before relying on the result."""
    notes = [f"the environments differ in {words}" for words in _differing(baseline.runs, candidate.runs)]
    digests = {run.plan_digest for side in (baseline, candidate) for run in side.runs}
    if len(digests) > 1:
        notes.append("the plans differ: a difference may be that of the load")
    for side, mine, other in ((baseline, before, after), (candidate, after, before)):
        if side.stages_left_out:
            notes.append(
                f"{side.stages_left_out} stages of {side.label} are left out: the load generator was the limit in them"
            )
        only = [key.label for key in mine if key not in other]
        if only:
            notes.append(f"only in {side.label}, not compared: {', '.join(only)}")
    small = sorted({(row.statistic, row.answers) for row in rows if row.comparison is None})
    for statistic, answers in small[:3]:
        notes.append(
            f"{statistic.label} needs {FEWEST_ANSWERS[statistic]} good answers in a block, blocks of "
            f"{effects.block_s:g} s have {answers}: longer blocks would have it"
        )
    spreads = [row.between for row in rows if row.between is not None and row.statistic is not Statistic.FAILED]
    if spreads:
        notes.append(_apart(spreads))
    return notes


def _apart(spreads: Sequence[Between]) -> str:
    """The spread between runs, in words."""
    if any(one.assumed for one in spreads):
        return (
            "so few runs do not show how far runs differ: their standard deviation is assumed to be "
            f"{per_cent(ASSUMED_RATIO)}, and differences that this may explain are inconclusive; five good runs "
            "of the plan measure it"
        )
    low, high = min(one.deviation for one in spreads), max(one.deviation for one in spreads)
    return (
        f"runs of one level differ by {per_cent(low)} to {per_cent(high)} (standard deviation, by statistic, of up to "
        f"{max(one.runs for one in spreads)} runs): the run is the unit, not its blocks"
    )


def _differing(baseline: Sequence[BenchRun], candidate: Sequence[BenchRun]) -> list[str]:
    """The differences between the environments of any two runs, each once."""
    first = baseline[0]
    found = [words for run in (*baseline[1:], *candidate) for words in differences(first, run)]
    return [", ".join(dict.fromkeys(found))] if found else []


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]
