"""`mcp-status report trends`: servers that became slower, less available, or unlike their group."""

from __future__ import annotations

import click

from checker.cli.report_options import Asked, of_kinds, report_options, show


@click.command("trends")
@of_kinds
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="ROWS",
    help="Show at most this many rows of a list.",
)
@report_options(since="30d")
def command(asked: Asked, kinds: tuple[str, ...], top: int) -> None:
    """Report servers that became slower, less available, or unlike their group.

    Trends are found in the median and the p95 of each slot (an hour up to three days, else a day): slopes by Theil-Sen
    with Sen's interval and Mann-Kendall's p, changes of level by a scan over normal scores, all corrected for the
    number of series. A slot counts from 6 answers for p50 and 20 for p95, a series from 8 slots.

    \b
    mcp-status report trends --since 90d
    mcp-status report trends --group prod --kind mcp --top 5
    mcp-status report trends --format html --output trends.html
    """  # noqa: D301 # click wants the backspace itself
    from reports.trends import build

    with asked.past() as (past, period):
        report = build(past, period, kinds=kinds, top=top, selection=asked.selection)
    show(report, asked)
