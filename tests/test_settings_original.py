"""Files of the original system: they load as they are, act where they can, and say where they do not."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from checker.errors import ConfigError
from checker.limits import Caches
from checker.settings import Settings, load
from checker.settings.benchmarking import Benchmarking
from checker.settings.performance import PerformanceOptimization

ORIGINAL = Path(__file__).resolve().parent.parent / "config" / "original.yaml"


def loaded(tmp_path: Path, environment: str | None = None, **blocks: Any) -> Settings:
    servers = [{"name": "a", "mcp": "http://h/mcp", "rest": "http://h/"}]
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"servers": servers, **blocks}))
    return load(file, environment, {})


def keys_of(kind: Any) -> dict[str, Any]:
    return {field.name: keys_of(field.default) if is_dataclass(field.default) else None for field in fields(kind)}


def test_shipped_file_has_every_key() -> None:
    document = yaml.safe_load(ORIGINAL.read_text())

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
    settings = load(ORIGINAL, None, {})
    limits = settings.performance.concurrent_execution.per_server_limits
    assert limits == {"search": 5}
    assert settings.benchmarking == Benchmarking()
    for block in ("connection_pools", "resource_limits", "caching", "batch_processing", "monitoring"):
        assert getattr(settings.performance, block) == getattr(PerformanceOptimization(), block), block


def test_every_environment_of_the_shipped_file_is_laid_over_it() -> None:
    found = {}
    for environment in ("development", "staging", "production"):
        settings = load(ORIGINAL, environment, {})
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
        "staging": (30, 384, 60, 500, 10, 20),
        "production": (100, 1024, 200, 2000, 5, 20),
    }


def test_shipped_file_acts_where_it_can() -> None:
    settings = load(ORIGINAL, None, {})
    assert (settings.run.concurrency, settings.run.per_origin) == (20, 15)
    assert {kind: (pool.max_connections, pool.keepalive) for kind, pool in settings.run.pools.items()} == {
        "mcp": (50, 30.0),
        "rest": (50, 30.0),
    }
    limits = settings.run.limits
    assert (limits.memory, limits.cpu_percent, limits.queue_size, limits.interval, limits.warn_at_percent) == (
        512 * 1024 * 1024,
        80.0,
        1000,
        5.0,
        70.0,
    )
    assert (settings.run.pace.batch_size, settings.run.pace.batch_timeout) == (10, 5.0)
    for options in settings.servers[0].probes.values():
        assert (options.timeout, options.connect_timeout) == (30.0, 10.0)
        assert (options.retry.max_attempts, options.retry.backoff_factor, options.retry.max_backoff) == (3, 2.0, 30.0)


def test_shipped_file_warns_in_few_lines_that_name_the_keys() -> None:
    assert load(ORIGINAL, None, {}).warnings == (
        "performance_optimization.connection_pools: no use here for mcp_pool.enabled, rest_pool.enabled"
        " (leave the kind out of the servers); pool_cleanup_interval (idle connections are looked at twice in each"
        " keepalive time); read_timeout (a probe's timeout covers the whole attempt)",
        "performance_optimization.caching: no use here for cleanup_interval"
        " (expired entries are removed at the end of each run)",
        "performance_optimization.batch_processing: no use here for enabled, priority_batching, processing_interval,"
        " max_concurrent_batches (checks are dealt as workers have room; run.pace says how many at a time)",
        "performance_optimization.concurrent_execution: no use here for per_server_limits"
        " (run.per_origin limits attempts at each host); timeouts.batch_processing (every probe has its own timeout)",
        "accepted, not acted on yet: performance_optimization.monitoring",
    )


def test_keys_that_act_in_full_give_no_warning(tmp_path: Path) -> None:
    block = {
        "connection_pools": {"max_connections_per_host": 4, "connection_timeout": 2},
        "resource_limits": {"max_concurrent_checks": 8},
        "concurrent_execution": {"default_max_concurrent": 9, "timeouts": {"health_check": 3}},
    }
    settings = loaded(tmp_path, performance_optimization=block)
    assert (settings.run.concurrency, settings.run.per_origin, settings.warnings) == (8, 4, ())


def test_defaults_of_the_original_do_not_replace_ours(tmp_path: Path) -> None:
    without, beside = loaded(tmp_path), loaded(tmp_path, performance_optimization={"monitoring": {"enabled": False}})
    assert (without.run, without.servers) == (beside.run, beside.servers)
    assert beside.warnings == ("accepted, not acted on yet: performance_optimization.monitoring",)


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
    assert (caches.config.ttl, caches.config.size, caches.config.enabled) == (5.0, 100, True)
    assert (caches.auth_tokens.enabled, caches.auth_tokens.size, caches.auth_tokens.ttl) == (False, 20, 3600.0)
    assert (caches.dns.size, caches.dns.ttl, caches.dns.stale) == (150, ours.dns.ttl, ours.dns.stale)
    assert (caches.results.ttl, caches.results.size) == (7.0, 9)


def test_caching_switched_off_switches_every_category_off(tmp_path: Path) -> None:
    caches = loaded(tmp_path, performance_optimization={"caching": {"enabled": False}}).run.caches
    assert [getattr(caches, name).enabled for name in ("config", "auth_tokens", "dns", "results")] == [False] * 4
    assert caches.config.size == Caches().config.size


@pytest.mark.parametrize(
    ("pools", "per_origin"),
    [
        ({"max_connections_per_host": 7}, 7),
        ({"mcp_pool": {"max_connections_per_host": 6}}, 6),
        ({"max_connections_per_host": 7, "rest_pool": {"max_connections_per_host": 9}}, 7),
        ({"keepalive_timeout": 5}, 30),
    ],
)
def test_smallest_number_per_host_acts(tmp_path: Path, pools: dict[str, Any], per_origin: int) -> None:
    assert loaded(tmp_path, performance_optimization={"connection_pools": pools}).run.per_origin == per_origin


def test_what_the_file_says_in_our_words_goes_first(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        performance_optimization=yaml.safe_load(ORIGINAL.read_text())["performance_optimization"],
        run={"concurrency": 77},
        defaults={"mcp": {"timeout": "9s"}, "rest": {"retry": {"max_attempts": 5}}},
    )
    mcp, rest = settings.servers[0].probes.values()
    assert (settings.run.concurrency, settings.run.per_origin) == (77, 15)
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
