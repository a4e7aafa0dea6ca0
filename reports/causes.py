"""Incidents of several servers that are one fault: a name that does not resolve, a gateway that is down."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

from storage.rollups.read import Incident

TOGETHER_MS = 120_000
"""Incidents with one cause begin within two minutes of each other."""


def clusters(incidents: Sequence[Incident], hosts: Mapping[int, Collection[str]]) -> list[list[Incident]]:
    """Every incident in exactly one cluster, by start.

    Two are in the same one if they overlap, begin within two minutes, and have the same reason or their servers a host
    in common; and so on from each to the next.
    """
    ordered = sorted(incidents, key=lambda one: (one.started_at_ms, one.server_id))
    parent = list(range(len(ordered)))
    recent: dict[Hashable, deque[int]] = {}
    for number, one in enumerate(ordered):
        for key in _keys(one, hosts):
            # Ends fall from left to right: where the leftmost is over, all are; those to its right are with it already.
            candidates = recent.setdefault(key, deque())
            while candidates and one.started_at_ms - ordered[candidates[0]].started_at_ms > TOGETHER_MS:
                candidates.popleft()
            if candidates and _end(ordered[candidates[0]]) > one.started_at_ms:
                parent[_root(parent, number)] = _root(parent, candidates[0])
            while candidates and _end(ordered[candidates[-1]]) <= _end(one):
                candidates.pop()
            candidates.append(number)
    found: dict[int, list[Incident]] = {}
    for number, one in enumerate(ordered):
        found.setdefault(_root(parent, number), []).append(one)
    return list(found.values())


def _keys(one: Incident, hosts: Mapping[int, Collection[str]]) -> Iterable[Hashable]:
    """What another incident may have in common with it."""
    if one.reason is not None:
        yield "reason", one.reason
    for host in hosts.get(one.server_id, ()):
        yield "host", host


def _end(one: Incident) -> float:
    return math.inf if one.ended_at_ms is None else one.ended_at_ms


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number
