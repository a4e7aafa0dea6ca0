"""Short incidents of one server in quick succession, taken as one entry: lists stay readable when a server flaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

MOST_BLIP_MS = 15 * 60_000
"""Longest duration of an incident that is taken together with others."""
MOST_PAUSE_MS = 6 * 3_600_000
"""Longest time between the end of one and the start of the next."""
FEWEST = 3
"""Fewest incidents that are taken together."""
WORDS = (
    f"From {FEWEST} incidents of a server on, each of at most {MOST_BLIP_MS // 60_000} minutes and within "
    f"{MOST_PAUSE_MS // 3_600_000} hours after the one before, are one entry."
)


class IncidentSpan(Protocol):
    """An incident, as far as it matters here."""

    @property
    def started_at_ms(self) -> int:
        """When it began."""

    @property
    def ended_at_ms(self) -> int | None:
        """When it ended; None if no check has ended it."""


One = TypeVar("One", bound=IncidentSpan)


def entries(incidents: Iterable[One], server_of: Callable[[One], int]) -> list[Sequence[One]]:
    """The incidents as entries, each newest first, and the entries by their newest start, newest first.

    An incident without an end is an entry of its own.
    """
    chains: dict[int, list[list[One]]] = {}
    for one in sorted(incidents, key=lambda one: one.started_at_ms):
        theirs = chains.setdefault(server_of(one), [])
        if theirs and _is_blip(one) and _is_blip(newest := theirs[-1][-1]) and _pause_ms(newest, one) <= MOST_PAUSE_MS:
            theirs[-1].append(one)
        else:
            theirs.append([one])
    found = [
        part[::-1]
        for theirs in chains.values()
        for chain in theirs
        for part in ([chain] if len(chain) >= FEWEST else [[one] for one in chain])
    ]
    return sorted(found, key=lambda entry: -entry[0].started_at_ms)


def _is_blip(one: IncidentSpan) -> bool:
    return one.ended_at_ms is not None and one.ended_at_ms - one.started_at_ms <= MOST_BLIP_MS


def _pause_ms(before: IncidentSpan, after: IncidentSpan) -> int:
    return after.started_at_ms - (before.ended_at_ms or 0)
