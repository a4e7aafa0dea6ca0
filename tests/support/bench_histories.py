"""Load tests that were never played: records with the slots that a server of known response times would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checker.loadtest.results import (
    BenchKind,
    BenchRun,
    BenchState,
    Series,
    Slot,
    StageSpan,
    ThresholdResult,
    WorkerSecond,
)
from checker.stats.histogram import Cells

AT_MS = 1_795_435_200_000
DIGEST = "d" * 64
ENVIRONMENT = {"machine": "box", "cores": "2", "python": "3.13.1", "git_commit": "abc"}
WARM_UP_S = 5


def histogram(values_us: Sequence[float] | NDArray[Any]) -> bytes:
    """Some durations packed."""
    values = np.asarray(values_us).astype(np.int64)
    return Cells.of_values(np.zeros(len(values), np.int64), values).blobs(1)[0]


def slot(at_s: int, response_us: Sequence[float] | NDArray[Any], *, failed: int = 0, **values: Any) -> Slot:
    """A slot of good answers that took so long, and of so many refused connections."""
    times = np.asarray(response_us, dtype=np.float64)
    given = {
        "series": 0,
        "stage": 1,
        "offered": len(times) + failed,
        "ok": len(times),
        "failed": failed,
        "done_ok": len(times),
        "done_failed": failed,
        "max_us": int(times.max(initial=0)),
        "response": histogram(times),
        "service": histogram(times * 0.98),
        "late": histogram(times * 0.02),
        "reasons": {"connect_refused": failed} if failed else {},
    }
    return Slot(at_s=at_s, **{**given, **values})


def played(
    *,
    median_ms: float = 5.0,
    seconds: int = 60,
    rate: int = 100,
    servers: Sequence[str] = ("search",),
    failed_ratio: float = 0.0,
    seed: int = 0,
    model: str = "open",
    **values: Any,
) -> BenchRun:
    """A warm-up of 5 s, then a hold of so many seconds at ``rate`` a server; response times are log-normal."""
    random = np.random.default_rng(seed)
    slots = []
    for at_s in range(WARM_UP_S + seconds):
        for series in range(len(servers)):
            failed = int(random.binomial(rate, failed_ratio)) if failed_ratio else 0
            times_us = 1000 * median_ms * np.exp(random.normal(0, 0.25, rate - failed))
            slots.append(slot(at_s, times_us, failed=failed, series=series, stage=int(at_s >= WARM_UP_S)))
    level = float(rate * len(servers))
    span = {"scenario": "health", "start_level": level, "end_level": level}
    given: dict[str, Any] = {
        "id": None,
        "name": "nightly",
        "kind": BenchKind.LOAD,
        "state": BenchState.FINISHED,
        "started_at_ms": AT_MS,
        "finished_at_ms": AT_MS + 1000 * (WARM_UP_S + seconds),
        "checker_version": "1.0.0",
        "plan": {"scenarios": {"health": {"operation": "rest"}}},
        "plan_digest": DIGEST,
        "seed": 1,
        "workers": 1,
        "slot_s": 1,
        "environment": ENVIRONMENT,
        "series": tuple(
            Series(scenario="health", operation="rest", model=model, server=name, url=f"http://127.0.0.1/{name}")
            for name in servers
        ),
        "stages": (
            StageSpan(name="warm_up 1", kind="warm_up", measured=False, from_s=0.0, until_s=WARM_UP_S, **span),
            StageSpan(name="hold 1", kind="hold", measured=True, from_s=WARM_UP_S, until_s=WARM_UP_S + seconds, **span),
        ),
        "slots": tuple(slots),
        "health": tuple(worker_second(at_s) for at_s in range(WARM_UP_S + seconds)),
    }
    return BenchRun(**{**given, **values})


def worker_second(at_s: int, **values: Any) -> WorkerSecond:
    """A second of a worker that is well."""
    given: dict[str, Any] = {
        **{"worker": 0, "cpu_ratio": 0.25, "lag_p99_us": 300, "lag_max_us": 900, "late_p99_us": 200, "gc_us": 0},
        **{"in_flight": 3, "backlog": 0, "descriptors": 20, "ports": 4, "memory_bytes": 50_000_000},
    }
    return WorkerSecond(at_s=at_s, **{**given, **values})


def threshold(passed: bool) -> ThresholdResult:
    """One on the p95, kept or broken."""
    value = 400.0 if passed else 600.0
    return ThresholdResult(
        metric="response_time", expression="p(95)<500", over_s=None, value=value, passed=passed, aborted=False
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge of the client says."""

    unfit: bool = False
    reason: str = ""
    stages: Mapping[int, str] = field(default_factory=dict)


def trusting(_run: BenchRun) -> Judged:
    """A judge to whom every client is well."""
    return Judged()
