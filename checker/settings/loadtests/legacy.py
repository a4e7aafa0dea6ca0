"""Legacy configurations: their ``benchmarking`` block as a plan, either one of its scenarios or its grid as a suite."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from checker.errors import UsageError
from checker.loadtest.plan import Operation, Suite, targets
from checker.loadtest.planning.plan_validation import unknown
from checker.model import Server
from checker.settings.legacy_options import Benchmarking, BenchmarkOutput
from checker.settings.loadtests.source import escaped_values

_KIND_OF_LOAD = "concurrent_users each wait for their answer before the next check (closed model)"


def plan_of_block(
    block: Benchmarking, servers: Sequence[Server], names: Sequence[str], suite: bool, iterations: int = 1
) -> tuple[dict[str, Any], list[str]]:
    """The document of a plan without its servers, and a note for each key with a different meaning here.

    ``names`` are the scenarios to play, one after the other; without names, the only scenario there is. ``suite`` takes
    the grid of concurrent users and server counts instead. ``iterations`` is the number of repetitions of the
    scenarios. Raises UsageError for a choice that cannot be made.
    """
    operation, notes = _operation(servers)
    document: dict[str, Any] = escaped_values({"output": _output(block.output)})
    if suite:
        if names:
            raise UsageError("--suite and --scenario are two kinds of load test; give one of them")
        grid, said = _suite(block, operation, len(targets(servers, operation)))
        return {**document, "suite": grid}, [*notes, *said]
    scenarios, said = _scenarios(block, operation, _chosen(block, names), iterations)
    return {**document, "scenarios": scenarios}, [*notes, *said]


def _chosen(block: Benchmarking, names: Sequence[str]) -> list[str]:
    if not names and len(block.scenarios) == 1:
        return list(block.scenarios)
    if not names:
        raise UsageError(f"which load? give --suite, or --scenario with one of {', '.join(block.scenarios)}")
    for name in names:
        if name not in block.scenarios:
            raise UsageError(unknown("scenario", name, list(block.scenarios)))
    return list(dict.fromkeys(names))


def _operation(servers: Sequence[Server]) -> tuple[Operation, list[str]]:
    """The operation of every user: the REST request if any server has an address for it, else the MCP check."""
    rest = len(targets(servers, "rest"))
    operation = "rest" if rest else "mcp_check"
    there = len(targets(servers, operation))
    if there < len(servers):
        return operation, [
            f"{len(servers) - there} of {len(servers)} servers have no address for {operation}: left out"
        ]
    return operation, []


def _scenarios(
    block: Benchmarking, operation: Operation, names: list[str], iterations: int
) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    at, usual = 0.0, block.defaults
    for number, name in product(range(1, iterations + 1), names):
        one = block.scenarios[name]
        if one.duration_seconds <= one.ramp_up_seconds:
            raise UsageError(
                f"benchmarking.scenarios.{name}.duration_seconds: {one.duration_seconds:g} is the time in all, "
                f"of which ramp_up_seconds takes {one.ramp_up_seconds:g}; write more"
            )
        found[name if number == 1 else f"{name}-{number}"] = {
            "operation": operation,
            "users": one.concurrent_users,
            "ramp_up": one.ramp_up_seconds,
            "warm_up": usual.warmup_duration,
            "duration": one.duration_seconds - one.ramp_up_seconds,
            "cool_down": usual.cooldown_duration,
            "start_after": at,
        }
        at += usual.warmup_duration + one.duration_seconds + usual.cooldown_duration
    said = [
        f"benchmarking: {_KIND_OF_LOAD}; duration_seconds is ramp-up and measured time together, warm-up and cool-down "
        "come on top"
    ]
    if iterations > 1:
        said.append(
            f"benchmarking.defaults.iterations: played {iterations} times, the second as {names[0]}-2; "
            f"{at / 60:.0f} minutes in all"
        )
    return found, said


def _suite(block: Benchmarking, operation: Operation, there: int) -> tuple[dict[str, Any], list[str]]:
    """The grid. Iterations become blocks in the same total time: at least five, since fewer cannot be compared."""
    usual = block.defaults
    blocks = max(Suite().blocks, usual.iterations)
    block_s = max(1.0, usual.duration_seconds * usual.iterations / blocks)
    counts = [count for count in dict.fromkeys(block.server_counts) if count <= there]
    users = list(dict.fromkeys(block.concurrent_users))
    said = [f"benchmarking: {_KIND_OF_LOAD}"]
    if dropped := [count for count in block.server_counts if count > there]:
        said.append(f"benchmarking.server_counts: {', '.join(map(str, dropped))} left out: {there} can be loaded")
    if not counts:
        counts = [max(there, 1)]
    if blocks != usual.iterations:
        said.append(
            f"benchmarking.defaults.iterations: {usual.iterations} of {usual.duration_seconds:g}s become {blocks} "
            f"blocks of {block_s:g}s, since fewer than {Suite().blocks} cannot be compared"
        )
    if usual.cooldown_duration:
        said.append("benchmarking.defaults.cooldown_duration: no use in a suite, whose blocks wait for late answers")
    budget = len(users) * len(counts) * blocks * (block_s + usual.warmup_duration)
    said.append(f"{len(users)} x {len(counts)} cells of {blocks} blocks take {budget / 60:.0f} minutes")
    suite = {
        "operation": operation,
        "concurrent_users": users,
        "server_counts": counts,
        "blocks": blocks,
        "max_blocks": blocks,
        "block_duration": block_s,
        "warm_up": usual.warmup_duration,
        "budget": max(Suite().budget, round(1.1 * budget)),  # answers that are waited for take time, too
    }
    return suite, said


def _output(given: BenchmarkOutput) -> dict[str, Any]:
    return {
        "directory": given.directory,
        "formats": [one for one in given.formats if one != "html" or given.reports.enabled],
        "charts": list(given.charts.formats) if given.charts.enabled else [],
        "include_charts": given.reports.include_charts,
        "include_recommendations": given.reports.include_recommendations,
    }
