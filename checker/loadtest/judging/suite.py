"""A suite: blocks of every cell of a grid in an interleaved order, until each cell is measured precisely enough.

Drift during the run (heat, caches, neighbours on the machine) then affects all cells, and not only the late ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checker.loadtest.judging.client_symptoms import ClientLimits
from checker.loadtest.judging.saturation import judge
from checker.loadtest.plan import Model, Operation, Plan, Scenario, Stage, StageKind, Suite, probe_kind
from checker.loadtest.protocols import Cell, LoadGenerator
from checker.loadtest.results import BenchRun, Slot
from checker.loadtest.summary import in_time, of_stage, summarize
from checker.stats.robust import FAR_Z, Median, median_of_blocks, modified_z_of

LEAST_MS = 0.5
"""An interval that is at most this wide on either side is tight whatever the median is."""
_WHOLE_RATIO = 0.9
"""Share of the longest block's time: a shorter one was cut off."""
_FIRST_RATIO = 0.1
"""Share of the median: a first block that is slower by no more than this is not mentioned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """One block."""

    stage: int
    block: int
    """From 1 on, in order of time."""
    p95_ms: float | None
    """Of the response time; None if nothing succeeded."""
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
    """Over the blocks; None if no block has a value."""
    ok_per_s: Median
    tight: bool
    """True if the 95% interval of ``p95_ms`` is within the precision."""
    first_block_slow: bool
    """The first block is far slower than the others: the server or the client was cold and needs a longer warm-up."""
    client_bound: bool
    """The load generator was the limit in more than half of the blocks. If in fewer, these are left out of the
    medians."""


def cells(run: BenchRun, precision: float = 0.05, client_limits: ClientLimits | None = None) -> tuple[CellResult, ...]:
    """The cells in the order of servers and users; an incomplete block is left out."""
    bound = judge(run, client_limits).stages
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
    """The result of a cell from one or more blocks."""
    bound = sum(block.client_bound for block in blocks)
    client_bound = bound > len(blocks) / 2
    counted = [block for block in blocks if client_bound or not block.client_bound]
    p95s = [block.p95_ms for block in counted if block.p95_ms is not None]
    middle = median_of_blocks(p95s) if p95s else None
    return CellResult(
        users=users,
        servers=servers,
        blocks=tuple(blocks),
        p95_ms=middle,
        ok_per_s=median_of_blocks([block.ok_per_s for block in counted]),
        tight=middle is not None and middle.is_within(precision, LEAST_MS),
        first_block_slow=_is_first_slow([block.p95_ms for block in blocks if block.p95_ms is not None]),
        client_bound=client_bound,
    )


def _is_first_slow(p95s_ms: Sequence[float]) -> bool:
    """True if the first block is a relevant outlier; never with fewer than five blocks."""
    if len(p95s_ms) < 5:
        return False
    middle = median_of_blocks(p95s_ms).value
    return modified_z_of(p95s_ms, 0) > FAR_Z and p95s_ms[0] - middle > max(_FIRST_RATIO * middle, LEAST_MS)


Grid = dict[tuple[int, int], list[BlockResult]]
"""Users and number of servers -> the played blocks."""

SCENARIO = "suite"
_PLACES = 1000


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """The result of a suite."""

    cells: tuple[CellResult, ...]
    notes: tuple[str, ...]
    """For the run's notes: the missing parts, and doubtful cells."""


def run_suite(load_generator: LoadGenerator, plan: Plan, client_limits: ClientLimits | None = None) -> SuiteResult:
    """Play ``plan.suite``: rounds of all cells, each round in a random order by the plan's seed.

    A cell is done after its minimum number of blocks once the 95% interval of its median p95, which needs six blocks,
    is tight enough, and at its maximum in any case. The suite ends when all cells are done, when the remaining budget
    is too short for another block, or when the run is stopped. Raises ValueError for a plan without a suite, or
    without a server for it.
    """
    suite = plan.suite
    if suite is None:
        raise ValueError(f"the plan {plan.name} has no suite")
    names = usable_servers(plan, suite.operation)
    if not names:
        raise ValueError(f"no server of the plan {plan.name} has what {suite.operation} needs")
    counts = tuple(dict.fromkeys(min(count, len(names)) for count in suite.server_counts))
    grid: Grid = {(users, count): [] for count in counts for users in dict.fromkeys(suite.concurrent_users)}
    rng = random.Random(plan.seed)  # noqa: S311 # an order, and one that can be repeated
    notes = [_play_rounds(load_generator, suite, names, grid, rng)]
    if max(suite.server_counts) > len(names):
        notes.insert(0, f"there are {len(names)} servers for {suite.operation}: larger counts were left out")
    result = cells(load_generator.so_far(), suite.precision, client_limits)
    return SuiteResult(result, (*filter(None, notes), *_doubts(result, suite)))


def usable_servers(plan: Plan, operation: Operation) -> tuple[str, ...]:
    """Names of the servers that support the operation, in the order of the plan."""
    kind = probe_kind(operation)
    return tuple(server.name for server in plan.servers if kind in server.probes)


def shuffled(
    rng: random.Random, open_cells: Sequence[tuple[int, int]], before: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The cells in random order, different from that of the round before."""
    order = list(open_cells)
    rng.shuffle(order)
    while len(order) > 1 and order == [cell for cell in before if cell in open_cells]:
        rng.shuffle(order)
    return order


def _play_rounds(
    load_generator: LoadGenerator, suite: Suite, names: Sequence[str], grid: Grid, rng: random.Random
) -> str:
    """Play round after round into the grid; gives the reason for an early end and the missing part, or empty texts."""
    order: list[tuple[int, int]] = []
    for block in range(1, max(suite.blocks, suite.max_blocks) + 1):
        order = shuffled(rng, [cell for cell, found in grid.items() if not _is_done(cell, found, suite)], order)
        for at, (users, count) in enumerate(order):
            if not _has_room(load_generator, suite):
                return _cut(f"the budget of {suite.budget:,g} s was used up", block, order[at:], grid, suite)
            played = load_generator.play(
                {SCENARIO: _scenario(suite, users, names[:count], block)}, Cell(users=users, servers=count, block=block)
            )
            if load_generator.stopped or not played:
                return _cut(f"stopped: {load_generator.stopped}", block, order[at:], grid, suite)
            grid[users, count].append(_block(load_generator, played[-1], block))
    return ""


def _is_done(cell: tuple[int, int], found: Sequence[BlockResult], suite: Suite) -> bool:
    if len(found) < suite.blocks:
        return False
    result = cell_of(*cell, found, suite.precision)
    return result.tight or result.p95_ms is None or len(found) >= suite.max_blocks


def _has_room(load_generator: LoadGenerator, suite: Suite) -> bool:
    """True if the budget has time for another block, by the length of the blocks so far, pauses included."""
    stages = load_generator.so_far().stages
    planned_s = suite.warm_up + suite.block_duration
    if not stages:
        return planned_s <= suite.budget
    elapsed_s = stages[-1].until_s - stages[0].from_s
    played = sum(stage.block is not None and stage.measured for stage in stages)
    return elapsed_s + max(planned_s, elapsed_s / max(1, played)) <= suite.budget


def _scenario(suite: Suite, users: int, servers: Sequence[str], block: int) -> Scenario:
    what = f"{_counted(users, 'user')}, {_counted(len(servers), 'server')}, block {block}"
    stages = [Stage(duration=suite.block_duration, target=users, kind=StageKind.HOLD, name=what)]
    if suite.warm_up:
        stages.insert(0, Stage(duration=suite.warm_up, target=users, kind=StageKind.WARM_UP, name=f"warm-up: {what}"))
    return Scenario(
        operation=suite.operation,
        model=Model.CLOSED,
        stages=tuple(stages),
        servers=tuple(servers),
        max_in_flight=max(_PLACES, users),
        tool=suite.tool,
        arguments=suite.arguments,
    )


def _block(load_generator: LoadGenerator, stage: int, block: int) -> BlockResult:
    """The block just played. Whether the load generator was its limit is judged once, at the end."""
    summary = of_stage(load_generator.so_far(), stage)
    p95_us = summary.quantile_us(0.95)
    return BlockResult(
        stage=stage,
        block=block,
        p95_ms=None if p95_us is None else p95_us / 1000,
        ok_per_s=summary.ok_per_s,
        failed_ratio=summary.failed_ratio,
        client_bound=False,
    )


def _cut(why: str, block: int, left: Sequence[tuple[int, int]], grid: Grid, suite: Suite) -> str:
    """A description of the missing part."""
    few = [cell for cell, found in grid.items() if len(found) < suite.blocks]
    missing = f"{why} in round {block}, before {_cells(left)}"
    if not few:
        return f"{missing}; every cell has {suite.blocks} blocks all the same"
    return f"{missing}; fewer than {suite.blocks} blocks, too few to compare, have {_cells(few)}"


def _doubts(result: Sequence[CellResult], suite: Suite) -> Iterator[str]:
    def named(some: Sequence[CellResult]) -> str:
        return _cells([(cell.users, cell.servers) for cell in some])

    if slow := [cell for cell in result if cell.first_block_slow]:
        warm_up = f"warm_up is {suite.warm_up:g} s, make it longer"
        yield f"the first block was far slower than the others ({named(slow)}): {warm_up}"
    if bound := [cell for cell in result if cell.client_bound]:
        yield f"the load generator, not the servers, was the limit in most blocks of {named(bound)}"
    if wide := [cell for cell in result if not cell.tight and len(cell.blocks) >= suite.max_blocks]:
        precision = f"{100 * suite.precision:g}%"
        yield f"after {suite.max_blocks} blocks the interval of p95 is still wider than {precision} for {named(wide)}"


def _cells(some: Sequence[tuple[int, int]]) -> str:
    """Names of the first few of many cells."""
    shown = ", ".join(f"{_counted(users, 'user')} x {_counted(servers, 'server')}" for users, servers in some[:4])
    return f"{shown} and {len(some) - 4} more cells" if len(some) > 4 else shown


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
