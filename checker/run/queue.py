"""The queue of a run: servers grouped into shards by priority and origin, handed out while the gate is open."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from checker.model import Priority, Server
from checker.probes import probe_of
from checker.probes.base import COMMANDS
from checker.probes.libraries import libraries

LARGEST = 50
"""Servers in a shard, unless the options say otherwise."""
PROGRAMS = "programs"
"""The name for programs of stdio servers among the probe kinds that have a limit."""
_SHARDS_PER_WORKER = 8
_TURNS = {Priority.HIGH: 1.0, Priority.NORMAL: 2.0, Priority.LOW: 4.0}
"""After the critical ones, two shards of normal and four of high priority for each of low, so that none starves."""

_OriginLimit = tuple[str | int, ...]


class Shard(Struct, frozen=True):
    """A group of servers assigned to a worker together."""

    servers: tuple[Server, ...]
    home: int | None = None
    """Shards with the same one go to the same worker: they share an origin, and with it open connections."""
    share: int = 1
    """Number of workers that their origins are spread over: each takes that part of the limits of an origin."""


def shards(
    servers: Sequence[Server],
    workers: int,
    largest: int = LARGEST,
    widths: Mapping[str, int] | None = None,
    by_priority: bool = True,
) -> list[Shard]:
    """All servers in shards of at most ``largest``, in the order of assignment; each server is in exactly one.

    Servers that share an origin stay on one worker, unless they are more than its fair share of all servers and none of
    them trusts an authorization server on first use: two workers might each trust a different one. ``widths`` is the
    number of concurrent attempts of a probe kind, or programs (`PROGRAMS`), allowed at an origin: if it is less than
    one per worker, the origin stays on one worker. A small fleet makes small shards, so that every worker gets some.
    Without ``by_priority`` all servers have the same priority.
    """
    if not servers:
        return []
    most = max(1, min(largest, -(-len(servers) // (workers * _SHARDS_PER_WORKER))))
    fair = -(-len(servers) // workers)
    made: dict[Priority, list[Shard]] = {priority: [] for priority in Priority}
    small: dict[Priority, list[Server]] = {priority: [] for priority in Priority}
    narrow = {kind for kind, width in (widths or {}).items() if width < workers}
    for home, group in enumerate(_sharing_origins(servers, PROGRAMS in narrow)):
        if len(group) == 1 and most > 1:  # often each server has its own origin
            priority = group[0].priority if by_priority else Priority.NORMAL
            waiting = small[priority]
            if len(waiting) == most:
                made[priority].append(Shard(tuple(waiting)))
                waiting.clear()
            waiting.append(group[0])
            continue
        of_priority = {
            priority: [one for one in group if (one.priority if by_priority else Priority.NORMAL) is priority]
            for priority in Priority
        }
        apart = len(group) > fair and not any(_trusts_on_first_use(one) or _is_narrow(one, narrow) for one in group)
        alone = len(group) <= most and len(group) in map(len, of_priority.values())
        for priority, members in of_priority.items():
            if alone:
                waiting = small[priority]
                if len(waiting) + len(members) > most:
                    made[priority].append(Shard(tuple(waiting)))
                    waiting.clear()
                waiting += members
                continue
            for start in range(0, len(members), most):
                piece = tuple(members[start : start + most])
                made[priority].append(Shard(piece, None, workers) if apart else Shard(piece, home))
    for priority, waiting in small.items():
        if waiting:
            made[priority].append(Shard(tuple(waiting)))
    turns = [
        (place * turn, rank, shard)
        for rank, (priority, turn) in enumerate(_TURNS.items())
        for place, shard in enumerate(made[priority], 1)
    ]
    return [*made[Priority.CRITICAL], *(shard for *_, shard in sorted(turns, key=lambda one: one[:2]))]


def _trusts_on_first_use(server: Server) -> bool:
    return any(
        (oauth := getattr(options, "oauth", None)) is not None and oauth.trust_on_first_use
        for options in server.probes.values()
    )


def _is_narrow(server: Server, narrow: set[str]) -> bool:
    """True if fewer than one attempt per worker is allowed at one of this server's origins."""
    return bool(narrow) and any(
        (PROGRAMS if probe_of(kind).address(options).pool_name == COMMANDS else kind) in narrow
        for kind, options in server.probes.items()
    )


def _sharing_origins(servers: Sequence[Server], programs_together: bool) -> Iterable[list[Server]]:
    """Servers in groups: two that share an origin, directly or through others, are in the same group."""
    leader: dict[_OriginLimit, _OriginLimit] = {}

    def leader_of(pool_name: _OriginLimit) -> _OriginLimit:
        while leader.setdefault(pool_name, pool_name) != pool_name:
            leader[pool_name] = pool_name = leader[leader[pool_name]]
        return pool_name

    pool_names: list[_OriginLimit] = []
    for server in servers:
        first, *others = [_limit_of(server, kind, programs_together) for kind in server.probes]
        pool_names.append(first)
        for other in others:
            if other != first:
                leader[leader_of(other)] = leader_of(first)
    groups: dict[_OriginLimit, list[Server]] = {}
    for server, first in zip(servers, map(leader_of, pool_names) if leader else pool_names, strict=True):
        if (group := groups.get(first)) is None:
            group = groups[first] = []
        group.append(server)
    return groups.values()


def _limit_of(server: Server, kind: str, programs_together: bool) -> _OriginLimit:
    """The key of the limit that this probe's attempts share: an origin; commands seldom share one."""
    pool_name = probe_of(kind).address(server.probes[kind]).pool_name
    return (*pool_name, server.name) if pool_name == COMMANDS and not programs_together else pool_name


class Shards:
    """The bounded queue of unassigned shards; used by the threads of all runners and by the governor."""

    def __init__(self, shards: Iterable[Shard], runners: int = 1) -> None:
        self._waiting = deque(shards)
        self._fair = -(-sum(len(shard.servers) for shard in self._waiting) // runners)
        self._homes: dict[int, int] = {}
        self._lock = threading.Lock()
        self._closed, self._aborted = threading.Event(), threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self.libraries = libraries(server for shard in self._waiting for server in shard.servers)
        """The modules that every worker loads before it begins a check (`checker.probes.libraries`)."""
        self.given_up: str | None = None
        """The reason for workers to give up tasks that have not begun; None while they are not to."""

    def take(self, held: int, runner: int = 0) -> Shard | None:
        """The next shard for a runner that already holds so many servers.

        None if there is none, if assignment has stopped, while the gate is closed, and for a runner that holds its fair
        share: the others may still be starting. Shards of one home go to the runner that took the first of them.
        """
        if self._closed.is_set() or not self._gate.is_set() or held >= self._fair:
            return None
        with self._lock:
            for place, shard in enumerate(self._waiting):
                if shard.home is None or self._homes.setdefault(shard.home, runner) == runner:
                    del self._waiting[place]
                    return shard
        return None

    def leave(self, runner: int) -> None:
        """Release the shards reserved for a runner that takes no more."""
        with self._lock:
            self._homes = {home: keeper for home, keeper in self._homes.items() if keeper != runner}

    @property
    def waiting(self) -> int:
        """Number of servers that are not yet assigned."""
        with self._lock:
            return sum(len(shard.servers) for shard in self._waiting)

    @property
    def gate_open(self) -> bool:
        """True if checks may begin."""
        return self._gate.is_set()

    def open_gate(self, open_: bool) -> None:
        """Open or close the gate for new checks."""
        if open_:
            self._gate.set()
        else:
            self._gate.clear()

    @property
    def held_back(self) -> bool:
        """True if shards remain that only the gate holds back: no runner may finish."""
        return not self._gate.is_set() and not self._closed.is_set() and bool(self._waiting)

    def drop(self, keep: int) -> list[Server]:
        """Remove waiting servers above that number, from the end of the queue: the lowest priority."""
        dropped: list[Server] = []
        with self._lock:
            left = sum(len(shard.servers) for shard in self._waiting)
            while left > keep:
                shard = self._waiting.pop()
                stay = max(0, len(shard.servers) - (left - keep))
                dropped += shard.servers[stay:]
                left -= len(shard.servers) - stay
                if stay:
                    self._waiting.append(Shard(shard.servers[:stay], shard.home, shard.share))
        return dropped

    def stop(self) -> None:
        """Assign no more; checks in progress are given up."""
        self._closed.set()

    def abort(self) -> None:
        """Assign no more, and do not wait for workers to finish open work."""
        self._closed.set()
        self._aborted.set()

    @property
    def stopped(self) -> bool:
        """True if assignment stopped before the queue was empty."""
        return self._closed.is_set()

    @property
    def aborted(self) -> bool:
        """True if workers are to be killed."""
        return self._aborted.is_set()
