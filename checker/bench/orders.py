"""What the parent tells its workers: who they are, what to play, when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checker.bench.plan import Arrivals, Model, Operation

ECHO = "(echo)"
"""The server that the client itself is measured against: it takes part where it is named, and no limit holds for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One worker among others."""

    worker: int
    workers: int
    max_connections: int
    """At once to one host, over all workers."""
    max_rate: float
    """Operations per second, over all workers."""
    per_host: float | None
    """The same to one host; None for no further limit."""
    seed: int
    log_level: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One scenario to play; every worker takes its share."""

    name: str
    operation: Operation
    model: Model
    arrivals: Arrivals
    think_s: float
    timeout_s: float
    max_in_flight: int
    """Over all workers."""
    servers: tuple[str, ...]
    """In the order in which they take turns."""
    series: Mapping[str, int]
    """Server -> number of its series."""
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
