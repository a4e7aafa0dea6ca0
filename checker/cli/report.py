"""`mcp-status report`: answers from the history that take more than one query."""

from __future__ import annotations

import click

from checker.cli.lazy import LazyGroup

REPORTS = {
    "availability": ("checker.cli.report_availability", "Availability of servers, against their objectives."),
    "latency": ("checker.cli.report_latency", "Latency of probes, where the time goes, and what changed."),
    "trends": ("checker.cli.report_trends", "Servers that became slower, less available, or unlike their group."),
    "incidents": ("checker.cli.report_incidents", "When servers were down, how long, and why."),
    "contract": ("checker.cli.report_contract", "Changes in what MCP servers offer."),
    "cost": ("checker.cli.report_cost", "The tokens of tool lists, and the resources of checks."),
    "site": ("checker.cli.report_site", "A static status page, with a page for each server, badges and a feed."),
    "recommendations": ("checker.cli.report_recommendations", "Settings to change, and why."),
}
"""Name -> where the command is, and what it answers."""


@click.group("report", cls=LazyGroup, lazy=REPORTS)
def command() -> None:
    """Reports from the history.

    \b
    mcp-status report availability --since 90d              who missed its objective, and the budget left
    mcp-status report latency --by stage                    where the time goes
    mcp-status report site public                           a status page as a folder of files
    mcp-status report recommendations                       settings to change, and why
    mcp-status report recommendations --config fleet.yaml   compare its timeouts, too
    """  # noqa: D301 # click wants the backspace itself
