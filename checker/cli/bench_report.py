"""`mcp-status bench report and calibrate`: a stored load test shown again, and what the client can do here."""

from __future__ import annotations

from pathlib import Path

import click

from checker.cli.bench_output import Wanted, check_output, deliver, output_options
from checker.cli.options import database, database_path, output_format


@click.command("report")
@click.argument("run", default="last")
@click.option("--compare", "baseline", metavar="BASELINE", help="A run's number, a baseline, last-good or window:5.")
@output_options
@database
def report_command(run: str, baseline: str | None, wanted: Wanted, db: Path | None) -> int:
    """Report the stored load test RUN: a number, last, or the name of a baseline.

    \b
    mcp-status bench report
    mcp-status bench report 12 --format html --output report.html
    mcp-status bench report 12 --compare release --output-dir results --also html --also png
    """  # noqa: D301 # click wants the backspace itself
    from checker.bench.judging.saturation import judge
    from reports.bench.past.sides import sole

    path = database_path(db)
    check_output(wanted, path, baseline)
    found = sole(path, run)
    deliver(found, judge(found), wanted, None, path, baseline)
    return 0


@click.command("calibrate")
@output_format
def calibrate_command(fmt: str) -> int:
    """Measure the most that one worker can do here, and what it adds to a latency, against a loopback echo."""
    import sys

    from checker.load_test import calibration
    from reports.bench.past.lines import printed
    from reports.report import Column, Kind, Table

    columns = (
        Column("operation", "Operation"),
        Column("ceiling_per_s", "At most /s", Kind.NUMBER, words="Operations per second of one worker, at most."),
        Column("cpu_us", "CPU us", Kind.NUMBER, words="CPU time of the load generator per operation."),
        Column("noise_p50_ms", "Noise p50", Kind.DURATION, words="Response time of the echo at a low rate."),
        Column("noise_p99_ms", "Noise p99", Kind.DURATION),
    )
    rows = [
        (one.operation, one.ceiling_per_s, one.cpu_us, one.noise_p50_us / 1000, one.noise_p99_us / 1000)
        for one in calibration()
    ]
    printed(Table(columns, rows), fmt, sys.stdout)
    return 0
