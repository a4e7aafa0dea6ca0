"""Files of the legacy system: they load as they are, act where they can, and say where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import fields, replace

from checker.errors import ConfigError
from checker.limits import Alerts, Caches, Limits, RunOptions
from checker.settings.blocks import Settings
from checker.settings.legacy_options import Benchmarking, PerformanceOptimization
from checker.settings.load import load
from checker.settings.loadtests.legacy import plan_of_block
from checker.settings.overlay import merged
from checker.settings.validate import Source, validated
from checker.structs import Options

LEGACY = Path(__file__).resolve().parent.parent / "config" / "legacy.yaml"


def loaded(tmp_path: Path, environment: str | None = None, **blocks: Any) -> Settings:
    servers = [{"name": "a", "mcp": "http://h/mcp", "rest": "http://h/"}]
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"servers": servers, **blocks}))
    return load(file, environment, {})


def keys_of(kind: Any) -> dict[str, Any]:
    return {
        field.name: keys_of(field.default) if isinstance(field.default, Options) else None for field in fields(kind)
    }


def test_shipped_file_has_every_key() -> None:
    document = yaml.safe_load(LEGACY.read_text())

    def missing(keys: dict[str, Any], block: dict[str, Any]) -> list[str]:
        found = [key for key in keys if key not in block]
        return found + [
            name
            for key, inner in keys.items()
            if inner is not None and key in block
            for name in missing(inner, block[key])
        ]

    assert missing(keys_of(PerformanceOptimization()), document["performance_optimization"]) == []
    assert missing(keys_of(Benchmarking()), document["benchmarking"]) == []


def test_shipped_file_has_the_defaults_of_the_classes() -> None:
    settings = load(LEGACY, None, {})
    limits = settings.performance.concurrent_execution.per_server_limits
    assert limits == {"search": 5}
    assert settings.benchmarking == Benchmarking()
    for block in ("connection_pools", "resource_limits", "caching", "batch_processing", "monitoring"):
        assert getattr(settings.performance, block) == getattr(PerformanceOptimization(), block), block


def test_every_environment_of_the_shipped_file_is_laid_over_it() -> None:
    found = {}
    for environment in ("development", "staging", "production"):
        settings = load(LEGACY, environment, {})
        performance = settings.performance
        found[environment] = (
            performance.resource_limits.max_concurrent_checks,
            performance.resource_limits.max_memory_usage_mb,
            performance.connection_pools.max_connections,
            performance.caching.max_cache_size,
            performance.monitoring.collection_interval,
            settings.run.concurrency,
        )
    assert found == {
        "development": (10, 256, 20, 100, 10, 10),
        "staging": (30, 384, 60, 500, 10, 30),
        "production": (100, 1024, 200, 2000, 5, 100),
    }


def test_shipped_file_acts_where_it_can() -> None:
    settings = load(LEGACY, None, {})
    run = settings.run
    assert (run.concurrency, run.per_origin, run.max_connections) == (20, 30, 100)
    assert {kind: (pool.max_connections, pool.per_origin, pool.keepalive) for kind, pool in run.pools.items()} == {
        "mcp": (50, 15, 30.0),
        "rest": (50, 15, 30.0),
    }
    limits, mib = run.limits, 1024 * 1024
    assert (limits.memory, limits.cpu_percent, limits.queue_size, limits.interval) == (512 * mib, 80.0, 1000, 5.0)
    warned_of = limits.memory_warning, limits.cpu_warning_percent, limits.queue_warning
    assert warned_of == (round(0.8 * 512 * mib), 70.0, 800)
    assert run.alerts == Alerts(
        response_time=5.0,
        throughput=1.0,
        error_rate=0.05,
        memory=round(0.8 * 512 * mib),
        cpu_percent=80.0,
        interval=10.0,
    )
    assert (run.max_age, run.caches.size, settings.history.measures) == (60.0, 1000, 3600.0)
    assert settings.servers[0].at_once == 5
    assert (settings.run.pace.batch_size, settings.run.pace.batch_timeout) == (10, 5.0)
    for options in settings.servers[0].probes.values():
        assert (options.timeout, options.connect_timeout) == (30.0, 10.0)
        assert (options.retry.max_attempts, options.retry.backoff_factor, options.retry.max_backoff) == (3, 2.0, 30.0)


def leaves(block: Any, place: tuple[str, ...] = ()) -> dict[str, Any]:
    """Dotted key -> value, of everything in a block that holds no further keys."""
    if isinstance(block, dict) and block:
        return {key: value for name, inner in block.items() for key, value in leaves(inner, (*place, name)).items()}
    return {".".join(place): block}


def nested(dotted: str, value: Any) -> Any:
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return value


def other(value: Any) -> Any:
    """A valid value that the shipped file does not have."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value / 2 if isinstance(value, float) else value + 1
    return value[:1] if isinstance(value, list) else f"{value}-2"


PERFORMANCE = leaves(yaml.safe_load(LEGACY.read_text())["performance_optimization"])
BENCHMARKING = leaves(yaml.safe_load(LEGACY.read_text())["benchmarking"])


@pytest.mark.parametrize("key", PERFORMANCE)
def test_every_key_has_its_effect_or_a_warning_that_names_it_and_what_there_is_instead(
    key: str, tmp_path: Path
) -> None:
    """Alone in a file, with a value that is not the legacy system's default."""
    value = 1 if key.endswith("per_server_limits.search") else other(PERFORMANCE[key])
    block, name = nested(key, value), key.rpartition(".")[2]
    whole = {"servers": [{"name": "search", "mcp": "http://h/mcp", "rest": "http://h/"}]}
    if key == "monitoring.alerts.enabled":  # what it switches off has to be there
        whole["performance_optimization"] = nested("monitoring.alerts", {"enabled": True})
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(whole))
    without = load(file, None, {})
    file.write_text(yaml.safe_dump({**whole, "performance_optimization": block}))
    found = load(file, None, {})
    acts = (found.run, found.history, found.servers) != (without.run, without.history, without.servers)
    said = [line for line in found.warnings if name in line and "(" in line.partition(name)[2]]
    assert acts != bool(said), "either, and not both"


@pytest.mark.parametrize("key", BENCHMARKING)
def test_every_key_of_benchmarks_changes_the_plan_or_is_told(key: str) -> None:
    given = yaml.safe_load(LEGACY.read_text())["benchmarking"]
    settings = load(LEGACY, None, {})

    def planned(block: Any) -> list[Any]:
        benchmarking = validated(Benchmarking, block, Source((), block, []))
        assert benchmarking is not None
        servers = [replace(settings.servers[0], name=f"s{number}") for number in range(50)]
        names = list(benchmarking.scenarios)
        by_name = plan_of_block(benchmarking, servers, names, suite=False, iterations=benchmarking.defaults.iterations)
        return [by_name, plan_of_block(benchmarking, servers, (), suite=True)]

    scenarios, suite = planned(given)
    other_scenarios, other_suite = planned(merged(given, nested(key, other(BENCHMARKING[key]))))
    changed = scenarios != other_scenarios, suite != other_suite
    assert changed == (True, True) if key == "defaults.iterations" else any(changed)


def test_keys_that_act_in_full_give_no_warning(tmp_path: Path) -> None:
    block = {
        "connection_pools": {"max_connections_per_host": 4, "connection_timeout": 2},
        "resource_limits": {"max_concurrent_checks": 8},
        "concurrent_execution": {"default_max_concurrent": 9, "timeouts": {"health_check": 3}},
    }
    settings = loaded(tmp_path, performance_optimization=block)
    assert (settings.run.concurrency, settings.run.per_origin, settings.warnings) == (8, 4, ())


def test_defaults_of_the_original_do_not_replace_ours(tmp_path: Path) -> None:
    block = {"monitoring": {"alerts": {"enabled": False}}, "caching": {}, "connection_pools": {"mcp_pool": {}}}
    without, beside = loaded(tmp_path), loaded(tmp_path, performance_optimization=block)
    assert (without.run, without.servers, without.history) == (beside.run, beside.servers, beside.history)
    assert beside.warnings == ()


def test_caching_acts_as_the_caches_of_a_run(tmp_path: Path) -> None:
    block = {
        "caching": {
            "ttl": {"config_cache": 5, "result_cache": 7},
            "max_cache_size": 150,
            "categories": {"auth_tokens": {"enabled": False, "max_size": 20}, "dns": {"max_size": 500}},
        }
    }
    settings = loaded(tmp_path, performance_optimization=block, run={"caches": {"results": {"size": 9}}})
    caches, ours = settings.run.caches, Caches()
    assert settings.warnings == ()
    assert (caches.size, settings.run.max_age) == (150, 7.0)
    assert (caches.config.ttl, caches.config.size, caches.config.enabled) == (5.0, ours.config.size, True)
    assert (caches.auth_tokens.enabled, caches.auth_tokens.size, caches.auth_tokens.ttl) == (False, 20, 3600.0)
    assert (caches.dns.size, caches.dns.ttl, caches.dns.stale) == (500, ours.dns.ttl, ours.dns.stale)
    assert (caches.results.ttl, caches.results.size) == (7.0, 9)


@pytest.mark.parametrize("off", [{"enabled": False}, {"categories": {"results": {"enabled": False}}}])
def test_results_are_not_taken_from_a_cache_that_is_switched_off(tmp_path: Path, off: dict[str, Any]) -> None:
    run = loaded(tmp_path, performance_optimization={"caching": {"ttl": {"result_cache": 60}, **off}}).run
    assert (run.max_age, run.caches.results.enabled) == (None, False)


def test_caching_switched_off_switches_every_category_off(tmp_path: Path) -> None:
    caches = loaded(tmp_path, performance_optimization={"caching": {"enabled": False}}).run.caches
    assert [getattr(caches, name).enabled for name in ("config", "auth_tokens", "dns", "results")] == [False] * 4
    assert caches.config.size == Caches().config.size


def of_each_kind(run: RunOptions) -> tuple[int, int]:
    """Attempts at once at one origin: MCP, REST."""
    limits = Limits(concurrency=1, per_origin=run.per_origin, pools=run.pools)
    return limits.attempts_at_origin("mcp"), limits.attempts_at_origin("rest")


@pytest.mark.parametrize(
    ("pools", "at_origin"),
    [
        ({"max_connections_per_host": 7}, (7, 7)),
        ({"mcp_pool": {"max_connections_per_host": 6}}, (6, 30)),
        ({"max_connections_per_host": 7, "rest_pool": {"max_connections_per_host": 9}}, (7, 7)),
        ({"max_connections_per_host": 7, "rest_pool": {"max_connections_per_host": 2}}, (7, 2)),
        ({"rest_pool": {"max_connections_per_host": 99}}, (30, 99)),
        ({"keepalive_timeout": 5}, (30, 30)),
    ],
)
def test_each_kind_has_its_own_limit_at_a_host(
    tmp_path: Path, pools: dict[str, Any], at_origin: tuple[int, int]
) -> None:
    run = loaded(tmp_path, performance_optimization={"connection_pools": pools}).run
    assert of_each_kind(run) == at_origin


def test_environment_wins_over_other_keys_of_the_file_that_limit_the_same(tmp_path: Path) -> None:
    per_host = "max_connections_per_host"
    base = {
        "connection_pools": {per_host: 2, "mcp_pool": {per_host: 2}},
        "concurrent_execution": {"default_max_concurrent": 20, "timeouts": {"health_check": 20}},
        "batch_processing": {"max_concurrent_batches": 1},
        "resource_limits": {"max_concurrent_checks": 50},
        "monitoring": {"alerts": {"enabled": True}},
    }
    environments = {
        "more": {
            "performance_optimization": {
                "resource_limits": {"max_concurrent_checks": 30},
                "connection_pools": {per_host: 9},
                "concurrent_execution": {"timeouts": {"health_check": 3}},
                "monitoring": {"alerts": {"enabled": False}},
            }
        },
        "one_kind": {"performance_optimization": {"connection_pools": {"rest_pool": {per_host: 5}}}},
        "ours": {"run": {"concurrency": 70, "per_origin": 1}},
        "default": {"performance_optimization": {"concurrent_execution": {"default_max_concurrent": 20}}},
    }
    found = {}
    for name in (None, *environments):
        settings = loaded(
            tmp_path,
            name,
            performance_optimization=base,
            environments=environments,
            defaults={"rest": {"timeout": 9}},
            run={"pools": {"rest": {"max_connections": 5}}},
        )
        timeouts = [options.timeout for options in settings.servers[0].probes.values()]
        run = settings.run
        found[name] = run.concurrency, of_each_kind(run), timeouts, run.alerts.response_time
        assert run.pools["rest"].max_connections == 5
    assert found == {
        None: (10, (2, 2), [20.0, 9.0], 5.0),
        "more": (30, (9, 9), [3.0, 3.0], None),
        "one_kind": (10, (2, 5), [20.0, 9.0], 5.0),
        "ours": (70, (1, 1), [20.0, 9.0], 5.0),
        "default": (20, (2, 2), [20.0, 9.0], 5.0),
    }


def test_what_the_file_says_in_our_words_goes_first(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        performance_optimization=yaml.safe_load(LEGACY.read_text())["performance_optimization"],
        run={"concurrency": 77},
        defaults={"mcp": {"timeout": "9s"}, "rest": {"retry": {"max_attempts": 5}}},
    )
    mcp, rest = settings.servers[0].probes.values()
    assert (settings.run.concurrency, of_each_kind(settings.run)) == (77, (15, 15))
    assert (mcp.timeout, mcp.retry.max_attempts, mcp.connect_timeout) == (9.0, 3, 10.0)
    assert (rest.timeout, rest.retry.max_attempts, rest.retry.max_backoff) == (30.0, 5, 30.0)


def test_short_max_backoff_shortens_the_first_wait_too(tmp_path: Path) -> None:
    block = {"concurrent_execution": {"retry": {"max_backoff": 0.1}}}
    retry = loaded(tmp_path, performance_optimization=block).servers[0].probes["rest"].retry
    assert (retry.initial_backoff, retry.max_backoff) == (0.1, 0.1)


def test_empty_blocks_are_no_blocks(tmp_path: Path) -> None:
    settings = loaded(tmp_path, performance_optimization=None, benchmarking=None, run=None, defaults=None)
    assert (settings.performance, settings.benchmarking) == (PerformanceOptimization(), Benchmarking())
    assert settings.warnings == ()
    empty = loaded(tmp_path, performance_optimization={"caching": {}}, environments={"production": None})
    assert empty.performance == PerformanceOptimization()


def test_unknown_key_of_an_environment_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "servers:\n  - {name: a, rest: 'http://h/'}\nenvironments:\n  staging:\n    performance_optimization:\n"
        "      caching:\n        max_cache_sise: 5\n"
    )
    with pytest.raises(ConfigError) as refused:
        load(file, "staging", {})
    expected = f'{file}:7: performance_optimization.caching.max_cache_sise: unknown key; did you mean "max_cache_size"?'
    assert str(refused.value) == expected


WRONG_IN_AN_ENVIRONMENT = """servers:
  - {name: a, rest: 'http://h/'}
environments:
  good:
    defaults: {rest: {timeout: 3, headers: {Authorization: '${NOT_SET_HERE}'}}}
    run: {token_key_file: not-there-yet, concurrency: '${ALSO_NOT_SET}'}
    servers: {a: {rest: {url: 'http://${HOST}/'}}}
  bad:
    performance_optimization:
      resource_limits: {nosuch: 1, max_concurrent_checks: lots}
    benchmarking: {scenarios: {light_load: {concurrent_users: 0}}}
    run:
      pools: {soap: {}}
      conncurrency: 3
    history: {raw: soon}
    defaults: {rest: {timeuot: 3}}
    servers:
      a: {rest: {expect_satus: 200}}
      b: {}
"""


@pytest.mark.parametrize("environment", [None, "good"])
def test_faults_of_an_environment_are_errors_wherever_it_is_not_selected(
    tmp_path: Path, environment: str | None
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(WRONG_IN_AN_ENVIRONMENT)
    with pytest.raises(ConfigError) as refused:
        load(file, environment, {"HOST": "h", "NOT_SET_HERE": "x", "ALSO_NOT_SET": "3"})
    places = sorted(line.split(": ")[1].removeprefix("environments.bad.") for line in str(refused.value).splitlines())
    assert places == [
        "benchmarking.scenarios.light_load.concurrent_users",
        "defaults.rest.timeuot",
        "history.raw",
        "performance_optimization.resource_limits.max_concurrent_checks",
        "performance_optimization.resource_limits.nosuch",
        "run.conncurrency",
        "run.pools.soap",
        "servers.a.rest.expect_satus",
        "servers.b",
    ]


def test_an_environment_whose_variables_are_set_elsewhere_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(WRONG_IN_AN_ENVIRONMENT.partition("  bad:")[0])
    assert load(file, None, {}).environment is None
