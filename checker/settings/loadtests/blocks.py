"""Blocks of a plan's file, where they differ from the parsed plan."""

from __future__ import annotations

from checker.loadtest.plan import Scenario
from checker.structs import Options
from checker.units import Count, PositiveNumber, Seconds

BLOCKS = ("servers", "defaults", "scenarios", "suite", "stress", "thresholds", "limits", "output")
"""The top-level keys that are read separately."""


class PlanEntry(Options, frozen=True, kw_only=True):
    """Keys at the top level of a plan, besides its blocks."""

    name: str = ""
    """The name under which its runs are listed and compared; by default the file's name."""
    workers: Count | None = None
    """Worker processes that make the load; by default one, and more if the planned rate needs them."""
    seed: int = 1
    """Seed of random arrivals and of the order of blocks."""
    calibrate: bool = True
    """True measures the load generator against a loopback echo first."""


class ScenarioEntry(Scenario, frozen=True, kw_only=True):
    """One operation over some servers: at one level for some time, or in stages."""

    rate: PositiveNumber | None = None
    """Arrivals per second over all servers, held for ``duration``; instead of stages."""
    users: Count | None = None
    """Users who each wait for their reply, held for ``duration``; instead of rate and of stages."""
    duration: Seconds | None = None
    """With rate or users: measured time at the level."""
    ramp_up: Seconds = 0.0
    """With rate or users: time before it in which the level rises linearly."""
    warm_up: Seconds = 0.0
    """With rate or users: time at the level before it is measured."""
    ramp_down: Seconds = 0.0
    """With rate or users: time after it in which the level goes to 0."""
    cool_down: Seconds = 0.0
    """With rate or users: time after that in which nothing is sent."""


class ThresholdEntry(Options, frozen=True, kw_only=True):
    """A threshold with more options than its expression."""

    expression: str
    """Such as ``p(95)<500`` (times are milliseconds) or ``rate<0.01``; also spelled ``threshold``, as in k6."""
    over: Seconds | None = None
    """Must hold in every window of this length; by default over all measured stages."""
    abort: bool = False
    """True ends the run when the threshold is broken; also spelled ``abortOnFail``."""
    delay: Seconds = 0.0
    """No abort before this much time has passed; also spelled ``delayAbortEval``."""


LEVELS: tuple[str, ...] = ("rate", "users")
AROUND: tuple[str, ...] = ("duration", "ramp_up", "warm_up", "ramp_down", "cool_down")
"""Keys that make stages together with one of the levels."""
SPELLINGS = {"threshold": "expression", "abortOnFail": "abort", "delayAbortEval": "delay"}
"""k6's key of a threshold -> ours."""
