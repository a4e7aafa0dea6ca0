"""A comparison of load tests as a report, and as Markdown for a pull request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from checker.stats.compare import FEWEST_BLOCKS, CandidateOutcome, Comparison
from checker.untrusted_text import markdown as escaped
from reports.loadtests.compare import BenchComparison, Effects, Row
from reports.loadtests.compared_runs import Side
from reports.loadtests.run_blocks import FEWEST_ANSWERS, QUANTILES, Statistic, key_cells, key_columns
from reports.output_forms import duration, number, per_cent
from reports.report_model import (
    Chart,
    Column,
    Insufficient,
    KeyNumber,
    Kind,
    Level,
    Line,
    Report,
    Section,
    Shape,
    Table,
)

SAID = {
    CandidateOutcome.WORSE: "worse",
    CandidateOutcome.BETTER: "better",
    CandidateOutcome.SAME: "same",
    CandidateOutcome.CANNOT_TELL: "cannot tell",
}
_LEVELS = {
    CandidateOutcome.WORSE: Level.BAD,
    CandidateOutcome.BETTER: Level.GOOD,
    CandidateOutcome.SAME: Level.GOOD,
    CandidateOutcome.CANNOT_TELL: Level.UNKNOWN,
}
_ORDER = (CandidateOutcome.WORSE, CandidateOutcome.BETTER, CandidateOutcome.CANNOT_TELL, CandidateOutcome.SAME)
_MOST_BARS = 20
MOST_ROWS = 40
"""Maximum number of rows in a table for people."""


def report_of(compared: BenchComparison, effects: Effects, top: int | None = None) -> Report:
    """The comparison as a report; the first section has a row for each statistic of each series.

    ``top`` is the maximum number of rows: the worse ones first, then the better ones, and so on; None for all.
    """
    runs = (*compared.baseline.runs, *compared.candidate.runs)
    return Report(
        name="bench_compare",
        title=f"{compared.candidate.label} against {compared.baseline.label}",
        verdict=verdict(compared),
        level=_LEVELS[compared.outcome],
        since_ms=min(run.started_at_ms for run in runs),
        until_ms=max(run.finished_at_ms or run.started_at_ms for run in runs),
        sections=[_rows(compared, effects, top), _runs(compared), *_capacities(compared)],
        servers=len({one.server for run in runs for one in run.series}),
        facts=(
            ("baseline", compared.baseline.label),
            ("candidate", compared.candidate.label),
            ("block", f"{effects.block_s:g} s"),
        ),
        notes=(*compared.notes, *_left_out(len(compared.rows), top)),
        numbers=_key_numbers(compared),
        until_now=False,
    )


def _key_numbers(compared: BenchComparison) -> list[KeyNumber]:
    """How many statistics are worse, better, the same and open, and how many runs that is from."""
    found = []
    for one in _ORDER:
        many = compared.count(one)
        level = _LEVELS[one] if many and one is not CandidateOutcome.SAME else None
        of = f"of {sum(map(compared.count, _ORDER)):,} statistics"
        found.append(KeyNumber(SAID[one], f"{many:,}", of, level))
    p95 = next((row for row in _sorted(compared.rows) if row.statistic is Statistic.P95 and row.comparison), None)
    if p95 is not None:
        series, _, before, after, *_ = _cells(p95, compared.unit)
        found.append(KeyNumber("p95", f"{before} → {after}", series))
    runs = [len(side.runs) for _, side in _sides(compared)]
    found.append(
        KeyNumber(
            "runs", f"{runs[1]} against {runs[0]}", f"{compared.candidate.label} against {compared.baseline.label}"
        )
    )
    return found


def verdict(compared: BenchComparison) -> str:
    """The verdict in a sentence or two."""
    said = SAID[compared.outcome].capitalize()
    if compared.reason:
        return f"{said}: {compared.reason}."
    counted = ", ".join(f"{many} {SAID[one]}" for one in _ORDER if (many := compared.count(one)))
    if not counted:
        return f"{said}: no statistic has enough answers in a block."
    found = [row for row in compared.rows if row.outcome is compared.outcome]
    example = ""
    if found and compared.outcome in (CandidateOutcome.WORSE, CandidateOutcome.BETTER):
        example = f" {_sentence(max(found, key=_size), compared.unit)}."
    more = compared.more if compared.outcome is CandidateOutcome.CANNOT_TELL else None
    advice = f" About {more:,} more {compared.unit} on each side would tell." if more else ""
    return f"{said}: {counted} of {sum(map(compared.count, _ORDER))} statistics.{example}{advice}"


def markdown(compared: BenchComparison, effects: Effects) -> str:
    """The comparison as Markdown: the verdict, a table of rows that are worse, better or open, and the notes."""
    shown = [
        row for row in _sorted(compared.rows) if row.comparison is not None and row.outcome is not CandidateOutcome.SAME
    ]
    lines = [f"**{escaped(verdict(compared))}**", ""]
    if shown:
        lines += ["| series | statistic | baseline | candidate | difference (95%) | verdict |"]
        lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
        lines += [f"| {' | '.join(map(escaped, _cells(row, compared.unit)))} |" for row in shown[:MOST_ROWS]]
        lines += ["", *_left_out(len(shown), MOST_ROWS), ""]
    same = compared.count(CandidateOutcome.SAME)
    lines += [f"{same} of {len(compared.rows)} statistics are the same: within {_least(effects)}."] if same else []
    lines += [f"- {escaped(note)}" for note in compared.notes]
    return "\n".join(lines).rstrip() + "\n"


def _left_out(rows: int, top: int | None) -> list[str]:
    return [] if top is None or rows <= top else [f"{top} of {rows:,} rows are shown; JSON and CSV have all"]


def _sentence(row: Row, unit: str) -> str:
    series, statistic, before, after, difference, _ = _cells(row, unit)
    return f"{statistic} of {series} {before} → {after} ({difference})"


def _cells(row: Row, unit: str) -> list[str]:
    """A row in readable form."""
    one = row.comparison
    assert one is not None  # noqa: S101 # for the type checker: callers look
    between = ""
    if one.difference is not None:
        low, high = (_value(row.statistic, end, sign=True) for end in (one.difference.low, one.difference.high))
        between = f"{_value(row.statistic, one.difference.value, sign=True)}, {low} to {high}"
    more = f", {one.more_blocks:,} more {unit}" if one.more_blocks else ""
    sides = (_value(row.statistic, one.baseline), _value(row.statistic, one.candidate))
    return [row.key.label, row.statistic.label, *sides, between, SAID[one.outcome] + more]


def _value(statistic: Statistic, value: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return ""
    words = number(value)
    if statistic is Statistic.FAILED:
        words = per_cent(value)
    elif statistic in QUANTILES:
        words = duration(value)
    return f"+{words}" if sign and value > 0 else words


def _least(effects: Effects) -> str:
    return (
        f"{per_cent(effects.ratio)} or {duration(effects.response_ms)}, whichever is larger, "
        f"of failures {per_cent(effects.failed_ratio)}"
    )


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """Worse rows first, the largest differences first."""
    return sorted(rows, key=lambda row: (_ORDER.index(row.outcome), -_size(row)))


def _size(row: Row) -> float:
    """The difference as a multiple of the smallest difference that counts."""
    one = row.comparison
    return abs(one.difference.value) / one.effect if one and one.difference and one.effect else 0.0


def _rows(compared: BenchComparison, effects: Effects, top: int | None) -> Section:
    keys = {row.key for row in compared.rows}
    columns = [
        *key_columns(keys),
        Column("baseline", "Baseline", Kind.NUMBER, words="Mean of the runs; of one run, the median of its blocks."),
        Column("candidate", "Candidate", Kind.NUMBER),
        Column("difference", "Difference", Kind.NUMBER),
        Column("low", "from", Kind.NUMBER, words="Its 95% interval.", rank=2),
        Column("high", "to", Kind.NUMBER, rank=2),
        Column("p_adjusted", "p", Kind.NUMBER, words="Corrected by Holm for all rows.", rank=1),
        Column("runs_baseline", "Runs", Kind.COUNT, rank=3),
        Column("runs_candidate", "and", Kind.COUNT, rank=3),
        Column("between_runs", "Between runs", Kind.RATIO, words="Standard deviation from run to run.", rank=3),
        Column(
            "between_runs_known", "Known from", words="How many runs that is measured from; assumed: too few.", rank=4
        ),
        Column("blocks_baseline", "Blocks", Kind.COUNT, rank=4),
        Column("blocks_candidate", "and", Kind.COUNT, rank=4),
        Column("verdict", "Verdict", rank=-1),
        Column(f"more_{compared.unit}", "More", Kind.COUNT, words="About how many more on each side would tell."),
    ]
    table = []
    for row in _sorted(compared.rows)[:top]:
        head = key_cells(row.key, row.statistic, keys)
        table.append([*head, *_numbers(row.comparison), *row.runs, *_between(row), *row.blocks, *_said(row, compared)])
    how = "t (of ratios, one value a run)" if compared.by_run else "Mann-Whitney (over the blocks of one run)"
    text = (
        f"Worse or better is a p of {how} below {effects.alpha:g} (Holm, all rows) and levels that are "
        f"{_least(effects)} apart; same is an interval of their difference within that."
    )
    in_words = [
        Column("series", "Series"),
        Column("statistic", "Statistic"),
        Column("verdict", "Verdict"),
        Column("baseline", "Baseline", words="Mean of the runs; of one run, the median of its blocks."),
        Column("candidate", "Candidate"),
        Column("difference", "Difference", words="With its 95% interval."),
    ]
    shown = [_in_words(row, compared) for row in _sorted(compared.rows)[:top]]
    return Section(
        "compared",
        "Compared",
        Table(columns, table),
        text,
        _charts(compared),
        open=True,
        page_table=Table(in_words, shown) if shown else None,
    )


def _in_words(row: Row, compared: BenchComparison) -> list[Any]:
    """A row for a page: the verdict beside the names, and numbers with their units."""
    verdict = _said(row, compared)[0]
    if row.comparison is None:
        return [row.key.label, row.statistic.label, verdict, None, None, None]
    series, statistic, baseline, candidate, difference, _ = _cells(row, compared.unit)
    return [series, statistic, verdict, baseline, candidate, difference]


def _numbers(one: Comparison | None) -> list[Any]:
    if one is None:
        return [None] * 6
    sides = [None if math.isnan(value) else value for value in (one.baseline, one.candidate)]
    if one.difference is None:
        return [*sides, *([None] * 4)]
    return [*sides, one.difference.value, one.difference.low, one.difference.high, one.p_adjusted]


def _between(row: Row) -> list[Any]:
    if row.between is None:
        return [None, None]
    return [row.between.deviation, "assumed" if row.between.assumed else f"{row.between.runs} runs"]


def _said(row: Row, compared: BenchComparison) -> list[Any]:
    if row.comparison is None:
        return [Insufficient(row.answers, FEWEST_ANSWERS[row.statistic]), None]
    if not compared.by_run and min(row.blocks) < FEWEST_BLOCKS:
        return [Insufficient(min(row.blocks), FEWEST_BLOCKS), row.comparison.more_blocks]
    return [SAID[row.outcome], row.comparison.more_blocks]


def _charts(compared: BenchComparison) -> list[Chart]:
    """The p95 of both sides, if there is one."""
    rows = [row for row in compared.rows if row.statistic is Statistic.P95 and row.comparison is not None][:_MOST_BARS]
    if not rows:
        return []
    sides = [[row.comparison.baseline, row.comparison.candidate] for row in rows if row.comparison]
    lines = [
        Line(label, [None if math.isnan(one[place]) else one[place] for one in sides])
        for place, label in enumerate((compared.baseline.label, compared.candidate.label))
    ]
    labels = [row.key.label for row in rows]
    return [Chart("p95 of the response time", Shape.BARS, labels, lines, unit="ms", x_is_time=False)]


def _runs(compared: BenchComparison) -> Section:
    columns = [
        Column("side", "Side"),
        Column("benchmark_id", "Run", Kind.COUNT),
        Column("benchmark", "Name"),
        Column("started_at", "Started", Kind.TIME),
        Column("state", "State"),
        Column("workers", "Workers", Kind.COUNT),
        Column("plan_digest", "Plan", words="The first twelve digits of its SHA-256."),
        Column("checker_version", "Version"),
    ]
    table = [
        [
            name,
            run.id,
            run.name,
            run.started_at_ms,
            run.state.value,
            run.workers,
            run.plan_digest[:12],
            run.checker_version,
        ]
        for name, side in _sides(compared)
        for run in side.runs
    ]
    return Section("runs", "Between these runs", Table(columns, table))


def _sides(compared: BenchComparison) -> Iterator[tuple[str, Side]]:
    yield "baseline", compared.baseline
    yield "candidate", compared.candidate


def _capacities(compared: BenchComparison) -> list[Section]:
    """The capacities that stress tests found, side by side."""
    columns = [
        Column("side", "Side"),
        Column("benchmark_id", "Run", Kind.COUNT),
        Column("last_good", "Last good", Kind.NUMBER, words="The highest level at which the objective held."),
        Column("first_bad", "First bad", Kind.NUMBER, words="Between the two nothing was tested."),
        Column("knee", "Knee", Kind.NUMBER, words="From here on, latency grows faster than throughput."),
        Column("recovery_s", "Recovery", Kind.NUMBER, "s"),
    ]
    table = [
        [name, run.id, run.capacity.last_good, run.capacity.first_bad, run.capacity.knee, run.capacity.recovery_s]
        for name, side in _sides(compared)
        for run in side.runs
        if run.capacity is not None
    ]
    if not table:
        return []
    return [Section("capacity", "Capacity", Table(columns, table), "Levels are not blocks: no verdict is given.")]
