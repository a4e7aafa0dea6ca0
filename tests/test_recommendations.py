"""Each rule speaks where its evidence is there, with its numbers, and is silent just below and on a healthy history."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from builders import AT_MS, batch, check, probe, run_info, server
from checker.metrics import CacheMeasures, PoolMeasures, ResourceAlert, ResourceMeasures, RunMeasures, WorkerMeasures
from checker.model import CheckResult, Reason, RunState, Status
from reports.recommendations import SettingsReport, recommend, recommendations_table
from reports.text_tables import TextOutput
from storage.settings_evidence import evidence_since
from storage.store import open_store

ROOT = Path(__file__).resolve().parent.parent
MINUTE_MS = 60_000
HEALTHY = RunMeasures(
    workers=(WorkerMeasures(worker=0, pid=1, checks=3, cpu_ms=700, lag_p99_us=3_000, most_at_once=3),),
    pools=(PoolMeasures(kind="rest", created=30, reused=300, waits=3, wait_us=9_000, most_open=30),),
    caches=(CacheMeasures(category="dns", hits=20, misses=10),),
    resources=ResourceMeasures(samples=5, most_cpu_percent=30.0),
)


def good(name: str, number: int, duration_ms: float = 12.0) -> CheckResult:
    duration_us = round(duration_ms * 1000)
    rest = probe("rest", started_at_ms=AT_MS + number * MINUTE_MS, duration_us=duration_us)
    return check(name, started_at_ms=rest.started_at_ms, duration_us=duration_us, probes=(rest,))


def history(
    path: Path,
    measures: RunMeasures = HEALTHY,
    runs: int = 4,
    duration_ms: int = 2_000,
    checks: Callable[[int], list[CheckResult]] = lambda number: [good("a", number), good("b", number)],
    concurrency: int = 500,
) -> Path:
    """Finished runs a minute apart, with these measures."""
    with open_store(path) as store:
        for number in range(runs):
            at_ms = AT_MS + number * MINUTE_MS
            made = checks(number)
            info = run_info(started_at_ms=at_ms, servers_expected=len(made), host="here", concurrency=concurrency)
            run_id = store.begin_run(info, [server(one.server) for one in made])
            store.write(run_id, batch(*made))
            store.finish_run(run_id, RunState.FINISHED, at_ms + duration_ms)
            store.write_measures(run_id, measures)
    return path


def found(path: Path, timeouts_s: dict[str, float] | None = None, cores: int = 4) -> SettingsReport:
    return recommend(evidence_since(path, 0), timeouts_s or {}, cores, "here")


def settings(path: Path, **given: Any) -> list[str]:
    return [one.setting for one in found(path, **given).recommendations]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def pool(**values: int) -> RunMeasures:
    return replace(HEALTHY, pools=(PoolMeasures(kind="rest", **values),))


def worker(**values: int) -> RunMeasures:
    return replace(HEALTHY, workers=(WorkerMeasures(worker=0, pid=1, **values),))


def cache(**values: int) -> RunMeasures:
    return replace(HEALTHY, caches=(CacheMeasures(category="dns", **values),))


LONG = {"duration_ms": 10_000}
FULL = {**LONG, "concurrency": 5, "checks": lambda number: [good(f"s{at}", number, 990.0) for at in range(26)]}
"""Five places are in use for more than half of the time."""
CASES: dict[str, tuple[RunMeasures, RunMeasures, dict[str, Any], str]] = {
    "attempts wait": (
        pool(created=50, reused=50, waits=20, wait_us=20 * 50_000, most_open=30),
        pool(created=50, reused=50, waits=20, wait_us=20 * 49_000, most_open=30),
        {},
        "run.per_origin",
    ),
    "workers are late": (
        worker(checks=100, lag_p99_us=101_000, concurrency_at_end=64, cpu_ms=1_000),
        worker(checks=100, lag_p99_us=99_000, concurrency_at_end=64, cpu_ms=1_000),
        {},
        "run.concurrency",
    ),
    "results are suspect": (
        worker(checks=100, suspect_checks=2, concurrency_at_end=64, cpu_ms=1_000),
        worker(checks=100, suspect_checks=1, concurrency_at_end=64, cpu_ms=1_000),
        {},
        "run.concurrency",
    ),
    "workers are late and did little themselves": (
        worker(checks=100, lag_p99_us=101_000, cpu_ms=990),
        worker(checks=100, lag_p99_us=99_000, cpu_ms=990),
        {},
        "the machine",
    ),
    "programs wait": (
        pool(created=3, reused=3, program_waits=20, program_wait_us=20 * 50_000),
        pool(created=3, reused=3, program_waits=20, program_wait_us=20 * 49_000),
        {},
        "run.processes",
    ),
    "workers idle with all places in use": (
        worker(checks=100, cpu_ms=2_900, most_at_once=5),
        worker(checks=100, cpu_ms=3_100, most_at_once=5),
        FULL,
        "run.concurrency",
    ),
    "a cache finds nothing": (cache(misses=5), cache(misses=4), {}, "run.caches.dns.ttl"),
    "a cache is too small": (cache(hits=1, evicted=5), cache(hits=5, evicted=5), {}, "run.caches.dns.size"),
    "every core is used": (worker(checks=100, cpu_ms=8_600), worker(checks=100, cpu_ms=8_400), LONG, "run.workers"),
    "servers close idle connections": (
        pool(created=50, reused=50, closed_by_peer=5),
        pool(created=50, reused=50, closed_by_peer=4),
        {},
        "run.pools.rest.keepalive",
    ),
    "servers close every connection": (
        pool(created=99, reused=1, closed_by_peer=98),
        pool(created=99, reused=1, closed_by_peer=4),
        {},
        "the servers",
    ),
}
"""Name -> measures at the threshold, just below it, how the runs were, and the setting."""


@pytest.mark.parametrize("name", CASES)
def test_rule_speaks_at_its_threshold_and_not_below(name: str, tmp_path: Path) -> None:
    above, below, values, setting = CASES[name]
    assert settings(history(tmp_path / "above.db", above, **values)) == [setting]
    assert settings(history(tmp_path / "below.db", below, **values)) == []


WAITING = {"created": 50, "reused": 50, "waits": 90, "wait_us": 90 * 900_000}
IDLE = worker(checks=26, cpu_ms=100, most_at_once=5)
FULL_MACHINE = ResourceMeasures(samples=5, most_machine_cpu_percent=100.0)
LOOKALIKES: dict[str, tuple[RunMeasures, dict[str, Any], set[str]]] = {
    "attempts wait for the pace that was asked for": (
        pool(**WAITING, paced=90, paced_us=90 * 900_000, most_open=1),
        {},
        set(),
    ),
    "all places are in use, and wait at their origins": (
        replace(IDLE, pools=(PoolMeasures(kind="rest", created=5, reused=21, waits=20, wait_us=20_000),)),
        FULL,
        set(),
    ),
    "all places are in use while the gate is closed": (
        replace(IDLE, resources=ResourceMeasures(samples=5, closed_ms=9_000)),
        FULL,
        set(),
    ),
    "a single server is waited for at the end": (
        IDLE,
        {**LONG, "concurrency": 5, "checks": lambda number: [good("slow", number, 9_900.0), good("b", number)]},
        set(),
    ),
    "every core is used, by others too": (
        replace(worker(checks=100, cpu_ms=9_000), resources=FULL_MACHINE),
        LONG,
        set(),
    ),
    "every core is used, and no limit leaves room for another worker": (
        worker(checks=100, cpu_ms=9_000),
        {**LONG, "concurrency": 1},
        set(),
    ),
    "entries go that nobody asks for": (cache(evicted=50), {}, set()),
    "tokens are not kept between runs": (
        replace(HEALTHY, caches=(CacheMeasures(category="auth_tokens", misses=9),)),
        {},
        {"run.token_key"},
    ),
    "results are too old for what was asked": (
        replace(HEALTHY, caches=(CacheMeasures(category="results", misses=9),)),
        {},
        {"run.max_age"},
    ),
    "the configuration is another one each time": (
        replace(HEALTHY, caches=(CacheMeasures(category="config", misses=9),)),
        {},
        {"run.caches.config.enabled"},
    ),
    "an alert is no limit of the run": (
        replace(
            HEALTHY,
            alerts=(ResourceAlert(at_ms=1, resource="memory", level="alert", value=5.0, threshold=1.0, detail="much"),),
        ),
        {},
        set(),
    ),
}
"""Name -> measures that look as if a rule held, how the runs were, and what is said all the same."""


@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_looks_alike_is_not_taken_for_the_cause(name: str, tmp_path: Path) -> None:
    measures, values, said = LOOKALIKES[name]
    assert set(settings(history(tmp_path / "h.db", measures, **values))) == said


def test_full_machine_is_not_put_down_to_the_checker(path: Path) -> None:
    full = ResourceAlert(at_ms=1, resource="machine_memory", level="hard", value=97.0, threshold=95.0, detail="full")
    (one,) = found(history(path, replace(HEALTHY, alerts=(full,)))).recommendations
    assert (one.setting, "what else runs" in one.suggestion) == ("run.limits.machine_memory_percent", True)


def test_timeout_is_not_lowered_below_what_slow_servers_take(path: Path) -> None:
    def slow(number: int) -> list[CheckResult]:
        made = [good(f"s{at}", number) for at in range(30)]
        late = probe("rest", status=Status.DEGRADED, reason=Reason.SLOW, duration_us=6_000_000)
        return [*made, check("late", status=Status.DEGRADED, reason=Reason.SLOW, probes=(late,))]

    assert settings(history(path, checks=slow), timeouts_s={"rest": 10.0}) == []


def test_passed_limit_is_named_with_what_it_did(path: Path) -> None:
    alert = ResourceAlert(
        at_ms=AT_MS, resource="memory", level="hard", value=600.0, threshold=512.0, detail="memory at 600 MiB"
    )
    resources = ResourceMeasures(samples=3, closed_ms=2_000, dropped=7)
    history(path, replace(HEALTHY, alerts=(alert,), resources=resources))
    (one,) = found(path).recommendations
    assert (one.setting, one.severity) == ("run.limits.memory", "worth doing")
    assert (one.numbers["hard"], one.numbers["dropped"]) == (4, 28)
    assert "checks waited 8 s in all" in one.evidence


@pytest.mark.parametrize(("probes", "word", "wanted"), [(60, "longest", "1s"), (1200, "p99.9", "1s")])
def test_timeout_is_compared_with_what_probes_took(path: Path, probes: int, word: str, wanted: str) -> None:
    history(path, checks=lambda number: [good(f"s{place}", number, 100.0) for place in range(probes // 4)])
    (one,) = found(path, timeouts_s={"rest": 10.0}).recommendations
    assert one.setting == "defaults.rest.timeout"
    assert word in one.evidence
    assert one.suggestion == f"{wanted} instead of 10s"
    assert settings(path, timeouts_s={"rest": 0.9}) == []


def test_slower_server_is_told_from_a_noisy_one(path: Path) -> None:
    draw = random.Random(4)

    def checks(number: int) -> list[CheckResult]:
        late = number >= 60
        return [
            good("steady", number, 100 + draw.uniform(-5, 5)),
            good("slower", number, (160 if late else 100) + draw.uniform(-5, 5)),
            good("noisy", number, draw.choice([60, 100, 240])),
            good("little", number, (12 if late else 6) + draw.uniform(0, 1)),
        ]

    history(path, runs=80, checks=checks)
    (one,) = found(path).recommendations
    assert (one.setting, one.subject) == ("degraded_above", "slower")
    assert one.numbers["recent_ms"] == pytest.approx(160, abs=4)


def test_server_that_is_good_only_after_a_retry_is_named(path: Path) -> None:
    def checks(number: int) -> list[CheckResult]:
        retried = probe("rest", attempts=2, earlier_reasons="connect_refused") if number < 5 else probe("rest")
        return [check("flaky", probes=(retried,)), good("a", number)]

    history(path, runs=20, checks=checks)
    (one,) = found(path).recommendations
    assert (one.setting, one.subject, one.numbers["retried"]) == ("rest.retry", "flaky", 5)
    assert "connect_refused" in one.evidence


def test_suspect_and_bad_checks_are_no_evidence(path: Path) -> None:
    def checks(number: int) -> list[CheckResult]:
        late = number >= 60
        slow = good("a", number, 500.0 if late else 100.0)
        bad = replace(slow, server="b", status=Status.UNHEALTHY, reason=Reason.SLOW)
        return [replace(slow, suspect=late), bad]

    assert settings(history(path, runs=80, checks=checks)) == []


@pytest.mark.parametrize("seed", range(5))
def test_healthy_history_gives_no_recommendation(path: Path, seed: int) -> None:
    draw = random.Random(seed)
    usual = {f"s{number}": draw.uniform(5, 300) for number in range(8)}

    def checks(number: int) -> list[CheckResult]:
        rhythm = 1.1 if number % 24 > 12 else 1.0
        return [good(name, number, ms * rhythm * draw.lognormvariate(0, 0.2)) for name, ms in usual.items()]

    history(path, runs=90, checks=checks)
    report = found(path, timeouts_s={"rest": 2.0})
    assert report.recommendations == ()
    assert report.looked_at.startswith("looked at 90 runs with 720 checks")


def test_two_runs_are_not_enough(path: Path) -> None:
    report = found(history(path, CASES["attempts wait"][0], runs=2))
    assert report.recommendations == ()
    assert report.looked_at.startswith("insufficient: 2 runs")


def test_table_is_as_recorded(path: Path, tmp_path: Path) -> None:
    history(path, replace(CASES["attempts wait"][0], caches=CASES["a cache finds nothing"][0].caches))
    drawn = tmp_path / "table.txt"
    with drawn.open("w") as stream:
        TextOutput(stream, 160).table(recommendations_table(found(path).recommendations))
    lines = "".join(f"{line.rstrip()}\n" for line in drawn.read_text().splitlines())
    recorded = ROOT / "tests" / "snapshots" / "recommendations.txt"
    if os.environ.get("MCP_STATUS_UPDATE"):
        recorded.write_text(lines)
    assert lines == recorded.read_text()


def test_command_prints_what_was_found_in_every_format(
    tmp_path: Path, status: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    history(tmp_path / "history.db", CASES["attempts wait"][0])
    arguments = ["report", "recommendations", "--since", "3650d"]
    document = json.loads(status(*arguments, "--format", "json").stdout)
    (one,) = document["recommendations"]
    assert (one["setting"], one["numbers"]["waits"]) == ("run.per_origin", 80)
    assert document["looked_at"]["runs"] == 4
    assert json.loads(status(*arguments, "--format", "ndjson").stdout) == one
    assert status(*arguments, "--format", "csv").stdout.splitlines()[1].startswith("worth doing,run.per_origin")
    table = status(*arguments)
    assert table.returncode == 0
    assert "run.per_origin" in table.stdout
    assert "looked at 4 runs" in table.stdout
    page = tmp_path / "page.html"
    assert status(*arguments, "--format", "html", "--output", page).stdout == ""
    assert "1 worth doing, 0 to consider." in page.read_text()


def test_history_without_findings_says_what_was_looked_at(
    tmp_path: Path, status: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    history(tmp_path / "history.db")
    said = status("report", "recommendations", "--since", "3650d").stdout
    assert said.splitlines()[0] == "nothing to recommend"
