"""Holds checks back while the checker or its machine is out of something, and says so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from checker.accounts import Accounts
from checker.dealing import Shards
from checker.limits import ResourceCaps
from checker.measures import ResourceAlert, ResourceMeasures
from checker.model import Batch, Reason, Server
from checker.unanswered import unanswered

log = logging.getLogger(__name__)

_BACK = 0.95
"""A level is left below this share of its threshold, so that a value at the threshold does not come and go."""
_FIRST_LOOK_S = 0.2
_MIB = 1024 * 1024
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Threshold:
    """A resource, where its limit comes from, and how its values are written."""

    resource: str
    option: str
    words: str
    measure: str
    """Where the highest value is kept in ResourceMeasures."""
    in_bytes: bool = False

    def limit(self, limits: ResourceCaps) -> float | None:
        """The limit in force."""
        value: float | None = getattr(limits, self.option)
        return value

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return f"{value / _MIB:.0f} MiB" if self.in_bytes else f"{value:.0f} %"


THRESHOLDS = (
    Threshold("cpu", "cpu_percent", "CPU of the checker", "most_cpu_percent"),
    Threshold("memory", "memory", "memory of the checker", "most_memory_bytes", in_bytes=True),
    Threshold("machine_cpu", "machine_cpu_percent", "CPU of the machine", "most_machine_cpu_percent"),
    Threshold("machine_memory", "machine_memory_percent", "memory of the machine", "most_machine_memory_percent"),
    Threshold("descriptors", "descriptors_percent", "file descriptors of a worker", "most_descriptors_percent"),
    Threshold("ports", "ports_percent", "ports for connections to one origin", "most_ports_percent"),
)


class Governor:
    """A thread that looks at the resources, closes and opens the gate, and answers for what waits too long.

    ``sink`` takes the results of servers that are given up.
    """

    def __init__(self, limits: ResourceCaps, shards: Shards, accounts: Accounts, sink: Callable[[Batch], None]) -> None:
        self._limits, self._shards, self._accounts, self._sink = limits, shards, accounts, sink
        self._ended = threading.Event()
        self._looked = threading.Event()
        self._answering = threading.Lock()
        self._levels: dict[str, str] = {}
        self._measures = ResourceMeasures()
        self._alerts: list[ResourceAlert] = []
        self._closed_at: float | None = None
        self.waits_for: str | None = None
        """Why checks wait right now."""
        self._thread = threading.Thread(target=self._govern, name="governor", daemon=True)

    def start(self) -> None:
        """Begin to look, if the limits say so."""
        if self._limits.enabled:
            self._thread.start()
        else:
            self._looked.set()

    def wait_for_first_look(self) -> None:
        """Return when it is known whether checks may begin."""
        self._looked.wait()

    @property
    def settled(self) -> bool:
        """Whether nothing is being answered here at this moment."""
        if self._answering.acquire(blocking=False):
            self._answering.release()
            return True
        return False

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def measured(self) -> tuple[ResourceMeasures | None, tuple[ResourceAlert, ...]]:
        """What was seen and done until now."""
        if not self._limits.enabled:
            return None, ()
        closed_ms = 0 if self._closed_at is None else round((time.monotonic() - self._closed_at) * 1000)
        return self._with_closed(closed_ms), tuple(self._alerts)

    def _govern(self) -> None:
        try:
            from checker.resources import Meter  # takes a moment to import, as workers take to start

            meter = Meter()
            needs_cpu = self._limits.cpu_percent is not None or self._limits.machine_cpu_percent is not None
            wait_s = _FIRST_LOOK_S if needs_cpu else 0.0
            while not self._ended.wait(wait_s):
                self._look(meter.sample(self._accounts.workers, self._accounts.ports_at_busiest_origin))
                self._looked.set()
                wait_s = self._limits.interval
        except Exception:  # without its governor a run goes on
            log.exception("resources can no longer be looked at")
            self._shards.open_gate(True)
        finally:
            self._looked.set()

    def _look(self, values: dict[str, float]) -> None:
        """Note the values, enter and leave levels, and act on what is above its limit."""
        most = {
            one.measure: max(values[one.resource], getattr(self._measures, one.measure))
            for one in THRESHOLDS
            if one.resource in values
        }
        most["most_memory_bytes"] = int(most["most_memory_bytes"])
        self._measures = replace(self._measures, samples=self._measures.samples + 1, **most)
        above = [
            self._described(one, values[one.resource])
            for one in THRESHOLDS
            if one.resource in values and self._level(one, values[one.resource]) == "hard"
        ]
        if above:
            self._close(above[0])
        elif self._closed_at is not None:
            self._open()

    def _level(self, one: Threshold, value: float) -> str:
        """The level that the value is at, with an alert where it has just come to it."""
        limit = one.limit(self._limits)
        if limit is None:
            return ""
        before = self._levels.get(one.resource, "")
        marks = {"hard": limit, "warning": limit * self._limits.warn_at_percent / 100}
        level = ""
        for name, mark in marks.items():
            was_there = before == "hard" or before == name
            if value >= (mark * _BACK if was_there else mark):
                level = name
                break
        self._levels[one.resource] = level
        if level and level != before and before != "hard":
            if level == "warning":
                self._measures = replace(self._measures, warnings=self._measures.warnings + 1)
            detail = self._described(one, value)
            log.warning("%s: %s", level, detail)
            now_ms = time.time_ns() // 1_000_000
            self._alerts.append(
                ResourceAlert(
                    at_ms=now_ms,
                    resource=one.resource,
                    level=level,
                    value=round(value, 1),
                    threshold=round(marks[level], 1),
                    detail=detail,
                )
            )
        return level

    def _described(self, one: Threshold, value: float) -> str:
        limit = one.limit(self._limits) or 0.0
        return f"{one.words} at {one.shown(value)}, run.limits.{one.option} is {one.shown(limit)}"

    def _close(self, why: str) -> None:
        """Let nothing begin; give up what is above the size of the queue, or has waited for too long."""
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
