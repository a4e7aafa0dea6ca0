"""What has happened since the parent was told last."""

from __future__ import annotations

from array import array

from checker.bench.news import PHASES, REASONS, SHIFT
from checker.bench.orders import News


class Notes:
    """Rows that targets and loads extend. They are bytes already: to make them so at the end would hold up the loop."""

    def __init__(self) -> None:
        self.samples = array("q")
        """Rows of `checker.bench.news.SAMPLE` numbers."""
        self.arrivals = array("q")
        """Rows of `checker.bench.news.ARRIVAL` numbers."""
        self.phases = array("q")
        """Rows of `checker.bench.news.PHASE` numbers."""
        self.stretches = array("q")
        """Nanoseconds for which the loop did not look for anything new, one after the other."""
        self._reasons = {name: at for at, name in enumerate(REASONS)}
        self._phases = {name: at for at, name in enumerate(PHASES)}
        self._new: dict[str, list[str]] = {"reasons": [], "phases": []}

    def code(self, reason: str) -> int:
        """The code of a reason, without flags."""
        return self._number(self._reasons, "reasons", reason) << SHIFT

    def phase(self, name: str) -> int:
        """The number of a phase."""
        return self._number(self._phases, "phases", name)

    def taken(self) -> News | None:
        """What there is; None where there is nothing. Arrays stay the same objects: others hold them."""
        if not (self.samples or self.arrivals or self.stretches):
            return None
        news = News(
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
        return news

    def _number(self, known: dict[str, int], kind: str, name: str) -> int:
        number = known.get(name)
        if number is None:
            number = known[name] = len(known)
            self._new[kind].append(name)
        return number
