"""`mcp-status report`: answers from the history that take more than one query."""

from __future__ import annotations

import click

from checker.cli.lazy_group import LazyGroup
from checker.cli.report_options import report_command

REPORTS = {
    "availability": ("checker.cli.report_availability", "Availability of servers, against their objectives."),
    "latency": ("checker.cli.report_latency", "Latency of probes, where the time goes, and what changed."),
    "trends": ("checker.cli.report_trends", "Servers that became slower, less available, or unlike their group."),
    "incidents": ("checker.cli.report_incidents", "When servers were down, how long, and why."),
    "contract": ("reports.contract:build", "Changes in what MCP servers offer."),
    "cost": ("reports.cost:build", "The tokens of tool lists, and the resources of checks."),
    "site": ("checker.cli.report_site", "A static status page, with a page for each server, badges and a feed."),
    "recommendations": ("checker.cli.report_recommendations", "Settings to change, and why."),
}
"""Name -> module and description: ``build`` of a report, or a command that has more options."""


class ReportGroup(LazyGroup):
    """Creates the commands of reports that need only the options common to all."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of the report, imported."""
        module, _, attribute = REPORTS.get(name, ("", ""))[0].partition(":")
        return report_command(name, module) if attribute == "build" else super().get_command(ctx, name)


@click.group("report", cls=ReportGroup, lazy=REPORTS)
def command() -> None:
    """Reports from the history.

    \b
    mcp-status report availability --since 90d              who missed its objective, and the budget left
    mcp-status report latency --by stage                    where the time goes
    mcp-status report site public                           a status page as a folder of files
    mcp-status report recommendations                       settings to change, and why
    mcp-status report recommendations --config fleet.yaml   compare its timeouts, too
    """  # noqa: D301 # click wants the backspace itself
