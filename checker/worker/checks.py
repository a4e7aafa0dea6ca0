"""One check: the probes of a server side by side, each attempt under its deadline, each result with its reason."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import gevent
from gevent.lock import BoundedSemaphore

from checker.judge import combine
from checker.limits import Limits
from checker.measures import CacheMeasures, PoolMeasures
from checker.model import CheckResult, Server
from checker.plain import from_plain
from checker.probes import KINDS
from checker.probes.base import COMMANDS
from checker.records import constructor
from checker.worker.attempts import Outcome, probe
from checker.worker.deadlines import Deadlines
from checker.worker.tokens import TokenStore
from checker.worker.transport.client import Grace, Shared
from checker.worker.transport.pools import Pools
from checker.worker.transport.processes import Processes

_check_result = constructor(CheckResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A server to check, with what is remembered of its endpoints."""

    server: Server
    memory: Mapping[str, Mapping[str, str]]
    """Probe kind -> cache category -> value."""
    tries: int = 1


def task(plain: Mapping[str, Any]) -> Task:
    """The task that the parent made plain."""
    server = from_plain(Server, plain["server"])
    options = {kind: from_plain(KINDS[kind].options, fields) for kind, fields in server.probes.items()}
    return Task(server=replace(server, probes=options), memory=plain["memory"], tries=plain["tries"])


class Finished(NamedTuple):
    """The check of one server, and what each probe found to be remembered."""

    check: CheckResult
    outcomes: Sequence[Outcome]


class Checker:
    """Checks servers over pools that live as long as the worker."""

    def __init__(self, limits: Limits, grace: Grace) -> None:
        self.processes = Processes()
        tokens = TokenStore(limits.token_key)
        self._shared = {kind: Shared(Pools(limits.per_origin), self.processes, tokens, grace) for kind in KINDS}
        self._limits, self._deadlines = limits, Deadlines()
        self._lanes: dict[tuple[str | int, ...], BoundedSemaphore] = {}

    def check(self, task: Task) -> Finished:
        """The result of one server, with what is to be remembered; never raises for what a server does."""
        server = task.server
        outcomes = _side_by_side([partial(self._probe, kind, task) for kind in server.probes])
        results = tuple(outcome.result for outcome in outcomes)
        verdict, score = combine(results, server.weights, server.combine)
        check = _check_result(
            server=server.name,
            status=verdict.status,
            reason=verdict.reason,
            detail=verdict.detail,
            score=score,
            started_at_ms=min(result.started_at_ms for result in results),
            duration_us=max(outcome.spent_us for outcome in outcomes),
            tries=task.tries,
            probes=results,
        )
        return Finished(check, outcomes)

    def pool_measures(self) -> tuple[PoolMeasures, ...]:
        """The connections of each probe kind."""
        return tuple(shared.pools.measures(kind) for kind, shared in self._shared.items())

    def cache_measures(self) -> tuple[CacheMeasures, ...]:
        """The caches that live in the worker."""
        return ()

    def _probe(self, kind: str, task: Task) -> Outcome:
        options = task.server.probes[kind]
        place = KINDS[kind].address(options).lane
        width = self._limits.processes if place == COMMANDS else self._limits.per_origin
        lane = self._lanes.get((kind, *place))
        if lane is None:
            lane = self._lanes[(kind, *place)] = BoundedSemaphore(width)
        return probe(kind, options, task.memory.get(kind, {}), self._shared[kind], lane, self._deadlines, random.random)


def _side_by_side(work: list[Callable[[], Outcome]]) -> list[Outcome]:
    """What each piece of work returns, all of them running at once; none of them outlives this call."""
    *others, last = work
    if not others:
        return [last()]
    running = [gevent.spawn(piece) for piece in others]
    try:
        own = last()
        return [*(greenlet.get() for greenlet in running), own]
    except BaseException:  # a cancelled run: the probes end their sessions before the check is gone
        gevent.killall(running)
        raise
