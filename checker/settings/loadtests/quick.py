"""A plan from the command line, without a file: load on one address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import asdict, fields

from checker.errors import ConfigError, UsageError
from checker.loadtest.plan import Arrivals, LoadLimits, Model, Operation, Output, Plan, Scenario, Threshold, probe_kind
from checker.loadtest.planning.plan_validation import all_faults
from checker.loadtest.planning.stages import shorthand
from checker.loadtest.thresholds.grammar import Metric, canonical
from checker.settings.adhoc import adhoc
from checker.settings.loadtests.source import escaped_values, source_of
from checker.settings.targets import kind_of_address

RATE_PER_S = 50.0
DURATION_S = 30.0
SCENARIO = "quick"
"""The name of the only scenario."""
_USUAL = Scenario(operation="rest")


def quick_plan(
    url: str,
    operation: Operation | None = None,
    *,
    rate: float | None = None,
    users: int | None = None,
    duration: float = DURATION_S,
    warm_up: float = 0.0,
    ramp_up: float = 0.0,
    ramp_down: float = 0.0,
    cool_down: float = 0.0,
    poisson: bool = False,
    think_time: float = 0.0,
    timeout: float = _USUAL.timeout,
    max_in_flight: int = _USUAL.max_in_flight,
    tool: str = "",
    arguments: Mapping[str, Any] | None = None,
    thresholds: Sequence[str] = (),
    abort: bool = False,
    limits: LoadLimits | None = None,
    workers: int | None = None,
    seed: int = 1,
    calibrate: bool = True,
    public_hosts: Sequence[str] = (),
    name: str = "",
) -> Plan:
    """The plan of one scenario at one server; durations are seconds.

    The default operation is the call of ``tool`` if there is one, tools/list for an address that looks like one of MCP
    (`checker.settings.targets.kind_of_address`), a full check if its path ends in /sse, else the REST request; without
    rate and users the rate is `RATE_PER_S`. Thresholds are spelled ``failed:rate<0.01``, or without a metric for the
    response time. With ``abort`` a broken one ends the run. Raises UsageError and ConfigError for options that
    contradict each other.
    """
    if rate is not None and users is not None:
        raise UsageError("--rate and --users are two kinds of load (open, closed); give one of them")
    warnings: tuple[str, ...] = ()
    if operation is None:
        operation = "mcp_call" if tool else _by_address(url)
        if operation in ("mcp_list", "mcp_check"):
            warnings = (f"the address looks like that of an MCP server: {operation}; --operation says otherwise",)
    try:
        server = adhoc({probe_kind(operation): url}, timeout)
    except ConfigError as error:  # which names the option of `check` that an address goes with
        raise UsageError(str(error).replace(f"--{probe_kind(operation)}: ", "")) from None
    level = float(users) if users is not None else RATE_PER_S if rate is None else rate
    around = {"warm_up": warm_up, "ramp_up": ramp_up, "ramp_down": ramp_down, "cool_down": cool_down}
    scenario = Scenario(
        operation=operation,
        model=Model.OPEN if users is None else Model.CLOSED,
        stages=shorthand(level, duration, **around),
        arrivals=Arrivals.POISSON if poisson else Arrivals.EVEN,
        think_time=think_time,
        timeout=timeout,
        max_in_flight=max_in_flight,
        tool=tool,
        arguments=arguments or {},
    )
    written: dict[str, Any] = {
        "operation": operation,
        ("rate" if users is None else "users"): level if users is None else users,
        "duration": duration,
        **{key: value for key, value in around.items() if value},
        **{key: getattr(scenario, key) for key in _SHOWN if getattr(scenario, key) != getattr(_USUAL, key)},
    }
    conditions = tuple(_threshold(text, abort) for text in thresholds)
    document: dict[str, Any] = {"scenarios": {SCENARIO: written}}
    if conditions:
        document["thresholds"] = _as_written(conditions)
    if limits is not None and limits != LoadLimits():
        usual = asdict(LoadLimits())
        document["limits"] = {key: value for key, value in asdict(limits).items() if value != usual[key]}
    head = {"workers": workers, "seed": seed, "calibrate": calibrate}
    defaults = {field.name: field.default for field in fields(Plan)}
    document |= {key: value for key, value in head.items() if value != defaults[key]}
    plan = Plan(
        name=name or server.name,
        servers=(server,),
        scenarios={SCENARIO: scenario},
        thresholds=conditions,
        limits=limits or LoadLimits(),
        workers=workers,
        seed=seed,
        calibrate=calibrate,
        output=Output(),
        warnings=warnings,
        public_hosts=tuple(public_hosts),
        source=source_of(escaped_values(document), name or server.name, (server,), ()),
    )
    if faults := [f"{_option(keys)}{text}" for keys, text in all_faults(plan)]:
        raise UsageError("\n".join(faults))
    return plan


def _by_address(url: str) -> Operation:
    """The usual operation for an address."""
    if kind_of_address(url) != "mcp":
        return "rest"
    # the old transport carries whole checks only
    return "mcp_check" if urlsplit(url).path.rstrip("/").endswith("/sse") else "mcp_list"


_SHOWN = ("arrivals", "think_time", "timeout", "max_in_flight", "tool", "arguments")


def _threshold(text: str, abort: bool) -> Threshold:
    """The threshold of ``metric:expression``, or of an expression for the response time; raises UsageError.

    A metric can contain colons too, in its selectors; an expression has none.
    """
    metric, _, expression = text.rpartition(":")
    try:
        return canonical(Threshold(metric=metric or Metric.RESPONSE_TIME, expression=expression.strip(), abort=abort))
    except ValueError as error:
        raise UsageError(f"--threshold {text}: {error}") from None


def _as_written(thresholds: Sequence[Threshold]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in thresholds:
        entry = {"expression": one.expression, "abort": True} if one.abort else one.expression
        found.setdefault(one.metric, []).append(entry)
    return found


def _option(keys: Sequence[str | int]) -> str:
    """The command line option for keys of a plan, at the start of a message."""
    last = next((str(key) for key in reversed(keys) if isinstance(key, str)), "")
    last = {"stages": "duration", "thresholds": "threshold", "target": "rate"}.get(last, last)
    return f"--{last.replace('_', '-')}: " if last and last != SCENARIO else ""
