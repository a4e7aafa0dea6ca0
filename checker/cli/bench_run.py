"""`mcp-status bench run, quick and rerun`: play a load test, show, store and report it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from checker.cli import completed_names
from checker.cli.bench_report import Wanted, check_output, deliver, output_options
from checker.cli.options import Decorated, Duration, database, database_path
from checker.errors import UsageError
from checker.log_lines import log_to_stderr
from checker.probe_kinds import OPERATIONS, in_words

if TYPE_CHECKING:
    from checker.loadtest.plan import Operation, Plan
    from checker.loadtest.run import LoadEnd

THRESHOLDS_FAILED = 99
_INVALID = 3
_ABORTED = 2
_INTERRUPTED = 128
_CODES = (
    "Exit codes: 0 passed; 99 a threshold failed, or a regression with --fail-on-regression; 2 ended early; "
    "3 inconclusive because the load generator was the limit, or an invalid plan."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayOptions:
    """The command line's options for playing any plan: overrides, storage and output."""

    workers: int | None
    seed: int | None
    calibrate: bool
    public_hosts: tuple[str, ...]
    name: str | None
    database: Path
    store: bool
    baseline: str | None
    fail_on_regression: bool
    live: str
    verbose: int
    wanted: Wanted

    def __call__(self, plan: Plan) -> int:
        """Play the plan, show, store and report it; returns the exit code."""
        from checker.cli.bench_live import live_view
        from checker.loadtest.results import BenchState
        from checker.loadtest.run import LoadRequest, load_test
        from checker.secrets.known_secrets import know

        level = {0: logging.CRITICAL, 1: logging.INFO}.get(self.verbose, logging.DEBUG)
        log_to_stderr(level)
        know(options for one in plan.servers for options in one.probes.values())
        if self.baseline is not None and not self.store:
            raise UsageError("--compare needs the database; leave out --no-store")
        check_output(self.wanted, self.database, self.baseline)
        for warning in plan.warnings:
            click.echo(f"mcp-status: {plan.path or plan.name}: {warning}", err=True)
        path = self.database if self.store else None
        shown = live_view(self.live != "off", self.live == "json", thresholds=plan.thresholds)
        with shown as watcher:
            request = LoadRequest(plan=self._adjusted(plan), database=path, watchers=(watcher,), log_level=level)
            end = load_test(request)
        quiet = self.live == "json"
        worse = deliver(end.run, end.saturation, self.wanted, plan.output, path, self.baseline, quiet=quiet)
        if end.run.id is not None and self.live != "off":
            click.echo(f"load test {end.run.id}; mcp-status bench report {end.run.id} shows it again", err=True)
        if end.unstored:
            click.echo(f"mcp-status: not stored: {end.unstored}", err=True)
        if end.signal is not None:
            return _INTERRUPTED + end.signal
        if _is_broken(end) or (worse and self.fail_on_regression):
            return THRESHOLDS_FAILED
        if end.run.state is BenchState.ABORTED:
            return _ABORTED
        return _INVALID if end.saturation.invalid or end.unstored else 0

    def _adjusted(self, plan: Plan) -> Plan:
        return replace(
            plan,
            workers=self.workers or plan.workers,
            seed=plan.seed if self.seed is None else self.seed,
            calibrate=self.calibrate and plan.calibrate,
            public_hosts=(*plan.public_hosts, *self.public_hosts),
            name=self.name or plan.name,
        )


def _is_broken(end: LoadEnd) -> bool:
    """True if a threshold is broken whatever the load generator did; an inconclusive one is not."""
    claims = end.saturation.claims.thresholds
    return any(one.told == "failed" for one in claims) if claims else any(not one.passed for one in end.run.thresholds)


_OF_PLAYING = tuple(field.name for field in fields(PlayOptions) if field.name != "database")


def play_options(command: Decorated) -> Decorated:
    """Add the options that every load test has; the command gets them as ``play``."""

    @wraps(command)
    def wrapped(db: Path | None, **given: Any) -> Any:
        own = {name: given.pop(name) for name in _OF_PLAYING}
        return command(play=PlayOptions(database=database_path(db), **own), **given)

    options = (
        click.option("--name", metavar="NAME", help="Name in lists, instead of the plan's name."),
        click.option("--workers", type=click.IntRange(1, 256), help="Load generator processes. Default: as needed."),
        click.option("--seed", type=int, help="Seed of random arrivals and of the order of blocks."),
        click.option(
            "--calibrate/--no-calibrate",
            default=True,
            help="Calibrate the load generator against a loopback echo first (3 s).",
        ),
        click.option(
            "--allow-public",
            "public_hosts",
            multiple=True,
            metavar="HOST",
            help="Allow load on this public host; only for hosts that you may test. Repeatable.",
        ),
        click.option("--store/--no-store", default=True, help="Store the results in the database."),
        click.option(
            "--compare",
            "baseline",
            metavar="BASELINE",
            help="Compare with a run's number, a baseline's name, last-good or window:5.",
        ),
        click.option("--fail-on-regression", is_flag=True, help="With --compare: exit with 99 if it is worse."),
        click.option(
            "--live",
            type=click.Choice(("auto", "off", "json")),
            default="auto",
            show_default=True,
            help="Live view: on a terminal a screen, elsewhere lines; off; or JSON lines.",
        ),
        click.option("--verbose", "-v", count=True, help="Log to standard error; -vv logs more."),
        output_options,
        database,
    )
    decorated: Decorated = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


@click.command("run", epilog=_CODES)
@click.argument("plan", shell_complete=completed_names.files_only)
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="Only this scenario; repeatable.")
@click.option("--suite", is_flag=True, help="Run the grid of users and servers of a legacy configuration.")
@click.option("--environment", "-e", metavar="NAME", help="Environment of the configuration that servers come from.")
@play_options
def run_command(
    plan: str,
    scenarios: tuple[str, ...],
    suite: bool,
    environment: str | None,
    play: PlayOptions,
) -> int:
    """Run the load test in the file PLAN: scenarios, a suite or a stress test.

    Load goes to loopback and private addresses only, unless a host is named with --allow-public. Ctrl-C ramps down
    within two seconds, then stores and reports the results so far; a second Ctrl-C stops at once.

    \b
    mcp-status bench run plan.yaml
    mcp-status bench run plan.yaml --compare last-good --fail-on-regression
    mcp-status bench run plan.yaml --output-dir results --also html --also junit
    mcp-status bench run config.yaml --scenario heavy_load
    """  # noqa: D301 # click wants the backspace itself
    from checker.settings.loadtests.plan_file import load_plan
    from checker.settings.targets import is_address

    if is_address(plan):
        raise UsageError("an address, no plan; `mcp-status bench quick ADDRESS` puts load on it")
    return play(load_plan(plan, environment, scenarios=scenarios, suite=suite))


@click.command("quick", epilog=_CODES)
@click.argument("url")
@click.option(
    "--operation",
    metavar="NAME",
    help=f"{in_words(OPERATIONS)}. Default: mcp_list for /mcp, else rest.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Arrivals per second (open). Default: 50.")
@click.option("--users", type=click.IntRange(min=1), help="Users who each wait for their answer (closed).")
@click.option(
    "--duration", "-d", type=Duration(), default="30s", show_default=True, help="Duration of the measurement."
)
@click.option(
    "--warm-up", type=Duration(), default="2s", show_default=True, help="Warm-up before it, at the same level."
)
@click.option("--ramp-up", type=Duration(), default="0s", help="Time to ramp up to the level.")
@click.option("--ramp-down", type=Duration(), default="0s", help="Time to ramp down.")
@click.option("--poisson", is_flag=True, help="Random (Poisson) arrivals instead of evenly spaced ones.")
@click.option(
    "--think-time", type=Duration(), default="0s", help="Pause of a user between an answer and the next request."
)
@click.option("--timeout", type=Duration(), default="10s", show_default=True, help="Time limit of one operation.")
@click.option(
    "--max-in-flight", type=click.IntRange(min=1), default=1000, show_default=True, help="Most operations in flight."
)
@click.option("--tool", metavar="NAME", default="", help="The tool to call, with --operation mcp_call.")
@click.option("--arguments", metavar="JSON", default="{}", help="Its arguments.")
@click.option(
    "--threshold",
    "-t",
    "thresholds",
    multiple=True,
    metavar="EXPR",
    help="Such as 'p(95)<500' or 'failed:rate<0.01'; repeatable.",
)
@click.option("--abort", is_flag=True, help="End the run when a threshold fails.")
@play_options
def quick_command(
    url: str,
    operation: str | None,
    rate: float | None,
    users: int | None,
    duration: float,
    warm_up: float,
    ramp_up: float,
    ramp_down: float,
    poisson: bool,
    think_time: float,
    timeout: float,
    max_in_flight: int,
    tool: str,
    arguments: str,
    thresholds: tuple[str, ...],
    abort: bool,
    play: PlayOptions,
) -> int:
    """Put load on URL without a plan: at a rate (open model), or with users (closed model).

    \b
    mcp-status bench quick http://127.0.0.1:8000/health --rate 200 -t "p(99)<250"
    mcp-status bench quick http://127.0.0.1:8000/health --users 20 -d 1m
    mcp-status bench quick http://127.0.0.1:8000/mcp --operation mcp_list --rate 50
    """  # noqa: D301 # click wants the backspace itself
    from checker.settings.loadtests.quick import quick_plan

    return play(
        quick_plan(
            url,
            _operation(operation),
            rate=rate,
            users=users,
            duration=duration,
            warm_up=warm_up,
            ramp_up=ramp_up,
            ramp_down=ramp_down,
            poisson=poisson,
            think_time=think_time,
            timeout=timeout,
            max_in_flight=max_in_flight,
            tool=tool,
            arguments=_json(arguments),
            thresholds=thresholds,
            abort=abort,
        )
    )


@click.command("rerun", epilog=_CODES)
@click.argument("run", default="last", shell_complete=completed_names.load_tests)
@play_options
def rerun_command(run: str, play: PlayOptions) -> int:
    """Run the plan of the stored load test RUN again: a number, last, or the name of a baseline.

    Secrets are not stored: they are read from the plan's variables again, and missing ones are reported.
    """
    from checker.settings.loadtests.plan_file import stored_plan
    from reports.loadtests.compared_runs import sole

    found = sole(play.database, run)
    return play(replace(stored_plan(found.plan, name=found.name), seed=found.seed))


def _operation(name: str | None) -> Operation | None:
    operation = None if name is None else name.replace("-", "_")
    if operation is not None and operation not in OPERATIONS:
        raise UsageError(f"--operation {name}: write one of {', '.join(OPERATIONS)}")
    return operation


def _json(text: str) -> dict[str, Any]:
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--arguments: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--arguments: write an object, such as {"city": "Bern"}')
    return value
