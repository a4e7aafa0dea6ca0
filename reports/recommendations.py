"""Recommended settings with their evidence: the rules of recommendation_rules.py applied to stored runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from reports import report_model
from reports.check_documents import iso
from reports.recommendation_rules import FEWEST_RUNS, RULES, AdviceFacts, SettingRecommendation
from reports.text_tables import Role, TextColumn, TextTable
from storage.settings_evidence import Evidence

COLUMNS = ("severity", "setting", "subject", "suggestion", "evidence")
_COLOURS = {"worth doing": "yellow", "consider": ""}


class SettingsReport(Struct, frozen=True):
    """Recommendations and the evidence that they were derived from."""

    recommendations: tuple[SettingRecommendation, ...]
    evidence: Evidence

    @property
    def looked_at(self) -> str:
        """One line about the evidence that was examined, and whether it was enough."""
        runs = self.evidence.runs
        seen = f"{len(runs)} run{'' if len(runs) == 1 else 's'} with {self.evidence.checks} checks"
        since = f" since {iso(self.evidence.since_ms)}"
        if len(runs) < FEWEST_RUNS:
            return f"insufficient: {seen}{since}; at least {FEWEST_RUNS} finished runs are needed"
        return f"looked at {seen}{since}"


def recommend(evidence: Evidence, timeouts_s: Mapping[str, float], cores: int | None, host: str) -> SettingsReport:
    """All recommendations, most important first.

    ``timeouts_s`` are the timeouts in force by probe kind, empty if unknown; ``cores`` are those of ``host``: runs on
    other hosts are not judged by them.
    """
    found: list[SettingRecommendation] = []
    if len(evidence.runs) >= FEWEST_RUNS:
        facts = AdviceFacts(evidence=evidence, timeouts_s=timeouts_s, cores=cores, host=host)
        for rule in RULES:
            found += rule(facts)
    ordered = sorted(found, key=lambda one: (one.severity != "worth doing", one.setting, one.subject))
    return SettingsReport(tuple(ordered), evidence)


def report_document(report: SettingsReport) -> dict[str, Any]:
    """The report with every number."""
    return {
        "looked_at": {
            "since": iso(report.evidence.since_ms),
            "runs": len(report.evidence.runs),
            "checks": report.evidence.checks,
            "enough": len(report.evidence.runs) >= FEWEST_RUNS,
        },
        "recommendations": [recommendation_document(one) for one in report.recommendations],
    }


def as_page(report: SettingsReport, now_ms: int) -> report_model.Report:
    """The report in the form that pages are rendered from."""
    found = report.recommendations
    worth = sum(one.severity == "worth doing" for one in found)
    level = report_model.Level.WARNING if worth else report_model.Level.GOOD
    if len(report.evidence.runs) < FEWEST_RUNS:
        level = report_model.Level.UNKNOWN
    columns = [report_model.Column(name, name.capitalize()) for name in COLUMNS]
    rows = [[getattr(one, name) for name in COLUMNS] for one in found]
    verdict = f"{worth} worth doing, {len(found) - worth} to consider." if found else "Nothing to recommend."
    return report_model.Report(
        name="recommendations",
        title="Recommendations",
        verdict=verdict,
        level=level,
        since_ms=report.evidence.since_ms,
        until_ms=now_ms,
        sections=[
            report_model.Section(
                "recommendations", "Settings to change", report_model.Table(columns, rows), f"{report.looked_at}."
            )
        ],
        servers=len(report.evidence.series),
    )


def recommendation_document(one: SettingRecommendation) -> dict[str, Any]:
    """A recommendation with its figures."""
    return {**{name: getattr(one, name) for name in COLUMNS}, "numbers": dict(one.numbers)}


def recommendations_table(found: Sequence[SettingRecommendation]) -> TextTable:
    """One line per recommendation."""
    roles = (Role.FIGURE, Role.NAME, Role.WORDS, Role.REASON, Role.REASON)
    columns = [TextColumn(name, role) for name, role in zip(COLUMNS, roles, strict=True)]
    rows = [
        (((one.severity, _COLOURS[one.severity]),), one.setting, one.subject, one.suggestion, one.evidence)
        for one in found
    ]
    return TextTable.of_rows(columns, rows)
