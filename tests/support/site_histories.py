"""Small histories for status pages: a fleet of which some servers were down, and one still is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders import AT_MS, batch, check, facts, probe, run_info, server
from checker.model import CheckResult, ContractSnapshot, Reason, RunState, Status
from storage.store import open_store

RUNS = 10
EVERY_MS = 600_000
_DIGEST = "c" * 64


def write_fleet(path: Path, names: Sequence[str], at_ms: int = AT_MS, runs: int = RUNS) -> int:
    """Write a run every ten minutes; gives when the next would begin.

    The first server is down in the fourth and the fifth run, the second from the last but one on, and the third is
    degraded in the last; the others are up.
    """
    fleet = [server(name, group=f"group {place % 3}", objective=0.999) for place, name in enumerate(names)]
    with open_store(path) as store:
        for run in range(runs):
            checks = [_check(place, name, run, runs, at_ms) for place, name in enumerate(names)]
            run_id = store.begin_run(run_info(started_at_ms=at_ms, servers_expected=len(names)), fleet)
            snapshot = ContractSnapshot(digest=_DIGEST, document='{"tools":[]}')
            store.write(run_id, batch(*checks, contracts=(snapshot,)))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
            at_ms += EVERY_MS
        store.roll(at_ms)
    return at_ms


def _check(place: int, name: str, run: int, runs: int, at_ms: int) -> CheckResult:
    said: dict[str, Any] = {"started_at_ms": at_ms}
    if (place == 0 and run in (3, 4)) or (place == 1 and run >= runs - 2):
        said |= {"status": Status.UNHEALTHY, "score": 0.0, "reason": Reason.CONNECT_REFUSED, "detail": "10.0.0.7:443"}
    elif place == 2 and run == runs - 1:
        said |= {"status": Status.DEGRADED, "score": 0.5, "reason": Reason.SLOW}
    mcp = probe("mcp", duration_us=40_000 + 1000 * run, mcp=facts(contract_digest=_DIGEST), **said)
    return check(name, probes=(mcp, probe("rest", duration_us=9_000, **said)), **said)
