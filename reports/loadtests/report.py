"""The report of a load test as one `Report`, the source of every output form, and its short form."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TextIO

from msgspec.structs import replace

from checker.loadtest.results import BenchRun
from checker.loadtest.summary import measured
from reports.loadtests import capacity, client, latency, percentile_cells, rates, reproduce, tables
from reports.loadtests import latency as distribution
from reports.loadtests.key_numbers import key_numbers
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.recommendations import Recommendation, RunFacts, recommendations
from reports.loadtests.reproduce import command
from reports.loadtests.tables import suite
from reports.loadtests.timeline import widened
from reports.loadtests.verdict import reached_s, title_of, verdict_of
from reports.output_forms import LEVELS, duration, number, per_cent, sections_text
from reports.report_model import Column, Report, Section, Table
from reports.text_tables import TextOutput
from reports.ticks import clock


def report_of(outcome: LoadTestOutcome) -> Report:
    """The report of a run with the verdicts on it."""
    outcome = replace(outcome, run=widened(outcome.run))
    run, verdict = outcome.run, verdict_of(outcome)
    until_ms = run.finished_at_ms or run.started_at_ms + round(1000 * reached_s(run))
    return Report(
        name="bench",
        title=title_of(run),
        verdict=verdict.line,
        level=verdict.level,
        since_ms=run.started_at_ms,
        until_ms=until_ms,
        sections=list(_wanted(outcome)),
        servers=len({series.server for series in run.series}),
        facts=_facts(run),
        notes=_notes(outcome),
        numbers=key_numbers(outcome),
        headline=verdict.headline,
    )


def _wanted(outcome: LoadTestOutcome) -> Iterator[Section]:
    """The sections, without the hidden ones."""
    for section in _sections(outcome):
        if section.name != "recommendations" or outcome.recommendations:
            yield section if outcome.charts else replace(section, charts=())


def _sections(outcome: LoadTestOutcome) -> Iterator[Section]:
    """The answers first, which a page shows unfolded; then everything else."""
    run, bound = outcome.run, client.bound_spans(outcome.saturation)
    every, whole = tables.series_summaries(run), measured(run)
    yield tables.thresholds(outcome)
    grid = suite(outcome)
    by_load = capacity.latency_by_load(run) if grid is None else None
    if run.capacity is not None:
        yield capacity.capacity(run, run.capacity)
    if grid is not None:
        yield grid
    if by_load is not None and by_load.open:
        yield by_load
    yield latency.over_time(run, bound)
    yield tables.summary(run, every)
    yield rates.errors(run, bound)
    yield from _taken_in(outcome.comparison, "comparison", "Comparison")
    yield from _taken_in(outcome.trend, "trend", "Trend")
    yield _recommended(recommendations(RunFacts(outcome=outcome, every=every, whole=whole)))
    yield tables.stages(run, outcome.saturation.stages)
    yield tables.latency(run, every)
    if by_load is not None and not by_load.open:
        yield by_load
    if len(run.series) > 1:
        yield latency.by_series(run, bound, every)
    yield distribution.spectrum(run)
    yield distribution.bands(run, whole)
    yield latency.heat(run, bound)
    yield rates.rates(run, bound)
    yield rates.phases(run, whole)
    yield from tables.percentile_tables(run, every)
    bounded = percentile_cells.section(run, every)
    if bounded is not None:
        yield bounded
    yield from _client_sections(outcome)
    yield reproduce.reproduction(run)
    yield reproduce.plan(run)


def _client_sections(outcome: LoadTestOutcome) -> Iterator[Section]:
    yield client.client(outcome.run, outcome.saturation)
    if outcome.saturation.spans:
        yield client.bound_table(outcome.saturation)
    if outcome.saturation.claims.numbers:
        yield client.affected(outcome.run, outcome.saturation)
    if outcome.run.calibrations:
        yield client.calibration(outcome.run)


def _taken_in(report: Report | None, name: str, title: str) -> Iterator[Section]:
    """The sections of another report, the first with its verdict."""
    for place, section in enumerate(report.sections if report is not None else ()):
        assert report is not None  # noqa: S101 # for the type checker
        text = f"{report.verdict} {section.text}".strip() if place == 0 else section.text
        titled = f"{title}: {section.title}"
        yield replace(section, name=f"{name}_{section.name}", title=titled, text=text, open=place == 0)


def _recommended(found: Sequence[Recommendation]) -> Section:
    if not found:
        return Section("recommendations", "Recommendations", None, "Nothing to recommend.")
    names = ("severity", "subject", "suggestion", "evidence")
    columns = [Column(name, name.capitalize(), wide=name in names[2:]) for name in names]
    rows = [[getattr(one, name) for name in names] for one in found]
    in_short = Table(
        (Column("subject", "Subject"), Column("suggestion", "Suggestion, and its evidence", wide=True)),
        [[one.subject, f"{one.suggestion} ({one.evidence})"] for one in found],
    )
    return Section("recommendations", "Recommendations", Table(columns, rows), open=True, page_table=in_short)


def _facts(run: BenchRun) -> list[tuple[str, str]]:
    whole = measured(run)
    facts = [
        ("Duration", clock(reached_s(run))),
        ("Operations", f"{whole.offered:,}"),
        ("Offered", f"{number(whole.offered_per_s)} /s"),
        ("Achieved", f"{number(whole.achieved_per_s)} /s"),
        ("Failed", per_cent(whole.failed_ratio)),
        ("Workers", str(run.workers)),
        ("Seed", str(run.seed)),
    ]
    return [*facts, *(capacity.capacity_facts(run, run.capacity) if run.capacity is not None else [])]


def _notes(outcome: LoadTestOutcome) -> tuple[str, ...]:
    run = outcome.run
    notes = list(run.notes)
    if any(series.model == "closed" for series in run.series):
        notes.append(f"{tables.CLOSED[0].upper()}{tables.CLOSED[1:]}.")
    if said := percentile_cells.note(tables.series_summaries(run)):
        notes.append(said)
    if outcome.saturation.reason and not outcome.saturation.invalid:
        notes.append(outcome.saturation.reason)
    if said := client.affected_note(run, outcome.saturation):
        notes.append(said)
    for one in outcome.saturation.noise:
        series, value, noise = run.series[one.series], duration(one.value_us / 1000), duration(one.noise_us / 1000)
        named = f"{one.percentile} of {series.server} {series.operation}"
        notes.append(f"{named}, {value}, is within the load generator's own noise, {noise}: the server may be faster.")
    if outcome.comparison is not None:
        notes += outcome.comparison.notes
    if outcome.trend is not None:
        notes += outcome.trend.notes
    return tuple(dict.fromkeys(notes))


_SHOWN = (
    "thresholds",
    "summary",
    "latency",
    "capacity",
    "suite",
    "stages",
    "errors",
    "client_bound",
    "client_added",
    "recommendations",
)
_MOST_STAGES = 20
_OF_STAGES = (
    *("stage", "scenario", "from", "offered_per_s", "achieved_per_s", "failed_ratio"),
    *("response_p50_ms", "response_p95_ms", "response_p99_ms", "response_max_ms"),
)


def text(outcome: LoadTestOutcome) -> str:
    """The short text as a string, for a file."""
    stream = io.StringIO()
    write_text(outcome, stream)
    return stream.getvalue()


def write_text(outcome: LoadTestOutcome, stream: TextIO) -> None:
    """Write the short text: verdict, facts, and the sections that matter most."""
    report = report_of(outcome)
    out = TextOutput(stream)
    out.line(report.verdict, LEVELS[report.level])
    out.line(f"{report.title}: {', '.join(f'{word.lower()} {value}' for word, value in report.facts)}")
    sections = [_narrowed(one) for one in sorted(report.sections, key=_place) if _is_shown(one)]
    sections_text(replace(report, sections=sections), out)
    if again := command(outcome.run):
        out.line(f"again: {again}")


def _place(section: Section) -> int:
    """The place of a section in the short text; comparisons come after the errors."""
    name = "client_added" if section.name.startswith("comparison_") else section.name
    return _SHOWN.index(name) if name in _SHOWN else len(_SHOWN)


def _is_shown(section: Section) -> bool:
    if section.name == "stages":
        return section.table is not None and len(section.table.rows) <= _MOST_STAGES
    return section.name in _SHOWN or section.name.startswith("comparison_")


def _narrowed(section: Section) -> Section:
    """The section with the columns that matter most: a page has them all."""
    if section.name != "stages" or section.table is None:
        return section
    kept = [at for at, column in enumerate(section.table.columns) if column.name in _OF_STAGES]
    columns = [section.table.columns[at] for at in kept]
    return replace(section, table=Table(columns, [[row[at] for at in kept] for row in section.table.rows]))
