"""The root command group: its commands by name, loaded on first use, and the handling of every error at exit."""

from __future__ import annotations

import os
import sys

import click

from checker.cli.lazy_group import LazyGroup
from checker.errors import CheckerError
from checker.standard_streams import plain_streams
from checker.version import VERSION

COMMANDS = {
    "check": ("checker.cli.check", "Check servers once and store the results."),
    "history": ("checker.cli.history", "Show the past checks of one server."),
    "sql": ("checker.cli.sql", "Query the history in SQL, read-only."),
    "contract": ("checker.cli.contract", "Show what an MCP server offers, and how that changed."),
    "config": ("checker.cli.config", "Validate or import a configuration, or print its schema."),
    "cache": ("checker.cli.cache", "Show or clear what is kept between runs."),
    "report": ("checker.cli.report", "Availability, latency, trends, incidents, contracts, cost; a status page."),
    "bench": ("checker.cli.bench", "Load tests: what load servers can take, and whether that has changed."),
    "completion": ("checker.cli.completion", "Print the completion script of bash, zsh or fish."),
    "docs": ("checker.cli.docs", "Print a page of the documentation, or list them."),
    "db": ("checker.cli.db", "Inspect, prune, back up and check the database file."),
    "selftest": ("checker.cli.selftest", "Try this installation: does everything work on this machine?"),
}
"""Name -> place of the command, and its description."""
_USAGE = 3
"""Nagios: bad usage is UNKNOWN, not a statement about a server."""
_PIPE_CLOSED = 141
_COMPLETES = "_MCP_STATUS_COMPLETE"
"""The variable by which a shell asks for completions."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    aliases={"doctor": "selftest"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes follow Nagios: 0 all healthy, 1 degraded, 2 unhealthy, 3 unknown, bad usage or bad config; "
    "130 interrupted by Ctrl-C.",
)
@click.version_option(VERSION, prog_name="mcp-status")
def group() -> None:
    """Check the health of MCP servers and REST services, test them under load, and keep the history in SQLite.

    \b
    mcp-status check http://127.0.0.1:8000/mcp            one server, no config
    mcp-status check fleet.yaml --tag prod                a fleet
    mcp-status history search                             past checks of one server
    mcp-status sql "select * from latest_status"          any query
    mcp-status bench quick http://127.0.0.1:8000/health   a load test
    """  # noqa: D301 # click wants the backspace itself


def run() -> int:
    """Run the command that the arguments name, and return the exit code."""
    with plain_streams():
        return _run()


def _run() -> int:
    if _COMPLETES in os.environ:
        from checker.cli.completion import register

        register()
    try:
        code = group.main(prog_name="mcp-status", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)  # or click may write past the stream that is there
        return _USAGE
    except click.Abort:
        return 130
    except CheckerError as error:
        click.echo(f"mcp-status: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:  # `| head` has seen enough
        sys.stdout = None  # or Python complains at exit that it cannot flush
        return _PIPE_CLOSED
    except Exception:  # a mistake of ours: told like any other, but without the secrets that were read
        click.echo(f"mcp-status: a mistake of this program; please report it:\n{_masked_traceback()}", err=True)
        return _USAGE


def _masked_traceback() -> str:
    import traceback

    from checker.secrets.known_secrets import masked_for_log

    return masked_for_log(traceback.format_exc()).rstrip()
