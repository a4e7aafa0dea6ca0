"""The views as data: what a row is, each column with its unit, and which columns lead from one view to another."""

from __future__ import annotations

from typing import Any

from checker.errors import UsageError
from storage.view import View
from storage.views import VIEWS

KEYS = {
    "server": "one server, in every view of servers",
    "run_id": "one run: run_history has a row for each; with server it names one check",
    "kind": "one kind of probe: with server and run_id it names one probe",
    "benchmark_id": "one load test: benchmarks has a row for each",
    "contract_digest": "one contract: of contract_history, and column digest of the table contracts",
}
"""Columns that mean the same wherever they are -> what they lead to."""

_UNITS = {
    "_at": "ISO 8601 UTC",
    "_ms": "milliseconds",
    "_us": "microseconds",
    "_per_s": "per second",
    "_s": "seconds",
    "_bytes": "bytes",
    "_ratio": "0 to 1",
    "_percent": "percent",
    "_tokens": "tokens",
}
_TIMES = ("at", "since", "until")


def unit(column: str) -> str:
    """The unit that a column's name ends with; "" for what has none."""
    if column in _TIMES:
        return _UNITS["_at"]
    return next((unit for ending, unit in _UNITS.items() if column.endswith(ending)), "")


def described(name: str | None = None) -> list[dict[str, Any]]:
    """The views, or the one of this name: what a row is, its columns, and for each key the other views that have it.

    Raises UsageError where there is no such view.
    """
    known = {view.name: view for view in VIEWS}
    if name is not None and name not in known:
        raise UsageError(f'no view "{name}"; the views are {", ".join(known)}')
    return [_described(view) for view in (known.values() if name is None else (known[name],))]


def _described(view: View) -> dict[str, Any]:
    return {
        "view": view.name,
        "row": view.row,
        "columns": [{"name": column, "unit": unit(column), "description": words} for column, _, words in view.columns],
        "keys": {key: _having(key, view.name) for key in KEYS if key in _columns(view)},
    }


def _having(key: str, other_than: str) -> list[str]:
    return [view.name for view in VIEWS if view.name != other_than and key in _columns(view)]


def _columns(view: View) -> set[str]:
    return {column for column, _, _ in view.columns}
