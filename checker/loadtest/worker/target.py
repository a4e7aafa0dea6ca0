"""The target of a load and its notes: everything that has happened since the last message to the parent."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Protocol

from checker.loadtest.messages import PHASES, REASONS, SHIFT, Part, SampleBatch
from checker.worker.greenlets import Deadlines
from checker.worker.transport.client import Shared


class Notes:
    """Rows that targets and loads extend. They are bytes already: converting at the end would block the loop."""

    def __init__(self) -> None:
        self.samples = array("q")
        """Rows of `checker.loadtest.messages.SAMPLE` numbers."""
        self.arrivals = array("q")
        """Rows of `checker.loadtest.messages.ARRIVAL` numbers."""
        self.phases = array("q")
        """Rows of `checker.loadtest.messages.PHASE` numbers."""
        self.stretches = array("q")
        """Periods in nanoseconds in which the event loop did not poll, one after the other."""
        self._reasons = {name: at for at, name in enumerate(REASONS)}
        self._phases = {name: at for at, name in enumerate(PHASES)}
        self._new: dict[str, list[str]] = {"reasons": [], "phases": []}

    def code(self, reason: str) -> int:
        """The code of a reason, without flags."""
        return self._number(self._reasons, "reasons", reason) << SHIFT

    def phase(self, name: str) -> int:
        """The number of a phase."""
        return self._number(self._phases, "phases", name)

    def taken(self) -> SampleBatch | None:
        """The notes so far; None if there are none. Arrays stay the same objects: others hold references to them."""
        if not (self.samples or self.arrivals or self.stretches):
            return None
        updates = SampleBatch(
            samples=self.samples.tobytes(),
            arrivals=self.arrivals.tobytes(),
            phases=self.phases.tobytes(),
            stretches=self.stretches.tobytes(),
            new_reasons=tuple(self._new["reasons"]),
            new_phases=tuple(self._new["phases"]),
        )
        for rows in (self.samples, self.arrivals, self.phases, self.stretches):
            del rows[:]
        for names in self._new.values():
            names.clear()
        return updates

    def _number(self, known: dict[str, int], kind: str, name: str) -> int:
        number = known.get(name)
        if number is None:
            number = known[name] = len(known)
            self._new[kind].append(name)
        return number


_RECENT_S = 60


class OpenedConnections:
    """A count of recently opened connections: their ports are not free yet."""

    def __init__(self) -> None:
        self._by_second: Counter[int] = Counter()

    def note(self, at_ns: int, number: int = 1) -> None:
        """Count connections opened at this moment."""
        self._by_second[at_ns // 1_000_000_000] += number

    def recently(self) -> int:
        """The number opened in the last minute."""
        since = monotonic_ns() // 1_000_000_000 - _RECENT_S
        for second in [one for one in self._by_second if one < since]:
            del self._by_second[second]
        return self._by_second.total()


class Load(Protocol):
    """The part of a load that begins operations."""

    def ended(self, user: int) -> None:
        """Handle the end of an operation: its slot is free."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOrder:
    """The arguments of the ``target`` function of an operation's module (`checker.probe_kinds.LoadOperation`)."""

    part: Part
    series: int
    options: Any
    """Options of the probe of the operation's kind."""
    addresses: Callable[[], Sequence[str]]
    """The addresses that may be connected to."""
    most: int
    """Maximum number of connections, or of simultaneous operations."""
    shared: Shared
    deadlines: Deadlines
    notes: Notes
    load: Load


class Target(Protocol):
    """One operation at one server: a series."""

    series: int

    def begin(self, key: int, intended_ns: int, waited: int, user: int) -> bool:
        """Begin an operation; False if no connection is free and no further one allowed.

        Never ends it before returning. ``waited`` is 0 or `WAITED`; ``user`` is passed back at the end.
        """
        ...

    def expire(self, now_ns: int) -> None:
        """End operations that have exceeded their timeout; called every few hundredths of a second."""
        ...

    def opened_recently(self) -> int:
        """Connections opened in the last minute."""
        ...

    def close(self) -> None:
        """Cancel everything in flight, without a sample, and close everything."""
        ...
