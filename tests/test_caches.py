"""The caches: what is kept, for how long, what has to go, and that nothing secret can be read from it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import AT_MS, batch, check, probe, run_info, server
from checker.cache_keys import named_host
from checker.limits import CacheLimits
from checker.model import CacheEntry, CheckResult, Combination, Reason, RunState, Server, Status
from checker.probes.http import origin
from checker.probes.options import Basic
from checker.probes.rest import RestOptions
from checker.run.caches import ResultsCache, result_key
from checker.settings.config_cache import cache_key, encode_settings, loaded, opened
from checker.settings.load import load
from checker.units import Secret
from checker.worker.tokens import TokenStore
from storage.cache import cache_list, cache_stats
from storage.history import open_history
from storage.sql import ask
from storage.sqlite_driver import cache_entry
from storage.store import Store, open_store

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(file for file in (ROOT / "config").glob("*.yaml") if not file.name.startswith("bench"))
HOUR_MS = 3_600_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with ask(path, query, 10.0) as answer:
        return list(answer.rows)


def entry(key: str, category: str = "dns", at_ms: int = AT_MS, life_ms: int = HOUR_MS) -> CacheEntry:
    return CacheEntry(category=category, key=key, value=f"v-{key}", created_at_ms=at_ms, expires_at_ms=at_ms + life_ms)


def keep(store: Store, *entries: CacheEntry) -> None:
    store.write(0, batch(cache_entries=entries))


def test_entries_above_the_size_go_those_unused_for_longest_first(path: Path) -> None:
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        keep(store, *(entry(f"h{n}", at_ms=AT_MS + n) for n in range(5)))
        assert store.recall(["h0"], AT_MS + 100) == {"h0": {"dns": "v-h0"}}
        assert store.finish_run(run_id, RunState.FINISHED, AT_MS + 200, {"dns": 3, "config": 1}) == {"dns": 2}
    assert rows(path, "select key from cache_entries order by key") == [("h0",), ("h3",), ("h4",)]


def test_expired_entries_go_and_are_not_counted_as_evicted(path: Path) -> None:
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        keep(store, entry("old", life_ms=10), entry("new"), entry("era", "mcp_era", life_ms=10))
        assert store.finish_run(run_id, RunState.FINISHED, AT_MS + 10, {"dns": 1}) == {}
    assert rows(path, "select key from cache_entries") == [("new",)]


def test_recall_gives_endpoints_and_hosts_and_notes_their_use(path: Path) -> None:
    with open_store(path) as store:
        keep(store, entry("a"), entry("a", "mcp_era"), entry("b"), entry("gone", life_ms=1), entry("a", "results"))
        assert store.recall(["a", "gone", "none"], AT_MS + 5) == {"a": {"dns": "v-a", "mcp_era": "v-a"}}
        assert store.recall([], AT_MS + 5) == {}
    used = dict(rows(path, "select category || ' ' || key, used_at_ms from cache_entries"))
    assert used == {"dns a": AT_MS + 5, "mcp_era a": AT_MS + 5, "dns b": 0, "dns gone": 0, "results a": 0}


def test_authorization_server_that_was_pinned_first_stays(path: Path) -> None:
    with open_store(path) as store:
        for issuer in ("https://first.example", "https://second.example"):
            keep(store, replace(entry("a", "oauth_issuer"), value=issuer))
        assert store.recall(["a"], AT_MS) == {"a": {"oauth_issuer": "https://first.example"}}


def test_thousands_of_keys_are_recalled_at_once(path: Path) -> None:
    with open_store(path) as store:
        keep(store, *(entry(f"host-{n}.example.net") for n in range(5000)))
        assert len(store.recall([f"host-{n}.example.net" for n in range(20_000)], AT_MS)) == 5000


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Search.Example.net:8443/mcp", "search.example.net"),
        ("http://localhost/", "localhost"),
        ("http://127.0.0.1:80/", None),
        ("http://[::1]:80/", None),
    ],
)
def test_addresses_are_remembered_of_host_names_only(url: str, host: str | None) -> None:
    assert named_host(origin(url)) == host
    assert named_host(("command",)) is None


def store_result(store: Store, result: CheckResult, one: Server) -> int:
    run_id = store.begin_run(run_info(), [one])
    results = ResultsCache([one], CacheLimits())
    store.write(run_id, batch(result, cache_entries=results.entries(run_id, [result])))
    store.finish_run(run_id, RunState.FINISHED, AT_MS + 1000)
    return run_id


def young(store: Store, one: Server, age_ms: int = 60_000, now_ms: int = AT_MS + 30_000) -> dict[str, int]:
    return store.young_results(ResultsCache([one], CacheLimits()).keys(), now_ms - age_ms, now_ms)


def test_young_result_is_found_until_it_is_too_old(path: Path) -> None:
    with open_store(path) as store:
        run_id = store_result(store, check(), server())
        assert young(store, server()) == {"search": run_id}
        assert young(store, server(), now_ms=AT_MS + 59_999) == {"search": run_id}
        assert young(store, server(), now_ms=AT_MS + 60_000) == {}
        assert young(store, server(), now_ms=AT_MS - 1) == {}, "a clock that was set back makes no result younger"
        assert young(store, server(), age_ms=10 * HOUR_MS, now_ms=AT_MS + HOUR_MS) == {}, "its ttl is over"
    (used,) = rows(path, "select used_at_ms from cache_entries")[0]
    assert used == AT_MS + 59_999


@pytest.mark.parametrize(
    "worthless",
    [
        check(status=Status.UNKNOWN, score=None, reason=Reason.WORKER_LOST),
        check(suspect=True),
        check(status=Status.DEGRADED, probes=(probe("mcp"), probe("rest", status=Status.UNKNOWN, score=None))),
        check(
            status=Status.DEGRADED,
            probes=(probe("mcp"), probe("rest", status=Status.UNHEALTHY, reason=Reason.CIRCUIT_OPEN, attempts=0)),
        ),
    ],
)
def test_result_that_says_too_little_is_not_taken_nor_an_older_one(path: Path, worthless: CheckResult) -> None:
    with open_store(path) as store:
        store_result(store, check(), server())
        store_result(store, worthless, server())
        assert young(store, server()) == {}


@pytest.mark.parametrize("status", [Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY])
def test_every_result_that_says_something_is_taken(path: Path, status: Status) -> None:
    with open_store(path) as store:
        run_id = store_result(store, check(status=status), server())
        assert young(store, server()) == {"search": run_id}


REST = RestOptions(url="http://h/health", bearer=Secret("c4nary"))


@pytest.mark.parametrize(
    "other",
    [
        server(probes={"rest": replace(REST, bearer=Secret("other"))}),
        server(probes={"rest": replace(REST, basic=Basic(username="u"))}),
        server(probes={"rest": replace(REST, headers={"X": Secret("y")})}),
        server(probes={"rest": replace(REST, timeout=3.0)}),
        server(probes={"rest": replace(REST, retry=replace(REST.retry, max_attempts=2))}),
        server(probes={"mcp": server().probes["mcp"], "rest": REST}),
        server(probes={"rest": REST}, weights={"rest": 2.0}),
        server(probes={"rest": REST}, combine=Combination(all_bad=Status.DEGRADED)),
        server("other", probes={"rest": REST}),
    ],
)
def test_any_other_option_makes_another_key(other: Server) -> None:
    one = server(probes={"rest": REST})
    assert result_key(one) == result_key(server(probes={"rest": replace(REST)}, tags=("x",), group="y"))
    assert result_key(one) != result_key(other)
    assert "c4nary" not in str(result_key(one))


def test_options_that_are_no_text_have_no_key() -> None:
    one = server(probes={"rest": replace(REST, bearer=Secret("\udcff"))})
    assert result_key(one) is None
    assert ResultsCache([one], CacheLimits()).entries(1, [check()]) == ()


def test_disabled_results_cache_writes_nothing() -> None:
    assert ResultsCache([server()], CacheLimits(enabled=False)).entries(1, [check()]) == ()


def test_cached_check_is_read_back_with_its_run_and_age_and_is_no_sample(path: Path) -> None:
    with open_store(path) as store:
        first = store_result(store, check("a"), server("a"))
        second = store.begin_run(
            run_info(started_at_ms=AT_MS + 12_000, servers_expected=1, servers_cached=1), [server("a"), server("b")]
        )
        store.write_cached(second, {"a": first})
        store.write(second, batch(check("b", started_at_ms=AT_MS + 12_000)))
        store.finish_run(second, RunState.FINISHED, AT_MS + 13_000)
    with open_history(path) as history:
        cached, fresh = history.checks_of_run(second)
        assert (cached.server, cached.run_id, cached.cached_ms) == ("a", first, 12_000)
        assert (fresh.server, fresh.run_id, fresh.cached_ms) == ("b", second, None)
        assert cached.probes == check("a").probes
        assert [row.run_id for row in history.checks_of_server("a", 0, 9)] == [first]
    assert rows(path, "select servers_expected, servers_cached, servers_checked from run_history")[1] == (1, 1, 1)


def test_statistics_add_up_the_newest_runs(path: Path) -> None:
    from checker.metrics import CacheMeasures, RunMeasures

    with open_store(path) as store:
        for hits in (100, 3, 1):
            run_id = store.begin_run(run_info(), [server()])
            counted = CacheMeasures(category="dns", hits=hits, misses=1, stale_hits=2, evicted=hits)
            store.write_measures(run_id, RunMeasures(caches=(counted,)))
        keep(store, entry("a"), entry("bb", at_ms=AT_MS + 5, life_ms=60_000), entry("x", "mcp_era"))
    stats = {row.category: row for row in cache_stats(path, 2, AT_MS + 60_005)}
    assert list(stats) == ["config", "auth_tokens", "dns", "results", "mcp_era"]
    dns = stats["dns"]
    assert (dns.entries, dns.expired, dns.bytes) == (2, 1, len("av-abbv-bb"))
    assert (dns.hits, dns.misses, dns.stale_hits, dns.evicted, dns.hit_ratio) == (4, 2, 4, 4, 4 / 6)
    assert (dns.oldest_at_ms, dns.newest_at_ms, dns.ttl_ms) == (AT_MS, AT_MS + 5, 60_000)
    assert (stats["config"].entries, stats["config"].hit_ratio, stats["config"].ttl_ms) == (0, None, None)


def test_values_that_are_encrypted_are_not_listed(path: Path) -> None:
    with open_store(path) as store:
        keep(store, entry("k", "config"), entry("k", "auth_tokens"), entry("k"))
    assert {row.category: row.value for row in cache_list(path, None, 9)} == {
        "config": None,
        "auth_tokens": None,
        "dns": "v-k",
    }


def test_clearing_removes_what_is_named_and_no_history(path: Path) -> None:
    with open_store(path) as store:
        store_result(store, check(), server())
        keep(store, entry("a"), entry("b"), entry("x", "mcp_era"))
        assert store.clear_cache(["dns", "results", "config"]) == {"dns": 2, "results": 1}
        assert young(store, server()) == {}
        assert store.clear_cache() == {"mcp_era": 1}
    assert rows(path, "select count(*) from check_history") == [(1,)]


def test_one_entry_is_read_without_sqlalchemy_and_without_complaints(path: Path, tmp_path: Path) -> None:
    assert cache_entry(path, "dns", "a", AT_MS) is None
    with open_store(path) as store:
        keep(store, entry("a"))
    assert cache_entry(path, "dns", "a", AT_MS) == "v-a"
    assert cache_entry(path, "dns", "a", AT_MS + HOUR_MS) is None
    (tmp_path / "other.db").write_text("no database")
    assert cache_entry(tmp_path / "other.db", "dns", "a", AT_MS) is None
    assert cache_entry(tmp_path, "dns", "a", AT_MS) is None


def test_token_is_kept_no_longer_than_its_ttl_and_the_unused_ones_go() -> None:
    tokens = TokenStore(None, CacheLimits(size=2))
    far_ms = round((time.time() + 9999) * 1000)
    for name in ("a", "b"):
        tokens.put(name, f"token-{name}", far_ms)
    assert (tokens.get("a"), tokens.get("none"), tokens.get("none", for_certain=True)) == ("token-a", None, None)
    tokens.put("c", "token-c", far_ms)
    assert [tokens.get(name, for_certain=True) for name in ("a", "b", "c")] == ["token-a", None, "token-c"]
    counted = tokens.measures()
    assert (counted.hits, counted.misses, counted.evicted, counted.entries) == (3, 2, 1, 2)
    short = TokenStore("k" * 32, CacheLimits(ttl=0.0))
    encrypted, until_ms = short.put("a", "token", far_ms) or ("", 0)
    assert until_ms <= time.time() * 1000
    assert short.get("a") is None
    other = TokenStore("k" * 32, CacheLimits())
    other.take_stored("a", encrypted)
    assert other.get("a") is None, "its time is over there, too"


def test_disabled_token_cache_keeps_nothing_and_stores_nothing() -> None:
    tokens = TokenStore("k" * 32, CacheLimits(enabled=False))
    assert tokens.put("a", "token", round((time.time() + 9999) * 1000)) is None
    assert tokens.get("a") is None


SECRETS = {
    "SEARCH_TOKEN": "c4nary-variable",
    "SELECTED": "x",
    **{name: f"value-of-{name}" for name in ("PASSWORD", "API_KEY", "TOKEN_KEY", "CLIENT_SECRET")},
}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A configuration with a secret in each place where one may stand."""
    (tmp_path / "bearer").write_text("c4nary-file\r\n")
    (tmp_path / "work").mkdir()
    document = {
        "run": {"token_key": "c4nary-key-" + "k" * 32, "pools": {"mcp": {"max_connections": 7}}, "max_age": "5s"},
        "defaults": {"mcp": {"retry": {"max_attempts": 2}}},
        "performance_optimization": {"caching": {"ttl": {"dns_cache": 5}}, "monitoring": {"enabled": True}},
        "servers": [
            {"name": "a", "tags": ["x"], "priority": "high", "mcp": {"url": "http://h/m", "bearer_file": "bearer"}},
            {"name": "b", "rest": {"url": "http://h/${UNSET:-default}", "bearer": "${SEARCH_TOKEN}"}},
            {"name": "c", "mcp": {"command": "run", "cwd": "work", "env": {"KEY": "c4nary-env"}, "args": ["a"]}},
            {
                "name": "d",
                "weights": {"rest": 2},
                "combine": {"one_bad": "UNHEALTHY"},
                "rest": {
                    "url": "http://h/",
                    "basic": {"username": "u", "password": "c4nary-basic"},
                    "expect": {"status": [200, "2xx"], "json": [{"path": "$.a", "equals": [1, 2.5, {"b": None}]}]},
                },
            },
            {"name": "e", "mcp": {"url": "http://h/m", "oauth": {"client_id": "c", "client_secret": "c4nary-oauth"}}},
        ],
        "environments": {"staging": {"run": {"concurrency": 3}}},
    }
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def sealed_text(file: Path, environment: str | None = None, environ: dict[str, str] = SECRETS) -> str:
    found, made_of = loaded(file, environment, environ)
    assert made_of is not None
    text = encode_settings(found, made_of)
    assert text is not None
    return text


def types_of(value: Any) -> Any:
    """The types of everything in a value, which equality does not tell apart."""
    if isinstance(value, list | tuple):
        return type(value), [types_of(item) for item in value]
    if isinstance(value, dict):
        return type(value), {key: types_of(item) for key, item in value.items()}
    if hasattr(value, "__struct_fields__"):
        return type(value), {name: types_of(getattr(value, name)) for name in value.__struct_fields__}
    return type(value)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_shipped_configuration_comes_back_as_it_was_loaded(file: Path) -> None:
    for environment in (None, *(yaml.safe_load(file.read_text()).get("environments") or {})):
        back, expected = (
            opened(sealed_text(file, environment), file, environment, SECRETS),
            load(file, environment, SECRETS),
        )
        assert back == expected
        assert types_of(back) == types_of(expected)


def test_configuration_with_everything_comes_back_as_it_was_loaded(fleet: Path) -> None:
    back = opened(sealed_text(fleet), fleet, None, SECRETS)
    assert back == load(fleet, None, SECRETS)
    assert types_of(back) == types_of(load(fleet, None, SECRETS))


_text = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    headers=st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z-]{0,9}", fullmatch=True),
        st.from_regex(r"[ -~]{0,9}", fullmatch=True),
        max_size=3,
    ),
    tags=st.lists(_text, max_size=3),
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**62), 2**62)
        | st.floats(allow_nan=False, allow_infinity=False)
        | _text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
        max_leaves=6,
    ),
    timeout=st.floats(0.01, 1e6),
)
def test_any_configuration_comes_back_as_it_was_loaded(
    tmp_path: Path, headers: dict[str, str], tags: list[str], value: Any, timeout: float
) -> None:
    file = tmp_path / "any.yaml"
    condition = {"path": "$.a", "equals": value}
    rest = {"url": "http://h/", "timeout": timeout, "headers": headers, "expect": {"json": [condition]}}
    arguments = {"a": value}
    calls = [{"tool": "t", "arguments": arguments}]
    mcp = {"url": "http://h/m", "calls": calls}
    text = yaml.safe_dump({"servers": [{"name": "a", "tags": tags, "rest": rest, "mcp": mcp}]}).replace("$", "$$")
    file.write_text(text, encoding="utf-8")
    try:
        expected = load(file, None, {})
    except Exception:  # what cannot be loaded cannot be kept
        return
    back = opened(sealed_text(file, None, {}), file, None, {})
    assert back == expected
    assert types_of(back) == types_of(expected)


def test_text_shows_no_secret(fleet: Path) -> None:
    import base64

    text = sealed_text(fleet)
    plain = text + "".join(base64.b64decode(part).decode("latin-1") for part in text.split(" "))
    assert "SEARCH_TOKEN" in plain
    assert "c4nary" not in plain
    assert "value-of" not in plain


def test_nothing_opens_but_what_it_was_made_of(fleet: Path, tmp_path: Path) -> None:
    text = sealed_text(fleet)
    assert opened(text, fleet, None, {**SECRETS, "UNRELATED": "1"}) is not None
    assert opened(text, fleet, "staging", SECRETS) is None
    assert opened(text, fleet, None, {**SECRETS, "MCP_STATUS_ENV": "staging"}) is None
    assert opened(text, fleet, None, {**SECRETS, "SEARCH_TOKEN": "other"}) is None
    assert opened(text, fleet, None, {**SECRETS, "UNSET": "now set"}) is None
    assert opened(text, fleet, None, {**SECRETS, "HOME": "/elsewhere"}) is None
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(fleet.read_bytes())
    assert opened(text, copy, None, SECRETS) is None
    (tmp_path / "bearer").write_text("other")
    assert opened(text, fleet, None, SECRETS) is None
    (tmp_path / "bearer").unlink()
    assert opened(text, fleet, None, SECRETS) is None
    (tmp_path / "bearer").write_text("c4nary-file\n")
    assert opened(text, fleet, None, SECRETS) is not None, "line ends are the same text"
    fleet.write_text(fleet.read_text() + "\n# a comment\n")
    assert opened(text, fleet, None, SECRETS) is None


def test_link_that_leads_elsewhere_is_a_change(fleet: Path, tmp_path: Path) -> None:
    """A certificate is read by its path later on, so the same content at another place is another configuration."""
    (tmp_path / "one").write_text("same")
    (tmp_path / "two").write_text("same")
    (tmp_path / "bearer").unlink()
    (tmp_path / "bearer").symlink_to("one")
    text = sealed_text(fleet)
    assert opened(text, fleet, None, SECRETS) is not None
    (tmp_path / "bearer").unlink()
    (tmp_path / "bearer").symlink_to("two")
    assert opened(text, fleet, None, SECRETS) is None


@pytest.mark.parametrize(
    "spoil", [lambda text: "", lambda text: "x y", lambda text: text[:-8], lambda text: text + " a"]
)
def test_spoiled_text_opens_nothing(fleet: Path, spoil: Any) -> None:
    assert opened(spoil(sealed_text(fleet)), fleet, None, SECRETS) is None


def test_another_version_of_the_program_reads_the_file_anew(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = sealed_text(fleet)
    monkeypatch.setattr("checker.settings.config_cache.VERSION", "0.0.0")
    assert opened(text, fleet, None, SECRETS) is None


def test_variable_that_is_not_utf8_is_loaded_and_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("servers: [{name: a, tags: ['${ODD}'], rest: 'http://h/'}]")
    found, made_of = loaded(file, None, {"ODD": "\udcff"})
    assert made_of is not None
    assert encode_settings(found, made_of) is None


def test_pipe_is_read_once_and_not_kept(fleet: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    writer = subprocess.Popen(["/bin/sh", "-c", 'cat "$0" > "$1"', str(fleet), str(fifo)])
    found, made_of = loaded(fifo, None, SECRETS)
    assert writer.wait(10) == 0
    assert (len(found.servers), made_of) == (5, None)


def test_key_names_the_file_and_the_selected_environment(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    assert cache_key(file, None, {}) == str(file)
    assert cache_key(file, "staging", {}) == cache_key(file, None, {"MCP_STATUS_ENV": "staging"}) == f"{file} (staging)"


def test_opening_imports_neither_the_reader_nor_the_validator(fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "sealed").write_text(sealed_text(fleet, None, dict(os.environ) | SECRETS))
    code = f"""
import sys
from pathlib import Path
from checker.settings.selection import select
from checker.settings.config_cache import opened
found = opened(Path({str(tmp_path / "sealed")!r}).read_text(), Path({str(fleet)!r}), None)
print(len(select(found.servers)), [name for name in ("yaml", "pydantic", "pydantic_core") if name in sys.modules])
"""
    environ = {**os.environ, **SECRETS}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "5 []\n"
