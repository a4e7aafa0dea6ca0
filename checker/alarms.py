"""What a run tells of itself when it passes one of the thresholds of ``run.alerts``, each of them once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from math import inf

from checker.clock import now_ms
from checker.limits import Alerts
from checker.measures import ResourceAlert
from checker.model import CheckResult, Status

log = logging.getLogger(__name__)

LEVEL = "alert"
"""What these are called in `ResourceAlert.level`."""
_MIB = 1024 * 1024


class Alarms:
    """Adds up the checks of one run and compares; resources are looked at by the governor, from its own thread."""

    def __init__(self, limits: Alerts) -> None:
        self.limits = limits
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self._checks = self._judged = self._failed = self._spent_us = 0
        self._first_us, self._last_us = inf, 0.0

    @property
    def of_resources(self) -> bool:
        """Whether memory or CPU are to be looked at."""
        return self.limits.memory is not None or self.limits.cpu_percent is not None

    def add(self, checks: Iterable[CheckResult]) -> None:
        """Count checks that have ended; what could not be known of a server counts as a check and not as judged."""
        for check in checks:
            self._checks += 1
            start_us = check.started_at_ms * 1000
            self._first_us = min(self._first_us, start_us)
            self._last_us = max(self._last_us, start_us + check.duration_us)
            if check.status is Status.UNKNOWN:
                continue
            self._judged += 1
            self._failed += check.status is Status.UNHEALTHY
            self._spent_us += check.duration_us

    def look_at_checks(self) -> Iterator[ResourceAlert]:
        """What has passed a threshold over the whole run until now."""
        limits = self.limits
        if self._judged:
            mean_s, share = self._spent_us / self._judged / 1e6, self._failed / self._judged
            if limits.response_time is not None and mean_s > limits.response_time:
                said = f"the mean response time is {mean_s * 1000:.0f} ms over {self._judged} checks"
                yield from self._tell("response_time", mean_s * 1000, limits.response_time * 1000, said, " ms")
            if limits.error_rate is not None and share > limits.error_rate:
                said = f"the error rate is {share:.1%}: {self._failed} of {self._judged} checks are UNHEALTHY"
                yield from self._tell("error_rate", share, limits.error_rate, said)
        elapsed_s = (self._last_us - self._first_us) / 1e6  # from the first that began to the last that ended
        if self._checks and limits.throughput is not None:
            rate = self._checks / max(elapsed_s, 1e-3)
            if rate < limits.throughput:
                said = f"the throughput is {rate:.3g}/s: {self._checks} checks in {elapsed_s:.1f} s"
                yield from self._tell("throughput", rate, limits.throughput, said, "/s")

    def look_at_resources(self, memory_bytes: float, cpu_percent: float) -> Iterator[ResourceAlert]:
        """What the checker's own processes use above a threshold; ``cpu_percent`` is of all cores."""
        limits, cpu_percent = self.limits, min(100.0, cpu_percent)  # time is taken in steps, and may seem to be more
        if limits.memory is not None and memory_bytes > limits.memory:
            said = f"memory of the checker is at {memory_bytes / _MIB:.0f} MiB"
            yield from self._tell("memory", memory_bytes / _MIB, limits.memory / _MIB, said, " MiB")
        if limits.cpu_percent is not None and cpu_percent > limits.cpu_percent:
            said = f"CPU of the checker is at {cpu_percent:.0f}%"
            yield from self._tell("cpu_percent", cpu_percent, limits.cpu_percent, said, "%")

    def _tell(self, option: str, value: float, mark: float, said: str, unit: str = "") -> Iterator[ResourceAlert]:
        with self._telling:
            if option in self._told:
                return
            self._told.add(option)
        detail = f"{said}; run.alerts.{option} is {mark:.3g}{unit}"
        log.warning("%s: %s", LEVEL, detail)
        yield ResourceAlert(
            at_ms=now_ms(),
            resource=option.removesuffix("_percent"),
            level=LEVEL,
            value=round(value, 3),
            threshold=round(mark, 3),
            detail=detail,
        )
