"""Probes that got no answer, as series of their own: counted by reason and slot, never mixed into latencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checker.model import Reason
from reports.report import Chart, Column, Kind, Line, Section, Shape, Table
from storage.rollups.read import Period
from storage.rollups.reasons import ReasonCounts

Integers = npt.NDArray[np.int64]

ANSWERED = frozenset({Reason.SLOW, Reason.CERTIFICATE_EXPIRES_SOON})
"""Not HEALTHY, but answered: these are among the latencies."""
TIMEOUTS = frozenset({Reason.CONNECT_TIMEOUT, Reason.SEND_TIMEOUT, Reason.FIRST_BYTE_TIMEOUT, Reason.DEADLINE})
"""Censored: it would have taken at least as long as the limit, nobody knows how long."""
OWN = frozenset(
    {
        Reason.WORKER_LOST,
        Reason.INTERNAL_ERROR,
        Reason.OWN_NETWORK,
        Reason.RESOURCE_LIMIT,
        Reason.CIRCUIT_OPEN,
    }
)
"""The checker's own: says nothing of the server."""
MOST_SHOWN = 8
"""Reasons with a column and a line; the rest are one."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Counts of probes without an answer; every array has one entry a bucket and reason."""

    names: tuple[str, ...]
    reason: Integers
    series: Integers
    slot: Integers
    times: Integers

    def by_label(self, label: Integers, labels: int, only: frozenset[Reason] | None = None) -> Integers:
        """How many there are under each label, ``label[s]`` being that of series ``s``; of these reasons only."""
        of_entry = label[self.series]
        kept = of_entry >= 0
        if only is not None:
            kept &= np.array([name in only for name in self.names], bool)[self.reason]
        return np.bincount(of_entry[kept], self.times[kept], labels).astype(np.int64)


def failures_of(counts: ReasonCounts) -> Failures:
    """The failures among reasons: without those that came with an answer, and without the checker's own."""
    failed = np.array([name not in ANSWERED | OWN for name in counts.names], bool)[counts.reason]
    return Failures(
        tuple(counts.names), counts.reason[failed], counts.series[failed], counts.slot[failed], counts.times[failed]
    )


def sections(failures: Failures, period: Period, probes: int) -> list[Section]:
    """Which failures there were, and when; ``probes`` are those that were answered."""
    totals = np.bincount(failures.reason, failures.times, len(failures.names)).astype(np.int64)
    order = [one for one in np.argsort(-totals, kind="stable").tolist() if totals[one]]
    every = max(1, probes + int(totals.sum()))
    rows = []
    for one in order:
        slots = failures.slot[failures.reason == one]
        times = (int(slots.min()) * period.slot_ms, int(slots.max()) * period.slot_ms)
        name = failures.names[one]
        censored = "censored" if name in TIMEOUTS else ""
        rows.append([name, int(totals[one]), totals[one] / every, censored, *times])
    columns = [
        Column("reason", "Reason"),
        Column("failures", "Probes", Kind.COUNT),
        Column("share_ratio", "Share", Kind.RATIO, words="Of all probes of these servers."),
        Column("censored", "Timeout", words="Censored: how long it would have taken is not known."),
        Column("first_seen", "First slot", Kind.TIME),
        Column("last_seen", "Last slot", Kind.TIME),
    ]
    text = "Failed probes are no latencies: none of them is in any percentile. Timeouts are censored: all that is known"
    found = [Section("failures", "Probes without an answer", Table(columns, rows), f"{text} is that they took longer.")]
    return [*found, _over_time(failures, period, order)] if order else found


def _over_time(failures: Failures, period: Period, order: list[int]) -> Section:
    slots = period.slots
    shown = order[:MOST_SHOWN] if len(order) > MOST_SHOWN + 1 else order
    place = np.full(len(failures.names), len(shown))
    place[shown] = np.arange(len(shown))
    wide = len(shown) + 1
    table = np.bincount(
        (failures.slot - slots.start) * wide + place[failures.reason], failures.times, len(slots) * wide
    ).reshape(len(slots), wide)
    names = [*(failures.names[one] for one in shown), *(["other"] if len(shown) < len(order) else [])]
    labels = [f"{name} (timeout)" if name in TIMEOUTS else name for name in names]
    at_ms = [slot * period.slot_ms for slot in slots]
    rows: list[list[Any]] = [
        [at, *map(int, counts[: len(names)])] for at, counts in zip(at_ms, table.tolist(), strict=True) if any(counts)
    ]
    columns = [
        Column("at", "Slot", Kind.TIME),
        *(Column(f"{name}_failures", label, Kind.COUNT) for name, label in zip(names, labels, strict=True)),
    ]
    lines = [Line(label, table[:, number].tolist()) for number, label in enumerate(labels)]
    chart = Chart("Probes without an answer", Shape.STACK, at_ms, lines, unit="probes")
    return Section("failures_over_time", "When they failed", Table(columns, rows), charts=[chart])
