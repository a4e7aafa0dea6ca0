"""Reproduction of a run: seed, versions and command, and whether two runs had the same environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from checker.loadtest.results import BenchRun
from reports.check_documents import iso
from reports.output_forms import duration
from reports.report_model import Column, Section, Table

_EXPECTED = ("git_commit", "load_average", "checker_version")
"""Facts that change with the code, which is what is compared, or with time; the version is in the run itself."""


def environment_of(run: BenchRun) -> Mapping[str, str]:
    """The load generator's environment in a run: machine, versions, worker processes."""
    kept = {name: value for name, value in run.environment.items() if name not in _EXPECTED}
    return {**kept, "checker version": run.checker_version, "workers": str(run.workers)}


def differences(first: BenchRun, second: BenchRun) -> list[str]:
    """The differences as words: ``python (3.12.1, 3.13.0)``."""
    before, after = environment_of(first), environment_of(second)
    names = dict.fromkeys((*before, *after))
    return [
        f"{name} ({before.get(name, 'unknown')}, {after.get(name, 'unknown')})"
        for name in names
        if before.get(name) != after.get(name)
    ]


_MOST_KEYS = 400
_MOST_LETTERS = 300


def reproduction(run: BenchRun) -> Section:
    """Seed, digest, versions, environment, clock, and the command."""
    took = None if run.finished_at_ms is None else duration(run.finished_at_ms - run.started_at_ms)
    facts: list[tuple[str, Any]] = [
        ("run", run.id),
        ("plan", run.name),
        ("plan digest", f"sha256:{run.plan_digest}"),
        ("seed", run.seed),
        ("kind", run.kind.value),
        ("state", run.state.value),
        ("started", iso(run.started_at_ms)),
        ("finished", iso(run.finished_at_ms)),
        ("took", took),
        ("workers", run.workers),
        ("slot", f"{run.slot_s} s"),
        ("mcp-status-check", run.checker_version),
        *sorted((name, value) for name, value in run.environment.items() if name != "checker_version"),
        ("command", command(run)),
    ]
    rows = [[name, str(value)] for name, value in facts if value not in (None, "")]
    text = "Runs whose environment differs are not to be compared without a word about it."
    return Section(
        "reproduce", "To run it again", Table([Column("what", "What"), Column("value", "Value")], rows), text
    )


def command(run: BenchRun) -> str:
    """The command that runs it again, with the same plan and seed."""
    return "" if run.id is None else f"mcp-status bench rerun {run.id}"


def plan(run: BenchRun) -> Section:
    """The plan as written, a row for each value."""
    rows = [[path, _short(value)] for path, value in _flat(run.plan)]
    left_out = len(rows) - _MOST_KEYS
    text = f"{left_out} more values are in the JSON." if left_out > 0 else ""
    columns = [Column("key", "Key"), Column("value", "Value")]
    return Section("plan", "The plan", Table(columns, rows[:_MOST_KEYS]), text)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{place}]")
    else:
        yield path, value


def _short(value: Any) -> str:
    words = str(value)
    return words if len(words) <= _MOST_LETTERS else f"{words[: _MOST_LETTERS - 1]}…"
