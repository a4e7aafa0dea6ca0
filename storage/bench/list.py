"""Load tests in a line each: which there are, which are baselines, and what they came to."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import and_, func, not_, select

from checker.bench.results import BenchKind, BenchState
from storage.bench.tables import ALL, bench_baselines, bench_runs, bench_summaries, bench_thresholds
from storage.queries import reading
from storage.sqlite import errors_of
from storage.store import is_alive


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchLine:
    """A load test without what it measured second by second."""

    id: int
    name: str
    kind: BenchKind
    state: BenchState
    killed: bool
    """Whether it is in the state running and its process, of this machine, is gone."""
    started_at_ms: int
    finished_at_ms: int | None
    plan_digest: str
    checker_version: str
    workers: int
    environment: Mapping[str, str]
    thresholds: int
    broken: int
    """Thresholds that did not hold."""
    client_bound: str | None
    """Why the load generator was the limit; "" where it was not, None where nobody judged."""
    baselines: tuple[str, ...]
    """By which names it is one."""
    ok_per_s: float | None
    """Of all measured stages together, as what follows; None until the run has ended."""
    failed_ratio: float | None
    p50_us: int | None
    p95_us: int | None
    p99_us: int | None

    @property
    def ended(self) -> bool:
        """Whether it came to the end that was planned."""
        return self.state is BenchState.FINISHED


@dataclass(frozen=True, slots=True)
class Baseline:
    """A name for a run that others are compared with."""

    name: str
    run_id: int
    set_at_ms: int
    run_name: str
    started_at_ms: int


def bench_list(
    path: Path,
    *,
    name: str | None = None,
    plan_digest: str | None = None,
    state: BenchState | None = None,
    limit: int | None = None,
) -> tuple[BenchLine, ...]:
    """The load tests, the newest first: of this name, plan and state, where they are given.

    Raises StorageError where there is no history.
    """
    given = {"name": name, "plan_digest": plan_digest, "state": state}
    wanted = [bench_runs.c[column] == str(value) for column, value in given.items() if value is not None]
    found = select(*_COLUMNS).outerjoin(bench_summaries, _WHOLE).where(*wanted)
    with reading(path) as connection, errors_of(path):
        rows = connection.execute(found.order_by(bench_runs.c.id.desc()).limit(limit)).mappings().all()
        named: dict[int, tuple[str, ...]] = {}
        for run_id, baseline in connection.execute(_NAMES):
            named[run_id] = (*named.get(run_id, ()), baseline)
    return tuple(_line(dict(row), named.get(row["id"], ())) for row in rows)


def bench_baselines_of(path: Path) -> tuple[Baseline, ...]:
    """The baselines by name."""
    found = (
        select(bench_baselines, bench_runs.c.name.label("run_name"), bench_runs.c.started_at_ms)
        .join(bench_runs, bench_runs.c.id == bench_baselines.c.run_id)
        .order_by(bench_baselines.c.name)
    )
    with reading(path) as connection, errors_of(path):
        return tuple(Baseline(**row) for row in connection.execute(found).mappings())


_NAMES = select(bench_baselines.c.run_id, bench_baselines.c.name).order_by(bench_baselines.c.name)
_WHOLE = and_(
    bench_summaries.c.run_id == bench_runs.c.id, bench_summaries.c.series == ALL, bench_summaries.c.stage == ALL
)
_OF_RUN = select(func.count()).where(bench_thresholds.c.run_id == bench_runs.c.id).correlate(bench_runs)
_COLUMNS: list[Any] = [
    *(bench_runs.c[name] for name in ("id", "name", "kind", "state", "started_at_ms", "finished_at_ms")),
    *(bench_runs.c[name] for name in ("plan_digest", "checker_version", "workers", "environment", "client_bound")),
    *(bench_runs.c[name] for name in ("host", "pid")),
    _OF_RUN.scalar_subquery().label("thresholds"),
    _OF_RUN.where(not_(bench_thresholds.c.passed)).scalar_subquery().label("broken"),
    *(bench_summaries.c[name] for name in ("ok_per_s", "failed_ratio")),
    *(bench_summaries.c[f"response_{word}_us"].label(f"{word}_us") for word in ("p50", "p95", "p99")),
]


def _line(row: dict[str, Any], baselines: tuple[str, ...]) -> BenchLine:
    host, pid = row.pop("host"), row.pop("pid")
    row["environment"] = orjson.loads(row["environment"] or "{}")
    state = BenchState(row.pop("state"))
    return BenchLine(
        **{**row, "kind": BenchKind(row["kind"])},
        state=state,
        killed=state is BenchState.RUNNING and host == socket.gethostname() and not is_alive(pid),
        baselines=baselines,
    )
