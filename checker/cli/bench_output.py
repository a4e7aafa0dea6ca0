"""What is printed and written of a load test: its report in the form asked for, files, what it is compared with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from checker.cli.options import Decorated, format_option
from checker.cli.reporting import write_whole
from checker.errors import CheckerError, UsageError

if TYPE_CHECKING:
    from checker.bench.client_bound import Saturation
    from checker.bench.plan import Output
    from checker.bench.results import BenchRun
    from reports.bench.outcome import LoadTestOutcome
    from reports.report import Report

FORMATS = ("table", "json", "csv", "csv-slots", "html", "markdown", "junit", "hgrm", "prometheus")
_IMAGES = ("png", "svg")
_RELATIVE = ("last", "last-good")
"""Baselines that may come to be, or not, with the run itself."""
_FEWEST_FOR_TREND = 3
_MOST_FOR_TREND = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The forms in which a load test is to be had."""

    fmt: str
    output: Path | None
    folder: Path | None
    also: tuple[str, ...]
    """Forms to write into the folder."""


def output_options(command: Decorated) -> Decorated:
    """Add the options of output; the command gets them as ``wanted``."""

    @wraps(command)
    def wrapped(fmt: str, output: Path | None, output_dir: Path | None, also: tuple[str, ...], **more: Any) -> Any:
        return command(wanted=Wanted(fmt=fmt, output=output, folder=output_dir, also=also), **more)

    options = (
        format_option(FORMATS),
        click.option(
            "--output",
            "-o",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Write it to a file.",
        ),
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
    """Raise UsageError for what could not be delivered after the load: before any of it is made."""
    if wanted.also and wanted.folder is None:
        raise UsageError("--also names what is written into a folder; name that with --output-dir")
    if wanted.output is not None and not os.access(wanted.output.absolute().parent, os.W_OK):
        raise UsageError(f"{wanted.output}: no folder that can be written; name another file with --output")
    word = (baseline or "").partition("/")[0]
    if word and word not in _RELATIVE and not word.startswith("window:"):
        from reports.bench.past.sides import sole

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
    """Print or write the report; whether the run is worse than its baseline.

    ``planned`` are the files that the plan asks for. ``quiet`` leaves standard output alone.
    """
    from reports.bench.forms import FORMS, write_folder

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
        sys.stdout.write(FORMS[wanted.fmt](outcome))
        sys.stdout.flush()
    for folder, forms in _folders(wanted, planned):
        written = write_folder(outcome, folder, forms)
        charts = sum(file.parent != folder for file in written)
        named = ", ".join(file.name for file in written if file.parent == folder)
        click.echo(f"written to {folder}: {named}{f' and {charts} charts' if charts else ''}", err=True)
    return worse


def _folders(wanted: Wanted, planned: Output | None) -> Iterable[tuple[Path, tuple[str, ...]]]:
    """The folder to write into, if there is one, and what."""
    if wanted.folder is not None:
        forms = wanted.also or (planned.formats + planned.charts if planned is not None else ("html", "json"))
        yield wanted.folder, tuple(dict.fromkeys(forms))
    elif planned is not None and planned.directory is not None:
        yield Path(planned.directory), tuple(dict.fromkeys(planned.formats + planned.charts))


def _outcome(run: BenchRun, saturation: Saturation, compared: Report | None, trend: Report | None) -> LoadTestOutcome:
    from reports.bench.outcome import LoadTestOutcome

    return LoadTestOutcome(run=run, saturation=saturation, comparison=compared, trend=trend)


def _compared(database: Path, baseline: str, run: BenchRun) -> tuple[Report, bool]:
    from checker.bench.judging.saturation import judge
    from reports.bench.past.compare import Effects, compare_sides
    from reports.bench.past.compared import report_of
    from reports.bench.past.sides import sides
    from reports.stats.compare import CandidateOutcome

    compared = compare_sides(*sides(database, baseline, str(run.id), judge))
    return report_of(compared, Effects()), compared.outcome is CandidateOutcome.WORSE


def _trend(database: Path | None, run: BenchRun) -> Report | None:
    """How the runs of the same plan have gone, where there are a few."""
    if database is None or run.id is None:
        return None
    from checker.bench.judging.saturation import judge
    from reports.bench.past.series import runs_of
    from reports.bench.past.trend import build
    from storage.bench.list import bench_list

    if len(bench_list(database, plan_digest=run.plan_digest)) < _FEWEST_FOR_TREND:
        return None
    found = runs_of(database, run.name, _MOST_FOR_TREND, judge)
    return build(found.runs, found.left_out) if len(found.runs) >= _FEWEST_FOR_TREND else None
