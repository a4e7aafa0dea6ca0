"""`mcp-status report`: answers from the history that take more than one query."""

from __future__ import annotations

from importlib import import_module

import click

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
"""Name -> the module whose attribute ``command`` it is, and what it answers."""


class _Reports(click.Group):
    """Imports a report when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(REPORTS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in REPORTS:
            return None
        command = import_module(REPORTS[name][0]).command
        assert isinstance(command, click.Command)  # noqa: S101 # for the type checker
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in REPORTS.items()])


@click.group("report", cls=_Reports)
def command() -> None:
    """Reports from the history.

    \b
    mcp-status report availability --since 90d              who missed its objective, and the budget left
    mcp-status report latency --by stage                    where the time goes
    mcp-status report site public                           a status page as a folder of files
    mcp-status report recommendations                       which settings to change, and why
    mcp-status report recommendations --config fleet.yaml   with a look at its timeouts
    """  # noqa: D301 # click wants the backspace itself
