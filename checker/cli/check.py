"""`mcp-status check`: check servers once, store the results, print them."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from checker.cli import completed_names
from checker.cli.options import Decorated, Duration, config_environment, database, database_path, output_format
from checker.clock import now_ms
from checker.errors import StorageBusy, UsageError
from checker.log_lines import log_to_stderr
from checker.probe_kinds import FLAGS, flags_in_words

if TYPE_CHECKING:
    from checker.importers.trust import Leave, Wishes
    from checker.metrics import RunMeasures
    from checker.run.caches import ConfigUse
    from checker.settings.blocks import Settings
    from checker.settings.targets import CheckTarget
    from storage.history import CheckRow, ContractRow, RunRow


@contextmanager
def for_good() -> Iterator[None]:
    """Freeze objects made inside, so that the garbage collector never scans them; they live until the program ends.

    A fleet of ten thousand servers is a million objects; collections took a third of a run's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def configured(path: Path, environment: str | None, database: Path) -> tuple[Settings, ConfigUse | None]:
    """The settings and the ingredients they were made of; raises ConfigError.

    The second is None for a file that cannot be cached, such as a pipe.
    """
    from checker.run.caches import CONFIG, ConfigUse
    from checker.settings import config_cache
    from storage.sqlite_driver import cache_entry

    key = config_cache.cache_key(path, environment)
    kept = cache_entry(database, CONFIG, key, now_ms())
    if kept is not None and (settings := config_cache.opened(kept, path, environment)) is not None:
        return settings, ConfigUse(key, None)
    settings, made_of = config_cache.loaded(path, environment)
    if made_of is None:
        return settings, None
    return settings, ConfigUse(key, lambda: config_cache.encode_settings(settings, made_of))


_MOST_SHOWN = 100
_MOST_CHARACTERS = 10_000
"""A longer request than anybody would read is denied without asking."""


def leave(commands: bool, variables: Sequence[str]) -> Leave:
    """Permissions from the options; for anything else the user is asked, if there is a terminal."""
    from checker.importers.trust import Leave

    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    return Leave(commands, frozenset(variables), _asked if terminal else None)


def _asked(wishes: Wishes) -> bool:
    lines = (*wishes.commands, *wishes.variables)
    if len(lines) > _MOST_SHOWN or sum(map(len, lines)) > _MOST_CHARACTERS:
        click.echo("more than can be looked through here; look at the file with config import", err=True)
        return False
    if wishes.commands:
        click.echo("The file would start:", err=True)
    for line in wishes.commands:
        click.echo(f"  {line}", err=True)
    if wishes.variables:
        click.echo("Values of these environment variables would go:", err=True)
    for line in wishes.variables:
        click.echo(f"  {line}", err=True)
    return click.confirm("Is that all right?", default=False, err=True)


_EXIT_CODES = {"UNHEALTHY": 2, "UNKNOWN": 3, "DEGRADED": 1}
_FAILS_ON = {
    "degraded": ("UNHEALTHY", "UNKNOWN", "DEGRADED"),
    "unhealthy": ("UNHEALTHY", "UNKNOWN"),
    "never": (),
}
_DRIFT = {"breaking": ("breaking",), "risky": ("breaking", "risky"), "any": ("breaking", "risky", "cosmetic")}
_DRIFTED = 2
_SORTS = ("worst", "name", "slowest")
"""The orders of `reports.run_as_text.ordered`."""
_INTERRUPTED = 128


class Listing(NamedTuple):
    """Which servers of a run are listed, and in which order."""

    everything: bool
    problems: bool
    sort: str | None


def _server_flags(command: Decorated) -> Decorated:
    """Add the options that name a server: those of each kind of probe."""
    for _, flag in reversed(FLAGS.values()):
        command = click.option(
            f"--{flag.name}", flag.name, multiple=True, metavar=flag.metavar, help=f"{flag.help} Repeatable."
        )(command)
    return command


@click.command("check")
@click.argument("words", nargs=-1, metavar="[CONFIG | URL... | COMMAND...]", shell_complete=completed_names.files_only)
@_server_flags
@click.option("--from", "source", metavar="FILE", help="Check the servers of a client's or the registry's file or URL.")
@click.option("--allow-commands", is_flag=True, help="Start the programs that the file of --from names.")
@click.option(
    "--allow-env",
    "variables",
    multiple=True,
    metavar="NAME",
    help="Let --from use this environment variable; repeatable.",
)
@config_environment
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=completed_names.tags,
    help="Only servers with this tag; repeatable.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="GROUP",
    shell_complete=completed_names.groups,
    help="Only servers of this group; repeatable.",
)
@click.option(
    "--server",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=completed_names.servers,
    help="Only the server of this name; repeatable.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Worker processes. Default: one per core, fewer for a small fleet."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 100_000), help="Concurrent checks over all workers. Default: 500."
)
@click.option("--max-age", type=Duration(), help="Reuse a server's last result if it is younger: 60s, 5m, ...")
@click.option("--timeout", type=Duration(), help=f"Deadline of each attempt, with {flags_in_words('and')}.")
@click.option(
    "--fail-on",
    type=click.Choice(list(_FAILS_ON)),
    default="degraded",
    show_default=True,
    help="The least status that makes the exit code other than 0.",
)
@click.option(
    "--fail-on-drift",
    "drift",
    type=click.Choice(list(_DRIFT)),
    help="Exit with 2 if an MCP server's contract has changed that much since it was last seen.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be asked of whom, without secrets; send nothing.")
@click.option("--all", "everything", is_flag=True, help="List every server; of more than 50 only problems are.")
@click.option("--problems", is_flag=True, help="List only servers that are not HEALTHY, in every format.")
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    help="Order of the servers, in every format. A table has the worst first by default.",
)
@output_format
@database
@click.option("--quiet", "-q", is_flag=True, help="Print only errors; the exit code says the rest.")
@click.option("--verbose", "-v", count=True, help="Log to standard error; -vv logs more.")
def command(
    words: tuple[str, ...],
    source: str | None,
    allow_commands: bool,
    variables: tuple[str, ...],
    environment: str | None,
    tags: tuple[str, ...],
    groups: tuple[str, ...],
    names: tuple[str, ...],
    workers: int | None,
    concurrency: int | None,
    max_age: float | None,
    timeout: float | None,
    fail_on: str,
    drift: str | None,
    dry_run: bool,
    everything: bool,
    problems: bool,
    sort: str | None,
    fmt: str,
    db: Path | None,
    quiet: bool,
    verbose: int,
    **addresses: tuple[str, ...],
) -> int:
    """Check the servers of CONFIG, or those given on the command line, once.

    CONFIG is a file, or - for standard input. A URL is checked as MCP if it looks like it (/mcp, /sse, mcp.host), else
    as REST; what was guessed is said. A COMMAND is started as an MCP server; `--` before it keeps its options its own.

    Each server's probes run at the same time. Every result is stored before it is printed. One --mcp and one --rest are
    two probes of one server; of more, each is a server of its own.

    A file given with --from starts no program and gets no environment variable unless you agree to it, or it is the
    configuration of an MCP client in your own home folder. A document at an address never starts a program.

    \b
    Exit code: 0 all healthy, 1 some degraded, 2 some unhealthy, 3 some unknown,
               bad usage or bad config, 130 interrupted by Ctrl-C.

    \b
    mcp-status check fleet.yaml --tag prod --format json
    mcp-status check https://your.server/mcp https://your.server/health
    mcp-status check uvx mcp-server-time
    mcp-status check -- npx -y @modelcontextprotocol/server-memory
    mcp-status check --mcp http://127.0.0.1:8000/mcp --rest http://127.0.0.1:8000/health
    mcp-status check --from ~/.cursor/mcp.json
    mcp-status check --from .mcp.json --allow-commands --allow-env GITHUB_TOKEN
    mcp-status check fleet.yaml --fail-on-drift breaking
    mcp-status check fleet.yaml --problems --sort slowest
    mcp-status check fleet.yaml --max-age 60s
    mcp-status check fleet.yaml --dry-run
    """  # noqa: D301 # click wants the backspace itself
    from msgspec.structs import replace

    from checker.cli.progress import progress_bar, step_bar
    from checker.metrics import RunMeasures
    from checker.run import run
    from checker.run.governor import LEVEL
    from checker.secrets.known_secrets import know
    from checker.settings.selection import select

    log_level = {0: logging.CRITICAL, 1: logging.INFO}.get(verbose, logging.DEBUG)
    log_to_stderr(log_level)
    path = database_path(db)
    with for_good():
        given = _targets(words, addresses)
        settings, config_use = _settings(given, source, (allow_commands, variables), environment, timeout, path)
    know([*(options for one in settings.servers for options in one.probes.values()), settings.run.token_key or ""])
    if not quiet:
        for warning in settings.warnings:
            click.echo(f"mcp-status: {f'{settings.path}: ' if settings.path else ''}{warning}", err=True)
    limits = {"workers": workers, "concurrency": concurrency, "max_age": max_age}
    options = replace(settings.run, **{name: value for name, value in limits.items() if value is not None})
    chosen = select(settings.servers, tags=tags, groups=groups, names=names)
    if dry_run:
        from checker.cli.dry_run import print_plan

        print_plan(chosen, options, fmt)
        return 0
    request = run.RunRequest(
        servers=chosen,
        database=path,
        options=options,
        config=config_use,
        keep=settings.history,
        config_path=settings.path,
        environment=settings.environment,
        configured=[one.name for one in settings.servers] if _is_kept(given) else (),
        ad_hoc=bool(given) and not isinstance(given, Path),
        log_level=log_level,
    )
    if options.max_age and not options.caches.results.enabled and not quiet:
        click.echo("mcp-status: run.caches.results is not enabled: --max-age has no results to take", err=True)
    with progress_bar(not quiet) as progress:
        end = run.check(request, progress)

    from storage.history import open_history  # not before: importing it would hold up the workers' start

    with open_history(path) as history:
        stored, statuses = history.run(end.run_id), history.statuses_of_run(end.run_id)
        checks = [] if quiet else history.checks_of_run(end.run_id)
        changed = history.drift_of_run(end.run_id)
        # a table shows only the alerts, and reading the others takes a statement for each kind
        if verbose or fmt == "json":
            measures = history.measures_of_run(end.run_id)
        else:
            measures = RunMeasures(alerts=history.alerts_of_run(end.run_id))
        is_behind = history.is_behind(now_ms())
    if not quiet:
        _show(stored, checks, changed, measures, fmt, Listing(everything, problems, sort))
    for alert in measures.alerts if not (quiet or verbose) else ():  # with -v they were logged as they came
        if alert.level == LEVEL:
            click.echo(f"mcp-status: {alert.level}: {alert.detail}", err=True)
    if verbose:
        from reports.run_metrics import measure_lines

        for line in measure_lines(measures):
            click.echo(line, err=True)
    if is_behind and end.signal is None:
        sys.stdout.flush()  # who reads the results need not wait for what follows
        with suppress(StorageBusy), step_bar("closing hours", wanted=not quiet) as steps:  # or the next run sees to it
            run.tidy(path, settings.history, steps)
    if end.signal is not None:
        return _INTERRUPTED + end.signal
    code = _status_code(statuses, fail_on)
    drifted = any(row.grade in _DRIFT[drift] for row in changed) if drift else False
    return max(code, _DRIFTED) if drifted else code


def _status_code(statuses: set[tuple[str, bool]], fail_on: str) -> int:
    """The exit code; failures found by a worker that was late may have been caused by its own lateness."""
    found = {"UNKNOWN" if suspect and status != "HEALTHY" else status for status, suspect in statuses}
    return next((_EXIT_CODES[one] for one in _FAILS_ON[fail_on] if one in found), 0)


def _flags_with_values() -> str:
    *some, last = (f"--{flag.name} {flag.metavar}" for _, flag in FLAGS.values())
    return f"{', '.join(some)} or {last}"


def _targets(words: tuple[str, ...], addresses: dict[str, tuple[str, ...]]) -> Path | list[CheckTarget]:
    """The file that is named on the command line, or the servers; raises UsageError."""
    from checker.settings.targets import CheckTarget, targets

    found = targets(words)
    given = [CheckTarget(option, value) for option in FLAGS for value in addresses[option]]
    if isinstance(found, Path):
        if given:
            raise UsageError(_together())
        return found
    return [*found, *given]


def _is_kept(given: Path | list[CheckTarget]) -> bool:
    """True for a file that is there the next time, too: a pipe is another configuration each time."""
    return isinstance(given, Path) and given.is_file() and str(given) != "-"


def _together() -> str:
    return f"a config, --from, and {flags_in_words('or')} at the same time; give one of them"


def _settings(
    given: Path | list[CheckTarget],
    source: str | None,
    allowed: tuple[bool, tuple[str, ...]],
    environment: str | None,
    timeout: float | None,
    database: Path,
) -> tuple[Settings, ConfigUse | None]:
    from checker.settings.blocks import Settings

    if given and source is not None:
        raise UsageError(_together())
    if any(allowed) and source is None:
        raise UsageError("--allow-commands and --allow-env go with --from; a config may do what it says")
    if isinstance(given, list) and given:
        from checker.ad_hoc_names import named_beside
        from checker.settings.adhoc import adhoc_servers, what_was_guessed
        from storage.sqlite_driver import names_of_fleets

        servers = adhoc_servers(given, timeout)
        renamed = named_beside(servers, names_of_fleets(database))
        return Settings(servers=renamed.servers, warnings=(*what_was_guessed(given), *renamed.notes)), None
    if timeout is not None:
        raise UsageError(f"--timeout goes with {flags_in_words('and')}; a config has its own timeouts")
    if source is not None:
        from checker.settings.imported import imported_settings

        return imported_settings(source, leave=leave(*allowed)), None
    if not isinstance(given, Path):
        raise UsageError(
            f"nothing to check; name a config file, an address or a command, or give {_flags_with_values()}"
        )
    return configured(given, environment, database)


def _show(
    run: RunRow,
    checks: list[CheckRow],
    changed: list[ContractRow],
    measures: RunMeasures,
    fmt: str,
    listing: Listing,
) -> None:
    """Print the run; the summary goes to standard error if standard output is data."""
    from reports import check_documents, rows_as_text, run_as_text

    if fmt == "table":
        _show_table(run, checks, changed, listing)
        return
    shown = checks if not listing.problems else [one for one in checks if one.status != "HEALTHY"]
    shown = shown if listing.sort is None else run_as_text.ordered(shown, listing.sort)
    if fmt == "json":
        from reports.run_metrics import results_document

        document = results_document(run, checks, changed, measures)
        if shown is not checks:  # the run is told as it was
            document |= {"checks": list(map(check_documents.check_document, shown))}
        sys.stdout.write(rows_as_text.json(document))
    elif fmt == "ndjson":
        sys.stdout.writelines(rows_as_text.ndjson(map(check_documents.check_document, shown)))
    else:
        from checker.probe_kinds import KINDS

        kinds = list(KINDS)
        rows = [check_documents.csv_row(check, kinds) for check in shown]
        sys.stdout.writelines(rows_as_text.csv_lines(check_documents.csv_header(kinds), rows))
    click.echo(run_as_text.summary(run, checks), err=True)


def _show_table(run: RunRow, checks: list[CheckRow], changed: list[ContractRow], listing: Listing) -> None:
    """Print the checks for people: of a large fleet the problems, unless everything is asked for."""
    from reports import run_as_text
    from reports.text_tables import TextOutput

    out = TextOutput(sys.stdout)
    everything, problems, sort = listing
    shown = run_as_text.listed(checks, everything, problems=problems, sort=sort or "worst")
    if shown:
        out.table(run_as_text.checks_table(shown))
    if not problems and (more := run_as_text.not_listed(checks, shown)):
        out.line(more)
    if changed:
        from reports import tables

        out.line()
        out.table(tables.changes_table(changed))
        for line in tables.changes_left_out(changed):
            out.line(line)
    out.line()
    out.line(run_as_text.summary(run, checks))
