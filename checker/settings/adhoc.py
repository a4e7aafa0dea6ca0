"""Servers without a file: addresses from the command line, and the choice among the servers of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from checker.errors import ConfigError, UsageError
from checker.model import Server
from checker.probes import KINDS
from checker.settings.document import Problem
from checker.settings.validate import Source, validated


def adhoc(urls: Mapping[str, str], timeout_s: float | None = None) -> Server:
    """One server from addresses by probe kind, named after the first one's host and port; raises ConfigError."""
    probes: dict[str, Any] = {}
    for kind, url in urls.items():
        values = {"url": url} if timeout_s is None else {"url": url, "timeout": timeout_s}
        problems: list[Problem] = []
        options = validated(KINDS[kind].options, values, Source((), values, problems))
        if options is not None:
            problems += [Problem(keys, text) for keys, text in KINDS[kind].faults(options)]
        if problems:  # without the address, which may hold a password
            said = ((kind if one.place[0] == "url" else one.place[0], one.text) for one in problems)
            raise ConfigError("\n".join(f"--{option}: {text}" for option, text in said))
        probes[kind] = options
    name = urlsplit(next(iter(urls.values()))).netloc.rpartition("@")[2]
    return Server(name=name, probes={kind: probes[kind] for kind in KINDS if kind in probes})


def select(
    servers: Sequence[Server], *, tags: Sequence[str] = (), groups: Sequence[str] = (), names: Sequence[str] = ()
) -> tuple[Server, ...]:
    """The servers that have any of the tags, are in any of the groups and have any of the names.

    An empty choice does not narrow. Raises UsageError for a word that no server has, and where nothing is left.
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
            close = get_close_matches(word, there, n=3) or sorted(there)[:10]
            known = ", ".join(close) or "none"
            raise UsageError(f'no {what} "{word}" in this configuration; there are: {known}')
