"""Which servers flap now, from the newest raw checks of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.stats.flapping import RESULTS, START_RATIO, flap_ratio
from storage.past import Past, ServerRow
from storage.rollups.recent import newest_checks
from storage.rollups.samples import Outcome


@dataclass(frozen=True, slots=True)
class Flapping:
    """A server whose results change too often."""

    server: ServerRow
    flap_ratio: float
    """Weighted share of changes, 0 to 1."""
    checks: int
    """That it was reckoned from."""
    since_ms: int
    """When the first of them began."""


def flapping_servers(past: Past, start_ratio: float = START_RATIO) -> Sequence[Flapping]:
    """Those above the ratio, the worst first. What says nothing of the server is taken as the result before it."""
    ids = [server.id for server in past.servers]
    checks = newest_checks(past.connection, ids, RESULTS)
    if not len(checks.server):
        return []
    opens = np.diff(checks.server, prepend=-1) > 0
    firsts = np.flatnonzero(opens)
    row = np.cumsum(opens) - 1
    counts = np.diff(np.append(firsts, len(row)))
    # The newest result is in the last column; what is missing before the first says nothing.
    column = np.arange(len(row)) - firsts[row] + RESULTS - counts[row]
    statuses = np.full((len(firsts), RESULTS), int(Outcome.UNKNOWN))
    statuses[row, column] = np.minimum(checks.outcome, Outcome.UNKNOWN)
    ratios = flap_ratio(statuses, int(Outcome.UNKNOWN)).tolist()
    by_id = {server.id: server for server in past.servers}
    found = [
        Flapping(by_id[int(checks.server[first])], ratio, int(count), int(checks.at_ms[first]))
        for first, count, ratio in zip(firsts.tolist(), counts.tolist(), ratios, strict=True)
        if ratio > start_ratio
    ]
    return sorted(found, key=lambda one: (-one.flap_ratio, one.server.name))
