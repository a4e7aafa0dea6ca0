"""`mcp-status report cost`: what tool lists cost a model, and checks the checker."""

from __future__ import annotations

import click

from checker.cli.reporting import Asked, report_options, show


@click.command("cost")
@report_options(since="7d")
def command(asked: Asked) -> None:
    """Report the tokens that tool lists take from models, and the resources that checking takes.

    Context: tools, bytes and estimated tokens (bytes / 4) of each MCP server now, how they have grown since the
    oldest check of the period, and a warning above 20 tools.

    Checking: requests, connections, sessions and bytes for each check; CPU and memory of the checker over time; how
    regularly runs started (slip = |time between two starts - their median|); hit rates of caches, use of connections.

    \b
    mcp-status report cost --since 30d
    mcp-status report cost --group prod --format csv         the context of each server
    mcp-status report cost --format html -o cost.html
    """  # noqa: D301 # click wants the backspace itself
    from reports.cost import build

    with asked.past() as (past, period):
        report = build(past, period, asked.selection)
    show(report, asked)
