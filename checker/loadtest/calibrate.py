"""Calibration of the load generator against a loopback echo: its maximum rate and the latency that it adds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from checker.errors import WorkerStartError
from checker.loadtest.generator import Generator
from checker.loadtest.messages import ECHO
from checker.loadtest.plan import Model, Operation, Scenario, Stage, StageKind
from checker.loadtest.recording import Recording
from checker.loadtest.results import BenchRun, Calibration
from checker.loadtest.summary import measured
from checker.model import Server
from checker.probe_kinds import KIND_OF, KINDS, OPERATIONS
from checker.probes import probe_of

_USERS = 16
_RATE = 200.0
_WARM_S, _CEILING_S, _NOISE_S = 0.3, 1.0, 1.0
_END_S = 2.0


@contextmanager
def echo_server() -> Iterator[Server]:
    """An echo server in its own process, as a target. Raises WorkerStartError if it does not start."""
    parent = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, [parent, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "checker.loadtest.echo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 # it is a PIPE
    assert process.stdin is not None  # noqa: S101 # it is a PIPE
    try:
        port = process.stdout.readline().strip().decode()
        if not port:
            raise WorkerStartError("the loopback echo for calibration did not start; its message is above")
        url = f"http://127.0.0.1:{port}"
        probes = {
            name: probe_of(name).options(**{**kind.echo, "url": url + kind.echo["url"]})
            for name, kind in KINDS.items()
            if kind.echo
        }
        yield Server(name=ECHO, probes=probes)
    finally:
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def calibrated(generator: Generator, blank: BenchRun, operations: Collection[Operation]) -> tuple[Calibration, ...]:
    """The load generator's maximum rate and noise for each loaded kind of probe, by the workers that make the load.

    The generator's servers must include the echo.
    """
    first = {KIND_OF[one]: one for one in reversed([*operations]) if KINDS[KIND_OF[one]].echo}
    return tuple(_measured(generator, blank, one) for one in OPERATIONS if one in first.values())


def _measured(generator: Generator, blank: BenchRun, operation: Operation) -> Calibration:
    ceiling, noise = replace(blank), replace(blank)
    warm = Stage(duration=_WARM_S, target=_USERS, kind=StageKind.WARM_UP)
    closed = Scenario(
        operation=operation,
        model=Model.CLOSED,
        servers=(ECHO,),
        stages=(warm, Stage(duration=_CEILING_S, target=_USERS, kind=StageKind.HOLD)),
        tool="echo",
    )
    steady = Scenario(
        operation=operation,
        servers=(ECHO,),
        stages=(Stage(duration=_NOISE_S, target=_RATE, kind=StageKind.HOLD),),
        tool="echo",
    )
    before_s = sum(generator.cpu_s.values())
    most = Recording(ceiling)
    generator.aside({"ceiling": closed}, most)
    used_s = sum(generator.cpu_s.values()) - before_s
    whole = most.run()
    done = sum(slot.done_ok for slot in whole.slots)
    least = Recording(noise)
    generator.aside({"noise": steady}, least)
    quiet = measured(least.run()).percentiles()
    return Calibration(
        operation=KIND_OF[operation],
        ceiling_per_s=round(measured(whole).ok_per_s, 1),
        cpu_us=round(used_s / done * 1e6, 2) if done else 0.0,
        noise_p50_us=round(quiet.p50) if quiet else 0,
        noise_p99_us=round(quiet.p99) if quiet else 0,
    )
