"""`mcp-status report incidents`: downtime of servers, with duration and reason."""

from __future__ import annotations

import click

from checker.cli.options import Duration
from checker.cli.report_options import Asked, report_options, show


@click.command("incidents")
@report_options(since="30d")
@click.option(
    "--min-duration", type=Duration(), default="0s", metavar="DURATION", help="Leave out shorter incidents: 5m, 1h, ..."
)
def command(asked: Asked, min_duration: float) -> None:
    """List when servers were down, the newest first: how long, and why.

    An incident lasts from the first UNHEALTHY check of a server to the next that was up; unknown checks and those under
    maintenance neither start nor end one, and are not downtime. Incidents of several servers count as one fault where
    they overlap, begin within two minutes, and have the same reason or their servers the same host.

    \b
    MTTR     = mean length of the repaired incidents
    MTBF     = up time / incidents that began in the period
    flapping = weighted share of state changes in the newest 21 checks, above 20%

    \b
    mcp-status report incidents --since 7d --min-duration 5m
    mcp-status report incidents --server search --format csv
    """  # noqa: D301 # click wants the backspace itself
    from reports.incidents import build

    with asked.past() as (past, period):
        report = build(past, period, min_duration * 1000, asked.selection, pictures=asked.shows_pictures)
    show(report, asked)
