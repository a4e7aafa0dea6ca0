"""What a rule behind recommendations is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from storage.evidence import Evidence

FEWEST_RUNS = 3
"""One run may have been a bad moment."""
WAITED_SHARE = 0.2
"""Of exchanges or checks: from so many on that waited, waiting is what takes the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRecommendation:
    """A setting to change."""

    severity: Literal["worth doing", "consider"]
    setting: str
    suggestion: str
    evidence: str
    """One sentence with the numbers."""
    subject: str = "all runs"
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceFacts:
    """What the rules are given."""

    evidence: Evidence
    timeouts_s: Mapping[str, float]
    """Probe kind -> the longest timeout in force; empty where it is not known."""
    cores: int | None
    host: str
    """Where the cores are: runs that were made elsewhere are not measured by them."""


Rule = Callable[[AdviceFacts], Iterator[SettingRecommendation]]
