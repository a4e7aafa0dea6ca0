"""Command line options common to all reports: selection of servers, period, and output format."""

from __future__ import annotations

import gc
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from checker.cli import completed_names
from checker.cli.browser import of_page, open_page, show_in_browser
from checker.cli.moments import FORMS, When, WhenParam, period_ms
from checker.cli.options import REPORT_FORMATS, Decorated, database, database_path, format_option, not_a_dash
from checker.clock import now_ms
from checker.errors import UsageError
from checker.probe_kinds import KINDS

if TYPE_CHECKING:
    from reports.report_model import Report
    from storage.report_history import Past
    from storage.rollups.read import Period

form = format_option(REPORT_FORMATS)
"""Adds ``--format``."""
output_file = click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    callback=not_a_dash,
    help="Write to a file.",
)
"""Adds ``--output``."""
_until = click.option(
    "--until",
    type=WhenParam(),
    help="Up to when, as --since; the last hour counts as a whole, over three days the last day.",
)
of_kinds = click.option(
    "--kind",
    "kinds",
    type=click.Choice(tuple(KINDS)),
    multiple=True,
    callback=lambda _context, _option, given: given or tuple(KINDS),
    help="Only probes of this kind.",
)
"""Adds ``--kind``; the command gets all kinds if none is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Subject of a report and its output options."""

    since: When
    groups: tuple[str, ...]
    tags: tuple[str, ...]
    names: tuple[str, ...]
    fmt: str
    output: Path | None
    images: str
    """Format of charts in HTML: svg or png."""
    database: Path
    until: When | None = None
    opens: bool = False
    """Show the page in a browser."""

    @property
    def selection(self) -> str:
        """The selection of servers, as text."""
        given = (("group", self.groups), ("tag", self.tags), ("server", self.names))
        return " and ".join(f"{word} {' or '.join(values)}" for word, values in given if values)

    @property
    def shows_pictures(self) -> bool:
        """True if the output has charts."""
        return self.fmt == "html"

    @contextmanager
    def past(self) -> Iterator[tuple[Past, Period]]:
        """The history of the selected servers, and the requested period."""
        from storage.report_history import open_past
        from storage.rollups.read import Period

        at_ms = now_ms()
        since_ms, until_ms = period_ms(self.since, self.until, at_ms)
        # A report makes hundreds of thousands of rows and no cycles: looking for some would take a quarter of its time.
        gc.disable()
        try:
            with open_past(self.database, at_ms, groups=self.groups, tags=self.tags, names=self.names) as past:
                period = Period.of(since_ms, until_ms)
                yield past, period if until_ms == at_ms else period.rounded_up(at_ms)
        finally:
            gc.enable()


def report_options(since: str, *, with_until: bool = True) -> Callable[[Decorated], Decorated]:
    """Add the options of every report; the command receives them as one argument, ``asked``."""

    def decorate(command: Decorated) -> Decorated:
        @wraps(command)
        def wrapped(
            since: When,
            groups: tuple[str, ...],
            tags: tuple[str, ...],
            names: tuple[str, ...],
            fmt: str,
            output: Path | None,
            images: str,
            db: Path | None,
            opens: bool,
            until: When | None = None,
            **more: Any,
        ) -> Any:
            if opens:
                fmt, output = of_page(fmt, output, "report")
            asked = Asked(
                since=since,
                until=until,
                opens=opens,
                groups=groups,
                tags=tags,
                names=names,
                fmt=fmt,
                output=output,
                images=images,
                database=database_path(db),
            )
            return command(asked=asked, **more)

        options = (
            click.option(
                "--since",
                type=WhenParam(),
                default=since,
                show_default=True,
                help=f"From when on: {FORMS}. Over three days, full days in UTC and today.",
            ),
            *((_until,) if with_until else ()),
            click.option(
                "--group",
                "groups",
                multiple=True,
                metavar="NAME",
                shell_complete=completed_names.groups,
                help="Only servers of this group.",
            ),
            click.option(
                "--tag",
                "tags",
                multiple=True,
                metavar="NAME",
                shell_complete=completed_names.tags,
                help="Only servers with this tag.",
            ),
            click.option(
                "--server",
                "names",
                multiple=True,
                metavar="NAME",
                shell_complete=completed_names.servers,
                help="Only this server.",
            ),
            form,
            output_file,
            open_page,
            click.option(
                "--images", type=click.Choice(("svg", "png")), default="svg", show_default=True, help="Charts in HTML."
            ),
            database,
        )
        decorated: Decorated = wrapped
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def report_command(name: str, module: str) -> click.Command:
    """The command of a report that only takes the options common to all.

    ``build`` of the module makes the report, and its docstring is the help; ``SINCE`` is the default start of the
    period.
    """
    report = import_module(module)

    @click.command(name, help=inspect.getdoc(report.build))
    @report_options(since=getattr(report, "SINCE", "30d"), with_until=getattr(report, "TAKES_UNTIL", False))
    def command(asked: Asked) -> None:
        with asked.past() as (past, period):
            made = report.build(past, period, asked.selection)
        show(made, asked)

    return command


def show(report: Report, asked: Asked) -> None:
    """Print the report as requested, or write it to the file, whole or not at all."""
    from reports import output_forms as forms

    if asked.fmt == "table" and asked.output is None:
        forms.text(report, sys.stdout)
        return
    written = _written(report, asked)
    if asked.output is None:
        sys.stdout.write(written)
    else:
        write_whole(asked.output, written)
        click.echo(f"{asked.output}: {report.verdict}", err=True)
    if asked.opens and asked.output is not None:
        show_in_browser(asked.output)


def write_whole(path: Path, text: str) -> None:
    """Write the text to the file atomically: a concurrent reader sees the old or the new text."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o666 & ~_umask())
        os.replace(file.name, path)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}; name a file in a folder that can be written with --output"
        ) from None


def _umask() -> int:
    value = os.umask(0o077)
    os.umask(value)
    return value


def _written(report: Report, asked: Asked) -> str:
    from io import StringIO

    from reports import output_forms as forms
    from reports import rows_as_text

    if asked.fmt == "json":
        return rows_as_text.json(forms.document(report))
    if asked.fmt == "ndjson":
        return "".join(rows_as_text.ndjson(record for one in report.sections[:1] for record in forms.records(one)))
    if asked.fmt == "csv":
        return "".join(forms.csv(report))
    if asked.fmt == "html":
        from reports.html import page

        return page(report, asked.images)
    text = StringIO()
    forms.text(report, text)
    return text.getvalue()
