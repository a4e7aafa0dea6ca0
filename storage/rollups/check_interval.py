"""Validity of a check: it counts for three times its server's typical check interval, taken from earlier checks.

The typical interval must not depend on one check more or less. Checks in close succession are one round: a second
timer, or checks by hand. The typical gap is the third longest of the newest nine between rounds, so that neither a
missing check nor a checker that was away for days changes it. A server that is now checked less often has its new gap
after three rounds; one that is checked more often after seven, so that checks by hand, which only make gaps shorter, do
not hide the gaps of the regular ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

LEAST_HOLD_MS = 300_000
"""Shortest time for which a check counts."""
FIRST_HOLD_MS = 3_600_000
"""Time for which the first check of a server counts: nobody knows yet when the next one is due."""
MOST_HOLD_MS = 93 * 86_400_000
"""Three times the longest month."""
HOLD_GAPS = 3
"""A check counts for this many typical gaps."""
_GAPS_KEPT = 9
_OUTLIERS = 2
SURE_MS = 21_600_000
"""A single gap is trusted up to this; beyond it a check counts for one and a half times the gap."""
_ROUND = 3
"""A check starts a new round after a third of the typical gap."""
_LEAST_TYPICAL_MS = LEAST_HOLD_MS // HOLD_GAPS


class Rhythm(NamedTuple):
    """Recent check times of a server, which decide how long its next check counts."""

    round_ms: int = -1
    """Start of the newest round; -1 before the first check."""
    gaps_ms: tuple[int, ...] = ()
    """Gaps between the newest rounds, newest last."""

    @property
    def typical_ms(self) -> int | None:
        """The typical gap between checks; None before there is one."""
        if not self.gaps_ms:
            return None
        return _typical_ms(self.gaps_ms)

    @property
    def hold_ms(self) -> int:
        """Time for which the newest check counts."""
        return _hold_ms(self.typical_ms, len(self.gaps_ms))

    def as_list(self) -> list[int]:
        """Form for storage; `rhythm_of` reads it."""
        return [self.round_ms, *self.gaps_ms]


def rhythm_of(stored: Iterable[int] | None) -> Rhythm:
    """The rhythm from its stored list; an empty rhythm for None."""
    numbers = list(stored or ())
    return Rhythm(numbers[0], tuple(numbers[1:])) if numbers else Rhythm()


def holds(before: Rhythm, times_ms: Iterable[int]) -> tuple[list[int], Rhythm]:
    """Time for which each of these checks of a server counts, and the rhythm after them; times must ascend."""
    round_ms, gaps_ms = before
    hold_ms = before.hold_ms
    round_at_ms = 0 if round_ms < 0 else round_ms + _round_ms(before.typical_ms, len(gaps_ms))
    found = []
    quick = hold_ms == LEAST_HOLD_MS and bool(gaps_ms)
    for at_ms in times_ms:
        if at_ms >= round_at_ms:
            gap_ms = at_ms - round_ms
            if quick and gap_ms <= _LEAST_TYPICAL_MS:
                # One more short gap leaves the typical one short: nothing to compute at checks a minute apart.
                gaps_ms = (*gaps_ms[1 - _GAPS_KEPT :], gap_ms)
                round_ms = at_ms
                round_at_ms = at_ms + _LEAST_TYPICAL_MS // _ROUND
            else:
                if round_ms >= 0:
                    gaps_ms = _with(gaps_ms, gap_ms)
                round_ms, number = at_ms, len(gaps_ms)
                typical_ms = _typical_ms(gaps_ms) if gaps_ms else None
                hold_ms, round_at_ms = _hold_ms(typical_ms, number), at_ms + _round_ms(typical_ms, number)
                quick = hold_ms == LEAST_HOLD_MS
        found.append(hold_ms)
    return found, Rhythm(round_ms, gaps_ms)


def _typical_ms(gaps_ms: tuple[int, ...]) -> int:
    """The third longest gap; the median of the first few, since none of them is known to be usual."""
    number = len(gaps_ms)
    return sorted(gaps_ms)[max((number - 1) // 2, number - 1 - _OUTLIERS)]


def _hold_ms(typical_ms: int | None, gaps: int) -> int:
    """Time for which a check counts, given the typical gap and the number of gaps it was taken from."""
    if typical_ms is None:
        return FIRST_HOLD_MS
    hold_ms = HOLD_GAPS * typical_ms
    if gaps == 1 and hold_ms > SURE_MS:
        hold_ms = max(SURE_MS, typical_ms * 3 // 2)
    return LEAST_HOLD_MS if hold_ms < LEAST_HOLD_MS else min(hold_ms, MOST_HOLD_MS)


def _round_ms(typical_ms: int | None, gaps: int) -> int:
    """Time after which the next check starts a new round."""
    if typical_ms is None or typical_ms < _LEAST_TYPICAL_MS:
        return _LEAST_TYPICAL_MS // _ROUND
    return (min(typical_ms, SURE_MS // HOLD_GAPS) if gaps == 1 else typical_ms) // _ROUND


def _with(gaps_ms: tuple[int, ...], gap_ms: int) -> tuple[int, ...]:
    """The newest gaps with one added.

    Short gaps between two long ones are checks that belong together: two timers a minute apart, each once a day.
    """
    if not gaps_ms or _ROUND * gaps_ms[-1] > gap_ms:
        return (*gaps_ms[1 - _GAPS_KEPT :], gap_ms)
    kept, together_ms = list(gaps_ms), 0
    while kept and _ROUND * (together_ms + kept[-1]) <= gap_ms:
        together_ms += kept.pop()
    if together_ms and kept and kept[-1] >= _ROUND * together_ms:
        return (*kept, gap_ms + together_ms)[-_GAPS_KEPT:]
    return (*gaps_ms, gap_ms)[-_GAPS_KEPT:]
