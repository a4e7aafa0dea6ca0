"""`mcp-status bench`: load tests, their reports and comparisons."""

from __future__ import annotations

import click

from checker.cli.lazy_group import LazyGroup

COMMANDS = {
    "run": ("checker.cli.bench_run:run_command", "Run the load test of a plan."),
    "quick": ("checker.cli.bench_run:quick_command", "Put load on one address, without a plan."),
    "rerun": ("checker.cli.bench_run:rerun_command", "Run a stored load test again."),
    "report": ("checker.cli.bench_report:report_command", "Show a stored load test, or write its report."),
    "list": ("checker.cli.bench_history:list_command", "List load tests."),
    "compare": ("checker.cli.bench_history:compare_command", "Compare two load tests: better, worse or the same."),
    "trend": ("checker.cli.bench_history:trend_command", "Follow the load tests of one plan over time."),
    "baseline": ("checker.cli.bench_history:baseline_command", "Set, list or remove baselines."),
    "calibrate": (
        "checker.cli.bench_report:calibrate_command",
        "Measure what the load generator can do on this machine.",
    ),
    "delete": ("checker.cli.bench_history:delete_command", "Delete load tests."),
}
"""Name -> the place of the command, and its purpose."""


@click.group("bench", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Run load tests; report, list and compare them.

    \b
    mcp-status bench quick http://127.0.0.1:8000/health --rate 200
    mcp-status bench run plan.yaml                  scenarios, a suite or a stress test
    mcp-status bench report --format html -o report.html
    mcp-status bench list                           all load tests
    mcp-status bench compare                        the last one against the last good one
    mcp-status bench trend                          changes over time
    """  # noqa: D301 # click wants the backspace itself
