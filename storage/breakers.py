"""Circuit breakers kept between runs: one row for each probe of a server that has failed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, delete, func, select
from sqlalchemy.dialects import sqlite

from checker.breaker import BreakerState, Circuit, Circuits, Rules, after, rules, whole
from checker.model import CheckResult, Server, Status
from checker.result_rows import SERVER, ResultRows, as_rows, records_of
from storage.tables import breakers, checks, servers

log = logging.getLogger(__name__)
_FIELDS = tuple(field.name for field in fields(Circuit))
_values = attrgetter(*_FIELDS)
_COLUMNS = tuple(breakers.c[name] for name in ("kind", *_FIELDS))


class Breakers:
    """Stored circuit breakers of the servers that a run checks."""

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}

    def begin(self, connection: Connection, checked: Iterable[Server]) -> None:
        """Take the servers' options, and remove circuits that are no longer configured."""
        with_breaker = [
            server for server in checked for options in server.probes.values() if options.breaker is not None
        ]
        self._rules = {server.name: rules(server) for server in with_breaker}
        stored = select(breakers.c.server_id, breakers.c.kind, servers.c.name).join(servers)
        found = connection.execute(stored).all()
        names = {server.name for server in checked} if found else ()
        for server_id, kind, name in found:
            if name in names and kind not in self._rules.get(name, ()):
                gone = breakers.c.server_id == server_id, breakers.c.kind == kind
                connection.execute(delete(breakers).where(*gone))

    def circuits(self, connection: Connection) -> dict[str, dict[str, Circuit]]:
        """Server -> probe kind -> circuit, for servers that have a breaker and have failed."""
        found: dict[str, dict[str, Circuit]] = {}
        for name, kind, *values in connection.execute(select(servers.c.name, *_COLUMNS).join(breakers)):
            if name in self._rules:
                found.setdefault(name, {})[kind] = _circuit(*values)
        return found

    def note(
        self,
        connection: Connection,
        run_id: int,
        told: ResultRows | Sequence[CheckResult],
        server_ids: Mapping[str, int],
    ) -> None:
        """Update the circuits with these checks; call it before the checks themselves are written.

        A check that the run has already stored is not counted again. The circuits are read here, not remembered from
        the start of the run, because another run may have written them meanwhile.
        """
        if not self._rules:
            return
        results = as_rows(told)
        names = {server_ids[name]: name for name in results.of_checks(SERVER) if name in self._rules}
        if not names:
            return
        stored: dict[int, dict[str, Circuit]] = {}
        columns = select(breakers.c.server_id, *_COLUMNS).where(_among(breakers.c.server_id, list(names)))
        for number, kind, *values in connection.execute(columns):
            stored.setdefault(number, {})[kind] = _circuit(*values)
        failing = _failing(results)
        failed = [number for number, name in names.items() if number in stored or name in failing]
        counted = set(failed) - _there(connection, run_id, failed)
        checks_of = list(records_of(told, {names[number] for number in counted}))
        first = {server_ids[check.server]: check for check in reversed(checks_of)}
        rows = [
            {"server_id": number, "kind": kind, **dict(zip(_FIELDS, _values(circuit), strict=True))}
            for number in failed
            if number in counted
            for kind, circuit in self._changed(stored.get(number, {}), first[number]).items()
        ]
        if rows:
            insert = sqlite.insert(breakers)
            newer = {field: insert.excluded[field] for field in _FIELDS}
            connection.execute(insert.on_conflict_do_update(index_elements=["server_id", "kind"], set_=newer), rows)

    def _changed(self, before: Circuits, check: CheckResult) -> dict[str, Circuit]:
        wanted = self._rules[check.server]
        now = after(before, wanted, check)
        if (now_whole := whole(now, wanted)) != (then_whole := whole(before, wanted)):
            log.info("%s: breaker %s, was %s", check.server, now_whole, then_whole)
        return {kind: circuit for kind, circuit in now.items() if circuit != before.get(kind, Circuit())}


def _failing(results: ResultRows) -> set[str]:
    """The servers whose check can change a circuit that has never failed: a probe is UNHEALTHY."""
    return {
        name
        for rows in results.probes
        for name, status in zip(rows.column(SERVER), rows.column("status"), strict=True)
        if status == Status.UNHEALTHY
    }


def _circuit(state: str, *others: Any) -> Circuit:
    return Circuit(state=BreakerState(state), **dict(zip(_FIELDS[1:], others, strict=True)))


def _there(connection: Connection, run_id: int, server_ids: list[int]) -> set[int]:
    """The servers whose check in this run is already stored."""
    if not server_ids:
        return set()
    of_run = checks.c.run_id == run_id, _among(checks.c.server_id, server_ids)
    return set(connection.scalars(select(checks.c.server_id).where(*of_run)))


def _among(column: ColumnElement[int], numbers: list[int]) -> ColumnElement[bool]:
    """Condition that the column is one of these values; any number of them is one parameter."""
    listed = func.json_each(orjson.dumps(numbers).decode()).table_valued("value")
    return column.in_(select(listed.c.value))
