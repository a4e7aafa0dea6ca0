"""`mcp-status report contract`: what MCP servers offer differently than before."""

from __future__ import annotations

import click

from checker.cli.reporting import Asked, report_options, show


@click.command("contract")
@report_options(since="30d")
def command(asked: Asked) -> None:
    """List changes in what MCP servers offer, the newest first.

    Every change is breaking, risky or cosmetic, by the rules of docs/contracts.md. Also: the tools that servers
    have now, the versions of the protocol and of the servers, and which servers run an older version than most.

    \b
    mcp-status report contract --since 7d
    mcp-status report contract --group prod --format csv
    mcp-status contract search                              one server's contract in full
    """  # noqa: D301 # click wants the backspace itself
    from reports.contract import build

    with asked.past() as (past, period):
        report = build(past, period, asked.selection)
    show(report, asked)
