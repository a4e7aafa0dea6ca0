"""Histograms: packed and unpacked unchanged, summed exactly, and their percentiles within 1% of the samples'."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import AT_MS, batch, check, probe, run_info, server
from checker.model import RunState
from checker.stats.histogram import BINS, GROWTH, LAST_BIN, LONGEST_US, Cells, Integers
from storage.history import reading
from storage.rollups.buckets import LatencyBuckets, Sums, joined_packed, packed
from storage.rollups.read import Period, Rollups
from storage.rollups.watermarks import DAY_MS, HOUR_MS
from storage.store import Store, open_store

RATIOS = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
WITHIN = (GROWTH - 1) / (GROWTH + 1) + 1e-9
"""0.99%"""

CELLS = st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, LAST_BIN)), st.integers(1, 2_000), max_size=40)
"""(histogram, bin) -> count: also far apart and above 255, which take more than a word."""
DURATIONS_US = st.one_of(st.integers(1, 100), st.integers(1, LONGEST_US), st.integers(900, 1_100))


def cells_of(counts: dict[tuple[int, int], int]) -> Cells:
    keys = sorted(counts)
    table = np.array([[*key, counts[key]] for key in keys], np.int64).reshape(-1, 3)
    return Cells(table[:, 0], table[:, 1], table[:, 2])


def assert_same(expected: Cells, seen: Cells) -> None:
    for name in ("group", "bin", "count"):
        assert getattr(expected, name).tolist() == getattr(seen, name).tolist()


def exact(values: Integers, ratio: float) -> int:
    """The sample at the nearest rank."""
    ordered = np.sort(values)
    return int(ordered[max(1, math.ceil(ratio * len(ordered) - 1e-9)) - 1])


@given(CELLS)
def test_cells_that_are_packed_and_unpacked_are_the_same(counts: dict[tuple[int, int], int]) -> None:
    cells = cells_of(counts)
    assert_same(cells, Cells.of_blobs(np.arange(6), cells.blobs(6)))


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {(0, 0): 1},
        {(5, LAST_BIN): 1},
        {(0, 3): 255, (0, 4): 256, (0, 5): 511},
        {(0, 0): 1, (0, 255): 1, (0, 511): 1, (0, LAST_BIN): 70_000},
        {(0, LAST_BIN): 1, (1, 0): 1, (3, 300): 300},
    ],
    ids=["nothing", "first bin", "last bin", "more than a byte of samples", "more than a byte apart", "gaps between"],
)
def test_what_does_not_fit_in_a_byte_takes_more_words(counts: dict[tuple[int, int], int]) -> None:
    cells = cells_of(counts)
    blobs = cells.blobs(6)
    assert_same(cells, Cells.of_blobs(np.arange(6), blobs))
    assert [bool(blob) for blob in blobs] == [any(of == group for of, _ in counts) for group in range(6)]


def test_a_usual_bin_takes_two_bytes() -> None:
    cells = cells_of({(0, 500 + 3 * place): 7 for place in range(30)})
    assert [len(blob) for blob in cells.blobs(1)] == [2 * 31]


def test_what_is_longer_than_the_longest_is_counted_in_the_last_bin() -> None:
    cells = Cells.of_values(np.zeros(3, np.int64), np.array([0, LONGEST_US, 10 * LONGEST_US]))
    assert cells.bin.tolist() == [0, LAST_BIN]
    assert cells.count.tolist() == [1, 2]


@given(CELLS, CELLS, st.lists(st.integers(-1, 3), min_size=6, max_size=6))
def test_sums_do_not_depend_on_how_they_are_made(
    first: dict[tuple[int, int], int], second: dict[tuple[int, int], int], label: list[int]
) -> None:
    """Added and then merged, merged out of blobs, and through a table that packed buckets are summed in."""
    together = cells_of(first).plus(cells_of(second)).regrouped(np.array(label))
    blobs = [*cells_of(first).blobs(6), *cells_of(second).blobs(6)]
    labels = np.array([*label, *label])
    kept = np.flatnonzero(labels >= 0)
    assert_same(together, Cells.of_blobs(labels[kept], [blobs[one] for one in kept.tolist()]))
    table = np.zeros((4, BINS))
    np.add.at(table, (together.group, together.bin), together.count)
    assert_same(together, Cells.of_table(table))


@given(st.lists(DURATIONS_US, min_size=1, max_size=300), st.data())
@settings(deadline=None)
def test_percentiles_of_merged_histograms_are_within_one_per_cent(values: list[int], data: st.DataObject) -> None:
    """Split over hours, days and servers in any way, packed and merged in any order."""
    durations = np.array(values, np.int64)
    parts = data.draw(st.integers(1, 12))
    part = np.array(
        data.draw(st.lists(st.integers(0, parts - 1), min_size=len(values), max_size=len(values))), np.int64
    )
    order = data.draw(st.permutations(range(parts)))
    split = Cells.of_values(part, durations)
    blobs = [split.blobs(parts)[one] for one in order]
    merged = Cells.of_blobs(np.zeros(parts, np.int64), blobs)
    ranks = np.arange(len(values) + 2)[None, :]
    for ratio, seen in zip(RATIOS, merged.quantiles(1, RATIOS)[0].tolist(), strict=True):
        assert seen == pytest.approx(exact(durations, ratio), rel=WITHIN)
    every = merged.at_ranks(ranks)[0]
    assert np.isnan(every[[0, -1]]).all()
    assert every[1:-1] == pytest.approx(np.sort(durations), rel=WITHIN)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), DURATIONS_US), max_size=100), st.data())
@settings(deadline=None)
def test_packed_sums_are_those_of_merging_bucket_by_bucket(
    samples: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    table = np.array(samples, np.int64).reshape(-1, 3)
    buckets = buckets_of(table)
    cut = data.draw(st.integers(0, len(buckets.count)))
    halves = [packed(part(buckets, slice(None, cut))), packed(part(buckets, slice(cut, None)))]
    joined = joined_packed(reversed(halves))
    by_series, by_slot, nothing = joined.sums((joined.series, 4), (joined.slot, 5), (np.full_like(joined.slot, -1), 2))
    for column, labels, sums in ((0, 4, by_series), (1, 5, by_slot)):
        for label in range(labels):
            mine = table[table[:, column] == label, 2]
            assert int(sums.count[label]) == len(mine)
            if len(mine):
                assert (sums.min_us[label], sums.max_us[label]) == (mine.min(), mine.max())
                assert sums.quantiles_us(RATIOS)[label] == pytest.approx(
                    [exact(mine, one) for one in RATIOS], rel=WITHIN
                )
                assert sums.sum_us[label] == pytest.approx(mine.sum(), rel=WITHIN)
    assert nothing.count.tolist() == [0, 0]
    assert np.isnan(nothing.quantiles_us(RATIOS)).all()


def buckets_of(samples: Integers) -> LatencyBuckets:
    """Of rows of series, slot and microseconds."""
    keys = np.unique(samples[:, :2], axis=0)
    members = [samples[(samples[:, :2] == key).all(axis=1), 2] for key in keys]
    group = np.repeat(np.arange(len(keys)), [len(one) for one in members])
    flat = np.concatenate([*members, np.zeros(0, np.int64)])
    numbers = [np.array([reduce(one) for one in members], np.int64) for reduce in (len, np.sum, np.min, np.max)]
    return LatencyBuckets(keys[:, 0], keys[:, 1], *numbers, Cells.of_values(group, flat))


def part(buckets: LatencyBuckets, which: slice) -> LatencyBuckets:
    label = np.full(len(buckets.count), -1)
    chosen = np.arange(len(buckets.count))[which]
    label[chosen] = np.arange(len(chosen))
    names = ("series", "slot", "count", "sum_us", "min_us", "max_us")
    return LatencyBuckets(*(getattr(buckets, name)[which] for name in names), buckets.cells.regrouped(label))


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5 * DAY_MS), st.integers(1, LONGEST_US), DURATIONS_US),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 6),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_percentiles_through_the_store_are_within_one_per_cent(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]], rolled_days: int
) -> None:
    """Days that are over, hours of the day that is not, and raw rows that nobody has rolled."""
    path = tmp_path_factory.mktemp("histogram") / "h.db"
    now_ms = AT_MS + 5 * DAY_MS + HOUR_MS // 2
    written = sorted(rows, key=lambda row: row[1])
    with open_store(path) as store:
        for number, (of, after_ms, mcp_us, rest_us) in enumerate(written):
            store_check(store, f"server-{of}", AT_MS + after_ms, mcp_us, rest_us)
            if number == len(written) * rolled_days // 6:
                store.roll(AT_MS + after_ms)
    period = Period.of(AT_MS, now_ms)
    with reading(path) as connection:
        rollups = Rollups(connection, now_ms)
        found = rollups.latencies(period, ("mcp", "rest"))
        summed = rollups.packed(period, ("mcp", "rest"))
        columns = rollups.percentiles(period, ("mcp", "rest"))
        stream = rollups.stream(period, ("mcp", "rest"))
        rows_of = np.array([("mcp", "rest").index(one.kind) for one in stream.series], np.int64)
        by_kind = stream.summed(rows_of, 3)
        names = dict(connection.exec_driver_sql("select id, name from servers").all())
    assert found.series == summed.series == columns.series == stream.series
    slots = period.slots
    row = rows_of[summed.buckets.series]
    in_memory = summed.buckets.sums((row, 3), (row * len(slots) + summed.buckets.slot - slots.start, 3 * len(slots)))
    for expected, seen in zip(in_memory, (by_kind.of_rows(slots), by_kind.of_slots(slots)), strict=True):
        assert_same_sums(expected, seen)
    (one_row,) = summed.buckets.sums((np.where(row == 1, summed.buckets.slot - slots.start, -1), 2 * len(slots)))
    assert_same_sums(one_row, by_kind.of_slots(slots, [1, -1]))
    table = columns.buckets.table_us(columns.buckets.p95_us, len(columns.series), period.slots)
    whole = found.buckets.merged(found.buckets.series, np.zeros_like(found.buckets.slot))
    (sums,) = summed.buckets.sums((summed.buckets.series, len(summed.series)))
    for number, one in enumerate(found.series):
        column = ("mcp", "rest").index(one.kind) + 2
        mine = [row for row in written if f"server-{row[0]}" == names[one.server_id]]
        values = np.array([row[column] for row in mine], np.int64)
        expected = [exact(values, ratio) for ratio in RATIOS]
        assert whole.quantiles_us(RATIOS)[number] == pytest.approx(expected, rel=WITHIN)
        assert sums.quantiles_us(RATIOS)[number] == pytest.approx(expected, rel=WITHIN)
        assert sums.count[number] == whole.count[number] == len(values)
        for slot in period.slots:
            of_day = np.array([row[column] for row in mine if (AT_MS + row[1]) // DAY_MS == slot], np.int64)
            seen = table[number, slot - period.slots.start]
            if not len(of_day):
                assert np.isnan(seen)
            else:  # within 1%, and then rounded to a microsecond
                assert abs(seen - exact(of_day, 0.95)) <= WITHIN * exact(of_day, 0.95) + 0.51


def assert_same_sums(expected: Sums, seen: Sums) -> None:
    """Equal: summed from buckets in memory, and from a stream of them."""
    assert_same(expected.cells, seen.cells)
    for name in ("count", "min_us", "max_us"):
        assert getattr(expected, name).tolist() == getattr(seen, name).tolist()


def store_check(store: Store, name: str, at_ms: int, mcp_us: int, rest_us: int) -> None:
    """A run with one check."""
    run_id = store.begin_run(run_info(started_at_ms=at_ms), [server(name)])
    probes = (
        probe("mcp", started_at_ms=at_ms, duration_us=mcp_us),
        probe("rest", started_at_ms=at_ms, duration_us=rest_us),
    )
    store.write(run_id, batch(check(name, started_at_ms=at_ms, probes=probes)))
    store.finish_run(run_id, RunState.FINISHED, at_ms + 1)
