"""Imported servers into the file of a configuration, new or existing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from shutil import copymode
from tempfile import NamedTemporaryFile

from checker.errors import ConfigError, UsageError
from checker.importers.imported import Imported, name_of, one_line
from checker.importers.secrets import withheld
from checker.importers.variables import needed
from checker.settings.document import read
from checker.settings.imported import appended, names_in

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


def merged_config(existing_text: str | None, imported: Imported) -> tuple[str, list[str]]:
    """The YAML of a configuration with these servers, and notes on what was left out and what is to be set.

    An existing text is kept as it is, and the servers are added at the end of its list; those whose names are there
    are left out. No secret is written. Raises ConfigError for a text whose list cannot be added to.
    """
    there = names_in(existing_text) if existing_text is not None else set()
    new = [entry for entry in imported.entries if entry["name"] not in there]
    notes = [
        one_line(f"{name_of(entry)}: left out: the config has a server of this name")
        for entry in imported.entries
        if entry["name"] in there
    ]
    if not imported.entries:
        raise ConfigError("nothing to write: no server was imported")
    taken = set(_VARIABLE.findall(existing_text or ""))
    written, said = withheld(new, taken)
    notes += said
    secrets = set(needed(written)) - set(needed(new))
    notes += [
        one_line(f"{name_of(entry)}: needs the variable {name}")
        for entry in written
        for name in needed(entry)
        if name not in secrets
    ]
    return appended(existing_text, written), notes


def chosen(imported: Imported, only: Sequence[str]) -> Imported:
    """The servers of these names; all where none is given. Raises UsageError for a name that no server has."""
    by_name = {name_of(entry): entry for entry in imported.entries}
    for name in only:
        if name not in by_name:
            there = get_close_matches(name, by_name, n=3) or list(by_name)[:10]
            raise UsageError(one_line(f'no server "{name}" was imported; there are: {", ".join(there) or "none"}'))
    return Imported(tuple(entry for name, entry in by_name.items() if not only or name in only), imported.notes)


def existing_text(path: Path) -> str:
    """The text of a configuration with its line ends as they are; raises ConfigError for what is not valid YAML."""
    read(path)  # for its messages: with the line, and of keys that stand twice
    return path.read_bytes().decode("utf-8")


def write(path: Path, text: str, replace: bool) -> None:
    """Write the file whole or not at all; raises ConfigError where it cannot be, or is there and not to be replaced."""
    target = path.resolve()  # the file, not a link to it
    try:
        if not replace:
            with target.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
            return
        with NamedTemporaryFile("w", encoding="utf-8", newline="", dir=target.parent, delete=False) as new:
            try:
                new.write(text)
                new.flush()
                copymode(target, new.name) if target.exists() else os.chmod(new.name, 0o644)
                os.replace(new.name, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(new.name)
                raise
    except OSError as error:
        raise ConfigError(f"{path}: not written: {error.strerror}; name a file in a folder that is writable") from None
