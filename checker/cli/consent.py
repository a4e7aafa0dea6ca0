"""Whether somebody else's document may start its programs and be told variables: by option, or asked on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from checker.importers.trust import Leave, Wishes

_MOST_SHOWN = 100
_MOST_CHARACTERS = 10_000
"""What nobody would look through is not asked about."""


def leave(commands: bool, variables: Sequence[str]) -> Leave:
    """What the options allow; what they do not is asked, where there is a terminal to ask on."""
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
