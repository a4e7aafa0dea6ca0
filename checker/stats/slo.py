"""Service level objectives: availability, error budget, burn rates, and times between failures and to repair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS

FEWEST_SAMPLES = 4
"""Fewest checks in the short window: a check each minute leaves five in five minutes, of which one may be late."""

FEWEST_BAD = 2
"""Fewest failed checks among them: at 99.9% one failed check in an hour already burns 16 times too fast."""


class Severity(StrEnum):
    """Severity of an alert on a burn rate."""

    PAGE = "page"
    TICKET = "ticket"


class ErrorBudget(Struct, frozen=True):
    """An error budget: the downtime that a server is allowed, and the part of it that is left."""

    objective_ratio: float
    allowed_down_ms: float
    used_down_ms: float
    left_ratio: float
    """1 for untouched, 0 for used up, below 0 for overspent."""

    @property
    def left_down_ms(self) -> float:
        """Downtime left; below 0 if overspent."""
        return self.allowed_down_ms - self.used_down_ms


class BurnRule(Struct, frozen=True):
    """An alert rule: fires while both windows burn at ``burn`` or faster; the short one ends it soon afterwards."""

    severity: Severity
    burn: float
    long_ms: int
    short_ms: int


BURN_RULES = (
    BurnRule(Severity.PAGE, 14.4, HOUR_MS, 5 * MINUTE_MS),
    BurnRule(Severity.PAGE, 6.0, 6 * HOUR_MS, 30 * MINUTE_MS),
    BurnRule(Severity.TICKET, 1.0, 3 * DAY_MS, 6 * HOUR_MS),
)
"""2%, 5% and 10% of the budget of 30 days (The Site Reliability Workbook, chapter 5)."""


DEFAULT_WINDOW_MS = 30 * DAY_MS
"""The default window of objectives; the rules above are made for it."""


def rules_for(window_ms: float) -> tuple[BurnRule, ...]:
    """Rules for another window with the same shares of the budget: of a week, 2% in an hour is a burn rate of 3.4.

    A rule that would then fire below the rate that lasts for the whole window is left unchanged.
    """
    scale = window_ms / DEFAULT_WINDOW_MS
    return tuple(replace(rule, burn=max(1.0, rule.burn * scale)) for rule in BURN_RULES)


class Exhaustion(Struct, frozen=True):
    """Time until a budget is used up at the recent rate."""

    left_ms: float
    """Downtime left in the window; below 0 if overspent."""
    lasts_ms: float | None
    """Time until it is used up, 0 if it is; None if none of it was used recently."""


def exhaustion(budget: ErrorBudget, late_up_ms: float, late_down_ms: float) -> Exhaustion:
    """Time that the rest of a budget lasts if the server stays down for the same share of time as recently."""
    left = budget.left_down_ms
    if left <= 0:
        return Exhaustion(left, 0.0)
    known = late_up_ms + late_down_ms
    return Exhaustion(left, left * known / late_down_ms if late_down_ms > 0 else None)


class BudgetWindow(Struct, frozen=True):
    """Observations of a server in a window that ends now; unknown and maintenance time are in neither time."""

    up_ms: float
    down_ms: float
    samples: int
    """Number of checks with a known result."""
    bad_samples: int


class Burn(Struct, frozen=True):
    """An evaluated rule; a burn rate is None if its window has no known time."""

    rule: BurnRule
    short_ms: int
    """The short window: longer than the rule's if checks are far apart."""
    long_burn: float | None
    short_burn: float | None
    enough_samples: bool
    """True if the short window has enough checks for its rate to be more than noise."""

    @property
    def fires(self) -> bool:
        """True if the rule calls for a page or a ticket."""
        rates = (self.long_burn, self.short_burn)
        return self.enough_samples and all(rate is not None and rate >= self.rule.burn for rate in rates)


class Repair(Struct, frozen=True):
    """Failures of a server in a window and the time taken to repair them."""

    failures: int
    """Incidents that began in the window."""
    repairs: int
    """Incidents that ended in it, whenever they began."""
    unresolved: int
    """Incidents that were open at its end."""
    mttr_ms: float | None
    """Mean duration of the repaired ones, from their beginning; None without any."""
    mtbf_ms: float | None
    """Up time per failure; None without any."""
    longest_ms: float | None
    """Longest of the incidents that touch the window, measured up to its end."""


def availability(up_ms: float, down_ms: float) -> float | None:
    """The up share of the known time, 0 to 1; None if nothing is known."""
    if up_ms < 0 or down_ms < 0:
        raise ValueError("a time is 0 or more milliseconds")
    known_ms = up_ms + down_ms
    return up_ms / known_ms if known_ms > 0 else None


def error_budget(up_ms: float, down_ms: float, objective_ratio: float, period_ms: float | None = None) -> ErrorBudget:
    """The budget of a period with ``up_ms`` and ``down_ms`` known.

    ``period_ms`` is the whole period of the objective; by default, the known time.
    """
    allowed_ms = _allowed(objective_ratio) * (up_ms + down_ms if period_ms is None else period_ms)
    left_ratio = 1 - down_ms / allowed_ms if allowed_ms > 0 else 1.0  # an empty period is untouched
    return ErrorBudget(objective_ratio, allowed_ms, down_ms, left_ratio)


def burn_rate(up_ms: float, down_ms: float, objective_ratio: float) -> float | None:
    """Burn rate: 1 uses up the budget exactly at the end of the period; None if nothing is known."""
    allowed = _allowed(objective_ratio)
    if availability(up_ms, down_ms) is None:
        return None
    # Not 1 - availability: the difference of near-equal numbers loses what counts.
    return down_ms / (up_ms + down_ms) / allowed


def short_window_ms(rule: BurnRule, interval_ms: float, fewest_samples: int = FEWEST_SAMPLES) -> int | None:
    """The short window of a rule for checks this far apart: long enough for the fewest samples, one of them late.

    None if that would be longer than the long window: then the rule cannot tell an outage from a single failure.
    """
    least_ms = math.ceil((fewest_samples + 0.5) * interval_ms)
    return None if least_ms > rule.long_ms else max(rule.short_ms, least_ms)


def burns(
    windows: Mapping[int, BudgetWindow],
    objective_ratio: float,
    rules: Sequence[BurnRule] = BURN_RULES,
    fewest_samples: int = FEWEST_SAMPLES,
    fewest_bad: int = FEWEST_BAD,
    interval_ms: float = 0,
) -> tuple[Burn, ...]:
    """Every rule that can be applied to checks this far apart; windows are looked up by their length in milliseconds.

    Raises KeyError if a window that a rule needs is missing.
    """
    found = []
    for rule in rules:
        short_ms = short_window_ms(rule, interval_ms, fewest_samples)
        if short_ms is None:
            continue
        long, short = windows[rule.long_ms], windows[short_ms]
        found.append(
            Burn(
                rule=rule,
                short_ms=short_ms,
                long_burn=burn_rate(long.up_ms, long.down_ms, objective_ratio),
                short_burn=burn_rate(short.up_ms, short.down_ms, objective_ratio),
                enough_samples=short.samples >= fewest_samples and short.bad_samples >= fewest_bad,
            )
        )
    return tuple(found)


def repair(incidents: Sequence[tuple[float, float | None]], start_ms: float, end_ms: float, up_ms: float) -> Repair:
    """Failures and repairs in the window from ``start_ms`` (included) to ``end_ms`` (excluded), with ``up_ms`` up.

    An incident is (start, end), or (start, None) while it is open. Raises ValueError if one ends before it starts.
    """
    failures = repairs = touching = 0
    longest_ms: float | None = None
    repaired_ms: float = 0
    for start, end in incidents:
        if end is not None and end < start:
            raise ValueError("an incident ends before it starts")
        if start >= end_ms or (end is not None and end < start_ms):
            continue
        touching += 1
        failures += start >= start_ms
        if end is not None and end < end_ms:
            repairs += 1
            repaired_ms += end - start
            length = end - start
        else:
            length = end_ms - start
        if longest_ms is None or length > longest_ms:
            longest_ms = length
    return Repair(
        failures=failures,
        repairs=repairs,
        unresolved=touching - repairs,
        mttr_ms=repaired_ms / repairs if repairs else None,
        mtbf_ms=up_ms / failures if failures else None,
        longest_ms=longest_ms,
    )


def _allowed(objective_ratio: float) -> float:
    if not 0 < objective_ratio < 1:
        raise ValueError(f"an objective is between 0 and 1, such as 0.999; not {objective_ratio}")
    return 1 - objective_ratio
