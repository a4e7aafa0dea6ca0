"""Failures that the checker's own network may have caused: held back until the run shows if it did.

Workers examine local causes (`checker.worker.transport.own_network`); this module judges by the run as a whole. A
missing route to a server counts as the checker's fault if no other host was reached at that time. Canaries, addresses
that a configuration names because they are always up, are further evidence: if none can be reached, no failure to
connect is evidence about a server. No server can influence any of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from math import inf
from urllib.parse import urlsplit

from msgspec.structs import replace

from checker.addresses import Scope, canary, in_numbers, scope
from checker.judge import combine
from checker.model import Batch, CheckResult, ProbeResult, Reason, Server, Status
from checker.result_rows import RowBatch, as_rows, rows_of

_CONNECTING = {Reason.DNS, Reason.CONNECT_TIMEOUT, Reason.CONNECT_FAILED}
"""Reasons that look like a link that is down, if canaries are configured."""
_BEFORE_S, _AFTER_S = 1, 2
"""A host reached within this time before or after a failure shows that there was a way out."""
_HELD_S = _AFTER_S + 3
"""By then every worker has reported the hosts reached at that time, even on a busy machine."""
_CANARY_WITHIN_S = 2.0
_LOOK_AGAIN_S = 5.0
_WHY = {
    "route": "this machine has no route to the world",
    "resolver": "no name server of this machine answers",
    "clock": "the clock of this machine is wrong",
    "canaries": "no canary can be reached",
}


class OwnNetwork:
    """Removes from batches the checks that are decided at the end of the run."""

    def __init__(self, servers: Sequence[Server], canaries: Sequence[str] = ()) -> None:
        self._servers = servers
        self._canaries = [canary(text) for text in canaries]
        self._held: list[tuple[CheckResult, Mapping[str, str], Future[bool] | None]] = []
        """A check, its worker's suspicion about the failure of each probe, and True if a canary could be reached."""
        self._reached: set[int] = set()
        self._look: Future[bool] | None = None
        self._looked_at_s = 0.0
        self._looking: ThreadPoolExecutor | None = None

    def without_doubtful(self, batch: Batch) -> Batch:
        """The batch without the checks that have to wait."""
        self._reached.update(batch.reached_s)
        found: dict[str, dict[str, str]] = {}
        for doubt in batch.doubts:
            found.setdefault(doubt.server, {})[doubt.kind] = doubt.own_fault
        if not found and not (self._canaries and _reasons(batch) & _CONNECTING):
            return batch
        kept = []
        for check in batch.checks:
            faults = found.get(check.server, {})
            if faults or (self._canaries and any(map(_may_be_the_link, check.probes))):
                self._held.append((check, faults, self._canary_is_there()))
            else:
                kept.append(check)
        return _with(batch, kept) if len(kept) < len(batch.checks) else batch

    def settled(self, now_s: float) -> tuple[CheckResult, ...]:
        """Checks that have waited long enough for other hosts to be reached, each with its verdict.

        Call it regularly, because a run that is killed loses the checks held here; and with `inf` after the last batch.
        """
        due_s = now_s - _HELD_S
        held, self._held = self._held, []
        checks = []
        for check, faults, look in held:
            if _ended_at_s(check) < due_s and (look is None or look.done() or due_s == inf):
                checks.append(self._judged(check, faults, look))
            else:
                self._held.append((check, faults, look))
        if due_s == inf and self._looking is not None:
            self._looking.shutdown(wait=False)
        return tuple(checks)

    def _judged(self, check: CheckResult, faults: Mapping[str, str], look: Future[bool] | None) -> CheckResult:
        at_s = _ended_at_s(check)
        probes = tuple(self._probe(probe, faults.get(probe.kind), look, at_s) for probe in check.probes)
        if probes == check.probes:
            return check
        server = self._by_name[check.server]
        verdict, score = combine(probes, server.weights, server.combine)
        return replace(
            check, probes=probes, status=verdict.status, reason=verdict.reason, detail=verdict.detail, score=score
        )

    @cached_property
    def _by_name(self) -> Mapping[str, Server]:
        return {server.name: server for server in self._servers}

    def _probe(self, probe: ProbeResult, fault: str | None, look: Future[bool] | None, at_s: int) -> ProbeResult:
        why = self._why(probe, fault, look, at_s)
        if why is None:
            return probe
        detail = f"{_WHY[why]}: {probe.detail}"
        return replace(probe, status=Status.UNKNOWN, reason=Reason.OWN_NETWORK, detail=detail, score=None)

    def _why(self, probe: ProbeResult, fault: str | None, look: Future[bool] | None, at_s: int) -> str | None:
        """The fault of the checker's own network behind the failure at that second; None if it was the server's."""
        if fault in ("resolver", "clock"):
            return fault
        others_were_reached = any(at in self._reached for at in range(at_s - _BEFORE_S, at_s + _AFTER_S + 1))
        if others_were_reached or (look is not None and look.result()):
            return None
        if fault is not None:
            return fault
        return "canaries" if look is not None and _may_be_the_link(probe) else None

    def _canary_is_there(self) -> Future[bool] | None:
        """True if a canary can be reached at about this time; None if there are none."""
        if not self._canaries:
            return None
        now_s = time.monotonic()
        if self._look is None or now_s - self._looked_at_s > _LOOK_AGAIN_S:
            self._looking = self._looking or ThreadPoolExecutor(1, thread_name_prefix="canaries")
            self._look, self._looked_at_s = self._looking.submit(_any_reached, self._canaries), now_s
        return self._look


def _reasons(batch: Batch) -> set[str]:
    """The reasons of all probes in it."""
    return as_rows(batch.checks).of_probes("reason")


def _with(batch: Batch, checks: Sequence[CheckResult]) -> Batch:
    """The batch with these checks alone."""
    return RowBatch(
        checks=rows_of(checks),
        cache_entries=batch.cache_entries,
        contracts=batch.contracts,
        doubts=batch.doubts,
        reached_s=batch.reached_s,
    )


def _ended_at_s(check: CheckResult) -> int:
    return (check.started_at_ms + check.duration_us // 1000) // 1000


def _any_reached(canaries: Sequence[tuple[str, int]]) -> bool:
    """True if one of the canaries accepts or refuses a connection: either answer comes from the canary."""
    with ThreadPoolExecutor(len(canaries)) as asking:
        return any(asking.map(_is_reached, canaries))


def _is_reached(place: tuple[str, int]) -> bool:
    import socket  # few runs have canaries

    try:
        socket.create_connection(place, _CANARY_WITHIN_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _may_be_the_link(probe: ProbeResult) -> bool:
    """True if it failed to connect to a host other than this machine."""
    if probe.reason not in _CONNECTING or probe.status is not Status.UNHEALTHY:
        return False
    host = ""
    with suppress(ValueError):
        host = urlsplit(probe.url or "").hostname or ""
    numbers = in_numbers(host)
    return host not in ("", "localhost") and (numbers is None or scope(numbers) is not Scope.LOOPBACK)
