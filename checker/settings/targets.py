"""Words of a command line that name what to check: an address, a command or a file; and what an address speaks."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from checker.errors import UsageError
from checker.probe_kinds import FLAGS, flags_in_words

_STANDARD_INPUT = "-"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BARE_ADDRESS = re.compile(r"(?:localhost|[\w-]+(?:\.[\w-]+)+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?(?:/\S*)?", re.ASCII)
"""What a browser would take for an address: a host, perhaps with a port and a path."""
_IS_FILE = (".yaml", ".yml", ".json", ".toml")
_OF_MCP = frozenset(("mcp", "sse"))
_OF_HEALTH = frozenset(("health", "healthz", "livez", "readyz", "ping", "status", "up", "metrics"))


class CheckTarget(Struct, frozen=True):
    """One server of the command line: an option of `checker.probe_kinds.FLAGS`, and its value."""

    option: str
    value: str
    is_guessed: bool = False
    """The option was not given: it follows from the form of the value."""


def is_address(word: str) -> bool:
    """True for a word that begins as an address does: ``https://``."""
    return _ADDRESS.match(word) is not None


def kind_of_address(url: str) -> str:
    """The kind of probe that an address asks for by its looks: MCP if its path or the first label of its host says so.

    ``https://host/mcp``, ``/api/mcp/v1``, ``/sse`` and ``https://mcp.host`` are MCP; everything else is REST. A path
    that ends in a usual name of health endpoints is REST whatever comes before.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # its fault is told where it is used
        return "rest"
    steps = [step for step in parts.path.lower().split("/") if step]
    if steps and steps[-1] in _OF_HEALTH:
        return "rest"
    return "mcp" if _OF_MCP.intersection(steps) or host.startswith("mcp.") else "rest"


def targets(words: Sequence[str]) -> Path | list[CheckTarget]:
    """What the words name: a file, or servers; raises UsageError for words that name neither.

    A word with ``://`` is an address, ``-`` standard input, one that exists or ends as a configuration does a file,
    unless it is a program; a program takes the words after it as its arguments, and a word with spaces is a command.
    """
    found: list[CheckTarget] = []
    for at, word in enumerate(words):
        if is_address(word):
            found.append(CheckTarget(kind_of_address(word), word, is_guessed=True))
        elif _is_command_line(word):
            found.append(CheckTarget(_command_option(), word, is_guessed=True))
        elif not found and _is_program(word):
            return [CheckTarget(_command_option(), _joined(words[at:]), is_guessed=True)]
        elif word == _STANDARD_INPUT or _is_file(word):
            if len(words) > 1:
                others = _joined([*words[:at], *words[at + 1 :]])
                raise UsageError(f"{word}: a file is checked by itself; check {others} with a command of its own")
            return Path(word)
        else:
            raise UsageError(_neither(word))
    return found


def _joined(words: Sequence[str]) -> str:
    import shlex  # not before: most name a file

    return shlex.join(words)


def _command_option() -> str:
    return next(name for name, (_, flag) in FLAGS.items() if flag.is_command)


def _is_command_line(word: str) -> bool:
    """True for a program and its arguments in one word."""
    if not word.strip().count(" ") or os.path.exists(word):
        return False
    import shlex

    try:
        first, *others = shlex.split(word) or [""]
    except ValueError:  # a quote that is not closed, of which the reading of the command tells
        return " " in word.strip()
    return bool(others) and bool(first)


def _is_program(word: str) -> bool:
    if os.path.exists(word):
        return os.path.isfile(word) and os.access(word, os.X_OK) and not word.lower().endswith(_IS_FILE)
    if os.sep in word or word == _STANDARD_INPUT or word.lower().endswith(_IS_FILE):
        return False
    import shutil

    return shutil.which(word) is not None


def _is_file(word: str) -> bool:
    return os.path.exists(word) or word.lower().endswith(_IS_FILE)


def _neither(word: str) -> str:
    if _BARE_ADDRESS.fullmatch(word):
        scheme = "http" if word.startswith(("localhost", "127.", "[::1]")) else "https"
        return f'"{word}": no such file or program; an address begins with its scheme: {scheme}://{word}'
    from difflib import get_close_matches

    folder, name = os.path.split(word)
    there = [one for one in _names_in(folder) if one.lower().endswith(_IS_FILE)]
    close = get_close_matches(name, there, n=1, cutoff=0.5)
    meant = f'; did you mean "{os.path.join(folder, close[0])}"?' if close else ""
    return (
        f'"{word}": no such file, and no program of this name{meant or "; name a config file, an address or a command"}'
        f" ({flags_in_words('and')} say what it is)"
    )


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except OSError:
        return []
