"""Contradictions in a plan that no single value shows, and values beyond the plan's own limits.

Each fault is the keys that lead to it and a text with the remedy: a plan's reader adds file and line, the check before
a run raises them as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import chain

from checker.loadtest.arrivals import LevelSpan
from checker.loadtest.plan import (
    Arrivals,
    Model,
    Operation,
    Plan,
    Scenario,
    Stress,
    Suite,
    Threshold,
    host_of,
    options_of,
    probe_kind,
    targets,
)
from checker.loadtest.planning.stages import (
    NAME_REMEDY,
    Fault,
    ends_s,
    is_name,
    lines,
    longest_measured_s,
    peak,
    stage_faults,
)
from checker.loadtest.thresholds.grammar import Condition, condition
from checker.model import Server
from checker.probe_kinds import OPERATIONS, in_words


def plan_faults(plan: Plan) -> Iterator[Fault]:
    """All faults of a plan except those of its thresholds; violations of its limits come last."""
    parts = {"scenarios": plan.scenarios or None, "suite": plan.suite, "stress": plan.stress}
    played = [key for key, part in parts.items() if part is not None]
    if not played:
        yield (), "nothing to run; add scenarios:, suite: or stress:"
    for key in played[1:]:
        yield (key,), f"cannot be combined with {played[0]}:; a plan has one of the two"
    if len(played) != 1:
        return
    for name, scenario in plan.scenarios.items():
        if not is_name(name):
            yield ("scenarios", name), NAME_REMEDY
        for keys, text in _scenario_faults(scenario, plan.servers):
            yield ("scenarios", name, *keys), text
    if plan.suite is not None:
        for keys, text in _suite_faults(plan.suite, plan):
            yield ("suite", *keys), text
    if plan.stress is not None:
        for keys, text in _stress_faults(plan.stress, plan):
            yield ("stress", *keys), text
    yield from _beyond_limits(plan)


def threshold_faults(plan: Plan, threshold: Threshold) -> Iterator[Fault]:
    """The faults of one threshold of the plan: its spelling, and references to parts that the plan does not have."""
    try:
        found = condition(threshold)
    except ValueError as error:
        yield (), str(error)
        return
    if threshold.over is not None and threshold.over < 1:
        yield ("over",), "a window is at least as long as what is counted together; write 1s or more"
    if threshold.abort and not (found.operator.is_upper or found.operator.is_lower):
        yield ("abort",), f"needs < <= > or >=; {found.operator} cannot be judged before the end"
    wrong = list(_selector_faults(plan, found))
    yield from wrong
    longest = _longest_measured_s(plan, found)
    if threshold.over is not None and not wrong and threshold.over > longest + 1e-9:
        yield ("over",), f"no window of {threshold.over:g}s fits: measured for {longest:g}s at most; write less"


def unknown(what: str, name: str, there: Sequence[str]) -> str:
    """The message for an unknown name, with the most similar known names."""
    close = get_close_matches(name, there, n=3) or list(there)[:10]
    return f'no {what} "{name}"; there are: {", ".join(close) or "none"}'


def _longest_measured_s(plan: Plan, found: Condition) -> float:
    """The longest contiguous measured time that the condition applies to, in seconds."""
    if plan.suite is not None:
        return plan.suite.block_duration
    if plan.stress is not None:
        return plan.stress.level_duration
    chosen = [one for name, one in plan.scenarios.items() if found.where.get("scenario", name) == name]
    return longest_measured_s(chosen, found.where.get("stage"))


def _selector_faults(plan: Plan, found: Condition) -> Iterator[Fault]:
    there = {"server": [server.name for server in plan.servers]}
    if plan.scenarios:
        there["scenario"] = list(plan.scenarios)
        there["operation"] = sorted({str(one.operation) for one in plan.scenarios.values()})
        there["stage"] = sorted({stage.name for one in plan.scenarios.values() for stage in one.stages})
    for key, value in found.where.items():
        if key in there and value not in there[key]:
            yield (), unknown(key, value, there[key])


def _scenario_faults(scenario: Scenario, servers: Sequence[Server]) -> Iterator[Fault]:
    yield from _target_faults(scenario.operation, scenario.servers, servers)
    yield from _tool_faults(scenario)
    for keys, text in stage_faults(scenario.stages):
        yield ("stages", *keys), text
    measured = [one for one in scenario.stages if one.kind is not None and one.kind.is_measured and one.target > 0]
    if not measured:
        yield ("stages",), "nothing is measured; add a stage that holds a level, such as {duration: 30s, target: 100}"
    if scenario.model is Model.OPEN and scenario.think_time:
        yield ("think_time",), "only users think; remove it, or write model: closed"
    if scenario.model is Model.CLOSED:
        if scenario.arrivals is not Arrivals.EVEN:
            yield ("arrivals",), "the closed model has no arrivals; remove it, or write model: open"
        for number, stage in enumerate(scenario.stages):
            if stage.target != int(stage.target):
                yield ("stages", number, "target"), f"{stage.target:g} is not a number of users; write a whole number"
    yield from _timeout_faults(scenario.timeout)


def _timeout_faults(timeout: float) -> Iterator[Fault]:
    if timeout <= 0:
        yield ("timeout",), "0 is not a time limit; write a duration like 5s"


def _target_faults(operation: Operation, names: Sequence[str], servers: Sequence[Server]) -> Iterator[Fault]:
    """Servers that do not exist or have no address for the operation."""
    by_name = {server.name: server for server in servers}
    key = f"{probe_kind(operation)}:"
    for number, name in enumerate(names):
        if name not in by_name:
            yield ("servers", number), unknown("server", name, list(by_name))
        elif options_of(by_name[name], operation) is None:
            yield (
                ("servers", number),
                f'"{name}" has no address under {key} for {operation}; give it one, or leave it out',
            )
    if not names and not targets(servers, operation):
        yield ("operation",), f"no server of this plan has an address under {key} for {operation}"


def _tool_faults(one: Scenario | Suite | Stress) -> Iterator[Fault]:
    """Faults of tool calls: only tools that the plan names are ever called."""
    if OPERATIONS[one.operation].calls_tool and not one.tool.strip():
        yield ("tool",), f"missing; name the tool that {one.operation} is to call"
    if not OPERATIONS[one.operation].calls_tool:
        calling = in_words(name for name, operation in OPERATIONS.items() if operation.calls_tool)
        for key in ("tool", "arguments"):
            if getattr(one, key):
                yield (
                    (key,),
                    f"{one.operation} calls no tool; remove it, or write operation: {calling}",
                )


def _suite_faults(suite: Suite, plan: Plan) -> Iterator[Fault]:
    yield from _target_faults(suite.operation, (), plan.servers)
    yield from _tool_faults(suite)
    there = len(targets(plan.servers, suite.operation))
    for number, count in enumerate(suite.server_counts):
        if there and count > there:
            yield ("server_counts", number), f"{count} servers are more than the {there} that {suite.operation} has"
    for key in ("concurrent_users", "server_counts"):
        values = getattr(suite, key)
        if not values:
            yield (key,), "empty; write at least one number"
        for number, value in enumerate(values):
            if value in values[:number]:
                yield (key, number), f"{value} is given twice; each cell is measured once"
    if suite.blocks > suite.max_blocks:
        yield ("max_blocks",), f"{suite.max_blocks} is less than blocks ({suite.blocks}); write as many or more"
    if suite.block_duration < 1:
        yield ("block_duration",), "too short to be measured; write 1s or more"
    cells = len(suite.concurrent_users) * len(suite.server_counts)
    least = cells * suite.blocks * (suite.block_duration + suite.warm_up)
    if least > suite.budget:
        yield ("budget",), f"{cells} cells of {suite.blocks} blocks take {least:g}s; write more, or ask for less"
    for number, users in enumerate(suite.concurrent_users):
        if users > plan.limits.max_connections:
            yield ("concurrent_users", number), _too_many(users, plan.limits.max_connections)


def _stress_faults(stress: Stress, plan: Plan) -> Iterator[Fault]:
    yield from _target_faults(stress.operation, stress.servers, plan.servers)
    yield from _tool_faults(stress)
    yield from _timeout_faults(stress.timeout)
    if stress.maximum < stress.start:
        yield ("maximum",), f"{stress.maximum:g} is below start ({stress.start:g}); write more"
    if stress.level_duration < 1:
        yield ("level_duration",), "too short to be measured; write 1s or more"
    if stress.model is Model.CLOSED and stress.start < 1:
        yield ("start",), "fewer than one user; write 1 or more"
    if stress.model is Model.OPEN and stress.maximum > plan.limits.max_rate:
        text = (
            f"{stress.maximum:g}/s is above limits.max_rate ({plan.limits.max_rate:g}/s); lower it, or raise the limit"
        )
        yield ("maximum",), text


def _beyond_limits(plan: Plan) -> Iterator[Fault]:
    """Stages beyond the limits. Rates of the closed model are not known in advance."""
    limits, hosts, users = plan.limits, dict[str, list[LevelSpan]](), dict[str, list[LevelSpan]]()
    rates: list[LevelSpan] = []
    for scenario in plan.scenarios.values():
        level, there = lines(scenario), targets(plan.servers, scenario.operation, scenario.servers)
        rates += level if scenario.model is Model.OPEN else []
        parts = Counter(host_of(server, scenario.operation) for server in there)
        for host, count in parts.items():
            shares = hosts if scenario.model is Model.OPEN else users
            shares.setdefault(host, []).extend(line.times(count / len(there)) for line in level)
    highest, at = peak(rates)
    if highest > limits.max_rate * _SLACK:
        said = f"the stages reach {highest:g}/s {at:g}s after the start"
        yield ("limits", "max_rate"), f"{said}, above {limits.max_rate:g}/s; lower them, or raise the limit"
    for host, some in hosts.items() if limits.per_host is not None else ():
        highest, at = peak(some)
        if limits.per_host is not None and highest > limits.per_host * _SLACK:
            said = f"{host} would get {highest:g}/s {at:g}s after the start"
            yield ("limits", "per_host"), f"{said}, above {limits.per_host:g}/s; lower its part, or raise the limit"
    for host, some in users.items():
        highest, _ = peak(some)
        if highest > limits.max_connections * _SLACK:
            yield ("limits", "max_connections"), _too_many(highest, limits.max_connections, host)
    total = sum(line.arrivals for line in rates)
    if total > limits.max_total * _SLACK:
        longest = max(map(ends_s, plan.scenarios.values()))
        said = f"the stages make {total:.0f} operations in {longest:g}s"
        yield ("limits", "max_total"), f"{said}, above {limits.max_total}; shorten them, or raise the limit"


_SLACK = 1 + 1e-9


def _too_many(users: float, connections: int, host: str = "one host") -> str:
    return f"{users:g} users of {host} are more than limits.max_connections ({connections}); raise it, or write fewer"


def all_faults(plan: Plan) -> Iterator[Fault]:
    """All faults of a plan; a threshold's fault begins with its number in the plan."""
    of_thresholds = (
        (("thresholds", number, *keys), text)
        for number, threshold in enumerate(plan.thresholds)
        for keys, text in threshold_faults(plan, threshold)
    )
    return chain(plan_faults(plan), of_thresholds)
