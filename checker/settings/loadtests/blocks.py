"""Blocks of a plan's file, where they differ from the parsed plan."""

from __future__ import annotations

from checker.loadtest.plan import Scenario
from checker.structs import Options
from checker.units import Count, PositiveNumber, Seconds

BLOCKS = ("servers", "defaults", "scenarios", "suite", "stress", "thresholds", "limits", "output")
"""The keys at the top that are read on their own."""


class PlanEntry(Options, frozen=True, kw_only=True):
    """Keys at the top level of a plan, besides its blocks."""

    name: str = ""
    """What runs of it are listed and compared under; by default the file's name."""
    workers: Count | None = None
    """Processes that make the load; by default one, and more where the planned rate needs them."""
    seed: int = 1
    """Seed of random arrivals and of the order of blocks."""
    calibrate: bool = True
    """Whether the client is measured against a loopback echo first."""


class ScenarioEntry(Scenario, frozen=True, kw_only=True):
    """One operation over some servers: at one level for some time, or in stages."""

    rate: PositiveNumber | None = None
    """Arrivals per second over all servers, held for ``duration``; instead of stages."""
    users: Count | None = None
    """Users who each wait for their answer, held for ``duration``; instead of rate and of stages."""
    duration: Seconds | None = None
    """With rate or users: how long the level is measured."""
    ramp_up: Seconds = 0.0
    """With rate or users: time before it in which the level is reached in a straight line."""
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
    """Must hold in every window of this length; by default over everything that is measured."""
    abort: bool = False
    """Whether the run ends when it is broken; also spelled ``abortOnFail``."""
    delay: Seconds = 0.0
    """No abort before this much time has passed; also spelled ``delayAbortEval``."""


LEVELS: tuple[str, ...] = ("rate", "users")
AROUND: tuple[str, ...] = ("duration", "ramp_up", "warm_up", "ramp_down", "cool_down")
"""Keys that make stages together with one of the levels."""
SPELLINGS = {"threshold": "expression", "abortOnFail": "abort", "delayAbortEval": "delay"}
"""k6's key of a threshold -> ours."""
