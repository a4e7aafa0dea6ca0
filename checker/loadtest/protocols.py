"""Protocols of a load test: the load generator as the test's logic sees it, and the watchers of its updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from checker.loadtest.plan import Scenario
from checker.loadtest.results import BenchRun, Slot, WorkerSecond


@dataclass(frozen=True, slots=True)
class Cell:
    """The cell of a suite that a block belongs to."""

    users: int
    servers: int
    block: int


class Second(Struct, frozen=True, kw_only=True):
    """The update of a run, about once a second."""

    run: BenchRun
    """The run so far, without slots and health: its series and stages are those that indexes refer to."""
    at_s: float
    """Now, in seconds from the epoch."""
    until_s: float
    """The end of the present play, as far as it is known."""
    stages: tuple[int, ...]
    """Indexes of the stages in progress."""
    slots: Sequence[Slot]
    """New slots, each to be added to earlier ones under its key."""
    health: Sequence[WorkerSecond]
    note: str = ""
    """Another activity: calibrating, waiting for late answers, ramping down."""


class Watcher(Protocol):
    """A receiver of the update of every second."""

    def __call__(self, second: Second) -> str | None:
        """Take an update; a text is the reason to ramp down and end the run, for the run's notes."""
        ...


class LoadGenerator(Protocol):
    """The workers of a load test, ready to play."""

    def play(self, scenarios: Mapping[str, Scenario], cell: Cell | None = None) -> tuple[int, ...]:
        """Play the scenarios side by side to the end of the last one, and wait for the requests in flight.

        Returns the indexes of their stages in the run. Once `stopped` has a reason, nothing more is played.
        """
        ...

    def so_far(self) -> BenchRun:
        """Everything measured until now."""
        ...

    @property
    def stopped(self) -> str:
        """The reason for an early end: interrupted, a threshold, a storm of refusals, a limit. Empty without one."""
        ...
