"""One check: the probes of a server side by side, each attempt under its deadline, each result with its reason."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, NamedTuple

import gevent
from msgspec.structs import replace

from checker.judge import combine
from checker.limits import Limits, Pace, PoolLimits
from checker.messages import Task
from checker.metrics import CacheMeasures, PoolMeasures
from checker.model import CheckResult
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.probes.base import COMMANDS
from checker.result_rows import UsualResult
from checker.worker.attempts import ProbeOutcome, broken, probe, skipped
from checker.worker.greenlets import Deadlines
from checker.worker.origin_limits import Due, OriginLimit, Places
from checker.worker.tokens import TokenStore
from checker.worker.transport.client import Grace, Shared
from checker.worker.transport.dns import CATEGORY as DNS
from checker.worker.transport.dns import DnsCache
from checker.worker.transport.own_network import Surroundings
from checker.worker.transport.pools import Ceiling, Pools
from checker.worker.transport.programs import Processes
from checker.worker.transport.urllib3_exchange import PlainHttp


class Finished(NamedTuple):
    """The check of one server, and the facts to remember from each probe."""

    check: CheckResult | UsualResult
    outcomes: Sequence[ProbeOutcome]


_NOTHING: dict[str, str] = {}
_MOST_AT_REST = 2000
"""Limits of origins that are kept although nobody needs them now."""


class ServerChecker:
    """Checks servers over pools that live as long as the worker; ``due`` takes tasks that were held and may begin."""

    def __init__(self, limits: Limits, grace: Grace, due: Due | None = None) -> None:
        self._due = due
        self.processes = Processes()
        self._tokens = TokenStore(limits.token_key, limits.caches.auth_tokens)
        self.dns = DnsCache(limits.caches.dns)
        self.surroundings, self._deadlines = Surroundings(), Deadlines()
        self._ceiling = Ceiling(
            inf if (most := limits.max_connections) is None else limits.shared_by(limits.workers, most)
        )
        pools = {kind: self._pools(kind, limits) for kind in KINDS}
        self._shared = {
            kind: Shared(
                pool,
                PlainHttp(pool, limits.attempts_at_origin(kind)),
                self.processes,
                self._tokens,
                grace,
                self.surroundings,
                self._deadlines,
            )
            for kind, pool in pools.items()
        }
        self._limits = limits
        self._limits_of: dict[tuple[str | int, ...], OriginLimit] = {}
        self._most_limits = _MOST_AT_REST

    def check(self, task: Task) -> Finished:
        """The result of one server, with the facts to remember; never raises for anything a server does."""
        finished = self.check_or_hold(task, None)
        assert finished is not None  # noqa: S101 # it was not to be held
        return finished

    def check_or_hold(self, task: Task, held_since: float | None) -> Finished | None:
        """The same, but None for a task whose origin is at its limit: it is held, and comes back by ``due``.

        ``held_since`` is the moment with which it came back, 0 for a new task, None to wait here instead.
        """
        server = task.server
        if len(server.probes) == 1:
            (kind,) = server.probes
            found = self._probe(kind, task, held_since)
            if found is None:
                return None
            if type(found) is UsualResult:
                found.server, found.tries = server.name, task.tries
                return Finished(found, ())
            outcomes = [_outcome(found)]
        elif held_since is not None and not self._may_begin(task, held_since):
            return None
        elif server.at_once == 1:
            outcomes = [_outcome(self._probe(kind, task)) for kind in server.probes]
        else:
            outcomes = _side_by_side([partial(self._probe, kind, task) for kind in server.probes])
        results = tuple([outcome.result for outcome in outcomes])
        verdict, score = combine(results, server.weights, server.combine)
        check = CheckResult(
            server=server.name,
            status=verdict.status,
            reason=verdict.reason,
            detail=verdict.detail,
            score=score,
            started_at_ms=min([result.started_at_ms for result in results]),
            duration_us=max([outcome.spent_us for outcome in outcomes]),
            tries=task.tries,
            probes=results,
        )
        return Finished(check, outcomes)

    def pool_measures(self) -> tuple[PoolMeasures, ...]:
        """Figures on the connections of each probe kind."""
        return tuple(shared.pools.measures(kind) for kind, shared in self._shared.items())

    def ports_at_busiest_origin(self) -> int:
        """Connections opened in the last minute to the origin that had the most."""
        return max(shared.pools.counts.recent.most() for shared in self._shared.values())

    def cache_measures(self) -> tuple[CacheMeasures, ...]:
        """Figures on the caches that live in the worker."""
        return (self._tokens.measures(), self.dns.measures())

    def take_held(self) -> list[Task]:
        """Remove the tasks that are held at their origins."""
        return [task for limit in self._limits_of.values() for task in limit.take_held()]

    def _may_begin(self, task: Task, held_since: float) -> bool:
        """True if no probe of the task would wait for its origin; else it is held at the first that would."""
        server = task.server
        limits = [
            self._limit(kind, probe_of(kind).address(options).pool_name, task.share)
            for kind, options in server.probes.items()
            if kind not in task.skip
        ]
        full = next((limit for limit in limits if limit.is_full or (limit.held and not held_since)), None)
        return (full or limits[0]).takes(task, held_since) if limits else True

    def _probe(self, kind: str, task: Task, held_since: float | None = None) -> Any:
        """The outcome of a probe; None if the task is held instead."""
        options = task.server.probes[kind]
        if kind in task.skip:
            return skipped(kind, options, task.skip[kind])
        address = probe_of(kind).address(options)
        place = address.pool_name
        limit = self._limits_of.get((kind, *place)) or self._new_limit(kind, place, task.share)
        if held_since is not None and (held_since or limit.held or limit.is_full) and not limit.takes(task, held_since):
            return None
        memory = task.memory.get(kind, _NOTHING)
        if memory and (stored := memory.get(DNS)):
            self.dns.take_stored(str(place[1]), stored)
        try:
            return probe(kind, options, address, memory, self._shared[kind], limit, self._deadlines, random.random)
        except Exception as error:
            return broken(kind, options, error)

    def _limit(self, kind: str, place: tuple[str | int, ...], share: int) -> OriginLimit:
        return self._limits_of.get((kind, *place)) or self._new_limit(kind, place, share)

    def _new_limit(self, kind: str, place: tuple[str | int, ...], share: int) -> OriginLimit:
        if len(self._limits_of) >= self._most_limits:
            self._forget_limits_at_rest()
        pools, limits = self._shared[kind].pools, self._limits
        if place == COMMANDS:  # programs are few: neither connections nor a rate of requests are theirs
            spread_over = limits.workers if limits.processes >= limits.workers else 1  # as they were assigned
            width = limits.shared_by(spread_over, limits.processes)
            limit = OriginLimit(width, 1, Pace(jitter=0), Places(inf), Places(inf), pools.program_waits, self._due)
        else:
            width = limits.shared_by(share, limits.attempts_at_origin(kind))
            limit = OriginLimit(width, share, limits.pace, pools.slots, self._ceiling.places, pools.waits, self._due)
        self._limits_of[(kind, *place)] = limit
        return limit

    def _forget_limits_at_rest(self) -> None:
        """Keep those that are in use, and the newer half: a large fleet may have an origin for each server."""
        older = len(self._limits_of) // 2
        self._limits_of = {
            key: limit
            for number, (key, limit) in enumerate(self._limits_of.items())
            if number >= older or not limit.is_at_rest
        }
        self._most_limits = max(_MOST_AT_REST, 2 * len(self._limits_of))

    def _pools(self, kind: str, limits: Limits) -> Pools:
        own = limits.pools.get(kind, PoolLimits())
        share = replace(own, max_connections=limits.shared_by(limits.workers, own.max_connections) or 1)
        return Pools(limits.attempts_at_origin(kind), share, self.dns, self._ceiling)


def _outcome(found: ProbeOutcome | UsualResult) -> ProbeOutcome:
    return ProbeOutcome(found.probe, (), (), found.duration_us) if isinstance(found, UsualResult) else found


def _side_by_side(work: list[Callable[[], ProbeOutcome | UsualResult]]) -> list[ProbeOutcome]:
    """The return value of each piece of work, all run concurrently; none of them outlives this call."""
    *others, last = work
    running = [gevent.spawn(piece) for piece in others]
    try:
        own = last()
        return [_outcome(found) for found in (*(greenlet.get() for greenlet in running), own)]
    except BaseException:  # a cancelled run: the probes end their sessions before the check is gone
        gevent.killall(running)
        raise
