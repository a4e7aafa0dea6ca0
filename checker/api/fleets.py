"""What to check, in any of the forms that a program may have it in, as settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from checker.errors import ConfigError, ConfigFault, UsageError
from checker.model import Server
from checker.probe_kinds import KINDS
from checker.settings.adhoc import name_of_address
from checker.settings.blocks import ServerEntry, Settings
from checker.settings.load import load, load_values

Entry: TypeAlias = "str | Server | Mapping[str, Any]"
"""One server: an address, a `Server`, or the keys that its entry has in a configuration file."""
Servers: TypeAlias = "str | PathLike[str] | Server | Settings | Mapping[str, Any] | Iterable[Entry]"
"""What to check: the path of a configuration file, settings, a whole configuration as a mapping, or servers."""

_NAME = "servers"
"""Stands in messages in place of a file name."""


def load_fleet(path: str | PathLike[str], environment: str | None = None) -> Settings:
    """The settings in a configuration file; raises ConfigError, whose ``faults`` name each key and remedy.

    ``environment`` is one of the file's ``environments``; by default that of the variable MCP_STATUS_ENV, if it is set.
    """
    return load(fspath(path), environment)


def server(name: str, **entry: Any) -> Server:
    """A server by the keys of its entry in a configuration file; raises ConfigError.

    ``server("search", mcp="https://search.example/mcp", tags=["prod"])``
    """
    return load_values({"servers": [{"name": name, **entry}]}, _NAME).servers[0]


def settings_of(servers: Servers, environment: str | None = None, kind: str | None = None) -> Settings:
    """The settings in any of these forms; raises ConfigError, and UsageError for something else.

    ``kind`` is the kind of probe that checks addresses, and entries that name no kind of their own.
    """
    if isinstance(servers, Settings):
        return servers
    if isinstance(servers, str | PathLike) and "://" not in fspath(servers):
        return load(fspath(servers), environment)
    if isinstance(servers, Mapping) and "servers" in servers:
        listed = [_entry(one, kind) for one in _listed(servers["servers"])]
        return load_values({**servers, "servers": listed}, _NAME, environment)
    if environment is not None:
        raise UsageError("an environment is one of a configuration; these are servers alone")
    if isinstance(servers, str | Server | Mapping):
        servers = [servers]
    given = _listed(servers)
    plain = [_entry(one, kind) for one in given if not isinstance(one, Server)]
    read = iter(load_values({"servers": plain}, _NAME).servers if plain else ())
    made = tuple(one if isinstance(one, Server) else next(read) for one in given)
    if not made:
        raise ConfigError("no servers; give at least one", [ConfigFault(_NAME, None, _NAME, "give at least one")])
    names: set[str] = set()
    for one in made:
        if one.name in names:
            said = "is used by another server too; names must be unique"
            raise ConfigError(f'"{one.name}" {said}', [ConfigFault(_NAME, None, "name", f'"{one.name}" {said}')])
        names.add(one.name)
    return Settings(servers=made)


def _listed(servers: Any) -> list[Any]:
    if isinstance(servers, str | Mapping) or not isinstance(servers, Iterable):
        raise UsageError(
            f"servers as {type(servers).__name__}; give the path of a configuration, or a list of addresses, "
            "dicts or server(...)"
        )
    return list(servers)


def _entry(given: Any, kind: str | None) -> Any:
    """The entry as in a file, with a name; what is none is left to the reader, which says so."""
    if isinstance(given, str) and kind is not None:
        given = {kind: given} if "://" in given else {"name": given, kind: {}}
    elif isinstance(given, str) and "://" in given:
        given = {_kind_of(given): given}
    if not isinstance(given, Mapping):
        return given
    if kind is not None and not any(one in given for one in KINDS):
        own = {key: value for key, value in given.items() if key in ServerEntry.__struct_fields__}
        given = {**own, kind: {key: value for key, value in given.items() if key not in own}}
    if "name" in given:
        return given
    urls = (value.get("url") if isinstance(value, Mapping) else value for key, value in given.items() if key in KINDS)
    url = next((one for one in urls if isinstance(one, str)), None)
    return given if url is None else {"name": name_of_address(url), **given}


def _kind_of(url: str) -> str:
    """The kind of a bare address: MCP where the path ends as such paths do, else REST."""
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:  # the reader says what is wrong with it
        path = ""
    return "mcp" if path.endswith(("/mcp", "/sse")) else "rest"
