"""Pages in the user's browser: ``--open``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from checker.errors import UsageError

open_page = click.option(
    "--open",
    "opens",
    is_flag=True,
    help="Show the page in a browser: --format html, in the file of --output or a temporary one.",
)
"""Adds ``--open``."""


def of_page(fmt: str, output: Path | None, name: str) -> tuple[str, Path]:
    """The format and the file of a page that is to be shown; raises UsageError for a format that is no page.

    Without ``output`` it is a new file in a folder that only the user can read: pages name servers and their faults.
    """
    if fmt not in ("table", "html"):  # table is the default
        raise UsageError(f"--open shows a page; leave out --format {fmt}")
    return "html", output or Path(tempfile.mkdtemp(prefix="mcp-status-")) / f"{name}.html"


def show_in_browser(page: Path) -> None:
    """Open the page; where there is no browser, say so: the page is there."""
    import webbrowser  # not before: it looks for every browser there is

    try:
        shown = webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        shown = False
    if not shown:
        click.echo(f"mcp-status: no browser could be started; open {page}", err=True)
