"""Histories of a small fleet, written by the real store: each server with a habit that reports must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from builders import AT_MS, batch, check, probe, run_info, server
from checker.model import CheckResult, ProbeResult, Reason, RunState, Status
from storage.report_history import Past, open_past
from storage.rollups.read import Period
from storage.store import open_store

HOUR_MS = 3_600_000
EVERY_MS = 300_000
"""Twelve checks an hour."""
HOURS = 24
GAP_HOUR = 5
"""Nobody checked in it."""
STEP_HOUR = 16
"""From here on `worse` takes twice as long."""
UNTIL_MS = AT_MS + HOURS * HOUR_MS
GROUP = ("fast-1", "fast-2", "fast-3", "fast-4", "worse", "drifting", "slow", "flaky")
TIMEOUT_US = 5_000_000


def rest_ms(name: str, hour: float) -> float:
    """What the server takes for REST; MCP takes twice as long."""
    if name == "worse":
        return 40.0 if hour >= STEP_HOUR else 20.0
    if name == "drifting":
        return 20.0 * (1 + hour / HOURS)
    return 200.0 if name == "slow" else 20.0


def fleet(path: Path) -> Path:
    """A day of eight servers of one group; all but the last two hours are rolled."""
    random = np.random.default_rng(7)
    times = [AT_MS + at for at in range(0, HOURS * HOUR_MS, EVERY_MS) if at // HOUR_MS != GAP_HOUR]

    def checks(number: int, at_ms: int) -> list[CheckResult]:
        hour = (at_ms - AT_MS) / HOUR_MS
        return [
            one_check(name, at_ms, rest_ms(name, hour) * random.lognormal(0, 0.03), _trouble(name, number))
            for name in GROUP
        ]

    return write(path, times, checks)


def _trouble(name: str, number: int) -> Reason | None:
    if name != "flaky" or number % 10:
        return None
    return Reason.DEADLINE if number % 20 else Reason.HTTP_STATUS


def one_check(name: str, at_ms: int, duration_ms: float, trouble: Reason | None = None) -> CheckResult:
    """A check whose MCP probe takes twice as long as its REST probe; with ``trouble`` neither gets its answer."""
    probes = tuple(_probe(kind, at_ms, factor * duration_ms, trouble) for kind, factor in (("mcp", 2), ("rest", 1)))
    status = Status.HEALTHY if trouble is None else Status.UNHEALTHY
    return check(name, status=status, reason=trouble, started_at_ms=at_ms, probes=probes)


def _probe(kind: str, at_ms: int, duration_ms: float, trouble: Reason | None) -> ProbeResult:
    if trouble is not None:
        return probe(
            kind,
            started_at_ms=at_ms,
            duration_us=TIMEOUT_US,
            status=Status.UNHEALTHY,
            score=0.0,
            reason=trouble,
            mcp=None,
        )
    duration_us = round(1000 * duration_ms)
    stages_us = (
        {"connect": duration_us // 10, "wait": duration_us * 6 // 10}
        if kind == "rest"
        else {"initialize": duration_us // 2, "list": duration_us // 4}
    )
    return probe(kind, started_at_ms=at_ms, duration_us=duration_us, stages_us=stages_us)


def write(
    path: Path,
    times: list[int],
    checks: Callable[[int, int], list[CheckResult]],
    groups: Mapping[str, str] | None = None,
) -> Path:
    """A run at each of the times."""
    with open_store(path) as store:
        for number, at_ms in enumerate(times):
            made = checks(number, at_ms)
            servers = [server(one.server, group=(groups or {}).get(one.server, "shop")) for one in made]
            run_id = store.begin_run(run_info(started_at_ms=at_ms, servers_expected=len(made)), servers)
            store.write(run_id, batch(*made))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1_000)
    return path


@contextmanager
def asked(path: Path, since_ms: int, until_ms: int, *names: str) -> Iterator[tuple[Past, Period]]:
    """The past and the period that a report is built of."""
    with open_past(path, until_ms, names=names) as past:
        yield past, Period.of(since_ms, until_ms)
