"""A history in which every question of storage/named_queries.py has an answer that is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench_histories import played, threshold

from builders import batch, check, facts, probe, run_info, server
from checker.metrics import CacheMeasures, PoolMeasures, RunMeasures, WorkerMeasures
from checker.model import Batch, CheckResult, ContractSnapshot, Reason, Remark, RemarkName, RunState, Status
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
RUNS = 80
_BEFORE, _AFTER = "a" * 64, "b" * 64
_TOOLS = '{"tools":[{"inputSchema":{},"name":"find"},{"inputSchema":{},"name":"fetch"}]}'
_FEWER = '{"tools":[{"inputSchema":{},"name":"find"}]}'


def told_history(path: Path) -> None:
    """A run forty days ago (number 1), and eighty in the last eighty minutes (2 to 81).

    ``search`` answers REST in as many milliseconds as it is the run's place among the eighty, and MCP in 100; two
    retries hid a refused connection; one of its checks is suspect. ``orders`` fails every other time, at last too.
    ``vault`` wants credentials, and its certificate ends in ten days. ``files`` offered one tool less from the
    41st on, was left with an open session once, and has a remark in its last two checks. ``old`` was checked in the
    first run only. The last run was interrupted and took long.

    Two load tests ``nightly``: ``search`` takes 5 ms in the first and 10 in the second, where a tenth is refused.
    """
    now_ms = time.time_ns() // 1_000_000
    groups = {"search": "shop", "orders": "shop", "vault": "tools", "files": "tools", "old": "attic"}
    servers = [server(name, group=group) for name, group in groups.items()]
    with open_store(path) as store:
        run_id = store.begin_run(run_info(started_at_ms=now_ms - 40 * DAY_MS), servers)
        store.write(run_id, batch(_failed("old", now_ms - 40 * DAY_MS, Reason.DNS)))
        store.finish_run(run_id, RunState.FINISHED, now_ms - 40 * DAY_MS + 1000)
        for place in range(1, RUNS + 1):
            at_ms = now_ms - (RUNS + 1 - place) * MINUTE_MS
            run_id = store.begin_run(run_info(started_at_ms=at_ms, servers_expected=4), servers)
            store.write(run_id, _batch(place, at_ms, now_ms))
            store.write_measures(run_id, _measures(place))
            last = place == RUNS
            state = RunState.INTERRUPTED if last else RunState.FINISHED
            store.finish_run(run_id, state, at_ms + (9000 if last else 1000))
        for median_ms, failed_ratio in ((5.0, 0.0), (10.0, 0.1)):
            tested = played(median_ms=median_ms, failed_ratio=failed_ratio, seconds=2, thresholds=(threshold(True),))
            RecordingWriter(store, tested).finish(tested, "")


def _batch(place: int, at_ms: int, now_ms: int) -> Batch:
    retried = {"attempts": 2, "earlier_reasons": "connect_refused"} if place in (3, 4) else {}
    rest = _probe("rest", at_ms, duration_us=place * 1000, stages_us={"wait": place * 500}, **retried)
    mcp = _probe("mcp", at_ms, duration_us=100_000, mcp=facts(contract_digest=None, tools_tokens=300, tool_count=10))
    few = place > RUNS // 2
    offered = facts(server_name="files", contract_digest=_AFTER if few else _BEFORE, tools_tokens=100, tool_count=1)
    left_open = {"sessions_opened": 1, "sessions_closed": 0 if place == 5 else 1}
    odd = {"remarks": (Remark(name=RemarkName.STDOUT_LINES, detail="printed a banner"),) if place > RUNS - 2 else ()}
    wanted = {
        "status": Status.DEGRADED,
        "reason": Reason.AUTH_REQUIRED,
        "score": 0.5,
        "auth_metadata_url": "http://h/.well-known/oauth-protected-resource",
        "certificate_expires_at_ms": now_ms + 10 * DAY_MS,
    }
    return Batch(
        checks=(
            check("search", started_at_ms=at_ms, probes=(mcp, rest), suspect=place == 7),
            _failed("orders", at_ms, Reason.HTTP_STATUS) if place % 2 == 0 else _well("orders", at_ms),
            check(
                "vault",
                started_at_ms=at_ms,
                status=Status.DEGRADED,
                reason=Reason.AUTH_REQUIRED,
                score=0.5,
                probes=(_probe("rest", at_ms, **wanted),),
            ),
            check("files", started_at_ms=at_ms, probes=(_probe("mcp", at_ms, mcp=offered, **left_open, **odd),)),
        ),
        contracts=(ContractSnapshot(digest=_BEFORE, document=_TOOLS), ContractSnapshot(digest=_AFTER, document=_FEWER)),
    )


def _probe(kind: str, at_ms: int, **values: Any) -> Any:
    return probe(kind, **{"started_at_ms": at_ms, "duration_us": 2000, **values})


def _well(name: str, at_ms: int) -> CheckResult:
    return check(name, started_at_ms=at_ms, probes=(_probe("rest", at_ms),))


def _failed(name: str, at_ms: int, reason: Reason) -> CheckResult:
    values: dict[str, Any] = {"status": Status.UNHEALTHY, "reason": reason, "score": 0.0}
    return check(name, started_at_ms=at_ms, probes=(_probe("rest", at_ms, **values),), **values)


def _measures(place: int) -> RunMeasures:
    return RunMeasures(
        workers=(WorkerMeasures(worker=0, pid=1, longest_lag_us=400_000 if place == 7 else 1000),),
        pools=(PoolMeasures(kind="rest", created=1, reused=3),),
        caches=(CacheMeasures(category="dns", hits=9, misses=1),) if place == RUNS else (),
    )
