"""Which versions run how often, and who lags behind the one that most have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A version of something and who runs it."""

    of: str
    version: str
    servers: tuple[str, ...]
    ratio: float
    """Of the servers that run any version of it."""
    behind: bool
    """Older than the version that more than half of them run."""


def spread(running: Mapping[str, tuple[str, str]]) -> list[Share]:
    """Each version of each thing, from server -> (thing, version); things in order, the most frequent version first."""
    found = []
    for thing in sorted({of for of, _ in running.values()}):
        versions = {server: version for server, (of, version) in running.items() if of == thing}
        counts = Counter(versions.values())
        usual = next((version for version, number in counts.items() if 2 * number > len(versions)), None)
        for version, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            found.append(
                Share(
                    of=thing,
                    version=version,
                    servers=tuple(sorted(server for server, its in versions.items() if its == version)),
                    ratio=number / len(versions),
                    behind=usual is not None and order(version) < order(usual),
                )
            )
    return found


def lagging(shares: Iterable[Share]) -> list[str]:
    """The servers that are behind in any of these."""
    return sorted({server for one in shares if one.behind for server in one.servers})


def order(version: str) -> tuple[tuple[int, ...], bool]:
    """What sorts versions by age: their numbers; before the release what is marked as coming before it (1.2.0-rc1)."""
    release, mark, _ = re.sub(r"^v", "", version).partition("-")
    if re.fullmatch(r"\d{4}", release):  # a date, as the versions of the protocol are
        return tuple(map(int, re.findall(r"\d+", version))), True
    return tuple(map(int, re.findall(r"\d+", release))), not mark
