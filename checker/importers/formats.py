"""Detection of document formats, and the reader for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checker.errors import ConfigError
from checker.importers.clients import ClientFormat, codex_options, options, servers
from checker.importers.entries import Imported, Origin, Placeholders, ServerNames
from checker.importers.listing import listing
from checker.importers.registry import Naming, server

_GEMINI = "settings.json"


def converted(values: Any, origin: Origin, url: str | None, names: ServerNames) -> Imported:
    """The servers of a document in its detected format; raises ConfigError. ``url`` is the source of further pages."""
    if isinstance(values, list):
        return listing(values, origin, url, names)
    if not isinstance(values, dict):
        raise ConfigError(f"{origin.shown}: not an object; {_KNOWN}")
    if "mcpServers" in values:
        return _client(values, "mcpServers", origin, names)
    if "mcp_servers" in values:
        client = ClientFormat(Placeholders(origin.folder, enabled=False))
        return servers(values["mcp_servers"], "mcp_servers", origin, names, client, codex_options)
    if isinstance(values.get("servers"), dict):
        return _vs_code(values, origin, names)
    if "servers" in values:
        return listing(values, origin, url, names)
    inner = values.get("mcp")
    if isinstance(inner, dict) and "servers" in inner:  # the settings of VS Code
        return _vs_code(inner, origin, names)
    if isinstance(values.get("settings"), dict) and isinstance(
        values["settings"].get("mcp"), dict
    ):  # a workspace of it
        return converted({"mcp": values["settings"]["mcp"]}, origin, url, names)
    if (inner := _deep(values, "customizations", "vscode", "mcp")) is not None:  # a development container
        return converted({"mcp": inner}, origin, url, names)
    if isinstance(values.get("mcp.servers"), dict):  # settings of VS Code, and of Amp, with their names in one key
        return _vs_code({"servers": values["mcp.servers"], "inputs": values.get("mcp.inputs")}, origin, names)
    if dotted := next((key for key in values if key.endswith(".mcpServers")), None):
        return _client({"mcpServers": values[dotted]}, "mcpServers", origin, names)
    for key in ("context_servers", "mcp"):  # Zed, OpenCode
        if isinstance(values.get(key), dict):
            return servers(values[key], key, origin, names, ClientFormat(Placeholders(origin.folder)), options)
    if isinstance(values.get("server"), dict):  # one server, as the registry's API gives it
        return server(values["server"], names, Naming())
    if {"remotes", "packages"} & values.keys():
        return server(values, names, Naming())
    if values and all(isinstance(one, dict) and {"command", "url"} & one.keys() for one in values.values()):
        return _client({"mcpServers": values}, "mcpServers", origin, names)
    raise ConfigError(f"{origin.shown}: no list of servers; {_KNOWN}")


def _deep(values: Any, *keys: str) -> dict[str, Any] | None:
    """The mapping under these nested keys; None if there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else None


_KNOWN = "give a file with mcpServers, servers or mcp_servers, a server.json, or the listing of a registry"


def _client(values: dict[str, Any], key: str, origin: Origin, names: ServerNames) -> Imported:
    listed = values[key]
    gemini = isinstance(listed, dict) and (
        (origin.file is not None and origin.file.name == _GEMINI)
        or any(isinstance(one, dict) and "httpUrl" in one for one in listed.values())
    )
    client = ClientFormat(Placeholders(origin.folder, bare=gemini), "sse" if gemini else None)
    found = servers(listed, key, origin, names, client, options)
    if isinstance(values.get("projects"), dict) and any(
        isinstance(one, dict) and one.get(key) for one in values["projects"].values()
    ):
        note = "servers of single projects are not read; import the .mcp.json of the project"
        return Imported(found.entries, (*found.notes, note))
    return found


def _vs_code(values: dict[str, Any], origin: Origin, names: ServerNames) -> Imported:
    inputs = {}
    listed = values.get("inputs")
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            default = one.get("default")
            inputs[one["id"]] = default if isinstance(default, str) else None
    client = ClientFormat(Placeholders(origin.folder, inputs))
    return servers(values["servers"], "servers", origin, names, client, options)


def is_toml(name: str) -> bool:
    """True if a file with this name is TOML."""
    return Path(name).suffix.lower() == ".toml"
