"""The report for a terminal: what decides, without the tables behind pictures."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.text import Text

from reports.bench.outcome import Outcome
from reports.bench.report import report_of
from reports.bench.reproduce import command
from reports.report import Section
from reports.show import LEVELS, sections_text
from reports.tables import console

_SHOWN = ("thresholds", "summary", "latency", "capacity", "suite", "errors", "client_bound", "recommendations")
_MOST_STAGES = 20


def text(outcome: Outcome) -> str:
    """Verdict, facts, and the sections that decide."""
    report = report_of(outcome)
    stream = io.StringIO()
    out = console(stream)
    out.print(Text(report.verdict, style=LEVELS[report.level]))
    out.print(f"{report.title}: {', '.join(f'{word.lower()} {value}' for word, value in report.facts)}")
    sections_text(replace(report, sections=[one for one in report.sections if _is_shown(one)]), out)
    if again := command(outcome.run):
        out.print(f"again: {again}")
    return stream.getvalue()


def _is_shown(section: Section) -> bool:
    if section.name == "stages":
        return section.table is not None and len(section.table.rows) <= _MOST_STAGES
    return section.name in _SHOWN or section.name.startswith("comparison_")
