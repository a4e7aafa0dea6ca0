"""Signs that the load generator was the limit in one second of one of its workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from checker.loadtest.bottleneck import Cause
from checker.loadtest.results import WorkerSecond

CPU_RATIO = 0.85
"""Share of a core: above it, starts queue behind each other (Locust warns at 90%, Artillery at 80%)."""
BUSY_RATIO = 0.95
"""Share of time: a loop that hardly ever waits is behind, whatever CPU time the system reports for it."""
STRAINED_US = 500
"""A busy worker that is at most this late (p99) delays nothing: a loop does more per iteration the busier it is."""
LATE_US = 2_000.0
LATE_RATIO = 0.1
"""Share of the median response time. Lateness above the larger of the two limits is a symptom."""
GC_US = 10_000
"""1% of a second: above it the garbage collector affected one operation in a hundred, and with it p99."""
NEAR = 0.9
"""Share of a limit of the system."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The limits that the system sets for the load generator; None where one is unknown, and not judged."""

    descriptors: int | None = None
    """Open file descriptors of one worker."""
    ports: int | None = None
    """Local ports, for connections to one address and port: the width of net.ipv4.ip_local_port_range."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> ClientLimits:
        """The limits that `checker.loadtest.planning.environment.environment` recorded when the run began."""

        def number(name: str) -> int | None:
            text = environment.get(name, "")
            return int(text) if text.isdecimal() and int(text) > 0 else None

        return cls(number("descriptor_limit"), number("local_ports"))


@dataclass(frozen=True, slots=True)
class Symptom:
    """A value of one second that exceeds its limit."""

    cause: Cause
    value: float
    """The larger the worse, among symptoms with one cause."""
    what: str
    """Continues a sentence that begins with "worker 0"."""


def late_limit_us(p50_us: float | None) -> float:
    """The lateness limit for operations with this median response time, in microseconds; None where there is none."""
    return max(LATE_US, LATE_RATIO * (p50_us or 0.0))


def symptoms(second: WorkerSecond, p50_us: float | None, client_limits: ClientLimits) -> Iterator[Symptom]:
    """The values beyond their limits. A backlog is not one: the plan and the server make those arrivals wait."""
    limit_us = late_limit_us(p50_us)
    is_strained = max(second.late_p99_us, second.lag_p99_us) > STRAINED_US
    if second.cpu_ratio > CPU_RATIO and is_strained:
        yield Symptom(Cause.CPU, second.cpu_ratio, f"used {second.cpu_ratio:.0%} of its core")
    if second.busy_ratio > BUSY_RATIO and is_strained:
        what = f"kept its event loop busy for {second.busy_ratio:.0%} of the time"
        yield Symptom(Cause.CPU, second.busy_ratio, what)
    if second.gc_us > max(GC_US, limit_us):
        yield Symptom(Cause.GC, second.gc_us, f"spent {_ms(second.gc_us)} of a second in the garbage collector")
    if client_limits.descriptors is not None and second.descriptors > NEAR * client_limits.descriptors:
        what = f"had {second.descriptors:,} of {client_limits.descriptors:,} file descriptors open"
        yield Symptom(Cause.DESCRIPTORS, second.descriptors, what)
    if second.lag_p99_us > limit_us:
        yield Symptom(Cause.LAG, second.lag_p99_us, f"ran its event loop {_ms(second.lag_p99_us)} late (p99)")
    if second.late_p99_us > limit_us:
        what = f"started requests {_ms(second.late_p99_us)} late (p99) with connections free"
        yield Symptom(Cause.LATE, second.late_p99_us, what)


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.3g} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:.3g} s"
