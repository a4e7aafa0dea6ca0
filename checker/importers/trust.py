"""Trust in documents: the owner of a document decides whether it may start programs and read environment variables.

Only the configurations that clients keep in the user's home are the user's own. A ``.mcp.json`` or ``.vscode/mcp.json``
came with somebody's repository, and an address is answered by anyone.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from checker.importers.entries import REFERENCE, Entry, name_of, one_line
from checker.secrets.randomness import MARK, looks_random
from checker.secrets.sensitive_names import SecretPart, in_arguments, in_environment, in_url, is_secret_name

_APPLICATIONS = (".config", "Library/Application Support", "AppData/Roaming")
_OF_APPLICATIONS = (
    "Claude/claude_desktop_config.json",
    *(
        f"{editor}/User/{file}"
        for editor in ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")
        for file in ("mcp.json", "settings.json")
    ),
    "zed/settings.json",
    "opencode/opencode.json",
    "opencode/opencode.jsonc",
    "github-copilot/mcp.json",
)
_OWN = (
    ".claude.json",
    ".claude/settings.json",
    ".cursor/mcp.json",
    ".gemini/settings.json",
    ".codex/config.toml",
    ".codeium/windsurf/mcp_config.json",
    ".copilot/mcp-config.json",
    ".aws/amazonq/mcp.json",
    ".kiro/settings/mcp.json",
    ".lmstudio/mcp.json",
    ".junie/mcp/mcp.json",
    *(f"{folder}/{file}" for folder in _APPLICATIONS for file in _OF_APPLICATIONS),
)
"""Paths below the user's home where clients keep the user's servers."""
_WRITABLE_BY_ALL = 0o002
_CODE = re.compile(r"(?:OPTIONS|OPTS?|ARGS|FLAGS|PRELOAD|STARTUP|COMMAND)\Z|\ABASH_", re.IGNORECASE)
"""Variables that determine what a program runs; their values are shown like arguments."""
_OF_SHELLS = re.compile(r"[`;|<>(\n\r]|&&|\$\{")
_MAY_RUN = "***(hidden, and may hold commands: look at the file)"
_NAMED_BY_PLACE = ("user", "password", "query", "path")


@dataclass(frozen=True, slots=True)
class Leave:
    """Permissions of a document that is not the user's own."""

    commands: bool = False
    """True if the programs that it names may be started."""
    variables: frozenset[str] = frozenset()
    """Environment variables whose values it may use."""
    ask: Callable[[Wishes], bool] | None = None
    """Asks the user to grant the requests; None if there is nobody to ask."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Requests of a document beyond its permissions, one line of text each; secrets are masked."""

    commands: tuple[str, ...]
    """Server and command line."""
    variables: tuple[str, ...]
    """Name of a variable, and the destination of its value."""


NOTHING = Leave()
"""The permissions of a document without any grant."""


def own_file(path: Path) -> Path | None:
    """The resolved path of a file in which a client of this user keeps its servers; None if it is anybody else's.

    Links are resolved once: a link could point elsewhere by the time the file is read. The file must belong to the
    user, and neither it nor its folder may be writable by everybody.
    """
    try:
        home, found = Path.home().resolve(), path.resolve()
        file, folder = found.stat(), found.parent.stat()
    except (OSError, RuntimeError, ValueError):
        return None
    own = (
        any(found == home / place for place in _OWN)
        and file.st_uid == os.getuid()
        and not (file.st_mode | folder.st_mode) & _WRITABLE_BY_ALL
    )
    return found if own else None


def command_line(entry: Entry, told: Collection[str]) -> str:
    """The command line of an entry's server: program, arguments, variables and folder, with secrets masked.

    ``told`` are the variables whose values it would get; for any other its default is shown.
    """
    options = entry["mcp"]
    args = [_marked(one, told) for one in options.get("args", ())]
    env = [
        f"{name}={_masked(text, in_environment(name, text), whole=not _CODE.search(name))}"
        for name, text in ((name, _marked(value, told)) for name, value in options.get("env", {}).items())
    ]
    shown = [_masked(one, parts) for one, parts in zip(args, in_arguments(args), strict=True)]
    command = _marked(options["command"], told)
    words = [*env, _masked(command, in_arguments([command])[0]), *shown]
    folder = f" (in {_marked(options['cwd'], told)})" if options.get("cwd") else ""
    # whole, as what is cut off would be started unseen
    return one_line(f"{name_of(entry)}: {' '.join(map(_quoted, words))}{folder}".replace(MARK, "${…}"), sys.maxsize)


def variable_line(entry: Entry, name: str, told: Collection[str]) -> str:
    """The destination of a variable's value, if the document gets the values of ``told``."""
    options = entry["mcp"]
    return one_line(f"{name} to {_receiver(options, told)} ({name_of(entry)})", 500)


def _receiver(options: Entry, told: Collection[str]) -> str:
    if "command" in options:
        command = _marked(options["command"], told)
        return f"the program {_masked(command, in_arguments([command])[0])}".replace(MARK, "${…}")
    url = _marked(str(options.get("url", "")), told)
    masked = _masked(url, in_url(url))
    try:
        parts = urlsplit(masked)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".replace(MARK, "${…}")
    except ValueError:
        return "an address"


def used(entry: Entry) -> tuple[str, ...]:
    """The variables in an entry, with or without a default, each once."""
    found: dict[str, None] = {}
    waiting: list[object] = [entry]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, str):
            found.update((match[1], None) for match in REFERENCE.finditer(value) if match[1])
    return tuple(found)


def _marked(text: str, told: Collection[str]) -> str:
    """The text as it would be used, with a mark for each value filled in; defaults come from the document itself."""

    def used_there(match: re.Match[str]) -> str:
        if not match[1]:
            return "$"
        return MARK if match[1] in told or match[2] is None else match[2].removeprefix(":-")

    return REFERENCE.sub(used_there, text)


def _masked(text: str, parts: Sequence[SecretPart], *, whole: bool = False) -> str:
    """The text without its secrets; words that are merely not known to be harmless stay, as they may be the harm.

    If the hidden part could be a command, a note says so.
    """
    for part in reversed(parts):
        within = text[part.start : part.end]
        shown = _hidden(within)
        if not whole and not is_secret_name(part.name) and part.name not in _NAMED_BY_PLACE:
            shown = re.sub(r"[^\s'\"]+", lambda word: _hidden(word[0]) if looks_random(word[0]) else word[0], within)
        text = text[: part.start] + shown + text[part.end :]
    return text


def _hidden(secret: str) -> str:
    return _MAY_RUN if _OF_SHELLS.search(secret) else "***"


def _quoted(word: str) -> str:
    return word if word and "***" in word and " " not in word else shlex.quote(word)
