"""What reading a file of another program gives: server entries of our configuration, with notes on the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checker.plain_text import shortened

Entry = dict[str, Any]
"""A server as it stands in the ``servers:`` list of a configuration, before variables are filled in."""

LONGEST_NAME = 200
MOST_SERVERS = 50_000
"""Of one document or listing; the official registry has a tenth of it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Servers that were read."""

    entries: tuple[Entry, ...]
    """Server entries in the order of the file; names are unique, and a ``$`` of the file is written ``$$``."""
    notes: tuple[str, ...] = ()
    """One line each: what was left out or changed, and why. Values are never shown."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document was found."""

    shown: str
    """Path or address as it may be printed: without credentials and query values."""
    file: Path | None
    """Absolute path; None for an address."""

    @property
    def folder(self) -> Path | None:
        """The project's folder: that of the file, or the one above a ``.vscode`` or ``.cursor`` folder."""
        if self.file is None:
            return None
        return self.file.parent.parent if self.file.parent.name in (".vscode", ".cursor") else self.file.parent


class Unusable(ValueError):
    """A server that cannot be imported; the message says why, and becomes a note."""


def one_line(text: str, most: int = 300) -> str:
    """The text with line breaks and what else a terminal would act on written as escapes, and cut."""
    return shortened(text, most)


def name_of(entry: Entry) -> str:
    """The name of an entry as people know it, without the doubled ``$``."""
    return str(entry["name"]).replace("$$", "$")


class ServerNames:
    """Gives each server a name that no other one has, and that a configuration accepts."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._taken: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        """The name, made printable and cut where it must be, with `` (2)`` where it is taken."""
        printable = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in self._prefix + wanted)
        base = printable.strip()[:LONGEST_NAME].strip() or "server"
        name, number = base, self._taken.get(base, 0) + 1
        while number > 1 and name in self._taken:
            ending = f" ({number})"
            name = base[: LONGEST_NAME - len(ending)].strip() + ending
            number += name in self._taken
        self._taken[base] = number
        self._taken.setdefault(name, 1)
        return name
