"""The report for a terminal: what decides, without the tables behind pictures."""

from __future__ import annotations

import io
from dataclasses import replace

from reports.bench.outcome import LoadTestOutcome
from reports.bench.report import report_of
from reports.bench.reproduce import command
from reports.report import Section, Table
from reports.show import LEVELS, sections_text
from reports.terminal import Text, console

_SHOWN = (
    "thresholds",
    "summary",
    "latency",
    "capacity",
    "suite",
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
    """Verdict, facts, and the sections that decide."""
    report = report_of(outcome)
    stream = io.StringIO()
    out = console(stream)
    out.print(Text(report.verdict, style=LEVELS[report.level]))
    out.print(f"{report.title}: {', '.join(f'{word.lower()} {value}' for word, value in report.facts)}")
    sections = [_narrowed(one) for one in report.sections if _is_shown(one)]
    sections_text(replace(report, sections=sections), out)
    if again := command(outcome.run):
        out.print(f"again: {again}")
    return stream.getvalue()


def _is_shown(section: Section) -> bool:
    if section.name == "stages":
        return section.table is not None and len(section.table.rows) <= _MOST_STAGES
    return section.name in _SHOWN or section.name.startswith("comparison_")


def _narrowed(section: Section) -> Section:
    """The section with as many columns as a terminal has room for."""
    if section.name != "stages" or section.table is None:
        return section
    kept = [at for at, column in enumerate(section.table.columns) if column.name in _OF_STAGES]
    columns = [section.table.columns[at] for at in kept]
    return replace(section, table=Table(columns, [[row[at] for at in kept] for row in section.table.rows]))
