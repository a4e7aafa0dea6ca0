"""`mcp-status selftest`: whether this installation works on this machine."""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from checker.cli.options import database_path, output_format

if TYPE_CHECKING:
    from checker.selftest.installation import Feature
    from checker.selftest.steps import StepResult

_FAILED = 2
_MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "red"), "skipped": ("skipped", "yellow")}
_MARK_COLUMNS, _TITLE_COLUMNS = 9, 24
_WIDEST = 120


@click.command("selftest")
@output_format
def command(fmt: str) -> int:
    """Try the program on this machine, against servers of its own on 127.0.0.1, in a few seconds.

    It checks REST, both eras of MCP, stdio and HTTPS, servers that fail, connection pools, limits, batches, caches, the
    terminal and the store, says what the program runs with, and what is missing for which feature. Nothing leaves this
    machine, and no file or process is left behind.

    \b
    Exit code: 0 everything works, 2 a step failed, 130 interrupted by Ctrl-C.

    \b
    mcp-status selftest
    mcp-status selftest --format json      to send with a report of a fault
    """  # noqa: D301 # click wants the backspace itself
    from checker.selftest.steps import run_steps

    found: list[StepResult] = []
    with _ended_by_signals(), closing(run_steps()) as steps:
        for step in steps:
            found.append(step)
            if fmt == "table":
                _show_step(step)
        facts, missing = _installation()
    failed = sum(step.status == "failed" for step in found)
    if fmt == "table":
        _show_installation(facts, missing)
        _show_verdict(found, failed)
    else:
        _print_as(fmt, found, facts, missing)
    return _FAILED if failed else 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the test as Ctrl-C does: what was started is ended first."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {
        one: signal.signal(one, leave)
        for one in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(one) is signal.SIG_DFL  # under nohup SIGHUP is to be ignored
    }
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _installation() -> tuple[dict[str, str], list[Feature]]:
    from checker.selftest.installation import features, runtime, worker_facts

    worker = worker_facts()
    return runtime(worker), list(features(worker, database_path(None)))


def _show_step(step: StepResult) -> None:
    _show(_MARKS[step.status], step.title, step.found)
    if step.expected is not None:
        _show(("", None), "  expected", step.expected)
    if step.remedy is not None:
        _show(("", None), "  what to do", step.remedy)
    sys.stdout.flush()


def _show(mark: tuple[str, str | None], title: str, text: str) -> None:
    """A line with a mark, a title and a text, which goes on below itself where the terminal is narrow."""
    margin = _MARK_COLUMNS + _TITLE_COLUMNS
    room = max(20, min(_WIDEST, _columns()) - margin)
    first, *more = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    word, colour = mark
    click.secho(f"{word:{_MARK_COLUMNS}}", fg=colour, nl=False)
    click.echo(f"{title:{_TITLE_COLUMNS}}{first}")
    for line in more:
        click.echo(" " * margin + line)


def _columns() -> int:
    return shutil.get_terminal_size((_WIDEST, 24)).columns


def _show_installation(facts: Mapping[str, str], features: Sequence[Feature]) -> None:
    click.echo()
    for name, text in facts.items():
        _show(("", None), name, text)
    if missing := [one for one in features if not one.is_available]:
        click.echo("\nNot there, and what needs it:")
        for one in missing:
            lines = textwrap.wrap(f"{one.feature}: {one.found}; {one.remedy}", min(_WIDEST, _columns()) - 4)
            click.echo("  - " + "\n    ".join(lines))


def _show_verdict(steps: Sequence[StepResult], failed: int) -> None:
    took_s = sum(step.took_ms for step in steps) / 1000
    words = f"{failed} of {len(steps)} steps FAILED" if failed else f"everything works: {len(steps)} steps"
    click.secho(f"\n{words} in {took_s:.1f} s", fg="red" if failed else "green")


def _print_as(fmt: str, steps: Sequence[StepResult], facts: Mapping[str, str], features: Sequence[Feature]) -> None:
    from msgspec.structs import asdict

    from checker.version import VERSION
    from reports import rows_as_text

    rows = list(map(asdict, steps))
    document: dict[str, Any] = {
        "works": not any(step.status == "failed" for step in steps),
        "version": VERSION,
        "took_ms": sum(step.took_ms for step in steps),
        "steps": rows,
        "runtime": dict(facts),
        "features": list(map(asdict, features)),
    }
    columns = tuple(rows[0])
    sys.stdout.writelines(rows_as_text.answer(fmt, document, rows, columns, [tuple(row.values()) for row in rows]))
