"""`mcp-status report`: answers from the history that take more than one query."""

from __future__ import annotations

import click

from checker.cli.lazy import LazyGroup

REPORTS = {
    "availability": ("checker.cli.report_availability", "How long servers were up, against their objectives."),
    "latency": ("checker.cli.report_latency", "How long probes take, where the time goes, and what has changed."),
    "trends": ("checker.cli.report_trends", "What has become slower, less available, or unlike its group."),
    "incidents": ("checker.cli.report_incidents", "When servers were down, for how long, and why."),
    "contract": ("checker.cli.report_contract", "What MCP servers offer differently than before."),
    "cost": ("checker.cli.report_cost", "What tool lists cost a model, and checks the checker."),
    "site": ("checker.cli.report_site", "A static status page, with a page for each server, badges and a feed."),
    "recommendations": ("checker.cli.report_recommendations", "Which settings to change, and why."),
}
"""Name -> where the command is, and what it answers."""


@click.group("report", cls=LazyGroup, lazy=REPORTS)
def command() -> None:
    """Reports from the history.

    \b
    mcp-status report availability --since 90d              who missed its objective, and the budget left
    mcp-status report latency --by stage                    where the time goes
    mcp-status report site public                           a status page as a folder of files
    mcp-status report recommendations                       which settings to change, and why
    mcp-status report recommendations --config fleet.yaml   with a look at its timeouts
    """  # noqa: D301 # click wants the backspace itself
