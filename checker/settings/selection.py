"""Selection of the environment and of servers; imports no validator, so that a cached configuration needs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checker.errors import UsageError
from checker.model import Server

_ENVIRONMENT = "MCP_STATUS_ENV"


def selected_environment(given: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The environment: the given one, else that of MCP_STATUS_ENV; and an addition to messages in the second case."""
    if given:
        return given, ""
    return environ.get(_ENVIRONMENT) or None, f", which {_ENVIRONMENT} names"


def select(
    servers: Sequence[Server], *, tags: Sequence[str] = (), groups: Sequence[str] = (), names: Sequence[str] = ()
) -> tuple[Server, ...]:
    """The servers that have any of the tags, are in any of the groups and have any of the names.

    An empty selection does not narrow. Raises UsageError for a word that no server has, and if no server is left.
    """
    _known("tag", tags, {tag for server in servers for tag in server.tags})
    _known("group", groups, {server.group for server in servers if server.group})
    _known("server", names, {server.name for server in servers})
    chosen = tuple(
        server
        for server in servers
        if (not tags or set(tags) & set(server.tags))
        and (not groups or server.group in groups)
        and (not names or server.name in names)
    )
    if not chosen:
        raise UsageError("no server has all that was asked for; leave out --tag, --group or --server")
    return chosen


def _known(what: str, asked: Sequence[str], there: set[str]) -> None:
    for word in asked:
        if word not in there:
            from difflib import get_close_matches

            close = get_close_matches(word, there, n=3) or sorted(there)[:10]
            known = ", ".join(close) or "none"
            raise UsageError(f'no {what} "{word}" in this configuration; there are: {known}')
