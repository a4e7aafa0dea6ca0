"""`mcp-status report availability`: up time of servers compared with their objectives."""

from __future__ import annotations

from typing import Any

import click

from checker.cli.report_options import Asked, report_options, show
from checker.units import parse_objective


class Objective(click.ParamType[float]):
    """An objective such as 99.9 or 99.9%, as a ratio."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The ratio; fails with the expected format."""
        try:
            return parse_objective(value if str(value).endswith("%") else float(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.command("availability")
@report_options(since="30d")
@click.option(
    "--objective",
    "objective_ratio",
    type=Objective(),
    metavar="PERCENT",
    help="Judge all servers by this objective, such as 99.9, instead of their own.",
)
def command(asked: Asked, objective_ratio: float | None) -> None:
    """Report how long servers were up, and which of them miss their objective.

    \b
    availability = (healthy + degraded time) / (healthy + degraded + unhealthy time)
    coverage     = known time / time of the period since the server's first check
    budget left  = 1 - unhealthy time / ((1 - objective) x known time)
    burn rate    = unhealthy share of the known time in a window / (1 - objective)

    A check counts for its server until the next one, for at most three times the typical interval. Unknown time, which
    includes suspect checks, and maintenance count as neither; they are shown beside it.
    `mcp-status docs availability` has a worked example.

    \b
    mcp-status report availability --group prod
    mcp-status report availability --since 90d --objective 99.9
    mcp-status report availability --format html -o availability.html
    """  # noqa: D301 # click wants the backspace itself
    from reports.availability import build

    with asked.past() as (past, period):
        report = build(past, period, objective_ratio, asked.selection, pictures=asked.shows_pictures)
    show(report, asked)
