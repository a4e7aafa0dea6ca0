"""Circuit breakers kept between runs: one row for each probe of a server that has failed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import orjson

from checker.breaker import BreakerState, Circuit, Circuits, Rules, after, rules, whole
from checker.model import CheckResult, Server, Status
from checker.result_rows import SERVER, ResultRows, as_rows, records_of
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both

log = logging.getLogger(__name__)
_FIELDS = Circuit.__struct_fields__
_values = attrgetter(*_FIELDS)
_COLUMNS = ", ".join(("kind", *_FIELDS))
_STORED = "select server_id, kind, name from breakers join servers on servers.id = server_id"
_BY_NAME = f"select name, {_COLUMNS} from breakers join servers on servers.id = server_id"  # noqa: S608 # our names
_OF_THESE = f"select server_id, {_COLUMNS} from breakers where server_id in (select value from json_each(?))"  # noqa: S608
_KEEP = f"""insert into breakers (server_id, {_COLUMNS}) values ({", ".join("?" * (2 + len(_FIELDS)))})
    on conflict (server_id, kind) do update set {", ".join(f"{name} = excluded.{name}" for name in _FIELDS)}"""  # noqa: S608
_THERE = in_both(
    "select server_id from {checks} where run_id = :run and server_id in (select value from json_each(:servers))"
)


class Breakers:
    """Stored circuit breakers of the servers that a run checks."""

    def __init__(self) -> None:
        self._rules: dict[str, Rules] = {}

    def begin(self, connection: DatabaseConnection, checked: Iterable[Server]) -> None:
        """Take the servers' options, and remove circuits that are no longer configured."""
        with_breaker = [
            server for server in checked for options in server.probes.values() if options.breaker is not None
        ]
        self._rules = {server.name: rules(server) for server in with_breaker}
        found = connection.exec_driver_sql(_STORED).all()
        names = {server.name for server in checked} if found else ()
        for server_id, kind, name in found:
            if name in names and kind not in self._rules.get(name, ()):
                gone = "delete from breakers where server_id = ? and kind = ?"
                connection.exec_driver_sql(gone, (server_id, kind))

    def circuits(self, connection: DatabaseConnection) -> dict[str, dict[str, Circuit]]:
        """Server -> probe kind -> circuit, for servers that have a breaker and have failed."""
        found: dict[str, dict[str, Circuit]] = {}
        for name, kind, *values in connection.exec_driver_sql(_BY_NAME):
            if name in self._rules:
                found.setdefault(name, {})[kind] = _circuit(*values)
        return found

    def note(
        self,
        connection: DatabaseConnection,
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
        for number, kind, *values in connection.exec_driver_sql(_OF_THESE, (_listed(list(names)),)):
            stored.setdefault(number, {})[kind] = _circuit(*values)
        failing = _failing(results)
        failed = [number for number, name in names.items() if number in stored or name in failing]
        counted = set(failed) - _there(connection, run_id, failed)
        checks_of = list(records_of(told, {names[number] for number in counted}))
        first = {server_ids[check.server]: check for check in reversed(checks_of)}
        rows = [
            (number, kind, *_values(circuit))
            for number in failed
            if number in counted
            for kind, circuit in self._changed(stored.get(number, {}), first[number]).items()
        ]
        if rows:
            connection.exec_driver_sql(_KEEP, rows)

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


def _there(connection: DatabaseConnection, run_id: int, server_ids: list[int]) -> set[int]:
    """The servers whose check in this run is already stored."""
    if not server_ids:
        return set()
    return set(connection.exec_driver_sql(_THERE, {"run": run_id, "servers": _listed(server_ids)}).scalars())


def _listed(numbers: list[int]) -> str:
    """Any number of ids as one parameter."""
    return orjson.dumps(numbers).decode()
