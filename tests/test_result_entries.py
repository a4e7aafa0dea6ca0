"""Entries of the results cache are written where options change, and read as if there were one for each check."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import AT_MS, batch, check, probe, run_info, server
from checker.limits import CacheLimits, Caches, ResultLimits
from checker.model import RunState, Server
from checker.probes.rest import RestOptions
from checker.run.caches import ResultsCache, RunCaches, result_key
from storage.cache import cache_list
from storage.servers import rename
from storage.sqlite_driver import driver
from storage.store import Store, open_store

STEP_MS = 10_000
USUAL = ResultLimits()
RUNS = st.lists(
    st.tuples(
        st.fixed_dictionaries({}, optional={name: st.integers(1, 3) for name in "ab"}).filter(bool),
        st.booleans(),
        st.sampled_from([5.0, 15.0, 3600.0]),
    ),
    min_size=1,
    max_size=6,
)
"""The servers that each run checks, with their timeouts; whether results are kept, and for how many seconds."""


def fleet(timeouts: dict[str, int]) -> list[Server]:
    """Servers with these timeouts."""
    return [
        server(name, probes={"rest": RestOptions(url="http://h/", timeout=float(seconds))})
        for name, seconds in timeouts.items()
    ]


def run(store: Store, servers: list[Server], at_ms: int, limits: ResultLimits = USUAL, config: str = "") -> int:
    """A run that checks these servers at that time and ends half a second later."""
    caches = RunCaches(servers, Caches(results=limits), None, None)
    names = [one.name for one in servers] if config else []
    run_id = store.begin_run(run_info(started_at_ms=at_ms, config_path=config or None), servers, names)
    caches.keep_keys(store, run_id, at_ms, servers, whole=True)
    added = store.write(run_id, batch(*(check(one.name, started_at_ms=at_ms) for one in servers)))
    store.finish_run(run_id, RunState.FINISHED, at_ms + 500, caches.sizes)
    counted = [measures.entries for measures in caches.measures(store, {}, added, at_ms + 500)]
    assert counted == ([len(listed(store.path))] if limits.enabled else [])
    return run_id


def listed(path: Path) -> dict[str, tuple[Any, ...]]:
    """What users see of the entries."""
    return {one.key: (one.value, one.created_at_ms, one.expires_at_ms) for one in cache_list(path, "results", 100)}


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(driver().connect(path)) as connection, connection:
        return connection.execute(query).fetchall()


@settings(deadline=None, max_examples=20)
@given(RUNS)
def test_entries_are_as_if_one_was_written_for_each_check(runs: list[tuple[dict[str, int], bool, float]]) -> None:
    expected: dict[str, tuple[str, int, int]] = {}
    with TemporaryDirectory() as folder, open_store(Path(folder) / "history.db") as store:
        for place, (timeouts, enabled, ttl_s) in enumerate(runs):
            servers, at_ms = fleet(timeouts), AT_MS + place * STEP_MS
            limits = ResultLimits(enabled=enabled, ttl=ttl_s)
            if enabled:
                entry = str(place + 1), at_ms, at_ms + round(ttl_s * 1000)
                expected |= {str(result_key(one)): entry for one in servers}
            # what a run measures of itself is asked only once what it wrote is expected
            expected = {key: one for key, one in expected.items() if one[2] > at_ms + 500}
            assert run(store, servers, at_ms, limits) == place + 1
            assert listed(store.path) == expected
            for seconds in (1, 2, 3):
                for one in fleet({"a": seconds, "b": seconds}):
                    keys = ResultsCache([one], CacheLimits()).keys()
                    now_ms = at_ms + 4000
                    known = expected.get(str(result_key(one)))
                    found = {} if known is None or known[2] <= now_ms else {one.name: int(known[0])}
                    assert store.young_results(keys, 0, now_ms) == found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def rewritten(path: Path, store: Store, servers: list[Server], at_ms: int) -> bool:
    """True if a run of these servers writes to what is stored of them."""
    asked(path, "create table if not exists written (what text)")
    for table, event in (
        ("servers", "update"),
        ("servers", "insert"),
        ("cache_entries", "update"),
        ("cache_entries", "insert"),
    ):
        trigger = f"create trigger if not exists seen_{table}_{event} after {event} on {table}"
        asked(path, f"{trigger} begin insert into written values ('{table} {event}'); end")
    run(store, servers, at_ms, config="fleet.yaml")
    found = asked(path, "select * from written")
    asked(path, "delete from written")
    return bool(found)


def test_run_of_the_same_servers_writes_nothing_about_them(path: Path) -> None:
    with open_store(path) as store:
        run(store, fleet({"a": 1, "b": 1}), AT_MS, config="fleet.yaml")
        assert not rewritten(path, store, fleet({"a": 1, "b": 1}), AT_MS + STEP_MS)
        assert rewritten(path, store, fleet({"a": 1, "b": 2}), AT_MS + 2 * STEP_MS)
        assert not rewritten(path, store, fleet({"a": 1, "b": 2}), AT_MS + 3 * STEP_MS)


@pytest.mark.parametrize(
    ("change", "restored"),
    [
        ("update servers set group_name = 'other' where name = 'a'", "select group_name = 'shop' from servers"),
        ("update servers set retired_at_ms = 1", "select retired_at_ms is null from servers"),
        ("delete from cache_entries", "select count(*) = 2 from cache_entries where category = 'results'"),
    ],
)
def test_what_another_program_changed_of_servers_is_restored(path: Path, change: str, restored: str) -> None:
    with open_store(path) as store:
        run(store, fleet({"a": 1, "b": 1}), AT_MS, config="fleet.yaml")
        asked(path, change)
        run(store, fleet({"a": 1, "b": 1}), AT_MS + STEP_MS, config="fleet.yaml")
        assert {row for (row,) in asked(path, restored)} == {1}


def test_server_that_another_run_of_the_configuration_brought_is_retired_by_the_next(path: Path) -> None:
    with open_store(path) as store:
        for place, timeouts in enumerate(({"a": 1}, {"a": 1, "b": 1}, {"a": 1}, {"a": 1})):
            run(store, fleet(timeouts), AT_MS + place * STEP_MS, config="fleet.yaml")
            retired = [name for (name,) in asked(path, "select name from servers where retired_at_ms is not null")]
            assert retired == (["b"] if place >= 2 else [])


def test_entry_of_a_server_goes_with_its_name(path: Path) -> None:
    with open_store(path) as store:
        run(store, fleet({"a": 1, "b": 1}), AT_MS)
        with store.transaction() as connection:
            rename(connection, "a", "c")
        assert [*listed(path)] == [result_key(fleet({"b": 1})[0])]
        keys = ResultsCache(fleet({"a": 1}), CacheLimits()).keys()
        assert store.young_results(keys, 0, AT_MS + 1000) == {}


def test_address_that_another_process_pruned_meanwhile_is_stored_again(path: Path) -> None:
    """A run reads the addresses of its fleet at its first results; one that no row has yet may go before its own."""
    with open_store(path) as store:
        one, other = (probe("rest", url=f"http://h/{name}") for name in "ab")
        run_id = store.begin_run(run_info(), fleet({"a": 1, "b": 1}))
        asked(path, "insert into urls (url) values ('http://h/b')")
        store.write(run_id, batch(check("a", probes=(one,))))
        asked(path, "delete from urls where url = 'http://h/b'")
        store.write(run_id, batch(check("b", probes=(other,))))
    named = "select u.url from probes p left join urls u on u.id = p.url_id order by u.url"
    assert asked(path, named) == [("http://h/a",), ("http://h/b",)]
