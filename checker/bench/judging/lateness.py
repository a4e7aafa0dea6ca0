"""What the client itself may have added to what was measured, and the run as it would be without that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from checker.bench.client_bound import BoundSpan, Cause
from checker.bench.results import BenchRun, Slot
from storage.rollups.histogram import Cells, middle_us

UNMADE = frozenset({Cause.HELD, Cause.SILENT, Cause.DESCRIPTORS, Cause.PORTS})
"""With these the server did not get the load that the run speaks of."""
UNMADE_US = 1_000_000
"""Arrivals that are later than a slot are another load, too."""
_TIMES = ("response", "failed_response")


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much the client may have added to a response time, in each second."""

    begin_us: dict[int, int]
    """Second -> how late operations were begun (p99)."""
    answer_us: dict[int, int]
    """Second -> how late answers may have been seen."""
    unmade: frozenset[int]
    """Seconds in which the server did not get the load that was planned."""

    @classmethod
    def of(cls, run: BenchRun, spans: Iterable[BoundSpan]) -> Lateness:
        """As the workers said. An answer can wait as long as a start: both wait for the same loop.

        The time from the planned start contains the late start and the late look at the answer, each once. A worker's
        seconds begin when it likes, so that the seconds on both sides of a slot count.
        """
        begin: dict[int, int] = defaultdict(int)
        answer: dict[int, int] = defaultdict(int)
        for second in run.health:
            for at_s in (second.at_s - 1, second.at_s, second.at_s + 1):
                begin[at_s] = max(begin[at_s], second.late_p99_us)
                answer[at_s] = max(answer[at_s], second.lag_p99_us, second.late_p99_us)
        unmade = {at_s for at_s, late_us in begin.items() if late_us >= UNMADE_US}
        for span in spans:
            if span.cause in UNMADE:
                unmade |= set(range(int(span.from_s), int(np.ceil(span.until_s))))
        return cls(dict(begin), dict(answer), frozenset(unmade))

    def added_us(self, at_s: int, slot_s: int = 1) -> int:
        """The most that a response time of this slot contains of the client's own."""
        seconds = range(at_s, at_s + slot_s)
        return max((self.begin_us.get(one, 0) + self.answer_us.get(one, 0) for one in seconds), default=0)

    def answer_added_us(self, at_s: int, slot_s: int = 1) -> int:
        """The same of a service time, which begins when the request is sent."""
        return max((self.answer_us.get(one, 0) for one in range(at_s, at_s + slot_s)), default=0)

    def most_us(self, run: BenchRun, stages: Collection[int]) -> int:
        """The most that a response time of these stages contains."""
        return max((self.added_us(slot.at_s, run.slot_s) for slot in run.slots if slot.stage in stages), default=0)


def without_client(run: BenchRun, lateness: Lateness, stages: Collection[int]) -> BenchRun:
    """The run as it may have been with a client that is never late: what is claimed is to hold here, too.

    In these stages response times are shorter by all that the client can have added, timeouts are no failures, and
    what ended late has ended in time.
    """
    there = [place for place, slot in enumerate(run.slots) if slot.stage in stages]
    changed = [_quicker(run.slots[place], lateness, run) for place in there]
    for name in ("response", "service", "first_byte", "failed_response"):
        of_slot = lateness.added_us if name in _TIMES else lateness.answer_added_us
        shifts = np.array([of_slot(slot.at_s, run.slot_s) for slot in changed], np.int64)
        blobs = _shifted([getattr(slot, name) for slot in changed], shifts)
        given: list[dict[str, Any]] = [{name: blob} for blob in blobs]
        changed = [replace(slot, **values) for slot, values in zip(changed, given, strict=True)]
    slots = list(run.slots)
    for place, slot in zip(there, changed, strict=True):
        slots[place] = slot
    return replace(run, slots=slots)


def _quicker(slot: Slot, lateness: Lateness, run: BenchRun) -> Slot:
    """The counts and the longest time of a slot, without what the client may have done to them."""
    added_us = lateness.added_us(slot.at_s, run.slot_s)
    is_unmade = any(at_s in lateness.unmade for at_s in range(slot.at_s, slot.at_s + run.slot_s))
    lost = slot.failed if is_unmade else slot.censored
    due = slot.offered - slot.done_failed + lost
    more = slot.offered if is_unmade else int(np.ceil(slot.offered * min(1.0, added_us / 1e6 / run.slot_s)))
    done_ok = max(slot.done_ok, min(due, slot.done_ok + more + min(lost, slot.done_failed)))
    return replace(
        slot,
        ok=slot.ok + lost,
        failed=slot.failed - lost,
        censored=0,
        refused=0 if is_unmade else slot.refused,
        dropped=0 if is_unmade else slot.dropped,
        done_ok=done_ok,
        done_failed=max(0, slot.done_failed - lost),
        max_us=max(1, slot.max_us - added_us) if slot.max_us else 0,
    )


def _shifted(blobs: list[bytes], shifts_us: np.typing.NDArray[np.int64]) -> list[bytes]:
    """Packed histograms whose samples are all shorter by so much, and not below a microsecond."""
    if not blobs:
        return []
    cells = Cells.of_blobs(np.arange(len(blobs)), blobs)
    moved = np.maximum(1, (middle_us(cells.bin) - shifts_us[cells.group]).astype(np.int64))
    repeated = np.repeat(np.arange(len(moved)), cells.count)
    return Cells.of_values(cells.group[repeated], moved[repeated]).blobs(len(blobs))
