"""Load put on real servers by real workers, for tests: what a play measured, with the shortest of plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checker.loadtest.generator import Generator, GeneratorWorkers
from checker.loadtest.plan import LoadLimits, Model, Scenario, Stage, StageKind
from checker.loadtest.protocols import Watcher
from checker.loadtest.recording import Recording
from checker.loadtest.results import BenchKind, BenchRun, BenchState
from checker.loadtest.summary import Summary, summarize
from checker.model import Server
from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions
from worker_template import forked_workers


def blank(**values: Any) -> BenchRun:
    """A run in which nothing has happened."""
    known: dict[str, Any] = {
        "id": None,
        "name": "a test",
        "kind": BenchKind.LOAD,
        "state": BenchState.RUNNING,
        "started_at_ms": 0,
        "finished_at_ms": None,
        "checker_version": "0",
        "plan": {},
        "plan_digest": "",
        "seed": 1,
        "workers": 1,
        "slot_s": 1,
        "environment": {},
        "series": (),
        "stages": (),
        "slots": (),
        "health": (),
    }
    return BenchRun(**{**known, **values})


def rest(name: str, url: str, **options: Any) -> Server:
    return Server(name=name, probes={"rest": RestOptions(url=url, **options)})


def mcp(name: str, url: str, **options: Any) -> Server:
    return Server(name=name, probes={"mcp": McpOptions(url=url, **options)})


def hold(level: float, seconds: float, **values: Any) -> Scenario:
    """A scenario of one measured stage; REST unless it says otherwise."""
    stages = (Stage(duration=seconds, target=level, kind=StageKind.HOLD),)
    return Scenario(**{"operation": "rest", "stages": stages, **values})


def users(number: int, seconds: float, **values: Any) -> Scenario:
    return hold(number, seconds, model=Model.CLOSED, **values)


def played(
    servers: Sequence[Server],
    scenarios: Mapping[str, Scenario],
    *,
    workers: int = 1,
    watchers: Sequence[Watcher] = (),
    limits: LoadLimits | None = None,
    addresses: Mapping[str, tuple[str, ...]] | None = None,
) -> BenchRun:
    """What the scenarios measured, side by side."""
    generator_workers = GeneratorWorkers(
        servers=tuple(servers), addresses=addresses or {}, workers=workers, limits=limits or LoadLimits(), seed=1
    )
    recording = Recording(blank(workers=workers))
    with forked_workers(), Generator(generator_workers, recording, watchers) as generator:
        generator.play(scenarios)
        return generator.so_far()


def of(run: BenchRun, scenario: str) -> Summary:
    """All that one scenario measured."""
    series = {number for number, one in enumerate(run.series) if one.scenario == scenario}
    seconds = sum(stage.until_s - stage.from_s for stage in run.stages if stage.scenario == scenario)
    return summarize((slot for slot in run.slots if slot.series in series), seconds)
