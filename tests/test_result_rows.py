"""Results as rows: the same records come out of them, joined or not, over the wire or not, and the same is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import AT_MS, batch, check, facts, probe, run_info, server
from checker.messages import FromWorker
from checker.model import CheckResult, ProbeResult, Reason, Remark, RemarkName, Status
from checker.probe_kinds import STAGES
from checker.result_rows import ResultRows, RowBatch, UsualResult, _usual_forms, joined, rows_of
from checker.wire import packed, reader
from storage.sql import ask
from storage.store import open_store

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NUMBERS = st.none() | st.integers(0, 2**62)
OPTIONAL: dict[str, Any] = {
    "reason": st.none() | st.sampled_from(Reason),
    "detail": st.none() | TEXTS,
    "score": st.none() | st.floats(0, 1),
}
PROBES = st.builds(
    ProbeResult,
    kind=st.sampled_from(["mcp", "rest"]),
    status=st.sampled_from(Status),
    started_at_ms=st.integers(AT_MS, AT_MS + 1000),
    duration_us=st.integers(0, 10**7),
    stages_us=st.dictionaries(st.sampled_from(list(STAGES)), st.integers(0, 10**7), max_size=4),
    url=st.none() | st.sampled_from(["http://a/", "http://b/"]),
    http_status=NUMBERS,
    reused=st.none() | st.booleans(),
    stderr_tail=st.none() | TEXTS,
    remarks=st.lists(
        st.builds(Remark, name=st.sampled_from(RemarkName), detail=TEXTS), max_size=2, unique_by=lambda one: one.name
    ).map(tuple),
    mcp=st.none() | st.builds(facts, server_name=st.sampled_from(["one", "two"]), tool_count=NUMBERS),
    **OPTIONAL,
)
CHECKS = st.builds(
    CheckResult,
    server=st.sampled_from([f"s{number}" for number in range(8)]),
    status=st.sampled_from(Status),
    started_at_ms=st.integers(AT_MS, AT_MS + 1000),
    duration_us=st.integers(0, 10**7),
    tries=st.integers(1, 3),
    suspect=st.booleans(),
    maintenance=st.booleans(),
    probes=st.lists(PROBES, max_size=3, unique_by=lambda one: one.kind).map(tuple),
    **OPTIONAL,
)
FLEETS = st.lists(CHECKS, max_size=8, unique_by=lambda one: one.server)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with ask(path, query, 5.0) as answer:
        return [tuple(row) for row in answer.rows]


def by_server(checks: Any) -> list[CheckResult]:
    return sorted(checks, key=lambda one: one.server)


@settings(max_examples=30, deadline=None)
@given(FLEETS)
def test_rows_are_the_same_records(checks: list[CheckResult]) -> None:
    found = rows_of(checks)
    assert by_server(found) == by_server(checks)
    assert len(found) == len(checks)
    assert all(None not in one.values for one in (*found.checks, *found.probes)), "a null would take longer than all"
    assert all(() not in one.values for one in found.probes), "no remarks are null, too"
    wanted = {one.server for one in checks[:3]}
    assert by_server(found.of_servers(wanted)) == by_server(checks[:3])


USUAL = st.builds(
    UsualResult,
    kind=st.sampled_from(["rest", "mcp"]),
    url=st.text(max_size=5),
    started_at_ms=st.integers(0, 2**40),
    duration_us=st.integers(0, 2**31),
    stages_us=st.dictionaries(st.sampled_from(["dns", "connect", "wait", "transfer"]), st.integers(0, 2**31)),
    http_status=st.integers(200, 299),
    received_bytes=st.integers(0, 2**31),
    connections_opened=st.integers(0, 1),
    reused=st.none() | st.booleans(),
    server=st.text(min_size=1, max_size=5),
    tries=st.integers(1, 3),
    suspect=st.booleans(),
)


@given(st.lists(USUAL, max_size=5, unique_by=lambda one: one.server))
def test_usual_result_has_the_rows_of_its_record(results: list[UsualResult]) -> None:
    assert rows_of(results) == rows_of([result.record for result in results])


@pytest.mark.parametrize("stages", [("wait", "transfer"), ("dns", "connect", "wait", "transfer")])
def test_rows_of_usual_results_are_written_without_a_look(stages: tuple[str, ...]) -> None:
    """Else a change of the columns has made them as slow as all others."""
    assert _usual_forms(stages, is_reuse_known=True) is not None


def test_probe_without_remarks_after_one_with_some_has_none() -> None:
    remarked = check("a", probes=(probe(remarks=(Remark(name=next(iter(RemarkName)), detail="odd"),)),))
    found = rows_of([remarked, check("b", probes=(probe(),))])
    assert [("remarks" in one.columns, len(one)) for one in found.probes] == [(True, 1), (False, 1)]


@settings(max_examples=15, deadline=None)
@given(st.lists(FLEETS, min_size=1, max_size=3))
def test_joined_batches_have_what_each_had_also_over_the_wire(fleets: list[list[CheckResult]]) -> None:
    named = [[replace(one, server=f"{number} {one.server}") for one in checks] for number, checks in enumerate(fleets)]
    read = reader(FromWorker)
    crossed = [read(packed(RowBatch(checks=rows_of(checks)))) for checks in named]
    assert by_server(joined(crossed).checks) == by_server(one for checks in named for one in checks)
    mixed = joined([batch(*named[0]), *(RowBatch(checks=rows_of(checks)) for checks in named[1:])])
    assert by_server(mixed.checks) == by_server(one for checks in named for one in checks)


@settings(max_examples=20, deadline=None)
@given(FLEETS)
def test_rows_from_a_worker_are_stored_as_the_records_would_be(
    tmp_path_factory: pytest.TempPathFactory, checks: list[CheckResult]
) -> None:
    stored = []
    for results in (batch(*checks), reader(FromWorker)(packed(RowBatch(checks=rows_of(checks))))):
        path = tmp_path_factory.mktemp("stored") / "h.db"
        with open_store(path) as store:
            run_id = store.begin_run(run_info(), [server(one.server) for one in checks])
            assert store.write(run_id, results) == len(checks)
            assert store.write(run_id, results) == 0, "an existing row stays"
            assert store.missing(run_id, ["none", *(one.server for one in checks)]) == ["none"]
        stored.append(
            [rows(path, f"select * from {table} order by 1, 2, 3") for table in ("check_history", "probe_history")]
        )
    assert stored[0] == stored[1]
    assert len(stored[0][0]) == len(checks)


def test_batch_that_cannot_be_stored_is_still_whole_afterwards(tmp_path: Path) -> None:
    odd = check("b", probes=(probe("rest", http_status=1 << 70),))
    sent = reader(FromWorker)(packed(RowBatch(checks=rows_of([check("a"), odd]))))
    with open_store(tmp_path / "h.db") as store:
        run_id = store.begin_run(run_info(), [server("a"), server("b")])
        assert store.write(run_id, sent) == 2
    found = dict(rows(tmp_path / "h.db", "select server, status from check_history"))
    assert found == {"a": "HEALTHY", "b": "UNHEALTHY"}


@pytest.mark.parametrize("number", [0, 1, 9, 50, 51, 177])
def test_every_row_is_inserted_whatever_their_number(tmp_path: Path, number: int) -> None:
    names = [f"s{place}" for place in range(number)]
    with open_store(tmp_path / "h.db") as store:
        run_id = store.begin_run(run_info(), [server(name) for name in names])
        results = ResultRows() if not names else rows_of([check(name) for name in names])
        assert store.write(run_id, RowBatch(checks=results)) == number
        assert store.missing(run_id, names) == []
