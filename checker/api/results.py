"""The results of one call: each check, what the run measured of itself, and what changed in contracts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checker.errors import UsageError
from checker.metrics import RunMeasures
from checker.model import Status
from storage.history import CheckRow, ContractRow, RunRow

_WORST_FIRST = (Status.UNHEALTHY, Status.UNKNOWN, Status.DEGRADED, Status.HEALTHY)
_EXIT_CODES = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2, Status.UNKNOWN: 3}


@dataclass(frozen=True, slots=True, repr=False)
class Results:
    """The checks of one run, by server name; iterate over them, or take one by its server: ``results["search"]``."""

    run: RunRow
    """The run itself: id, times, workers."""
    checks: tuple[CheckRow, ...]
    """The checks, in the order of server names."""
    metrics: RunMeasures
    """What the run measured of itself: workers, connection pools, caches, resources, alerts."""
    contract_changes: tuple[ContractRow, ...]
    """Contracts of MCP servers that differ from those seen before."""
    warnings: tuple[str, ...] = ()
    """What is odd about the configuration."""

    def __repr__(self) -> str:
        return f"<Results of run {self.run.id}: {len(self.checks)} checks, {self.status}>"

    def __iter__(self) -> Iterator[CheckRow]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    def __getitem__(self, server: str) -> CheckRow:
        for one in self.checks:
            if one.server == server:
                return one
        raise KeyError(server)

    @property
    def counts(self) -> Mapping[Status, int]:
        """Number of checks by status, without suspect ones and those under maintenance; every status is there."""
        counted = Counter(str(one.status) for one in self.checks if not one.suspect and not one.maintenance)
        return {status: counted[status.value] for status in Status}

    @property
    def status(self) -> Status:
        """The worst status, as the exit code of `mcp-status check` has it: UNHEALTHY, UNKNOWN, DEGRADED, HEALTHY."""
        found = {
            Status.UNKNOWN if one.suspect and one.status != Status.HEALTHY else Status(one.status)
            for one in self.checks
            if not one.maintenance
        }
        return next((status for status in _WORST_FIRST if status in found), Status.HEALTHY)

    @property
    def exit_code(self) -> int:
        """The exit code of `mcp-status check` for these results: 0 healthy, 1 degraded, 2 unhealthy, 3 unknown."""
        return _EXIT_CODES[self.status]

    @property
    def problems(self) -> tuple[CheckRow, ...]:
        """The checks that are not HEALTHY."""
        return tuple(one for one in self.checks if one.status != Status.HEALTHY)

    @property
    def duration_s(self) -> float:
        """How long the run took."""
        return ((self.run.finished_at_ms or self.run.started_at_ms) - self.run.started_at_ms) / 1000

    @property
    def checks_per_second(self) -> float:
        """Checks that the run itself made, by the time that it took."""
        made = sum(one.cached_ms is None for one in self.checks)
        return made / self.duration_s if self.duration_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The document that `mcp-status check --format json` prints; docs/check.schema.json describes it."""
        from reports.run_metrics import results_document

        return results_document(self.run, self.checks, self.contract_changes, self.metrics)


def results_of(database: Path, run_id: int, warnings: tuple[str, ...] = ()) -> Results:
    """The results of a stored run; raises UsageError if there is no such run."""
    from storage.history import open_history

    with open_history(database) as history:
        return Results(
            run=history.run(run_id),
            checks=tuple(history.checks_of_run(run_id)),
            metrics=history.measures_of_run(run_id),
            contract_changes=tuple(history.drift_of_run(run_id)),
            warnings=warnings,
        )


def check_as_dict(check: CheckRow) -> dict[str, Any]:
    """A check as `mcp-status check --format ndjson` prints it: names with units, times as text in UTC."""
    from reports.check_documents import check_document

    return check_document(check)


def database_at(path: str | Path) -> Path:
    """The path of a history; raises UsageError for one that cannot be."""
    if str(path) == ":memory:":
        raise UsageError("database: workers and readers need a file; leave it out, and nothing is kept")
    return Path(path)
