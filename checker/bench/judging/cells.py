"""The cells of a suite, each from its blocks: the median of their p95 with its interval, and what is to be doubted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from checker.bench.judging.client import Room
from checker.bench.judging.saturation import judge
from checker.bench.medians import FAR_Z, Median, median, modified_z
from checker.bench.results import BenchRun, Slot
from checker.bench.summary import in_time, summarize

LEAST_MS = 0.5
"""An interval that is no wider than this on either side is tight whatever the median is."""
_WHOLE_RATIO = 0.9
"""Of the longest block's time: a shorter one was cut off."""
_FIRST_RATIO = 0.1
"""Of the median: a first block that is no slower than this is not worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """One block."""

    stage: int
    block: int
    """From 1 on, in the order of time."""
    p95_ms: float | None
    """Of the response time; None where nothing succeeded."""
    ok_per_s: float
    failed_ratio: float
    client_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """One cell of the grid."""

    users: int
    servers: int
    blocks: tuple[BlockResult, ...]
    p95_ms: Median | None
    """Over the blocks; None where none has a value."""
    ok_per_s: Median
    tight: bool
    """Whether the 95% interval of ``p95_ms`` is within the precision."""
    first_block_slow: bool
    """The first block is far slower than the others: the server or the client was cold, a longer warm-up is due."""
    client_bound: bool
    """The client was the limit in more than half of the blocks. In fewer: these are left out of the medians."""


def cells(run: BenchRun, precision: float = 0.05, room: Room | None = None) -> tuple[CellResult, ...]:
    """The cells in the order of servers and users; a block that was cut short is left out."""
    bound = judge(run, room).stages
    by_stage: dict[int, list[Slot]] = defaultdict(list)
    for slot in run.slots:
        by_stage[slot.stage].append(slot)
    blocks = [at for at, stage in enumerate(run.stages) if stage.measured and stage.block is not None]
    lengths = {at: run.stages[at].until_s - run.stages[at].from_s for at in blocks}
    longest_s = max(lengths.values(), default=0.0)
    found: dict[tuple[int, int], list[BlockResult]] = defaultdict(list)
    for at in blocks:
        stage = run.stages[at]
        if lengths[at] < _WHOLE_RATIO * longest_s or stage.users is None or stage.servers is None:
            continue
        summary = summarize(in_time(run, by_stage[at], [at]), lengths[at])
        p95_us = summary.quantile_us(0.95)
        found[stage.servers, stage.users].append(
            BlockResult(
                stage=at,
                block=stage.block or 0,
                p95_ms=None if p95_us is None else p95_us / 1000,
                ok_per_s=summary.ok_per_s,
                failed_ratio=summary.failed_ratio,
                client_bound=at in bound,
            )
        )
    return tuple(cell_of(users, servers, found[servers, users], precision) for servers, users in sorted(found))


def cell_of(users: int, servers: int, blocks: Sequence[BlockResult], precision: float) -> CellResult:
    """What one or more blocks of a cell come to."""
    bound = sum(block.client_bound for block in blocks)
    client_bound = bound > len(blocks) / 2
    counted = [block for block in blocks if client_bound or not block.client_bound]
    p95s = [block.p95_ms for block in counted if block.p95_ms is not None]
    middle = median(p95s) if p95s else None
    return CellResult(
        users=users,
        servers=servers,
        blocks=tuple(blocks),
        p95_ms=middle,
        ok_per_s=median([block.ok_per_s for block in counted]),
        tight=middle is not None and middle.is_within(precision, LEAST_MS),
        first_block_slow=_is_first_slow([block.p95_ms for block in blocks if block.p95_ms is not None]),
        client_bound=client_bound,
    )


def _is_first_slow(p95s_ms: Sequence[float]) -> bool:
    """Whether the first is an outlier, by enough to matter; among fewer than five nobody is."""
    if len(p95s_ms) < 5:
        return False
    middle = median(p95s_ms).value
    return modified_z(p95s_ms, 0) > FAR_Z and p95s_ms[0] - middle > max(_FIRST_RATIO * middle, LEAST_MS)
