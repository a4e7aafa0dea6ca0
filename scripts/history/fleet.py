"""A made-up fleet: how each server behaves over time, from one seed."""

from dataclasses import dataclass

import numpy as np

GROUPS = ("shop", "search", "billing", "maps", "mail", "docs", "media", "data", "auth", "lab")
REASONS = ("connect_refused", "deadline", "http_status", "first_byte_timeout", "dns", "mcp_error")
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Window:
    """Something that lasts: an incident of a server or of a whole group."""

    start_ms: int
    end_ms: int
    reason: str


@dataclass(frozen=True)
class Server:
    """One server's habits."""

    name: str
    group: str
    tags: tuple[str, ...]
    objective: float | None
    median_us: dict[str, float]
    """Kind -> the median on the first day."""
    spread: float
    """Sigma of the lognormal that durations follow."""
    rhythm: float
    """By which part durations rise at the busiest hour of the day."""
    drift: float
    """By which part durations grow in a day."""
    deploys: tuple[tuple[int, float], ...]
    """When durations changed at once, and by which factor."""
    failure_ratio: float
    """Share of checks that fail for no lasting reason."""
    windows: tuple[Window, ...]


def make(count: int, start_ms: int, end_ms: int, rng: np.random.Generator) -> list[Server]:
    """So many servers for this time."""
    days = (end_ms - start_ms) / DAY_MS
    shared = {group: _windows(days / 25, start_ms, end_ms, 12, rng) for group in GROUPS}
    return [_server(number, days, start_ms, end_ms, shared, rng) for number in range(count)]


def _server(
    number: int,
    days: float,
    start_ms: int,
    end_ms: int,
    shared: dict[str, tuple[Window, ...]],
    rng: np.random.Generator,
) -> Server:
    group = GROUPS[number % len(GROUPS)]
    base = float(np.exp(rng.normal(np.log(25_000), 0.6)))
    deploys = [
        (int(rng.integers(start_ms, end_ms)), float(np.exp(rng.normal(0, 0.25)))) for _ in range(rng.poisson(days / 60))
    ]
    unstable = rng.random() < 0.05
    own = _windows(days / (5 if unstable else 30), start_ms, end_ms, 8, rng)
    return Server(
        name=f"{group}-{number:05d}",
        group=group,
        tags=("prod",) if rng.random() < 0.7 else ("staging",),
        objective=(0.999, 0.995, 0.99, None)[number % 4],
        median_us={"mcp": base * 2.4, "rest": base},
        spread=float(rng.uniform(0.15, 0.4)),
        rhythm=float(rng.uniform(0, 0.4)),
        drift=float(rng.uniform(0.002, 0.01)) if rng.random() < 0.05 else 0.0,
        deploys=tuple(sorted(deploys)),
        failure_ratio=0.01 if unstable else 0.0002,
        windows=tuple(sorted((*own, *shared[group]), key=lambda one: one.start_ms)),
    )


def _windows(
    expected: float, start_ms: int, end_ms: int, median_minutes: float, rng: np.random.Generator
) -> tuple[Window, ...]:
    found = []
    for _ in range(rng.poisson(expected)):
        begin = int(rng.integers(start_ms, end_ms))
        minutes = float(np.exp(rng.normal(np.log(median_minutes), 1.0)))
        found.append(Window(begin, begin + int(minutes * 60_000), str(rng.choice(REASONS))))
    return tuple(found)
