"""Servers of MCP clients, from JSON under ``mcpServers`` or ``servers`` or from Codex's ``config.toml``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checker.errors import ConfigError
from checker.importers import values
from checker.importers.entries import (
    MOST_SERVERS,
    REFERENCE,
    Entry,
    Imported,
    Origin,
    Placeholders,
    ServerNames,
    Unusable,
    escaped,
    is_name,
    one_line,
    reference,
)

_LEAST_TIMEOUT_MS = 500
_MOST_TIMEOUT_MS = 3650 * 86_400_000
_USED = {
    *("type", "transport", "command", "args", "env", "cwd", "url", "httpUrl", "serverUrl", "headers", "auth"),
    *("timeout", "disabled", "enabled", "description", "name"),
}
_NOT_READ = {
    "headersHelper": "headersHelper is a command and is not run; give the headers themselves",
    "envFile": "envFile is not read; set its variables where the check runs, or list them under env",
    "oauth": "oauth is a sign-in with a browser and is not imported; add oauth: with client credentials",
}


@dataclass(frozen=True, slots=True)
class ClientFormat:
    """Peculiarities of a program's file."""

    placeholders: Placeholders
    url_means: str | None = None
    """Transport of ``url`` if no type is given; None means that it is detected."""


Convert = Callable[[Mapping[str, Any], ClientFormat, list[str]], Entry]
"""Block of the file, its program, and the notes to add to -> the options of the ``mcp:`` block."""


def servers(
    listed: Any, where: str, origin: Origin, names: ServerNames, client: ClientFormat, convert: Convert
) -> Imported:
    """The servers of a mapping; unusable ones become notes. Raises ConfigError if it is no mapping."""
    if not isinstance(listed, dict):
        raise ConfigError(f"{origin.shown}: {where}: not a mapping; write names, each with its server")
    if len(listed) > MOST_SERVERS:
        raise ConfigError(f"{origin.shown}: {where}: more than {MOST_SERVERS} servers; split the file")
    entries: list[Entry] = []
    notes: list[str] = []
    for wanted, block in listed.items():
        name, said = names.unique(wanted), list[str]()
        try:
            if not isinstance(block, dict):
                raise Unusable("not a server; write command: or url: in braces")
            if values.flag(block, "disabled") or block.get("enabled") is False:
                raise Unusable("disabled in the file")
            entries.append({"name": escaped(name), "mcp": convert(block, client, said)})
        except Unusable as why:
            said.append(f"left out: {why}")
        notes += [one_line(f"{name}: {text}") for text in dict.fromkeys(said)]
    return Imported(tuple(entries), tuple(notes))


def options(block: Mapping[str, Any], client: ClientFormat, notes: list[str]) -> Entry:
    """The options of the ``mcp:`` block; raises Unusable, adds to the notes."""
    block = _spelled_usually(block)
    kind = values.transport(values.text(block, "type") or values.text(block, "transport"))
    address = values.text(block, "httpUrl") or values.text(block, "url") or values.text(block, "serverUrl")
    command = values.text(block, "command")
    if command and address and kind in (None, "stdio"):
        notes.append("both a command and an address; the command is taken")
    if command and kind in (None, "stdio"):
        found = _command(command, block, client.placeholders, notes)
    elif address and kind != "stdio":
        kind = kind or ("streamable-http" if values.text(block, "httpUrl") else client.url_means)
        found = _address(address, kind, block, client.placeholders, notes)
    else:
        raise Unusable("no command" if kind == "stdio" else "neither a command nor an address")
    if timeout := _timeout(block.get("timeout"), notes):
        found["timeout"] = timeout
    notes += [text for key, text in _NOT_READ.items() if block.get(key)]
    if ignored := sorted(key for key in block if key not in _USED and key not in _NOT_READ):
        notes.append(f"ignored: {', '.join(ignored)}")
    return found


def _spelled_usually(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """The block with some clients' variants normalised: a command as a list or an object, a transport as an object."""
    found = dict(block)
    if isinstance(found.get("transport"), dict):  # it may hold address, headers and timeout
        found = {**found.pop("transport"), **found}
    if isinstance(command := found.get("command"), list):
        found["command"], found["args"] = (command or [None])[0], [*command[1:], *values.texts(found, "args")]
    elif isinstance(command, dict):
        del found["command"]
        found |= {key: command[key] for key in ("args", "env") if key in command} | {"command": command.get("path")}
    if "env" not in found and "environment" in found:
        found["env"] = found["environment"]
    found.pop("environment", None)
    for key in ("source", "settings"):  # of Zed, which say nothing about how a server is started
        found.pop(key, None)
    return found


def _command(command: str, block: Mapping[str, Any], placeholders: Placeholders, notes: list[str]) -> Entry:
    def ours(text: str) -> str:
        if "\0" in text:
            raise Unusable("a NUL character in the command")
        return placeholders.translated(text, notes)

    found: Entry = {"command": ours(command)}
    if args := values.texts(block, "args"):
        found["args"] = [ours(one) for one in args]
    if env := values.environment(values.texts_by_name(block, "env")):
        found["env"] = {name: ours(value) for name, value in env.items()}
    if cwd := values.text(block, "cwd"):
        found["cwd"] = _folder(ours(cwd), placeholders.folder)
    return _with_own(found, found.get("env", {}))


def _with_own(found: Entry, env: Mapping[str, str]) -> Entry:
    """The options with variables filled in from the entry's own ``env``, which overrides the process's."""
    # one that is handed on under its own name, or made of others there, is the process's: nothing goes round in circles
    own = {
        name: value
        for name, value in env.items()
        if all(match[1] not in env for match in REFERENCE.finditer(value) if match[1])
    }

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return REFERENCE.sub(lambda match: own.get(match[1], match[0]), value)
        return [filled(one) for one in value] if isinstance(value, list) else value

    kept = {key: filled(value) for key, value in found.items() if key not in ("env", "headers")}
    for key in ("env", "headers"):
        if key in found:
            kept[key] = {name: filled(value) for name, value in found[key].items()}
    return {key: kept[key] for key in found}


def _folder(cwd: str, folder: Path | None) -> str:
    """The folder as an absolute path: a relative one starts at the file that was read, not at the one written."""
    if folder is None or cwd.startswith(("/", "~", "${")):
        return cwd
    return f"{escaped(str(folder))}/{cwd.removeprefix('./')}"


def _address(
    url: str, kind: str | None, block: Mapping[str, Any], placeholders: Placeholders, notes: list[str]
) -> Entry:
    found: Entry = {"url": values.address(placeholders.translated(url, notes))}
    if kind:
        found["transport"] = kind
    headers = values.headers(values.texts_by_name(block, "headers"))
    if headers:
        found["headers"] = {name: placeholders.translated(value, notes) for name, value in headers.items()}
    auth = block.get("auth")
    if isinstance(auth, str) and auth != "oauth" and "authorization" not in map(str.lower, headers):
        token = placeholders.translated(auth.removeprefix("Bearer "), notes)
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise Unusable("auth is neither a token nor oauth")
        found["bearer"] = token
    elif auth:
        notes.append("auth is not imported; add bearer: or oauth: to the server")
    env = values.environment(values.texts_by_name(block, "env"))
    found = _with_own(found, {name: placeholders.translated(value, notes) for name, value in env.items()})
    values.address(found["url"])
    values.headers(found.get("headers", {}))
    return found


def _timeout(timeout_ms: Any, notes: list[str]) -> str | None:
    """The timeout in our format."""
    if timeout_ms is None:
        return None
    number = isinstance(timeout_ms, int | float) and not isinstance(timeout_ms, bool) and math.isfinite(timeout_ms)
    if not number or not _LEAST_TIMEOUT_MS <= timeout_ms <= _MOST_TIMEOUT_MS:
        notes.append("timeout is ignored: it is no plausible number of milliseconds")
        return None
    whole_ms = round(timeout_ms)
    return f"{whole_ms // 1000}s" if whole_ms % 1000 == 0 else f"{whole_ms}ms"


_OWN = ("bearer_token_env_var", "http_headers", "env_http_headers", "env_vars", "headers")


def codex_options(block: Mapping[str, Any], client: ClientFormat, notes: list[str]) -> Entry:
    """The options of the ``mcp:`` block; raises Unusable, adds to the notes."""
    if block.get("headers"):
        notes.append("headers is no key of Codex and is ignored; http_headers is")
    shared = {key: value for key, value in block.items() if key not in _OWN}
    found = options({**shared, "headers": block.get("http_headers")}, client, notes)
    if "command" in found:
        passed_on = {name: reference(_known(name)) for name in values.texts(block, "env_vars")}
        if env := {**passed_on, **found.get("env", {})}:
            found["env"] = env
        return found
    named = {
        header: reference(_known(name)) for header, name in values.texts_by_name(block, "env_http_headers").items()
    }
    if headers := {**found.get("headers", {}), **values.headers(named)}:
        found["headers"] = headers
    token = values.text(block, "bearer_token_env_var")
    if token and "authorization" in map(str.lower, headers):
        notes.append("bearer_token_env_var is ignored: an Authorization header is set as well")
    elif token:
        found["bearer"] = reference(_known(token))
    return found


def _known(name: str) -> str:
    if not is_name(name):
        raise Unusable("a name of an environment variable is not valid")
    return name
