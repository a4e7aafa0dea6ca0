"""`mcp-status bench list, compare, trend, baseline and delete`: commands on stored load tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from checker.cli import completed_names
from checker.cli.lazy_group import FullGroup
from checker.cli.moments import When
from checker.cli.options import REPORT_FORMATS, Duration, database, database_path, format_option, output_format
from checker.cli.report_options import Asked, form, output_file, show, write_whole
from checker.clock import now_ms
from checker.errors import UsageError

if TYPE_CHECKING:
    pass

WORSE = 99
"""The same as for a broken threshold."""
_CANNOT_TELL = 1


@click.command("list")
@click.option("--name", metavar="NAME", help="Only load tests of this name.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many.")
@output_format
@database
def list_command(name: str | None, limit: int, fmt: str, db: Path | None) -> int:
    """List the load tests, the newest first; unfinished ones keep their results so far."""
    from reports.loadtests.run_lists import lines_table
    from storage.loadtests.read import bench_list

    _print(lines_table(bench_list(database_path(db), name=name, limit=limit)), fmt, "no load test yet")
    return 0


@click.command("compare")
@click.argument("baseline", default="last-good", shell_complete=completed_names.load_tests)
@click.argument("candidate", default="last", shell_complete=completed_names.load_tests)
@click.option(
    "--effect",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Smallest relevant difference, in percent.",
)
@click.option(
    "--effect-ms", type=click.FloatRange(min=0), default=1.0, show_default=True, help="The same in milliseconds."
)
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True), default=0.05, show_default=True, help="p-value.")
@click.option(
    "--block", type=Duration(), default="10s", show_default=True, help="Length of a block; shorter blocks are noisier."
)
@click.option("--strict", is_flag=True, help="Exit with 1 if the comparison is inconclusive.")
@format_option((*REPORT_FORMATS, "markdown"))
@output_file
@database
def compare_command(
    baseline: str,
    candidate: str,
    effect: float,
    effect_ms: float,
    alpha: float,
    block: float,
    strict: bool,
    fmt: str,
    output: Path | None,
    db: Path | None,
) -> int:
    """Compare CANDIDATE with BASELINE: better, worse, the same, or inconclusive ("cannot tell").

    Each of them is a number, `last`, or the name of a baseline; BASELINE may be `last-good` or `window:5` too, the
    newest good runs of the same plan before CANDIDATE. `7/old 7/new` compares two scenarios of one run.

    The run is the unit: each gives the median of its blocks. Worse or better needs a p below alpha after Holm's
    correction for all series and statistics, and a difference of --effect or --effect-ms, whichever is larger; for the
    failure rate, 1 in 100. With fewer than five good runs of the plan, the spread between runs is assumed to be 10%.
    Two scenarios of one run are compared by blocks, at least five on each side. Runs that did not finish, or in which
    the load generator was the limit, cannot be compared.

    Exit codes: 0 better or the same, 99 worse; inconclusive is 0, with --strict 1.

    \b
    mcp-status bench compare                        the last run against the last good one
    mcp-status bench compare release last --format markdown
    mcp-status bench compare window:5 12 --effect 10
    """  # noqa: D301 # click wants the backspace itself
    from checker.loadtest.judging.saturation import judge
    from checker.stats.compare import CandidateOutcome
    from reports.loadtests.compare import Effects, compare_sides
    from reports.loadtests.compared_runs import sides
    from reports.loadtests.comparison_report import MOST_ROWS, markdown, report_of

    path = database_path(db)
    effects = Effects(ratio=effect / 100, response_ms=effect_ms, alpha=alpha, block_s=block)
    compared = compare_sides(*sides(path, baseline, candidate, judge), effects)
    if fmt == "markdown":
        _put(markdown(compared, effects), output)
    else:
        top = MOST_ROWS if fmt in ("table", "html") else None
        show(report_of(compared, effects, top), _asked(fmt, output, path))
    if compared.outcome is CandidateOutcome.WORSE:
        return WORSE
    return _CANNOT_TELL if strict and compared.outcome is CandidateOutcome.CANNOT_TELL else 0


@click.command("trend")
@click.argument("name", required=False)
@click.option("--runs", type=click.IntRange(min=1), default=50, show_default=True, help="The newest N runs.")
@click.option("--all-plans", is_flag=True, help="Include runs with another plan than the newest.")
@click.option("--block", type=Duration(), default="10s", show_default=True, help="Length of a block.")
@form
@output_file
@database
def trend_command(
    name: str | None, runs: int, all_plans: bool, block: float, fmt: str, output: Path | None, db: Path | None
) -> int:
    """Show the load tests NAME over time, and where their level changed.

    NAME is by default that of the newest load test. A change of level needs ten runs, five on either side of it.
    Runs that did not finish, or in which the load generator was the limit, are left out; changes of the environment are
    marked.
    """
    from checker.loadtest.judging.saturation import judge
    from reports.loadtests.compared_runs import runs_of
    from reports.loadtests.trend import build, without_runs

    path = database_path(db)
    found = runs_of(path, name, runs, judge, all_plans=all_plans)
    brief = fmt == "table"
    report = build(found.runs, found.left_out, block, brief=brief) if found.runs else without_runs(found)
    show(report, _asked(fmt, output, path))
    return 0


@click.group("baseline", cls=FullGroup)
def baseline_command() -> None:
    """Set, list or remove baselines: named load tests that others are compared with, and that are never pruned."""


@baseline_command.command("set")
@click.argument("name")
@click.argument("run", default="last", shell_complete=completed_names.load_tests)
@database
def baseline_set(name: str, run: str, db: Path | None) -> int:
    """Make RUN, a number or `last`, the baseline NAME, in place of the run that had the name."""
    from checker.loadtest.judging.saturation import judge
    from reports.loadtests.compared_runs import sole, unfit
    from storage.loadtests.read import set_baseline
    from storage.store import open_store

    path = database_path(db)
    chosen = sole(path, run)
    if reason := unfit(chosen, judge):
        raise UsageError(f"{reason}: it can be no baseline")
    with open_store(path) as store:
        set_baseline(store, name, chosen.id or 0, now_ms())
    click.echo(f"{name}: load test {chosen.id}", err=True)
    return 0


@baseline_command.command("list")
@output_format
@database
def baseline_list(fmt: str, db: Path | None) -> int:
    """List the baselines."""
    from reports.loadtests.run_lists import baselines_table
    from storage.loadtests.read import bench_baselines_of

    _print(baselines_table(bench_baselines_of(database_path(db))), fmt, "no baseline yet")
    return 0


@baseline_command.command("remove")
@click.argument("name")
@database
def baseline_remove(name: str, db: Path | None) -> int:
    """Remove the baseline NAME; its load test stays."""
    from storage.loadtests.read import remove_baseline
    from storage.store import open_store

    path = _existing(db)
    with open_store(path) as store:
        remove_baseline(store, name)
    return 0


@click.command("delete")
@click.argument("runs", type=int, nargs=-1)
@click.option("--older-than", type=Duration(), help="All that started longer ago than this.")
@click.option(
    "--keep-last",
    type=click.IntRange(min=0),
    metavar="N",
    help="All but the newest N of each name; with --older-than, both must hold.",
)
@database
def delete_command(runs: tuple[int, ...], older_than: float | None, keep_last: int | None, db: Path | None) -> int:
    """Delete the load tests RUNS by their numbers, or the old ones; baselines are never deleted.

    \b
    mcp-status bench delete 12 13
    mcp-status bench delete --older-than 90d --keep-last 20
    """  # noqa: D301 # click wants the backspace itself
    from storage.loadtests.read import delete_benchmarks, prune_benchmarks
    from storage.store import open_store

    by_age = older_than is not None or keep_last is not None
    if by_age == bool(runs):
        raise UsageError("bench delete: name load tests by their numbers, or give --older-than or --keep-last")
    path = _existing(db)
    with open_store(path) as store:
        gone = list(runs)
        if by_age:
            before_ms = None if older_than is None else now_ms() - round(older_than * 1000)
            gone = prune_benchmarks(store, before_ms, keep_last or 0)
        else:
            delete_benchmarks(store, gone)
    click.echo(f"deleted: {', '.join(map(str, gone)) or 'none'}", err=True)
    return 0


def _existing(db: Path | None) -> Path:
    """The database file; raises StorageError if it is missing: reading a history must not create one."""
    from storage.connections import reading_connection

    path = database_path(db)
    reading_connection(path).close()
    return path


def _asked(fmt: str, output: Path | None, path: Path) -> Asked:
    return Asked(since=When("", 0.0), groups=(), tags=(), names=(), fmt=fmt, output=output, images="svg", database=path)


def _put(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)


def _print(table: Any, fmt: str, nothing: str) -> None:
    """Print a table in the chosen format, or for people a short message if it is empty."""
    from reports.loadtests.run_lists import printed

    if fmt == "table" and not table.rows:
        click.echo(nothing)
        return
    printed(table, fmt, sys.stdout)
