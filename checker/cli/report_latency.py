"""`mcp-status report latency`: durations of probes and of their stages, and changes in them."""

from __future__ import annotations

import click

from checker.cli.report_options import Asked, of_kinds, report_options, show
from checker.probe_kinds import STAGES

_STAGES = ("total", *STAGES)
_ROWS = 20


@click.command("latency")
@click.option(
    "--by",
    type=click.Choice(("server", "group", "kind", "stage")),
    default="server",
    show_default=True,
    help="Group rows by this; stage shows where the time goes.",
)
@click.option("--stage", type=click.Choice(_STAGES), default="total", show_default=True, help="Only this stage.")
@of_kinds
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="Show at most this many rows of a list. Default: 20 in tables and HTML, else all.",
)
@report_options(since="30d")
def command(asked: Asked, by: str, stage: str, kinds: tuple[str, ...], top: int | None) -> None:
    """Report the latency of answered probes, with confidence intervals.

    A percentile is the sample at its rank, ceil(q * n), read from summed histograms within 1%; it is insufficient
    below 6 samples for p50, 10, 20, 100 and 1,000 for p90, p95, p99 and p99.9. Confidence intervals are from
    order statistics. Failures are counted separately: a timeout only says that it would have taken longer.

    The period is compared with the one of equal length before it, slot by slot (Mann-Whitney, Holm), and the newest
    full hour with the same hour of the week, once there are three earlier weeks.

    \b
    mcp-status report latency --since 24h                    the slowest servers of the last day
    mcp-status report latency --by stage --server search     where its time goes
    mcp-status report latency --by group --kind mcp --format csv
    """  # noqa: D301 # click wants the backspace itself
    from reports.latency import build
    from reports.report_rows import By

    if top is None and asked.fmt in ("table", "html"):
        top = _ROWS
    with asked.past() as (past, period):
        report = build(past, period, by=By(by), stage=stage, kinds=kinds, top=top, selection=asked.selection)
    show(report, asked)
