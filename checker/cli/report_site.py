"""`mcp-status report site`: a static status page of the servers of a history."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from checker.cli import completed_names
from checker.cli.options import database, database_path
from checker.clock import now_ms
from checker.errors import UsageError

_LARGE = 50
"""Number of servers from which on a progress bar is shown."""


@click.command("site")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--title", default="Status", show_default=True, help="Heading of the overview and name of the feed.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    shell_complete=completed_names.groups,
    help="Only servers of this group.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME",
    shell_complete=completed_names.tags,
    help="Only servers with this tag.",
)
@click.option(
    "--server", "names", multiple=True, metavar="NAME", shell_complete=completed_names.servers, help="Only this server."
)
@click.option("--url", metavar="URL", help="Public address of DIR, for links in the feed: https://status.example/")
@click.option("--open", "opens", is_flag=True, help="Show the overview in a browser.")
@database
def command(
    folder: Path,
    title: str,
    groups: tuple[str, ...],
    tags: tuple[str, ...],
    names: tuple[str, ...],
    url: str | None,
    opens: bool,
    db: Path | None,
) -> None:
    """Write a status page into DIR, or update the one there.

    Static files with relative links only, to be served by anything or opened as they are: an overview, a page for each
    server (availability, latency, incidents, reasons, contract), badges (badges/NAME.svg, badges/NAME-uptime-30d.svg),
    JSON (index.json, servers/NAME.json) and a feed (feed.xml). Names, groups, tags and reasons of servers are shown;
    their addresses and the details of failures are not.

    Availability is the time up over the time up or down; unknown time and maintenance count as neither.

    Each file is replaced in one step; pages of retired servers are removed, and nothing else in DIR is touched.

    \b
    mcp-status report site /var/www/status
    mcp-status report site public --title "Search" --group search --url https://status.example.net/
    */5 * * * *  mcp-status report site /var/www/status      in a crontab, after the checks
    """  # noqa: D301 # click wants the backspace itself
    from reports.site.write import write_site
    from storage.report_history import open_past

    address = _address(url)
    at_ms = now_ms()
    gc.disable()  # pages are many strings and no cycles: looking for some takes a sixth of the time
    try:
        with (
            open_past(database_path(db), at_ms, groups=groups, tags=tags, names=names) as past,
            _bar(len(past.servers)) as progress,
        ):
            site = write_site(past, folder, title, address, progress)
    finally:
        gc.enable()
    click.echo(f"{folder / 'index.html'}: {site.verdict}", err=True)
    if opens:
        from checker.cli.browser import show_in_browser

        show_in_browser(folder / "index.html")


def _address(url: str | None) -> str | None:
    """The address with a trailing slash; raises UsageError if it is no address."""
    if url is None:
        return None
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"--url {url!r}: an address begins with https:// or http://")
    return url if url.endswith("/") else f"{url}/"


@contextmanager
def _bar(servers: int) -> Iterator[Callable[[int, int], None]]:
    """Progress on a terminal, if the work takes longer than a moment."""
    if servers < _LARGE or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from reports import terminal

    with terminal.progress(sys.stderr, "pages", "bar", "count") as bar:
        line = bar.add_task("pages", total=servers)
        yield lambda done, total: bar.update(line, completed=done, total=total)
