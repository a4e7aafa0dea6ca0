"""Imported servers as configuration entries: notes on everything left out, placeholders as variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checker.untrusted_text import shortened

Entry = dict[str, Any]
"""A server in the form of the ``servers:`` list of a configuration, before variables are filled in."""

LONGEST_NAME = 200
MOST_SERVERS = 50_000
"""Limit for one document or listing; the official registry has a tenth of it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Servers that were read."""

    entries: tuple[Entry, ...]
    """Server entries in the order of the file; names are unique, and each literal ``$`` is written ``$$``."""
    notes: tuple[str, ...] = ()
    """One line each: what was left out or changed, and why. Values are never shown."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of a document."""

    shown: str
    """Path or address in printable form: without credentials and query values."""
    file: Path | None
    """Absolute path; None for an address."""

    @property
    def folder(self) -> Path | None:
        """The project's folder: that of the file, or the parent of a ``.vscode`` or ``.cursor`` folder."""
        if self.file is None:
            return None
        return self.file.parent.parent if self.file.parent.name in (".vscode", ".cursor") else self.file.parent


class Unusable(ValueError):
    """A server that cannot be imported; the message gives the reason, and becomes a note."""


def one_line(text: str, most: int = 300) -> str:
    """The text on one line, shortened, with line breaks and other terminal control characters written as escapes."""
    return shortened(text, most)


def name_of(entry: Entry) -> str:
    """The name of an entry for display, without the doubled ``$``."""
    return str(entry["name"]).replace("$$", "$")


class ServerNames:
    """Gives each server a unique name that a configuration accepts."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._taken: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        """The name, made printable and shortened if needed, with `` (2)`` if it is taken."""
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


_PLACEHOLDER = re.compile(r"\$(?:\{([^{}]*)(\}?)|([A-Za-z_][A-Za-z0-9_]*))?")
_WORDS = re.compile(r"[A-Za-z]{1,20}(?::[A-Za-z]{1,20})?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WITH_DEFAULT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-.*)?", re.DOTALL)
REFERENCE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\})")
"""A variable of our configuration, its name and its default; or ``$$``, a literal dollar sign."""
_SET_EVERYWHERE = {
    *("PATH", "HOME", "USER", "USERNAME", "LOGNAME", "SHELL", "PWD", "HOST", "HOSTNAME", "LANG", "TERM", "TMP", "TEMP"),
    *("TMPDIR", "EDITOR", "DISPLAY", "MAIL", "PAGER"),
}


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The placeholders that a program fills in, and their values for a file."""

    folder: Path | None = None
    """Value of ``${workspaceFolder}``; None if there is no folder."""
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    """Id of an input that VS Code asks for -> its default."""
    bare: bool = False
    """True if ``$NAME`` is a variable."""
    enabled: bool = True
    """True if the program fills in any placeholder at all."""

    def translated(self, text: str, notes: list[str]) -> str:
        """The text with our variables; every other ``$`` is doubled. Raises Unusable; adds to the notes."""
        if not self.enabled:
            return escaped(text)

        def ours(match: re.Match[str]) -> str:
            body, closing, bare = match.groups()
            if body is not None and closing:
                return self._braced(body, notes)
            return reference(bare) if bare and self.bare else escaped(match[0])

        return _PLACEHOLDER.sub(ours, text)

    def _braced(self, body: str, notes: list[str]) -> str:
        kind, colon, name = body.partition(":")
        if kind == "env" and _NAME.fullmatch(name):
            return reference(name)
        if kind == "input" and colon:
            notes.append(f'the input "{name}" is read from the variable {variable_name(name)}')
            return reference(variable_name(name), self.inputs.get(name))
        if body in ("workspaceFolder", "workspaceFolderBasename"):
            if self.folder is None:
                raise Unusable(f"${{{body}}} has no meaning at an address; save the file in its project")
            return escaped(str(self.folder) if body == "workspaceFolder" else self.folder.name)
        if body == "userHome":
            if self.folder is None:  # whoever answers at the address would learn what the user is called
                raise Unusable("${userHome} has no meaning at an address; save the file in its project")
            return escaped(os.path.expanduser("~"))
        if body in ("pathSeparator", "/"):
            return "/"
        if _WITH_DEFAULT.fullmatch(body):
            return f"${{{body}}}"
        shown = f"${{{body}}}" if _WORDS.fullmatch(body) else "a ${…} in it"  # which may be a secret by accident
        notes.append(f"{shown} is no variable that is known here; it is taken as text")
        return escaped(f"${{{body}}}")


def escaped(text: str) -> str:
    """The text in the form in which a configuration takes nothing in it for a variable."""
    return text.replace("$", "$$")


def reference(name: str, default: str | None = None) -> str:
    """``${NAME}`` or ``${NAME:-default}``; a default that cannot be written this way is left out."""
    return f"${{{name}}}" if default is None or "}" in default else f"${{{name}:-{default}}}"


def variable_name(*words: str) -> str:
    """The words as the name of an environment variable: ``GITHUB_API_KEY`` for ``github`` and ``apiKey``.

    A word that is the beginning of the next one is not repeated; variables that every system sets get another name.
    """
    snake: list[str] = []
    for word in words:
        apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word)
        snake.append(re.sub(r"[^A-Za-z0-9]+", "_", apart).strip("_").upper())
    following = [*snake[1:], ""]
    kept = [one for one, after in zip(snake, following, strict=True) if one and not f"{after}_".startswith(f"{one}_")]
    name = "_".join(kept) or "VALUE"
    if name in _SET_EVERYWHERE:
        return f"MCP_{name}"
    return f"_{name}" if name[0].isdigit() else name


def needed(value: Any) -> tuple[str, ...]:
    """The variables without a default in an entry, each once."""
    if isinstance(value, dict):
        return tuple(dict.fromkeys(name for item in value.values() for name in needed(item)))
    if isinstance(value, list):
        return tuple(dict.fromkeys(name for item in value for name in needed(item)))
    if not isinstance(value, str):
        return ()
    return tuple(dict.fromkeys(match[1] for match in REFERENCE.finditer(value) if match[1] and match[2] is None))


def is_name(text: str) -> bool:
    """True if our configuration accepts the text as the name of a variable."""
    return _NAME.fullmatch(text) is not None
