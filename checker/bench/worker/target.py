"""What a load needs of the thing it is put on, and the other way round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Protocol

from checker.bench.orders import Part
from checker.bench.worker.notes import Notes
from checker.worker.deadlines import Deadlines
from checker.worker.transport.client import Shared

_RECENT_S = 60


class OpenedConnections:
    """How many connections were opened lately: their ports are not free yet."""

    def __init__(self) -> None:
        self._by_second: Counter[int] = Counter()

    def note(self, at_ns: int, number: int = 1) -> None:
        """So many were opened at this moment."""
        self._by_second[at_ns // 1_000_000_000] += number

    def recently(self) -> int:
        """Those of the last minute."""
        since = monotonic_ns() // 1_000_000_000 - _RECENT_S
        for second in [one for one in self._by_second if one < since]:
            del self._by_second[second]
        return self._by_second.total()


class Load(Protocol):
    """Who begins operations."""

    def ended(self, user: int) -> None:
        """An operation that was begun is over, and its place is free."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOrder:
    """What the ``target`` function of an operation's module makes a target of (`checker.kinds.LoadOperation`)."""

    part: Part
    series: int
    options: Any
    """Of the probe of the operation's kind."""
    addresses: Callable[[], Sequence[str]]
    """Those that may be connected to."""
    most: int
    """Connections, or operations under way, at most."""
    shared: Shared
    deadlines: Deadlines
    notes: Notes
    load: Load


class Target(Protocol):
    """One operation at one server: a series."""

    series: int

    def begin(self, key: int, intended_ns: int, waited: int, user: int) -> bool:
        """Begin an operation; False where no connection is free and no further one allowed.

        Never ends it before returning. ``waited`` is 0 or `checker.bench.news.WAITED`; ``user`` is told at the end.
        """
        ...

    def expire(self, now_ns: int) -> None:
        """End operations that have taken too long; called every few hundredths of a second."""
        ...

    def opened_recently(self) -> int:
        """Connections opened in the last minute."""
        ...

    def close(self) -> None:
        """Give up what is under way, without a sample, and close everything."""
        ...
