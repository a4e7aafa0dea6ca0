"""A load test as it goes on: what a freeze of the server does to either model, and every way in which a run ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from checker.loadtest.calibrate import calibrated, echo_server
from checker.loadtest.generator import WIND_DOWN_S, Generator, GeneratorWorkers
from checker.loadtest.messages import ECHO
from checker.loadtest.plan import LoadLimits, Scenario, Stage, StageKind
from checker.loadtest.protocols import Second, Watcher
from checker.loadtest.recording import Recording, without_unplayed
from checker.loadtest.results import BenchRun
from checker.loadtest.run import Storm, Total
from checker.model import Server
from loads import blank, hold, of, played, rest, users
from servers import RestServer, Scripted
from worker_template import FRESH, forked_workers

FREEZE_S = 2.0


@pytest.fixture(scope="module")
def frozen() -> BenchRun:
    """What is measured of a server that stands still for two seconds of four: its process is stopped."""
    from checker.processes.orphans import children_of

    before = set(children_of(os.getpid()))
    with echo_server() as server:
        (process,) = set(children_of(os.getpid())) - before

        def freeze(second: Second) -> None:
            nonlocal timer
            if timer is None and second.at_s >= 0.5:
                os.kill(process, signal.SIGSTOP)
                timer = threading.Timer(FREEZE_S, os.kill, (process, signal.SIGCONT))
                timer.start()

        timer: threading.Timer | None = None
        scenarios = {
            "open": hold(100, 4),
            "open_two_places": hold(100, 4, max_in_flight=2),
            "closed": users(2, 4, think_time=0.005),
        }
        server = replace(server, name="frozen")  # under its own it takes part where it is named only
        try:
            return played([server], scenarios, watchers=[freeze])
        finally:
            if timer is not None:
                timer.join()


def test_the_open_model_shows_a_freeze_of_the_server(frozen: BenchRun) -> None:
    run = of(frozen, "open")
    assert run.ok == run.offered == 400
    assert (run.quantile_us(0.99) or 0) >= 0.9 * FREEZE_S * 1e6
    assert (run.quantile_us(0.75) or 0) >= 0.4 * FREEZE_S * 1e6, "those due while it stood still waited, too"


def test_the_open_model_shows_a_freeze_also_where_few_may_be_under_way(frozen: BenchRun) -> None:
    run = of(frozen, "open_two_places")
    assert (run.quantile_us(0.99) or 0) >= 0.9 * FREEZE_S * 1e6
    assert (run.quantile_us(0.99, "service") or 0) < 0.1 * FREEZE_S * 1e6, "the service time alone would hide it"


def test_the_closed_model_hides_a_freeze_because_nobody_asks_meanwhile(frozen: BenchRun) -> None:
    run = of(frozen, "closed")
    assert run.ok > 300
    assert (run.quantile_us(0.99) or 0) < 0.1 * FREEZE_S * 1e6
    assert run.max_us >= 0.9 * FREEZE_S * 1e6


def _until(at_s: float, why: str) -> Callable[[Second], str | None]:
    return lambda second: why if second.at_s >= at_s else None


def test_a_run_that_is_to_end_early_ramps_down() -> None:
    stages = tuple(Stage(duration=30, target=100, kind=StageKind.HOLD, name=name) for name in ("one", "two"))
    with RestServer({"/health": Scripted(delay_s=0.01)}) as server:
        began = time.monotonic()
        scenarios = {"open": Scenario(operation="rest", stages=stages), "closed": users(4, 60)}
        run = played([rest("a", server.url())], scenarios, watchers=[_until(0.8, "enough")])
        took_s = time.monotonic() - began
    assert took_s < 10
    one, two, closed, down, _ = run.stages
    assert one.until_s == closed.until_s == down.from_s < 3
    assert two.until_s == two.from_s
    assert (down.kind, down.measured, down.scenario) == (StageKind.RAMP_DOWN, False, "open")
    assert down.until_s - down.from_s == pytest.approx(WIND_DOWN_S)
    offered = sum(slot.offered for slot in run.slots if slot.stage == 3)
    assert offered == pytest.approx(100 * WIND_DOWN_S / 2, abs=5)
    assert max(slot.at_s for slot in run.slots) <= down.until_s, "the users have gone as well"
    assert [stage.name for stage in without_unplayed(run).stages] == ["one", "hold", "winding down", "winding down"]


def test_a_storm_of_refusals_ends_the_run() -> None:
    limits = LoadLimits(refusals_over=1.0)
    with RestServer({"/health": Scripted(status=429)}) as server:
        run = _ended(rest("a", server.url()), hold(50, 60), [Storm(limits)])
    assert "Retry-After" in run.notes[0]


def test_errors_that_are_no_refusals_end_nothing() -> None:
    with RestServer({"/health": Scripted(status=500)}) as server:
        run = played([rest("a", server.url())], {"a": hold(50, 1.5)}, watchers=[Storm(LoadLimits(refusals_over=1.0))])
    assert [stage.kind for stage in run.stages] == ["hold"]


def test_a_run_ends_when_it_has_made_as_many_operations_as_it_may() -> None:
    with RestServer() as server:
        run = _ended(rest("a", server.url()), hold(100, 60), [Total(LoadLimits(max_total=50))])
    assert "max_total is 50" in run.notes[0]
    assert sum(slot.offered for slot in run.slots) < 400


def _ended(server: Server, scenario: Scenario, watchers: list[Watcher]) -> BenchRun:
    workers = GeneratorWorkers(servers=(server,), addresses={}, workers=1, limits=LoadLimits(), seed=1)
    with forked_workers(), Generator(workers, Recording(blank()), watchers) as generator:
        generator.play({"a": scenario})
        run = generator.so_far()
        return blank(notes=(generator.stopped,), slots=run.slots, stages=run.stages)


def test_a_killed_worker_ends_the_run_and_what_it_told_is_kept() -> None:
    from checker.processes.orphans import children_of

    with RestServer() as server:
        before = set(children_of(os.getpid()))
        workers = GeneratorWorkers(
            servers=(rest("a", server.url()),), addresses={}, workers=2, limits=LoadLimits(), seed=1
        )

        def kill(second: Second) -> None:
            if not killed and second.at_s > 0.8:
                killed.append(min(set(children_of(os.getpid())) - before))
                os.kill(killed[0], signal.SIGKILL)

        killed: list[int] = []
        with Generator(workers, Recording(blank()), [kill]) as generator:
            generator.play({"a": hold(100, 60)})
            assert "was lost" in generator.stopped
            assert of(generator.so_far(), "a").ok > 50


def test_workers_are_gone_when_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    from checker.processes.orphans import children_of

    monkeypatch.setenv(FRESH, "1")  # children of this process, so that they are found
    before = set(children_of(os.getpid()))
    with RestServer() as server:
        played([rest("a", server.url())], {"a": hold(20, 0.3)}, workers=2)
    assert set(children_of(os.getpid())) == before


def test_plays_follow_one_another_in_one_run() -> None:
    with RestServer() as server:
        workers = GeneratorWorkers(
            servers=(rest("a", server.url()),), addresses={}, workers=1, limits=LoadLimits(), seed=1
        )
        with forked_workers(), Generator(workers, Recording(blank())) as generator:
            first = generator.play({"a": hold(30, 0.5)})
            second = generator.play({"a": hold(60, 0.5)})
            run = generator.so_far()
    assert (first, second) == ((0,), (1,))
    assert len(run.series) == 1
    assert run.stages[1].from_s >= run.stages[0].until_s
    assert [sum(slot.offered for slot in run.slots if slot.stage == stage) for stage in (0, 1)] == [15, 30]
    assert {slot.at_s for slot in run.slots if slot.stage == 0}.isdisjoint(
        slot.at_s for slot in run.slots if slot.stage == 1
    )


def test_calibration_tells_what_the_client_can_do_and_adds_no_part_of_the_run() -> None:
    with echo_server() as echo:
        workers = GeneratorWorkers(servers=(echo,), addresses={}, workers=1, limits=LoadLimits(), seed=1)
        with forked_workers(), Generator(workers, Recording(blank())) as generator:
            found, mcp = calibrated(generator, blank(), ["mcp_list", "rest"])
            assert generator.so_far().series == ()
    assert (found.operation, mcp.operation) == ("rest", "mcp")
    assert found.ceiling_per_s > mcp.ceiling_per_s > 100
    assert 0 < found.noise_p50_us <= found.noise_p99_us
    assert echo.name == ECHO


def test_a_run_in_seconds_tells_what_is_under_way() -> None:
    told: list[Second] = []
    with RestServer() as server:
        played([rest("a", server.url())], {"a": hold(50, 2)}, watchers=[lambda second: told.append(second)])
    assert [stage for second in told for stage in second.stages][:1] == [0]
    assert sum(slot.offered for second in told for slot in second.slots) == 100
    assert all(second.until_s == 2 for second in told)
    assert sum(len(second.health) for second in told) >= 1
