"""Names of servers that were given on a command line, which are never those of a fleet in the same history."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from msgspec.structs import replace

from checker.model import Server

AD_HOC = ""
"""What a history has as the configuration of such a server."""


class Renamed(NamedTuple):
    """Servers, and what to say about the names of some of them."""

    servers: tuple[Server, ...]
    notes: list[str]


def named_beside(servers: Sequence[Server], taken: Collection[str]) -> Renamed:
    """The servers under names that none of a fleet has: two servers of one name would share one history."""
    used = {*taken, *(one.name for one in servers)}
    found, notes = list[Server](), list[str]()
    for one in servers:
        name = one.name
        if name in taken:
            name = free_name(name, used)
            used.add(name)
            notes.append(f'"{one.name}" is a server of a configuration in this history; this one is "{name}"')
        found.append(one if name == one.name else replace(one, name=name))
    return Renamed(tuple(found), notes)


def free_name(name: str, used: Collection[str]) -> str:
    """The name of a server of a command line that is called like one of a fleet."""
    return next(one for one in _beside(name) if one not in used)


def _beside(name: str) -> Iterator[str]:
    yield f"{name} (ad hoc)"
    for number in count(2):
        yield f"{name} (ad hoc {number})"
