"""`mcp-status bench report and calibrate`: reports of stored load tests, and the load generator's own limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from checker.cli import completed_names
from checker.cli.browser import of_page, open_page, show_in_browser
from checker.cli.options import Decorated, database, database_path, format_option, not_a_dash, output_format
from checker.cli.report_options import write_whole
from checker.errors import CheckerError, UsageError

if TYPE_CHECKING:
    from checker.loadtest.bottleneck import Saturation
    from checker.loadtest.plan import Output
    from checker.loadtest.results import BenchRun
    from reports.loadtests.outcome import LoadTestOutcome
    from reports.report_model import Report


FORMATS = ("table", "json", "csv", "csv-slots", "html", "markdown", "junit", "hgrm", "prometheus")
_IMAGES = ("png", "svg")
_RELATIVE = ("last", "last-good")
"""Baselines whose existence may depend on the run itself."""
_FEWEST_FOR_TREND = 3
_MOST_FOR_TREND = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The requested forms of a load test's report."""

    fmt: str
    output: Path | None
    folder: Path | None
    also: tuple[str, ...]
    """Forms to write into the folder."""


def output_options(command: Decorated) -> Decorated:
    """Add the options of output; the command gets them as ``wanted``."""

    @wraps(command)
    def wrapped(
        fmt: str, output: Path | None, output_dir: Path | None, also: tuple[str, ...], opens: bool, **more: Any
    ) -> Any:
        if opens:
            fmt, output = of_page(fmt, output, "load-test")
        code = command(wanted=Wanted(fmt=fmt, output=output, folder=output_dir, also=also), **more)
        if opens and output is not None and output.exists():
            show_in_browser(output)
        return code

    options = (
        format_option(FORMATS),
        click.option(
            "--output",
            "-o",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            callback=not_a_dash,
            help="Write it to a file.",
        ),
        open_page,
        click.option(
            "--output-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Write files into this folder.",
        ),
        click.option(
            "--also",
            multiple=True,
            type=click.Choice((*FORMATS, *_IMAGES)),
            help="With --output-dir: what to write there; repeatable. Default: html, json. png and svg: charts.",
        ),
    )
    decorated: Decorated = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def check_output(wanted: Wanted, database: Path, baseline: str | None) -> None:
    """Raise UsageError, before any load is made, for output that could not be delivered after it."""
    if wanted.also and wanted.folder is None:
        raise UsageError("--also names what is written into a folder; name that with --output-dir")
    if wanted.output is not None and not os.access(wanted.output.absolute().parent, os.W_OK):
        raise UsageError(f"{wanted.output}: no folder that can be written; name another file with --output")
    word = (baseline or "").partition("/")[0]
    if word and word not in _RELATIVE and not word.startswith("window:"):
        from reports.loadtests.compared_runs import sole

        sole(database, word)


def deliver(
    run: BenchRun,
    saturation: Saturation,
    wanted: Wanted,
    planned: Output | None,
    database: Path | None,
    baseline: str | None,
    *,
    quiet: bool = False,
) -> bool:
    """Print or write the report; True if the run is worse than its baseline.

    ``planned`` are the files that the plan asks for. ``quiet`` writes nothing to standard output.
    """
    from reports.loadtests.output_forms import FORMS, write_folder
    from reports.loadtests.report import write_text

    compared, worse = None, False
    if baseline is not None and database is not None and run.id is not None:
        try:
            compared, worse = _compared(database, baseline, run)
        except CheckerError as error:  # such as no good run before it; its own report is worth having all the same
            click.echo(f"mcp-status: not compared: {error}", err=True)
    try:
        trend = _trend(database, run)
    except CheckerError as error:
        trend = None
        click.echo(f"mcp-status: no trend: {error}", err=True)
    outcome = _outcome(run, saturation, compared, trend)
    if planned is not None:
        outcome = replace(outcome, charts=planned.include_charts, recommendations=planned.include_recommendations)
    if wanted.output is not None:
        write_whole(wanted.output, FORMS[wanted.fmt](outcome))
    elif not quiet:
        if wanted.fmt == "table":
            write_text(outcome, sys.stdout)
        else:
            sys.stdout.write(FORMS[wanted.fmt](outcome))
        sys.stdout.flush()
    for folder, forms in _folders(wanted, planned):
        written = write_folder(outcome, folder, forms)
        charts = sum(file.parent != folder for file in written)
        named = ", ".join(file.name for file in written if file.parent == folder)
        click.echo(f"written to {folder}: {named}{f' and {charts} charts' if charts else ''}", err=True)
    return worse


def _folders(wanted: Wanted, planned: Output | None) -> Iterable[tuple[Path, tuple[str, ...]]]:
    """The folder to write into, if there is one, and the forms to write."""
    if wanted.folder is not None:
        forms = wanted.also or (planned.formats + planned.charts if planned is not None else ("html", "json"))
        yield wanted.folder, tuple(dict.fromkeys(forms))
    elif planned is not None and planned.directory is not None:
        yield Path(planned.directory), tuple(dict.fromkeys(planned.formats + planned.charts))


def _outcome(run: BenchRun, saturation: Saturation, compared: Report | None, trend: Report | None) -> LoadTestOutcome:
    from reports.loadtests.outcome import LoadTestOutcome

    return LoadTestOutcome(run=run, saturation=saturation, comparison=compared, trend=trend)


def _compared(database: Path, baseline: str, run: BenchRun) -> tuple[Report, bool]:
    from checker.loadtest.judging.saturation import judge
    from checker.stats.compare import CandidateOutcome
    from reports.loadtests.compare import Effects, compare_sides
    from reports.loadtests.compared_runs import sides
    from reports.loadtests.comparison_report import report_of

    compared = compare_sides(*sides(database, baseline, str(run.id), judge))
    return report_of(compared, Effects()), compared.outcome is CandidateOutcome.WORSE


def _trend(database: Path | None, run: BenchRun) -> Report | None:
    """The trend of the runs of the same plan, if there are a few."""
    if database is None or run.id is None:
        return None
    from checker.loadtest.judging.saturation import judge
    from reports.loadtests.compared_runs import runs_of
    from reports.loadtests.trend import build
    from storage.loadtests.read import bench_list

    if len(bench_list(database, plan_digest=run.plan_digest)) < _FEWEST_FOR_TREND:
        return None
    found = runs_of(database, run.name, _MOST_FOR_TREND, judge)
    return build(found.runs, found.left_out) if len(found.runs) >= _FEWEST_FOR_TREND else None


@click.command("report")
@click.argument("run", default="last", shell_complete=completed_names.load_tests)
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
    from checker.loadtest.judging.saturation import judge
    from reports.loadtests.compared_runs import sole

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

    from checker.loadtest.run import calibration
    from reports.loadtests.run_lists import printed
    from reports.report_model import Column, Kind, Table

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
