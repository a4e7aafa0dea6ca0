"""Raw rows that are not rolled up yet, as arrays: checks with their outcome, and their probes with their durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from msgspec import Struct

from checker.model import Reason
from checker.stats.histogram import Integers
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both
from storage.rollups.watermarks import CHECK, STAGES, TOTAL, Outcome
from storage.rows import columns_of

REFUSALS = frozenset({Reason.AUTH_REQUIRED, Reason.RATE_LIMITED})
"""The server is up but refused the request: the duration is not its latency."""

_MOST_NAMED = 500
"""Largest number of servers named in a query; for more it reads all and filters the rows."""
CHECK_ROW = """c.server_id, c.run_id, c.started_at_ms,
    case when c.maintenance then 4 when c.suspect then 5 when c.status = 'HEALTHY' then 0
    when c.status = 'DEGRADED' then 1 when c.status = 'UNHEALTHY' then 2 else 3 end, c.reason"""
_UNROLLED = in_both(
    f"""select {CHECK_ROW} from rollup_state t
    cross join {{checks}} c on c.server_id = t.server_id and c.run_id >= :first_run
    where (:every or t.server_id in (select value from json_each(:servers)))
    and c.started_at_ms >= t.rolled_until_ms and c.started_at_ms < :until_ms"""  # noqa: S608 # our names
)
_BETWEEN = in_both(
    f"""select {CHECK_ROW} from {{checks}} c
    where c.server_id in (select value from json_each(:servers))
    and c.started_at_ms >= :from_ms and c.started_at_ms < :until_ms"""  # noqa: S608 # our names
)
_PROBES = in_both(
    """select p.server_id, p.run_id, p.kind,
    case when p.status = 'HEALTHY' then 0 when p.status = 'DEGRADED' then 1 when p.status = 'UNHEALTHY' then 2
    else 3 end, p.reason, {times}
    from rollup_state t cross join {probes of t.server_id}
    where (:every or t.server_id in (select value from json_each(:servers)))
    and p.run_id between :first_run and :last_run"""
)


class Checks(Struct, frozen=True):
    """Checks sorted by server and time; every array has one entry per check."""

    server: Integers
    run: Integers
    at_ms: Integers
    outcome: Integers
    reason: Integers
    """Position in ``reasons``; -1 is none."""
    reasons: Sequence[str]


class Probes(Struct, frozen=True):
    """Probes of checks; every array has one entry per probe."""

    check: Integers
    """Index of the check that each probe belongs to."""
    kind: Integers
    """Position in ``kinds``."""
    kinds: Sequence[str]
    """CHECK, which no probe has, and the kinds of probes."""
    outcome: Integers
    """Outcome of the check if that is under maintenance or suspect, else the probe's own."""
    reason: Integers
    """Position in ``reasons``; -1 is none."""
    reasons: Sequence[str]
    times_us: Integers
    """Shape (probes, stages): duration of each stage; -1 for a stage that did not happen."""


def unrolled_checks(
    connection: DatabaseConnection, servers: Sequence[int] | None, first_run: int, until_ms: int
) -> Checks:
    """Checks of these servers, or of all, that are not rolled up and began before ``until_ms``.

    None of them belongs to a run before ``first_run``.
    """
    wanted = {"every": servers is None, "servers": list(servers or [])}
    return read_checks(connection, _UNROLLED, **wanted, first_run=first_run, until_ms=until_ms)


def checks_between(connection: DatabaseConnection, servers: Sequence[int], from_ms: int, until_ms: int) -> Checks:
    """All raw checks of these servers that began in this period; scans all their rows."""
    return read_checks(connection, _BETWEEN, servers=list(servers), from_ms=from_ms, until_ms=until_ms)


def read_checks(connection: DatabaseConnection, query: str, **values: Any) -> Checks:
    """The checks that a query returns with the columns `CHECK_ROW` of ``c``; it has a parameter ``servers``, a list."""
    columns = columns_of(connection, query, 5, {**values, "servers": orjson.dumps(values["servers"]).decode()})
    server, run, at_ms, outcome = (np.array(column, np.int64) for column in columns[:4])
    order = np.lexsort((run, at_ms, server))
    reason, reasons = _codes(columns[4], ())
    return Checks(server[order], run[order], at_ms[order], outcome[order], reason[order], reasons)


def probes_of(connection: DatabaseConnection, checks: Checks, stages: Sequence[str] = STAGES) -> Probes:
    """The probes of these checks, with the durations of these stages."""
    times = ", ".join("p.duration_us" if stage == TOTAL else f"coalesce(p.{stage}_us, -1)" for stage in stages)
    found = _PROBES.replace("{times}", times or "0")
    first_run, last_run = (int(checks.run.min()), int(checks.run.max())) if len(checks.run) else (0, -1)
    of_servers = np.unique(checks.server).tolist()
    every = len(of_servers) > _MOST_NAMED
    bounds = {"first_run": first_run, "last_run": last_run}
    values = {"every": every, "servers": orjson.dumps([] if every else of_servers).decode(), **bounds}
    columns = columns_of(connection, found, 5 + max(1, len(stages)), values)
    server, run, outcome = (np.array(columns[place], np.int64) for place in (0, 1, 3))
    check, there = _positions(checks, server, run)
    of_check = checks.outcome[check[there]]
    kind, kinds = _codes(columns[2], (CHECK,))
    reason, reasons = _codes(columns[4], ())
    return Probes(
        check=check[there],
        kind=kind[there],
        kinds=kinds,
        outcome=np.where(of_check >= Outcome.MAINTENANCE, of_check, outcome[there]),
        reason=reason[there],
        reasons=reasons,
        times_us=np.array(columns[5 : 5 + len(stages)], np.int64).reshape(len(stages), len(server)).T[there],
    )


def _positions(checks: Checks, server: Integers, run: Integers) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Index of each (server, run) among the checks, and a mask of those that are present."""
    if not len(checks.server):
        return np.zeros(len(server), np.int64), np.zeros(len(server), bool)
    width = int(max(checks.run.max(), run.max(initial=0))) + 1
    keys = checks.server * width + checks.run
    order = np.argsort(keys, kind="stable")
    wanted = server * width + run
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return order[place], keys[order][place] == wanted


def _codes(values: Sequence[str | None], first: Sequence[str]) -> tuple[Integers, list[str]]:
    """For each value its index in the list of distinct ones, which starts with ``first``; -1 for None."""
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(first)}
    for value in set(values) - {None}:
        numbers.setdefault(value, len(numbers))
    names = [name for name in numbers if name is not None]
    numbers[None] = -1
    return np.fromiter(map(numbers.__getitem__, values), np.int64, len(values)), names
