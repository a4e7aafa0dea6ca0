"""What a load needs of the thing it is put on, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from checker.bench.orders import Part
from checker.bench.worker.notes import Notes
from checker.worker.deadlines import Deadlines
from checker.worker.transport.client import Shared


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
