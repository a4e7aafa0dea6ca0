"""What checks of the made-up fleet found: arrays as the buckets are folded from, and rows for the tables."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from history.fleet import DAY_MS, REASONS, Server

from storage.rollups.raw_rows import Checks, Probes
from storage.rollups.watermarks import CHECK, STAGES, Outcome

KINDS = ("mcp", "rest")
PARTS = {
    "mcp": {"initialize": 0.35, "initialized": 0.03, "ping": 0.12, "list": 0.45, "close": 0.05},
    "rest": {"wait": 0.94, "transfer": 0.06},
}
"""Which part of a probe each of its stages takes."""
NAMES = ("slow", "worker_lost", *REASONS)
_CODE = {name: number for number, name in enumerate(NAMES)}
_STATUS = ("HEALTHY", "DEGRADED", "UNHEALTHY", "UNKNOWN", "HEALTHY", "HEALTHY")


def sample(
    servers: Sequence[Server], ids: Sequence[int], starts_ms: np.ndarray, runs: np.ndarray, rng: np.random.Generator
) -> tuple[Checks, Probes]:
    """One check of each server (with its id in the database) in each run, sorted by server and time."""
    size = len(servers), len(starts_ms)
    at_ms = starts_ms[None, :] + rng.integers(0, 2000, size)
    outcome = np.zeros(size, np.int64)
    reason = np.full(size, -1)
    outcome[rng.random(size) < 0.0003] = Outcome.SUSPECT
    lost = rng.random(size) < 0.0001
    outcome[lost], reason[lost] = Outcome.UNKNOWN, _CODE["worker_lost"]
    times = np.empty((*size, len(KINDS), len(STAGES)), np.int64)
    times.fill(-1)
    failed = np.zeros(size, bool)
    for row, server in enumerate(servers):
        _durations(times[row], server, at_ms[row], starts_ms[0], rng)
        down = rng.random(size[1]) < server.failure_ratio
        reason[row, down] = _CODE["deadline"]
        for window in server.windows:
            hit = (at_ms[row] >= window.start_ms) & (at_ms[row] < window.end_ms)
            reason[row, hit] = _CODE[window.reason]
            down |= hit
        failed[row] = down
    slow = (times[:, :, 1, 0] > 4 * np.median(times[:, :, 1, 0], axis=1, keepdims=True)) & ~failed & (outcome == 0)
    outcome[slow], reason[slow] = Outcome.DEGRADED, _CODE["slow"]
    outcome[failed & (outcome == 0)] = Outcome.UNHEALTHY
    order = np.argsort(at_ms, axis=1, kind="stable")
    at_ms, outcome, reason = (np.take_along_axis(one, order, 1) for one in (at_ms, outcome, reason))
    times = np.take_along_axis(times, order[:, :, None, None], 1)
    checks = Checks(
        np.repeat(np.array(ids), size[1]), runs[order].ravel(), at_ms.ravel(), outcome.ravel(), reason.ravel(), NAMES
    )
    each = np.repeat(np.arange(len(checks.server)), len(KINDS))
    probes = Probes(
        check=each,
        kind=np.tile(np.arange(1, len(KINDS) + 1), len(checks.server)),
        kinds=(CHECK, *KINDS),
        outcome=checks.outcome[each],
        reason=checks.reason[each],
        reasons=NAMES,
        times_us=times.reshape(-1, len(STAGES)),
    )
    return checks, probes


def _durations(times: np.ndarray, server: Server, at_ms: np.ndarray, start_ms: int, rng: np.random.Generator) -> None:
    hour = at_ms % DAY_MS / DAY_MS
    level = (1 + server.rhythm * np.clip(np.sin((hour - 0.3) * 2 * np.pi), 0, None)) * (
        1 + server.drift * (at_ms % (400 * DAY_MS)) / DAY_MS / 400 * 90
    )
    for when_ms, factor in server.deploys:
        level = np.where(at_ms >= when_ms, level * factor, level)
    for place, kind in enumerate(KINDS):
        total = server.median_us[kind] * level * np.exp(rng.normal(0, server.spread, len(at_ms)))
        spikes = rng.random(len(at_ms)) < 0.002
        total[spikes] *= rng.uniform(2, 10, int(spikes.sum()))
        times[:, place, 0] = total
        for stage, part in PARTS[kind].items():
            noise = np.exp(rng.normal(0, 0.1, len(at_ms)))
            times[:, place, STAGES.index(stage)] = np.maximum(1, total * part * noise)


CHECK_COLUMNS = "server_id, run_id, started_at_ms, duration_us, status, reason, score, tries, suspect"
_STAGE_COLUMNS = tuple(stage for stage in STAGES if any(stage in parts for parts in PARTS.values()))
PROBE_COLUMNS = ", ".join(
    ("server_id", "run_id", "kind", "position", "started_at_ms", "duration_us", "status", "reason", "score", "url_id",
     "attempts", "http_status", "received_bytes", "connections_opened", "reused", "redirects", "sessions_opened",
     "sessions_closed", "mcp_facts_id", *(f"{stage}_us" for stage in _STAGE_COLUMNS))
)  # fmt: skip


def check_rows(checks: Checks, probes: Probes) -> Iterator[tuple[Any, ...]]:
    """Rows of the table of checks, of `CHECK_COLUMNS`."""
    duration = probes.times_us[:, 0].reshape(-1, len(KINDS)).max(axis=1)
    columns = (checks.server, checks.run, checks.at_ms, duration, checks.outcome, checks.reason)
    for server, run, at_ms, duration_us, outcome, reason in zip(*(one.tolist() for one in columns), strict=True):
        status = _STATUS[outcome]
        score = (1.0, 0.5, 0.0, None)[min(outcome, 3)] if outcome < Outcome.MAINTENANCE else 1.0
        why = NAMES[reason] if reason >= 0 and status != "HEALTHY" else None
        yield server, run, at_ms, duration_us, status, why, score, 1, int(outcome == Outcome.SUSPECT)


def probe_rows(checks: Checks, probes: Probes, urls: dict[tuple[int, str], int]) -> Iterator[Any]:
    """Rows of the table of probes, of `PROBE_COLUMNS`."""
    stages = [
        [None if one < 0 else one for one in probes.times_us[:, STAGES.index(name)].tolist()] for name in _STAGE_COLUMNS
    ]
    columns = (checks.server[probes.check], checks.run[probes.check], probes.kind, checks.at_ms[probes.check],
               probes.times_us[:, 0], probes.outcome, probes.reason)  # fmt: skip
    plain = zip(*(one.tolist() for one in columns), zip(*stages, strict=True), strict=True)
    for server, run, kind, at_ms, duration_us, outcome, reason, parts in plain:
        name, status = KINDS[kind - 1], _STATUS[outcome]
        good = status in ("HEALTHY", "DEGRADED")
        why = NAMES[reason] if reason >= 0 and status != "HEALTHY" else None
        score = {"HEALTHY": 1.0, "DEGRADED": 0.5, "UNHEALTHY": 0.0}.get(status)
        mcp = name == "mcp"
        yield (server, run, name, kind - 1, at_ms + 1, duration_us, status, why, score, urls[server, name], 1,
               200 if good else None, 512 if good else None, 0, 1, 0, 1 if mcp and good else None,
               1 if mcp and good else None, server if mcp and good else None, *parts)  # fmt: skip
