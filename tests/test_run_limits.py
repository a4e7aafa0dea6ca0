"""Limits of a run hold for all of its workers together, and what it tells of itself is told once and kept as asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builders import AT_MS, batch, check, run_info, server
from checker.limits import Alerts, Limits, PoolLimits, ResourceCaps, part
from checker.metrics import MetricsCollector, PoolMeasures, ResourceAlert, RunMeasures
from checker.model import CacheEntry, Priority, RunState, Status
from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions
from checker.run.governor import Alarms, Governor
from checker.run.queue import PROGRAMS, Shard, Shards, shards
from checker.run.workers import Quarantine, RunnerOptions
from fleets import Fleet
from servers import RestServer, Scripted
from storage.history import measures_of
from storage.store import open_store


@given(st.integers(1, 3000), st.integers(1, 64))
def test_parts_of_all_workers_are_the_whole(whole: int, workers: int) -> None:
    parts = [part(whole, worker, workers) for worker in range(workers)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1
    limits = [Limits(concurrency=1, per_origin=whole, worker=worker, workers=workers) for worker in range(workers)]
    assert [one.shared_by(workers, whole) for one in limits] == parts
    assert {one.shared_by(1, whole) for one in limits} == {whole}


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(1, 60), st.integers(1, 4))
def test_origin_with_fewer_places_than_workers_belongs_to_one(
    workers: int, mcp: int, rest: int, servers: int, hosts: int
) -> None:
    fleet = [
        server(
            f"s{number}",
            probes={
                "mcp": McpOptions(url=f"http://m{number % hosts}/"),
                "rest": RestOptions(url=f"http://r{number % hosts}/"),
            },
        )
        for number in range(servers)
    ]
    made = shards(fleet, workers, widths={"mcp": mcp, "rest": rest, PROGRAMS: 8})
    assert sorted(one.name for shard in made for one in shard.servers) == sorted(one.name for one in fleet)
    spread = [shard for shard in made if shard.share > 1]
    assert not spread or min(mcp, rest) >= workers
    for host in range(hosts):
        mine = [one for one in made if any(one.probes["mcp"].url == f"http://m{host}/" for one in one.servers)]
        assert len(mine) <= 1 or {one.share for one in mine} == {workers} or len({one.home for one in mine}) == 1


@pytest.mark.parametrize(("programs", "together"), [(3, True), (4, False)])
def test_programs_stay_on_one_worker_where_there_are_fewer_than_workers(programs: int, together: bool) -> None:
    fleet = [server(f"s{number}", probes={"mcp": McpOptions(command="x")}) for number in range(20)]
    made = shards(fleet, 4, widths={"mcp": 30, PROGRAMS: programs})
    assert ({one.home for one in made} == {made[0].home} and made[0].home is not None) is together
    assert {one.share for one in made} == {1}


def test_order_of_the_file_is_kept_where_priorities_do_not_count() -> None:
    priorities = [Priority.LOW, Priority.CRITICAL, Priority.NORMAL, Priority.HIGH]
    fleet = [
        server(f"s{number}", priority=one, probes={"rest": RestOptions(url=f"http://h{number}/")})
        for number, one in enumerate(priorities)
    ]
    names = [one.name for shard in shards(fleet, 1, largest=1, by_priority=False) for one in shard.servers]
    assert names == [one.name for one in fleet]
    assert shards(fleet, 1, largest=1)[0].servers[0].name == "s1"


@pytest.mark.parametrize(
    ("limits", "needs_all"),
    [
        (Limits(concurrency=40, per_origin=40), False),
        (Limits(concurrency=3, per_origin=40), True),
        (Limits(concurrency=40, per_origin=40, pools={"rest": PoolLimits(per_origin=2)}), True),
        (Limits(concurrency=40, per_origin=40, max_connections=6, workers=2), True),
        (Limits(concurrency=40, per_origin=40, pools={"rest": PoolLimits(max_connections=8)}, workers=2), False),
    ],
)
def test_groups_of_the_quarantine_have_turns_where_a_limit_cannot_be_shared(limits: Limits, needs_all: bool) -> None:
    quarantine = Quarantine(Shards([]), lambda _batch: None, RunnerOptions(limits=limits))
    assert quarantine.needs_all is needs_all


@pytest.fixture
def ask(status: Status) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a query over the test's database."""
    return lambda query: json.loads(status("sql", query, "--format", "json").stdout)


def written(folder: Path, servers: list[dict[str, Any]], **blocks: Any) -> Path:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump({"servers": servers, **blocks}))
    return file


@pytest.mark.parametrize(
    ("run", "most", "workers"),
    [
        ({"per_origin": 1}, 1, 3),
        ({"per_origin": 4}, 4, 3),
        ({"pools": {"rest": {"per_origin": 2}}}, 2, 3),
        ({"max_connections": 2}, 2, 2),
        ({"concurrency": 1}, 1, 1),
    ],
)
def test_more_workers_open_no_more_connections_than_may_be(
    run: dict[str, Any],
    most: int,
    workers: int,
    tmp_path: Path,
    status: Callable[..., Any],
    ask: Callable[[str], list[dict[str, Any]]],
) -> None:
    with Fleet(delay_s=0.03, ok=1) as fleet:
        servers = [{"name": f"s{number}", "rest": fleet.urls()[0]} for number in range(60)]
        config = written(tmp_path, servers, run={"workers": 3, "pace": {"jitter": 0}, **run})
        done = status("check", config)
        seen = fleet.seen()
    assert done.returncode == 0, done.stderr
    assert (len(seen.asked_at_s), seen.created) == (60, most), "kept connections, and as many as may be"
    assert ask("select workers from run_history") == [{"workers": workers}]


def test_probes_of_a_server_go_one_after_the_other_where_one_may_be_at_once(
    tmp_path: Path, status: Callable[..., Any], ask: Callable[[str], list[dict[str, Any]]]
) -> None:
    with RestServer({"/slow": Scripted(delay_s=0.2)}) as rest:
        url = rest.url("/slow")
        servers = [
            {"name": name, "mcp": {"url": url, "transport": "streamable-http"}, "rest": url} for name in ("one", "both")
        ]
        limits = {"concurrent_execution": {"per_server_limits": {"one": 1, "nobody": 3}}}
        done = status("check", written(tmp_path, servers, performance_optimization=limits))
    assert "per_server_limits: no server is called nobody" in done.stderr
    apart_s = "(max(julianday(started_at)) - min(julianday(started_at))) * 86400"
    rows = ask(f"select server, count(*) as n, {apart_s} as apart_s from probe_history group by server")
    apart = {row["server"]: (row["n"], row["apart_s"] > 0.19) for row in rows}
    assert apart["one"] == (2, True), "the second begins when the first is over"
    assert apart["both"][0] == 2


def told(alarms: Alarms) -> list[str]:
    return [one.resource for one in (*alarms.look_at_checks(), *alarms.look_at_resources(5.0, 50.0))]


EVERY = Alerts(response_time=0.099, throughput=100.0, error_rate=0.49, memory=4, cpu_percent=49.0)
NONE = Alerts(response_time=0.1, throughput=2.0, error_rate=0.5, memory=5, cpu_percent=50.0)


def test_each_threshold_is_told_once_and_not_at_its_value() -> None:
    """Four checks in two seconds, of 100 ms in the mean; one of two that can be judged failed."""
    for limits, expected in (
        (EVERY, ["response_time", "error_rate", "throughput", "memory", "cpu"]),
        (NONE, []),
        (Alerts(), []),
    ):
        alarms = Alarms(limits)
        assert told(alarms) == [one for one in expected if one in {"memory", "cpu"}], "nothing has been checked yet"
        alarms = Alarms(limits)
        statuses = (Status.HEALTHY, Status.UNHEALTHY, Status.UNKNOWN, Status.UNKNOWN)
        alarms.add(
            check(started_at_ms=AT_MS + at, duration_us=100_000, status=one)
            for at, one in zip((0, 1900, 5, 6), statuses, strict=True)
        )
        assert told(alarms) == expected
        assert told(alarms) == []


def test_alerts_are_shown_and_stored_and_measures_kept_as_asked(
    tmp_path: Path, status: Callable[..., Any], ask: Callable[[str], list[dict[str, Any]]]
) -> None:
    thresholds = {"high_error_rate": 0.5, "high_memory_usage": 0.001, "high_response_time": 60000}
    monitoring = {
        "metrics": ["error_rates", "resource_usage", "connection_pool_stats"],
        "detailed_metrics": False,
        "retention_period": 3600,
        "alerts": {"thresholds": thresholds},
    }
    with RestServer() as rest:
        config = written(
            tmp_path,
            [{"name": name, "rest": rest.url(f"/{name}")} for name in ("health", "a", "b")],
            performance_optimization={"monitoring": monitoring},
        )
        loud, quiet = status("check", config), status("check", config, "-q")
    assert "alert: the error rate is 66.7%: 2 of 3 checks are UNHEALTHY; run.alerts.error_rate is 0.5" in loud.stderr
    assert "alert: memory of the checker is at" in loud.stderr
    assert quiet.stderr == ""
    alerts = ask("select resource, level, threshold from resource_alerts where run_id = 1 order by resource")
    assert [(one["resource"], one["level"]) for one in alerts] == [("error_rate", "alert"), ("memory", "alert")]
    counts = {
        table: ask(f"select count(*) as n from {table}")[0]["n"]
        for table in ("worker_history", "cache_history", "pool_history", "resource_history")
    }
    assert counts == {"worker_history": 0, "cache_history": 0, "pool_history": 2 * 2, "resource_history": 2}


def test_measures_of_old_runs_go_and_the_runs_stay(tmp_path: Path) -> None:
    with open_store(tmp_path / "h.db") as store:
        for ended_ms in (AT_MS, AT_MS + 1000):
            run_id = store.begin_run(run_info(started_at_ms=AT_MS - 1), [server()])
            store.finish_run(run_id, RunState.FINISHED, ended_ms)
            store.write_measures(run_id, RunMeasures(pools=(PoolMeasures(kind="rest"),)))
        store.drop_measures(AT_MS + 1000)
        with store.transaction() as connection:
            assert [len(measures_of(connection, run_id).pools) for run_id in (1, 2)] == [0, 1]


def governed(limits: ResourceCaps, servers: int) -> Governor:
    assigned = Shards([Shard((server(f"s{number}"),)) for number in range(servers)])
    return Governor(limits, assigned, MetricsCollector(), lambda _batch: None)


def warned(governor: Governor, **values: float) -> list[str]:
    usual = {"cpu": 0.0, "memory": 0, "machine_cpu": 0.0, "machine_memory": 0.0, "ports": 0.0}
    before: tuple[ResourceAlert, ...] = governor.measured()[1]
    governor._look({**usual, **values})
    return [f"{one.resource} {one.level}" for one in governor.measured()[1][len(before) :]]


def test_each_resource_is_warned_of_at_its_own_threshold() -> None:
    governor = governed(ResourceCaps(cpu_percent=80.0, memory=100, memory_warning=95, cpu_warning_percent=10.0), 0)
    assert warned(governor, memory=94, cpu=9.0) == []
    assert warned(governor, memory=95, cpu=9.0) == ["memory warning"]
    assert warned(governor, memory=95, cpu=81.0) == ["cpu hard"]
    alone = governed(ResourceCaps(cpu_warning_percent=10.0), 0)
    assert warned(alone, cpu=99.0) == ["cpu warning"], "without a limit there is a warning all the same"
    assert alone._shards.gate_open


def test_queue_is_warned_of_from_its_threshold_on_and_else_only_while_nothing_begins() -> None:
    governor = governed(ResourceCaps(queue_warning=3, queue_size=10), 3)
    assert warned(governor) == ["queue warning"]
    assert warned(governor) == []
    assert governor._shards.gate_open, "there is no limit to pass as long as checks begin"
    without = governed(ResourceCaps(queue_size=3, memory=10), 3)
    assert warned(without) == []
    assert warned(without, memory=11) == ["memory hard"]
    assert warned(without, memory=11) == ["queue warning"]


def test_all_categories_of_the_cache_together_keep_to_their_size(tmp_path: Path) -> None:
    def entry(category: str, number: int) -> CacheEntry:
        return CacheEntry(
            category=category,
            key=f"k{number}",
            value="v",
            created_at_ms=AT_MS + number,
            expires_at_ms=AT_MS + 10**9,
        )

    with open_store(tmp_path / "h.db") as store:
        run_id = store.begin_run(run_info(started_at_ms=AT_MS), [server()])
        entries = [entry(category, number) for number in range(4) for category in ("dns", "results", "oauth_issuer")]
        store.write(run_id, batch(cache_entries=entries))
        gone = store.finish_run(run_id, RunState.FINISHED, AT_MS + 100, {"dns": 3, "results": 9}, 5)
        left = {category: store.cache_size(category) for category in ("dns", "results", "oauth_issuer")}
    assert left == {"dns": 3, "results": 2, "oauth_issuer": 4}, "the oldest go; issuers are no cache to be emptied"
    assert gone == {"dns": 1, "results": 2}
