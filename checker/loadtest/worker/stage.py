"""A play of scenarios in a worker: its targets, its loads, and its end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from random import Random
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import gevent
import orjson

from checker.limits import CacheLimits, DnsLimits, PoolLimits
from checker.loadtest import arrivals
from checker.loadtest.arrivals import LevelSpan
from checker.loadtest.messages import ECHO, Part, Position
from checker.loadtest.plan import Arrivals, Model, host_of, plain_host
from checker.loadtest.worker.closed_load import ClosedLoad, RateLimiter
from checker.loadtest.worker.open_load import Due, OpenLoad
from checker.loadtest.worker.target import Notes, Target, TargetOrder
from checker.model import Server
from checker.probe_kinds import KIND_OF, OPERATIONS
from checker.probes.base import Background
from checker.worker.background import Later
from checker.worker.greenlets import Deadlines
from checker.worker.tokens import TokenStore
from checker.worker.transport.client import Shared
from checker.worker.transport.dns import DnsCache, ListedDns
from checker.worker.transport.pools import Pools
from checker.worker.transport.programs import Processes
from checker.worker.transport.sockets import resolve
from checker.worker.transport.urllib3_exchange import PlainHttp

_FOREVER_S = 4_102_444_800.0
"""Expiry of addresses that were resolved before the run: in 2100."""
for _operation in OPERATIONS.values():
    import_module(_operation.module)  # at the start: later it would count in the time of the first requests


@dataclass(slots=True)
class _Playing:
    part: Part
    load: OpenLoad | ClosedLoad
    targets: list[Target]
    until_ns: int


class _Now:
    """A `checker.worker.transport.client.Grace` without grace: nothing is waited for after a load test."""

    def spawn(self, work: Callable[[], Any]) -> Background:
        """Start the work; the result gives its value or raises its error."""
        return Later(work)


class StageRunner:
    """A runner of one play at a time; connections and sessions last for a play."""

    def __init__(
        self, position: Position, servers: Mapping[str, Server], addresses: Mapping[str, Sequence[str]], notes: Notes
    ) -> None:
        self._position, self._servers, self._addresses, self._notes = position, servers, addresses, notes
        self._processes, self._deadlines, self._playing = Processes(), Deadlines(), list[_Playing]()
        limits = DnsLimits(ttl=_FOREVER_S)
        self._dns = ListedDns(limits, addresses) if addresses else DnsCache(limits)
        self._epoch_ns = 0
        self._pace = RateLimiter(position.max_rate / position.workers)
        self._host_paces: dict[str, RateLimiter] = {}
        for host, known in addresses.items():
            if not known:  # it is only named to a proxy
                continue
            stored = {"good_until_s": _FOREVER_S, "addresses": [[_family(one), [one, 0]] for one in known]}
            for spelled in (host, f"{host}."):
                self._dns.take_stored(spelled, orjson.dumps(stored).decode())
        pool_limits = PoolLimits(max_connections=1_000_000, keepalive=3600.0, when_full="overflow")
        pools = Pools(100_000, pool_limits, self._dns)
        tokens = TokenStore(None, CacheLimits())
        self._shared = Shared(pools, PlainHttp(pools, 1000), self._processes, tokens, _Now())

    def play(self, parts: Sequence[Part], spans: Mapping[str, Sequence[LevelSpan]], epoch_ns: int) -> None:
        """Begin to play; `look` reports the end."""
        self._epoch_ns = epoch_ns
        for part in parts:
            load = self._load(part)
            targets = [self._target(part, name, load) for name in part.servers]
            playing = _Playing(part, load, targets, 0)
            self._playing.append(playing)
            self._follow(playing, spans[part.name], first=True)

    def replan(self, spans: Mapping[str, Sequence[LevelSpan]]) -> None:
        """Follow other plans from now on."""
        for playing in self._playing:
            self._follow(playing, spans.get(playing.part.name, ()), first=False)

    def look(self) -> bool:
        """End operations that have timed out, and drop queued ones when all time is over; True if all have ended."""
        now_ns = monotonic_ns()
        for one in self._playing:
            for target in one.targets:
                target.expire(now_ns)
            if now_ns > one.until_ns + one.part.timeout_s * 1e9:
                one.load.give_up_waiting()
        return all(one.load.is_done for one in self._playing)

    def clear(self) -> None:
        """Close the connections, sessions and programs of the finished play."""
        for one in self._playing:
            one.load.close()
        gevent.joinall([gevent.spawn(target.close) for one in self._playing for target in one.targets])
        self._playing.clear()

    def kill_programs(self) -> None:
        """Kill the stdio servers that were started."""
        self._processes.kill_all()

    def crowd(self) -> tuple[int, int, int]:
        """Peaks since the last call of concurrent and of queued operations, and ports at the busiest server."""
        in_flight = sum(one.load.most_in_flight for one in self._playing)
        backlog = sum(one.load.most_backlog for one in self._playing)
        ports = max((target.opened_recently() for one in self._playing for target in one.targets), default=0)
        for one in self._playing:
            one.load.most_in_flight, one.load.most_backlog = one.load.in_flight, one.load.waiting
        return in_flight, backlog, ports

    def _load(self, part: Part) -> OpenLoad | ClosedLoad:
        position = self._position
        if part.model is Model.CLOSED:
            paces = [
                [RateLimiter(None)] if name == ECHO else [self._pace, self._host_pace(part, name)]
                for name in part.servers
            ]
            return ClosedLoad(self._epoch_ns, position.worker, position.workers, part.think_s, paces, self._notes)
        return OpenLoad(self._epoch_ns, max(1, part.max_in_flight // position.workers), self._notes)

    def _host_pace(self, part: Part, name: str) -> RateLimiter:
        limit = self._position.per_host
        share = None if limit is None else limit / self._position.workers
        return self._host_paces.setdefault(host_of(self._servers[name], part.operation), RateLimiter(share))

    def _target(self, part: Part, name: str, load: OpenLoad | ClosedLoad) -> Target:
        options = self._servers[name].probes[KIND_OF[part.operation]]
        order = TargetOrder(
            part=part,
            series=part.series[name],
            options=options,
            addresses=lambda: self._known(name, options.url),
            most=max(1, min(part.max_in_flight, self._position.max_connections) // self._position.workers),
            shared=self._shared,
            deadlines=self._deadlines,
            notes=self._notes,
            load=load,
        )
        target: Target = import_module(OPERATIONS[part.operation].module).target(order)
        return target

    def _known(self, name: str, url: str) -> Sequence[str]:
        """The allowed addresses of the host, or its own addresses if there is no list.

        The echo is on loopback, and on no list.
        """
        host = _host(url)
        if self._addresses and name != ECHO:
            return self._addresses.get(host, ())
        return [address[0] for _, address in resolve(host, DnsCache(DnsLimits()))]

    def _follow(self, playing: _Playing, spans: Sequence[LevelSpan], first: bool) -> None:
        until_s = spans[-1].until_s if spans else 0.0
        playing.until_ns = self._epoch_ns + round(until_s * 1e9)
        if isinstance(playing.load, ClosedLoad):
            if first:
                playing.load.start(playing.targets, spans)
            else:
                playing.load.replan(spans)
            return
        due = self._due(playing.part, spans)
        if first:
            playing.load.start(playing.targets, due)
        else:
            playing.load.replan(due)

    def _due(self, part: Part, spans: Sequence[LevelSpan]) -> Due:
        position = self._position
        if part.arrivals is Arrivals.EVEN:
            return arrivals.even(spans, position.worker, position.workers)
        random = Random(f"{position.seed} {part.name} {position.worker}")  # noqa: S311 # nothing secret
        return arrivals.poisson(spans, position.worker, position.workers, random)


def _family(address: str) -> int:
    return int(socket.AF_INET6 if ":" in address else socket.AF_INET)


def _host(url: str) -> str:
    """The host as `checker.loadtest.planning.safety.approved` spells it."""
    return plain_host(urlsplit(url).hostname or "")
