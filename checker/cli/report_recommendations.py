"""`mcp-status report recommendations`: settings to change, with the evidence from stored runs."""

from __future__ import annotations

import os
import socket
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from checker.cli.browser import of_page, open_page, show_in_browser
from checker.cli.moments import FORMS, When, WhenParam, period_ms
from checker.cli.options import database, database_path
from checker.cli.report_options import form, output_file, write_whole
from checker.clock import now_ms

if TYPE_CHECKING:
    from reports.recommendations import SettingsReport


@click.command("recommendations")
@click.option("--since", type=WhenParam(), default="7d", show_default=True, help=f"From when on: {FORMS}.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Compare its timeouts with measured durations."
)
@click.option("--environment", "-e", metavar="NAME", help="Environment of the config.")
@form
@output_file
@open_page
@database
def command(
    since: When,
    config: Path | None,
    environment: str | None,
    fmt: str,
    output: Path | None,
    opens: bool,
    db: Path | None,
) -> None:
    """Recommend settings to change, each with its evidence.

    Ten rules look at what runs measured of themselves; `mcp-status docs recommendations` has their thresholds.
    Nothing is recommended from fewer than three finished runs.

    \b
    mcp-status report recommendations --since 24h
    mcp-status report recommendations --config fleet.yaml --format json
    """  # noqa: D301 # click wants the backspace itself
    from reports import recommendations as report
    from reports.text_tables import TextOutput
    from storage.settings_evidence import evidence_since

    if opens:
        fmt, output = of_page(fmt, output, "recommendations")
    timeouts_s: dict[str, float] = {}
    if config is not None:
        from checker.settings.load import load

        for server in load(config, environment).servers:
            for kind, options in server.probes.items():
                timeouts_s[kind] = max(options.timeout, timeouts_s.get(kind, 0.0))
    evidence = evidence_since(database_path(db), period_ms(since, None, now_ms())[0])
    found = report.recommend(evidence, timeouts_s, os.cpu_count(), socket.gethostname())
    if output is not None:
        text = StringIO()
        _write(found, fmt, text)
        write_whole(output, text.getvalue())
    else:
        _write(found, fmt, sys.stdout)
    if fmt == "table" and output is None:
        TextOutput(sys.stdout).line(found.looked_at)
    else:
        click.echo(found.looked_at, err=True)
    if opens and output is not None:
        click.echo(str(output), err=True)
        show_in_browser(output)


def _write(found: SettingsReport, fmt: str, stream: TextIO) -> None:
    from reports import recommendations as report
    from reports import rows_as_text
    from reports.text_tables import TextOutput

    if fmt == "html":
        from reports.html import page

        stream.write(page(report.as_page(found, now_ms())))
    elif fmt != "table":
        records = map(report.recommendation_document, found.recommendations)
        rows = ([getattr(one, name) for name in report.COLUMNS] for one in found.recommendations)
        stream.writelines(rows_as_text.answer(fmt, report.report_document(found), records, report.COLUMNS, rows))
    elif found.recommendations:
        TextOutput(stream).table(report.recommendations_table(found.recommendations))
    else:
        stream.write("nothing to recommend\n")
