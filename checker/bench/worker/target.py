"""What a load needs of the thing it is put on, and the other way round."""

from __future__ import annotations

from typing import Protocol


class Load(Protocol):
    """Who begins operations."""

    def ended(self, user: int) -> None:
        """An operation that was begun is over, and its place is free."""
        ...


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
