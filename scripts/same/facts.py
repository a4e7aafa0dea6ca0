"""The facts that a database holds, but for what each run has of its own: times, ids, and what chance decides."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from same.kinds import has_chance

Row = dict[str, Any]

_LEFT_OUT = (
    "sqlite_",  # SQLite's own
    "schema_migrations",  # of the file, not of the fleet
    "cache_entries",  # encrypted anew each time; what they answer shows in the run that reuses results
    "run_workers worker_history run_resources resource_history run_pools pool_history",  # the checker's own load
    "hour_ day_ hourly_ daily_ series rollup_",  # by the hour in which the runs happened to be
    "bench",  # load tests
)
_NOT_COMPARED = tuple(prefix for prefixes in _LEFT_OUT for prefix in prefixes.split())
_TIMES = re.compile(
    r"(_ms|_us|_at|_until|^since|^until|^up_s|^down_s|^unknown_s|^maintenance_s|^duration_s|availability_\w+)$"
)
_EXACT = {"certificate_expires_at", "certificate_expires_at_ms", "objective_window_ms"}
"""Named like times, and the same each time."""
_DROPPED = {"id", "fingerprint", "pid", "host", "checker_version", "value"}
_CHANCE = re.compile(r"^(reused|connections_opened|received_bytes|(dns|connect|tls|wait|transfer)(_us|_ms)?)$")
"""Of servers that have something to do with chance (`same.kinds.has_chance`)."""
_DURATION = re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d+(?:\.\d+)? ?(?:us|ms|s|min|h|seconds?|minutes?)\b")
_A_TIME = "(a time)"
_NAMED_BY = {"server_id": ("servers", "name"), "url_id": ("urls", "url")}


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view."""

    rows: list[Row]
    is_view: bool


def facts(database: Path) -> dict[str, Relation]:
    """Every table and view, its rows in an order that does not depend on when they were written."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        named = _named(connection)
        found = connection.execute("select name, type from sqlite_master where type in ('table', 'view') order by 1")
        relations = {name: kind for name, kind in found.fetchall() if not name.startswith(_NOT_COMPARED)}
        return {
            name: Relation(
                sorted((_plain(dict(row), named) for row in connection.execute(f'select * from "{name}"')), key=repr),
                kind == "view",
            )
            for name, kind in relations.items()
        }


def comparable(here: dict[str, Relation], there: dict[str, Relation]) -> Iterator[dict[str, list[Row]]]:
    """The rows of both without tables that only one of them has: where rows lie may change, and views say the same.

    A view that only one of them has is a difference, of one row.
    """
    for one, other in ((here, there), (there, here)):
        yield {
            name: relation.rows if name in other else [{"is there": True}]
            for name, relation in one.items()
            if name in other or relation.is_view
        }


def printed(run: int, code: int, output: str, errors: str) -> list[Row]:
    """Exit code and outputs of `check --format json`, likewise: a row for the run and one for each check."""
    document = json.loads(output)
    rows = [{"run_id": run, "exit_code": code, "errors": _DURATION.sub(_A_TIME, errors), **document["run"]}]
    rows += [{"run_id": run, "server": check["server"], **_flat(check)} for check in document["checks"]]
    return [_plain(row, {}) for row in rows]


def _flat(value: Any, name: str = "") -> Row:
    """The leaves of a document, each under its whole path."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            path: leaf for key, one in items for path, leaf in _flat(one, f"{name}.{key}" if name else str(key)).items()
        }
    return {name: value}


def _named(connection: sqlite3.Connection) -> dict[str, dict[int, Any]]:
    """Column that refers to rows -> id -> what the row says."""
    named = {
        column: dict(connection.execute(f"select id, {says} from {table}").fetchall())
        for column, (table, says) in _NAMED_BY.items()
    }
    known = map(dict, connection.execute("select * from mcp_facts"))
    named["mcp_facts_id"] = {
        row["id"]: {key: value for key, value in row.items() if key not in _DROPPED} for row in known
    }
    return named


def _plain(row: Row, named: Mapping[str, Mapping[int, Any]]) -> Row:
    row = {name: named[name].get(value) if name in named else value for name, value in row.items()}
    server = row.get("server") or row.get("server_id") or ""
    by_chance = has_chance(server)
    return {
        name: _value(name, value)
        for name, value in row.items()
        if name not in _DROPPED and not (by_chance and _CHANCE.search(name.rpartition(".")[2]))
    }


def _value(path: str, value: Any) -> Any:
    name = path.rpartition(".")[2]
    if (_TIMES.search(name) or "stages" in path) and name not in _EXACT:
        return None if value is None else _A_TIME
    return _DURATION.sub(_A_TIME, value) if isinstance(value, str) else value


_NOTHING = "(nothing)"
_KEYS = ("server", "server_id", "name", "run_id", "kind", "version", "remark", "category", "digest", "from_run_id")

Place = tuple[str, str, str]
"""Table or view; which row, by its key; column."""


def flat(found: Mapping[str, Sequence[Row]]) -> dict[Place, str]:
    """Every value under its place; rows of the same key are told apart by their number."""
    values, seen = dict[Place, str](), Counter[tuple[str, str]]()
    for relation, rows in found.items():
        for row in rows:
            key = ", ".join(f"{name} {row[name]}" for name in _KEYS if row.get(name) is not None)
            seen[relation, key] += 1
            if seen[relation, key] > 1:
                key += f", no. {seen[relation, key]}"
            values |= {(relation, key, name): repr(value) for name, value in row.items()}
    return values


def differing(rounds: Sequence[tuple[Mapping[Place, str], Mapping[Place, str]]]) -> dict[Place, tuple[str, str]]:
    """Place -> what each installation has there, where no round of the one has what any round of the other has.

    What both had in some round is chance: a server that hangs up may be noticed a moment sooner or later.
    """
    found = {}
    for place in sorted({place for both in rounds for one in both for place in one}):
        first, second = ({one[side].get(place, _NOTHING) for one in rounds} for side in (0, 1))
        if first.isdisjoint(second):
            found[place] = (" or ".join(sorted(first)), " or ".join(sorted(second)))
    return found
