"""Histories written as words: a letter for each check of a server, run after run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders import AT_MS, batch, check, probe, run_info, server
from checker.model import CheckResult, Reason, RunState, Server, Status
from storage.report_history import Past, open_past
from storage.rollups.read import Period
from storage.store import open_store

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
_STATUSES = {"H": Status.HEALTHY, "D": Status.DEGRADED, "U": Status.UNHEALTHY, "?": Status.UNKNOWN}
_SCORES = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0, Status.UNKNOWN: None}


def write_past(
    path: Path,
    words: Mapping[str, str],
    *,
    every_ms: int = MINUTE_MS,
    at_ms: int = AT_MS,
    servers: Mapping[str, Mapping[str, Any]] | None = None,
    reasons: Mapping[str, Reason] | None = None,
    roll: bool = True,
) -> int:
    """Write a run for each letter; gives when the next would begin.

    H, D, U and ? are the statuses, M is UNHEALTHY under maintenance, S is UNHEALTHY and suspect, and a point is no
    check. ``servers`` has fields of `checker.model.Server`, with ``url`` for the address of its probe.
    """
    fields = {name: dict((servers or {}).get(name, {})) for name in words}
    urls = {name: values.pop("url", f"http://{name}/health") for name, values in fields.items()}
    fleet: list[Server] = [server(name, **values) for name, values in fields.items()]
    with open_store(path) as store:
        for place in range(max(map(len, words.values()))):
            made = [
                _check(name, word[place], at_ms, urls[name], (reasons or {}).get(name, Reason.HTTP_STATUS))
                for name, word in words.items()
                if word[place : place + 1] not in ("", ".")
            ]
            run_id = store.begin_run(run_info(started_at_ms=at_ms, servers_expected=len(made)), fleet)
            store.write(run_id, batch(*made))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
            at_ms += every_ms
        if roll:
            store.roll(at_ms)
    return at_ms


@contextmanager
def past_of(path: Path, now_ms: int, since_ms: int = AT_MS, **selected: Any) -> Iterator[tuple[Past, Period]]:
    """The past of a history and the period from ``since_ms`` to ``now_ms``."""
    with open_past(path, now_ms, **selected) as past:
        yield past, Period.of(since_ms, now_ms)


def _check(name: str, letter: str, at_ms: int, url: str, reason: Reason) -> CheckResult:
    status = _STATUSES.get(letter, Status.UNHEALTHY)
    said = {"status": status, "score": _SCORES[status], "started_at_ms": at_ms}
    if status is not Status.HEALTHY:
        said |= {"reason": reason, "detail": f"{reason} it was"}
    probes = (probe("rest", url=url, **said),)
    return check(name, probes=probes, suspect=letter == "S", maintenance=letter == "M", **said)
