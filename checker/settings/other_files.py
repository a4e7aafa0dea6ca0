"""Files that are something else than a configuration, by their keys: what they are, and which command takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_PLANS = ("scenarios", "suite", "stress", "thresholds")
_OF_CLIENTS = ("mcpServers", "mcp_servers", "context_servers", "mcp.servers", "mcp", "remotes", "packages", "projects")


def other_kind(values: Mapping[str, Any], path: str) -> str | None:
    """The message about a file that is no configuration of ours; None for one that is, whatever its faults."""
    if said := of_client(values, path):
        return said
    key = next((key for key in _OF_PLANS if key in values), None)
    return None if key is None else _plan(path, key)


def of_client(values: Mapping[str, Any], path: str) -> str | None:
    """The message about a file of an MCP client or a registry; None for any other."""
    servers = values.get("servers")
    if isinstance(servers, Mapping) or (isinstance(servers, list) and any(map(_is_of_registry, servers[:1]))):
        return _client(path, "servers")
    if servers is not None:
        return None
    key = next((key for key in _OF_CLIENTS if isinstance(values.get(key), Mapping | list)), None)
    return None if key is None else _client(path, key)


def _is_of_registry(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("server"), Mapping)


def _client(path: str, key: str) -> str:
    named = _quoted(path)
    return (
        f'{path}: "{key}" makes it the file of an MCP client or a registry; `mcp-status check --from {named}` checks '
        f"its servers, `mcp-status config import {named}` makes a configuration of it"
    )


def _plan(path: str, key: str) -> str:
    return f'{path}: "{key}" makes it the plan of a load test; `mcp-status bench run {_quoted(path)}` plays it'


def _quoted(path: str) -> str:
    import shlex  # not before: nearly every file is what it is taken for

    return shlex.quote(path)
