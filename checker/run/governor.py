"""Resource limits of a run: processes and machine measured, checks held back, alerts sent once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from checker.clock import now_ms
from checker.limits import Alerts, ResourceCaps
from checker.metrics import MetricsCollector, ResourceAlert, ResourceMeasures
from checker.missing_results import unanswered
from checker.model import Batch, CheckResult, Reason, Server, Status
from checker.result_rows import ResultRows, as_rows
from checker.run.queue import Shards
from checker.run.resource_use import Meter

log = logging.getLogger(__name__)

LEVEL = "alert"
"""The value of `ResourceAlert.level` for these alerts."""
_MIB = 1024 * 1024


class Alarms:
    """Adds up a run's checks and compares them with thresholds; the governor watches resources from its own thread."""

    def __init__(self, limits: Alerts) -> None:
        self.limits = limits
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self._checks = self._judged = self._failed = self._spent_us = 0
        self._first_us, self._last_us = inf, 0.0

    @property
    def of_resources(self) -> bool:
        """True if memory or CPU are monitored."""
        return self.limits.memory is not None or self.limits.cpu_percent is not None

    def add(self, checks: ResultRows | Iterable[CheckResult]) -> None:
        """Count finished checks; an UNKNOWN one counts as a check but not as judged."""
        results = as_rows(checks)
        started_at_ms, spent_us = results.of_checks("started_at_ms"), results.of_checks("duration_us")
        if not started_at_ms:
            return
        self._checks += len(started_at_ms)
        self._first_us = min(self._first_us, min(started_at_ms) * 1000)
        ends_us = [start_ms * 1000 + us for start_ms, us in zip(started_at_ms, spent_us, strict=True)]
        self._last_us = max(self._last_us, max(ends_us))
        statuses = results.of_checks("status")
        self._failed += statuses.count(Status.UNHEALTHY)
        unknown = statuses.count(Status.UNKNOWN)
        self._judged += len(statuses) - unknown
        self._spent_us += sum(spent_us)
        if unknown:
            self._spent_us -= sum(us for us, status in zip(spent_us, statuses, strict=True) if status == Status.UNKNOWN)

    def look_at_checks(self) -> Iterator[ResourceAlert]:
        """Thresholds that the whole run has crossed so far."""
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
        """Thresholds crossed by the checker's own processes; ``cpu_percent`` is of all cores."""
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


_BACK = 0.95
"""A level is left only below this share of its threshold, so that a value near the threshold does not flap."""
_FIRST_LOOK_S = 0.2
_BATCH = 500


class ResourceThreshold(Struct, frozen=True):
    """A resource, the source of its limit, and the format of its values."""

    resource: str
    option: str
    words: str
    measure: str
    """The field of ResourceMeasures that keeps the highest value."""
    in_bytes: bool = False
    own_warning: str = ""
    """The option with its own threshold for warnings, if there is one."""

    def limit(self, limits: ResourceCaps) -> float | None:
        """The limit in force."""
        value: float | None = getattr(limits, self.option)
        return value

    def marks(self, limits: ResourceCaps) -> dict[str, tuple[float, str]]:
        """Level -> the value at which it begins, and the option that sets it; the highest level first."""
        limit, found = self.limit(limits), {}
        if limit is not None:
            found["hard"] = limit, self.option
        own: float | None = getattr(limits, self.own_warning) if self.own_warning else None
        if own is not None:
            found["warning"] = own, self.own_warning
        elif limit is not None:
            found["warning"] = limit * limits.warn_at_percent / 100, self.option
        return found

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return f"{value / _MIB:.0f} MiB" if self.in_bytes else f"{value:.0f}%"


THRESHOLDS = (
    ResourceThreshold(
        "cpu", "cpu_percent", "CPU of the checker", "most_cpu_percent", own_warning="cpu_warning_percent"
    ),
    ResourceThreshold("memory", "memory", "memory of the checker", "most_memory_bytes", True, "memory_warning"),
    ResourceThreshold("machine_cpu", "machine_cpu_percent", "CPU of the machine", "most_machine_cpu_percent"),
    ResourceThreshold(
        "machine_memory", "machine_memory_percent", "memory of the machine", "most_machine_memory_percent"
    ),
    ResourceThreshold("descriptors", "descriptors_percent", "file descriptors of a worker", "most_descriptors_percent"),
    ResourceThreshold("ports", "ports_percent", "ports for connections to one origin", "most_ports_percent"),
)


class Governor:
    """A thread that watches resources, closes and opens the gate, and answers for servers that wait too long.

    ``sink`` takes the results of servers that are given up.
    """

    def __init__(
        self,
        limits: ResourceCaps,
        shards: Shards,
        collector: MetricsCollector,
        sink: Callable[[Batch], None],
        alarms: Alarms | None = None,
    ) -> None:
        self._limits, self._shards, self._collector, self._sink = limits, shards, collector, sink
        self._alarms = alarms or Alarms(Alerts())
        self._looks = limits.enabled or self._alarms.of_resources
        self._ended = threading.Event()
        self._looked = threading.Event()
        self._answering = threading.Lock()
        self._levels: dict[str, str] = {}
        self._measures = ResourceMeasures()
        self._alerts: list[ResourceAlert] = []
        self._closed_at: float | None = None
        self.waits_for: str | None = None
        """The reason why checks wait right now."""
        self._thread = threading.Thread(target=self._govern, name="governor", daemon=True)

    def start(self) -> None:
        """Start watching if the limits ask for it."""
        if self._looks:
            self._thread.start()
        else:
            self._looked.set()

    def wait_for_first_look(self) -> None:
        """Return once it is known if checks may begin."""
        self._looked.wait()

    @property
    def settled(self) -> bool:
        """True if no server is being answered here at this moment."""
        if self._answering.acquire(blocking=False):
            self._answering.release()
            return True
        return False

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def measured(self) -> tuple[ResourceMeasures | None, tuple[ResourceAlert, ...]]:
        """Observations and actions so far."""
        if not self._looks:
            return None, ()
        closed_ms = 0 if self._closed_at is None else round((time.monotonic() - self._closed_at) * 1000)
        return self._with_closed(closed_ms), tuple(self._alerts)

    def _govern(self) -> None:
        try:
            meter = Meter()
            limits, alarms = self._limits, self._alarms
            of_cpu = (
                limits.cpu_percent,
                limits.machine_cpu_percent,
                limits.cpu_warning_percent,
                alarms.limits.cpu_percent,
            )
            wait_s = _FIRST_LOOK_S if any(limit is not None for limit in of_cpu) else 0.0
            while not self._ended.wait(wait_s):
                values = meter.sample(self._collector.workers, self._collector.ports_at_busiest_origin)
                self._look(values)
                for alert in alarms.look_at_resources(values["memory"], values["cpu"]):
                    self._collector.note(alert)
                self._looked.set()
                wait_s = min(limits.interval, alarms.limits.interval) if alarms.of_resources else limits.interval
        except Exception:  # without its governor a run goes on
            log.exception("resources can no longer be looked at")
            self._shards.open_gate(True)
        finally:
            self._looked.set()

    def _look(self, values: dict[str, float]) -> None:
        """Record the values, enter and leave levels, and act on values above their limit."""
        most = {
            one.measure: max(values[one.resource], getattr(self._measures, one.measure))
            for one in THRESHOLDS
            if one.resource in values
        }
        most["most_memory_bytes"] = int(most["most_memory_bytes"])
        self._measures = replace(self._measures, samples=self._measures.samples + 1, **most)
        if not self._limits.enabled:
            return
        self._look_at_queue()
        above = [
            self._described(one, values[one.resource], "hard")
            for one in THRESHOLDS
            if one.resource in values and self._level(one, values[one.resource]) == "hard"
        ]
        if above:
            self._close(above[0])
        elif self._closed_at is not None:
            self._open()

    def _level(self, one: ResourceThreshold, value: float) -> str:
        """The level of the value, with an alert if it has just been reached."""
        marks = one.marks(self._limits)
        if not marks:
            return ""
        before = self._levels.get(one.resource, "")
        level = ""
        for name, (mark, _) in marks.items():
            was_there = before == "hard" or before == name
            if value >= (mark * _BACK if was_there else mark):
                level = name
                break
        self._levels[one.resource] = level
        if level and level != before and before != "hard":
            self._tell(one.resource, level, value, marks[level][0], self._described(one, value, level))
        return level

    def _look_at_queue(self) -> None:
        """Warn if the queue is long: above its own threshold, or above its size limit while nothing begins."""
        limits, waiting = self._limits, self._shards.waiting
        mark, option = limits.queue_warning, "queue_warning"
        if mark is None and self._closed_at is not None:
            mark, option = round(limits.queue_size * limits.warn_at_percent / 100), "queue_size"
        level = "warning" if mark is not None and waiting >= mark else ""
        if mark is not None and level and level != self._levels.get("queue"):
            said = f"{waiting} servers wait to be checked, run.limits.{option} is {getattr(limits, option)}"
            self._tell("queue", level, waiting, mark, said)
        self._levels["queue"] = level

    def _tell(self, resource: str, level: str, value: float, mark: float, detail: str) -> None:
        if level == "warning":
            self._measures = replace(self._measures, warnings=self._measures.warnings + 1)
        log.warning("%s: %s", level, detail)
        alert = ResourceAlert(
            at_ms=now_ms(),
            resource=resource,
            level=level,
            value=round(value, 1),
            threshold=round(mark, 1),
            detail=detail,
        )
        self._alerts.append(alert)

    def _described(self, one: ResourceThreshold, value: float, level: str) -> str:
        marks = one.marks(self._limits)
        option = marks[level][1]
        threshold = one.limit(self._limits) if option == one.option else marks[level][0]
        return f"{one.words} at {one.shown(value)}, run.limits.{option} is {one.shown(threshold or 0.0)}"

    def _close(self, why: str) -> None:
        """Close the gate; give up servers beyond the queue's size limit, and those that have waited too long."""
        now = time.monotonic()
        if self._closed_at is None:
            self._closed_at = now
            self._shards.open_gate(False)
            log.warning("checks wait: %s", why)
        self.waits_for = why
        with self._answering:
            waiting = self._shards.waiting
            self._measures = replace(self._measures, most_waiting=max(self._measures.most_waiting, waiting))
            if now - self._closed_at >= self._limits.queue_wait:
                waited = f"not checked: nothing could be begun for {self._limits.queue_wait:g} s; {why}"
                self._answer(self._shards.drop(keep=0), waited)
                self._shards.given_up = waited
            else:
                size = self._limits.queue_size
                self._answer(self._shards.drop(keep=size), f"not checked: more than {size} servers waited; {why}")

    def _open(self) -> None:
        closed_ms = round((time.monotonic() - (self._closed_at or 0.0)) * 1000)
        self._measures, self._closed_at, self.waits_for = self._with_closed(closed_ms), None, None
        self._shards.open_gate(True)
        log.warning("checks begin again after %.1f s", closed_ms / 1000)

    def _with_closed(self, closed_ms: int) -> ResourceMeasures:
        measures = self._measures
        longest_ms = max(measures.longest_wait_ms, closed_ms)
        return replace(measures, closed_ms=measures.closed_ms + closed_ms, longest_wait_ms=longest_ms)

    def _answer(self, servers: list[Server], detail: str) -> None:
        self._measures = replace(self._measures, dropped=self._measures.dropped + len(servers))
        for start in range(0, len(servers), _BATCH):
            some = servers[start : start + _BATCH]
            self._sink(Batch(checks=tuple(unanswered(server, Reason.RESOURCE_LIMIT, detail) for server in some)))
