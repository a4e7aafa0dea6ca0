"""Load tests as blocks, the unit of comparison: one value of each statistic for every period of a series."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from zlib import crc32

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from checker.loadtest.plan import Model
from checker.loadtest.results import BenchRun, Slot
from checker.loadtest.summary import BLOCK_S, Summary, blocks, measured_stages
from checker.stats import Floats
from checker.stats.histogram import GROWTH, Cells
from checker.stats.intervals import fewest
from reports.report_model import Column, Kind


class Statistic(StrEnum):
    """A statistic of a block; the name ends with the unit."""

    P50 = "p50_ms"
    P95 = "p95_ms"
    P99 = "p99_ms"
    FAILED = "failed_ratio"
    OK_RATE = "ok_per_s"
    """In the closed model only: in the open one it equals the offered rate."""

    @property
    def label(self) -> str:
        """The label for people."""
        return _LABELS[self]


_LABELS = {
    **{Statistic.P50: "p50", Statistic.P95: "p95", Statistic.P99: "p99"},
    **{Statistic.FAILED: "failed", Statistic.OK_RATE: "good per second"},
}
QUANTILES = {Statistic.P50: 0.5, Statistic.P95: 0.95, Statistic.P99: 0.99}
"""Of the response time of successful answers."""
FEWEST_ANSWERS = {one: fewest(q) for one, q in QUANTILES.items()}
"""Fewest successful answers in a block for this quantile: the smallest samples whose 95% interval has two ends."""


class Key(Struct, frozen=True, order=True):
    """The key of what is compared separately; an empty server means all servers of the scenario together."""

    scenario: str
    operation: str
    server: str
    users: int = 0
    """For a suite: the cell; otherwise 0."""
    servers: int = 0

    @property
    def label(self) -> str:
        """The label for people."""
        cell = f"{self.users} users on {self.servers} servers" if self.users else ""
        return " ".join(part for part in (self.scenario, self.operation, self.server or "all servers", cell) if part)


def key_columns(keys: Collection[Key]) -> list[Column]:
    """The columns of the keys, and the statistic; columns of a suite's cells only if there are some."""
    cell = [
        Column("users", "Users", Kind.COUNT, words="Of a suite: the cell."),
        Column("servers", "Servers", Kind.COUNT),
    ]
    return [
        Column("scenario", "Scenario"),
        Column("operation", "Operation"),
        Column("server", "Server", words="Empty: all servers of the scenario together."),
        *(cell if any(key.users for key in keys) else []),
        Column("statistic", "Statistic", words="Of a block; its name ends with the unit."),
    ]


def key_cells(key: Key, statistic: Statistic, keys: Collection[Key]) -> list[str | int]:
    """The values under `key_columns` of the same keys."""
    cell = [key.users, key.servers] if any(one.users for one in keys) else []
    return [key.scenario, key.operation, key.server, *cell, statistic.value]


class Blocks(Struct, frozen=True):
    """A series in blocks; every array has a value for each block, NaN if the block has too few answers."""

    answers: Floats
    """Numbers of successful answers."""
    values: Mapping[Statistic, Floats] = field(default_factory=dict)

    def plus(self, other: Blocks) -> Blocks:
        """The blocks of both."""
        both = [one for one in self.values if one in other.values]
        joined = {one: np.concatenate((self.values[one], other.values[one])) for one in both}
        return Blocks(np.concatenate((self.answers, other.answers)), joined)


def blocks_of(run: BenchRun, scenario: str = "", block_s: float = BLOCK_S) -> dict[Key, Blocks]:
    """The series of a run, of one scenario or all, in blocks; scenarios on several servers also as a whole."""
    by_series: dict[int, list[Slot]] = {}
    for slot in run.slots:
        by_series.setdefault(slot.series, []).append(slot)
    found = {}
    for cell in _cells(run):
        for key, numbers in _keys(run, scenario, cell):
            slots = [slot for number in numbers for slot in by_series.get(number, ())]
            part = _part(run, slots, key.scenario, cell)
            some = [one for one in blocks(part, block_s=block_s) if one.offered or one.ok or one.failed]
            if some:
                closed = any(run.series[number].model == Model.CLOSED for number in numbers)
                found[key] = values_of(some, closed)
    return found


def values_of(some: Sequence[Summary], closed: bool) -> Blocks:
    """The statistics of blocks."""
    values = {
        one: np.array([quantile_ms(block.histograms["response"], q) for block in some]) for one, q in QUANTILES.items()
    }
    values[Statistic.FAILED] = np.array([block.failed_ratio for block in some])
    if closed:
        values[Statistic.OK_RATE] = np.array([block.ok_per_s for block in some])
    return Blocks(np.array([float(block.ok) for block in some]), values)


def quantile_ms(cells: Cells, q: float) -> float:
    """A quantile of one histogram, placed at random within its share of its bin; NaN for too few samples.

    Middles of bins would give many blocks equal values, and a rank test takes ties for more similarity than there is.
    The same histogram always gives the same value.
    """
    total = int(cells.count.sum())
    if total < fewest(q):
        return math.nan
    rank = math.ceil(q * total - 1e-9)
    reached = np.cumsum(cells.count)
    place = int(np.searchsorted(reached, rank))
    many = int(cells.count[place])
    chance = np.random.default_rng(crc32(cells.bin.tobytes() + cells.count.tobytes())).random()
    inside = (rank - int(reached[place]) + many - chance) / many
    return float(GROWTH ** (cells.bin[place] + inside) / 1000)


_Cell = tuple[int | None, int | None]
"""Users and servers of a suite's stages; None and None elsewhere."""


def _cells(run: BenchRun) -> list[_Cell]:
    return list(dict.fromkeys((run.stages[at].users, run.stages[at].servers) for at in measured_stages(run)))


def _keys(run: BenchRun, scenario: str, cell: _Cell) -> Iterator[tuple[Key, list[int]]]:
    """The keys to compare, with the indexes of their series."""
    users, servers = cell[0] or 0, cell[1] or 0
    whole: dict[tuple[str, str], list[int]] = {}
    for number, one in enumerate(run.series):
        if scenario in ("", one.scenario):
            whole.setdefault((one.scenario, one.operation), []).append(number)
            yield Key(one.scenario, one.operation, one.server, users, servers), [number]
    for (name, operation), numbers in whole.items():
        if len(numbers) > 1:
            yield Key(name, operation, "", users, servers), numbers


def _part(run: BenchRun, slots: Iterable[Slot], scenario: str, cell: _Cell) -> BenchRun:
    """The run with these slots, and with only the stages of one scenario and cell as measured ones."""
    stages = tuple(
        replace(one, measured=one.measured and one.scenario == scenario and (one.users, one.servers) == cell)
        for one in run.stages
    )
    return replace(run, slots=tuple(slots), stages=stages)
