"""The study of equal and slower pairs: mixed order, the verdicts of the comparison, a server that scatters."""

from __future__ import annotations

import http.client
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from bench_histories import played as never_played
from bench_histories import slot
from msgspec.structs import replace

from checker.loadtest.plan import Scenario
from checker.loadtest.protocols import Cell
from checker.loadtest.results import BenchRun, Series, StageSpan
from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from bench.noisy_target import service_s
from bench.pairs import ARMS, PLAIN, SLOW, Design, played, scenarios, summary, timed

DESIGN = Design(blocks=8, block_s=0.3)


class SimulatedPlayer:
    """Plays nothing: each block gets the response times that a server of known speed would give."""

    def __init__(self, slower: float) -> None:
        series = tuple(Series(scenario=arm, operation="rest", model="open", server=arm, url="") for arm in ARMS)
        self._run = replace(never_played(seconds=1), series=series, stages=(), slots=())
        self._random, self._slower, self.stopped = np.random.default_rng(5), slower, ""

    def play(self, asked: Mapping[str, Scenario], cell: Cell | None = None) -> tuple[int, ...]:
        """Add the stages of every scenario, and the answers of those that have a load."""
        assert cell is None
        stages, slots, first = list(self._run.stages), list(self._run.slots), len(self._run.stages)
        start_s = max((stage.until_s for stage in stages), default=0.0)
        for arm, scenario in asked.items():
            at_s = start_s
            for stage in scenario.stages:
                assert stage.kind is not None
                measured = stage.kind.is_measured
                level = {"start_level": stage.target, "end_level": stage.target, "measured": measured}
                until_s = at_s + stage.duration
                stages.append(StageSpan(scenario=arm, name=arm, kind=stage.kind, from_s=at_s, until_s=until_s, **level))
                median_us = 4000 * (self._slower if arm == SLOW else 1.0)
                times = median_us * np.exp(self._random.normal(0, 0.25, round(stage.target * stage.duration)))
                if len(times):
                    slots.append(slot(int(at_s), times, stage=len(stages) - 1, series=ARMS.index(arm)))
                at_s = until_s
        self._run = replace(self._run, stages=tuple(stages), slots=tuple(slots))
        return tuple(range(first, len(stages)))

    def so_far(self) -> BenchRun:
        """What was played."""
        return self._run


def test_one_arm_has_the_load_at_a_time_in_mixed_order() -> None:
    levels = {arm: [stage.target for stage in scenario.stages[1:]] for arm, scenario in scenarios(DESIGN).items()}
    order = [[arm for arm in ARMS if levels[arm][place] > 0] for place in range(len(ARMS) * DESIGN.blocks)]
    assert order[:6] == [[PLAIN], ["same"], [SLOW], [SLOW], ["same"], [PLAIN]]
    assert all(len(one) == 1 for one in order)
    assert all(sum(level > 0 for level in one) == DESIGN.blocks for one in levels.values())


@pytest.mark.parametrize(("slower", "found"), [(1.1, 10), (1.0, 0)])
def test_study_counts_slow_pairs_that_were_found_and_equal_ones_that_were_told_apart(slower: float, found: int) -> None:
    said: list[str] = []
    verdicts = timed(played(SimulatedPlayer(slower), 10, DESIGN), said.append)
    assert summary(verdicts) == {"pairs": 10, "equal_told_apart": 0, "slow_found": found}
    assert len(said) == 10
    assert statistics.median(one.slow_ratio for one in verdicts) == pytest.approx(slower, abs=0.02)


def test_study_ends_where_the_player_was_stopped() -> None:
    load_generator = SimulatedPlayer(1.1)
    load_generator.stopped = "interrupted"
    assert list(played(load_generator, 10, DESIGN)) == []


def test_slow_address_takes_so_many_times_as_long() -> None:
    plain, slow = (service_s(median_s, random.Random(3)) for median_s in (0.004, 0.0044))
    assert slow / plain == pytest.approx(1.1)
    source = random.Random(3)
    many = [service_s(0.004, source) for _ in range(4000)]
    assert statistics.median(many) == pytest.approx(0.004, rel=0.03)
    assert sum(one > 0.0085 for one in many) >= 10


def test_target_answers_many_requests_on_one_connection_and_ends_with_its_input() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "bench" / "noisy_target.py"), "0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        connection = http.client.HTTPConnection("127.0.0.1", json.loads(process.stdout.readline())["port"], timeout=10)
        for factor in ("1", "1.1", "1"):
            connection.request("GET", f"/{factor}")
            assert connection.getresponse().read() == b'{"status":"UP"}'
        connection.close()
        process.stdin.close()
        assert process.wait(timeout=10) == 0
