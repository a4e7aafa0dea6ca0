"""The grammar of thresholds: a metric with selectors, and an expression in k6's spelling.

``failed{scenario:a,stage:peak}`` and ``p(99.9) < 500ms`` become a `Condition`. Times are milliseconds and shares are
ratios unless the limit has a unit (us, ms, s, %).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum

from msgspec.structs import replace

from checker.loadtest.plan import Threshold


class Metric(StrEnum):
    """The metrics that a threshold may use."""

    RESPONSE_TIME = "response_time"
    SERVICE_TIME = "service_time"
    FIRST_BYTE = "first_byte"
    LATE = "late"
    FAILED = "failed"
    TIMEOUTS = "timeouts"
    REFUSED = "refused"
    RESENT = "resent"
    OFFERED = "offered"
    ACHIEVED = "achieved"
    OK = "ok"

    @property
    def is_time(self) -> bool:
        """True if it has a distribution, in milliseconds."""
        return self in (Metric.RESPONSE_TIME, Metric.SERVICE_TIME, Metric.FIRST_BYTE, Metric.LATE)

    @property
    def is_share(self) -> bool:
        """True if its rate is a share of the operations; the rate of other metrics is operations per second."""
        return self in (Metric.FAILED, Metric.TIMEOUTS, Metric.REFUSED, Metric.RESENT)


class Aggregate(StrEnum):
    """The statistic of a metric."""

    AVG = "avg"
    MIN = "min"
    MED = "med"
    MAX = "max"
    QUANTILE = "p"
    RATE = "rate"
    COUNT = "count"
    VALUE = "value"
    """As k6 has it for gauges: here a synonym of the rate."""


class Operator(StrEnum):
    """The comparison of a value with the limit."""

    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="
    NE = "!="

    @property
    def is_upper(self) -> bool:
        """True if the limit is an upper bound."""
        return self in (Operator.LT, Operator.LE)

    @property
    def is_lower(self) -> bool:
        """True if the limit is a lower bound."""
        return self in (Operator.GT, Operator.GE)

    def holds(self, value: float, limit: float) -> bool:
        """True if the value satisfies the comparison with the limit."""
        match self:
            case Operator.LT:
                return value < limit
            case Operator.LE:
                return value <= limit
            case Operator.GT:
                return value > limit
            case Operator.GE:
                return value >= limit
            case Operator.EQ:
                return value == limit
            case Operator.NE:
                return value != limit


SELECTORS = ("scenario", "operation", "server", "stage")
ALIASES = {
    "http_req_duration": "response_time",
    "http_req_waiting": "first_byte",
    "http_req_failed": "failed",
    "http_reqs": "achieved",
}
"""k6's metric -> ours. k6's duration begins when a request is sent, ours when it was due, so that ours is never
less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A parsed threshold."""

    metric: Metric
    aggregate: Aggregate
    operator: Operator
    limit: float
    """Milliseconds for times, a ratio for shares, otherwise a number or operations per second."""
    quantile: float = 0.0
    """Of the aggregate p(N) and of med: above 0, up to 1."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Selector -> the one value that counts."""

    def holds(self, value: float) -> bool:
        """True if the value satisfies the condition."""
        return self.operator.holds(value, self.limit)

    @property
    def metric_text(self) -> str:
        """The metric as written, under our own name."""
        some = ",".join(f"{key}:{_quoted(value)}" for key, value in self.where.items())
        return f"{self.metric}{{{some}}}" if some else str(self.metric)

    @property
    def expression_text(self) -> str:
        """The expression as written, without units."""
        name = f"p({_number(self.quantile * 100)})" if self.aggregate is Aggregate.QUANTILE else str(self.aggregate)
        return f"{name}{self.operator}{_number(self.limit)}"


def condition(threshold: Threshold) -> Condition:
    """The condition of a threshold; raises ValueError, whose text says what to write instead."""
    return parsed(threshold.metric, threshold.expression)


def canonical(threshold: Threshold) -> Threshold:
    """The threshold with our own metric name in place of k6's; raises ValueError as `condition`."""
    return replace(threshold, metric=condition(threshold).metric_text)


def parsed(metric: str, expression: str) -> Condition:
    """The condition of a metric and an expression; raises ValueError, whose text says what to write instead."""
    found, where = parsed_metric(metric)
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise ValueError(f'"{_short(expression)}" is not a condition; {_EXAMPLES[_family(found)]}')
    aggregate, operator = Aggregate(match["name"] or "p"), Operator(match["operator"])
    if aggregate not in _AGGREGATES[_family(found)]:
        known = ", ".join("p(N)" if one is Aggregate.QUANTILE else one for one in _AGGREGATES[_family(found)])
        raise ValueError(f"{found} has no {aggregate}; it has {known}: {_EXAMPLES[_family(found)]}")
    quantile = 0.5 if aggregate is Aggregate.MED else 0.0
    if aggregate is Aggregate.QUANTILE:
        quantile = round(float(match["percent"]) / 100, 12)
        if not 0 < quantile <= 1:
            raise ValueError(
                f"p({match['percent']}) is not a percentile; write more than 0 and up to 100, such as p(95)"
            )
    return Condition(
        metric=found,
        aggregate=aggregate,
        operator=operator,
        limit=_limit(found, aggregate, match["limit"], match["unit"] or ""),
        quantile=quantile,
        where=where,
    )


def parsed_metric(text: str) -> tuple[Metric, dict[str, str]]:
    """The metric and its selectors; raises ValueError, whose text says what to write instead."""
    match = _METRIC.fullmatch(text)
    if match is None:
        raise ValueError(
            f'"{_short(text)}" is not a metric; write one such as failed, or failed{{scenario:a,stage:peak}}'
        )
    name = ALIASES.get(match["name"], match["name"])
    if name not in list(Metric):
        close = get_close_matches(name, [*Metric, *ALIASES], n=1)
        meant = f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(Metric)}"
        raise ValueError(f'no metric "{_short(name)}"; {meant}')
    where: dict[str, str] = {}
    for part in _SELECTOR.finditer(match["where"] or ""):
        key, value = part["key"], part["quoted"] if part["quoted"] is not None else part["value"].strip()
        if key not in SELECTORS:
            raise ValueError(f'no selector "{_short(key)}"; there are {", ".join(SELECTORS)}')
        if key in where:
            raise ValueError(f"the selector {key} is given twice; write each once")
        where[key] = value
    return Metric(name), where


_PART = r"\s*(?:\w+)\s*:\s*(?:\"[^\"]*\"|[^\s\",{}][^\",{}]*)\s*"
_METRIC = re.compile(rf"\s*(?P<name>\w+)\s*(?:\{{(?P<where>{_PART}(?:,{_PART})*)\}}\s*)?")
_SELECTOR = re.compile(r"\s*(?P<key>\w+)\s*:\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<value>[^\s\",{}][^\",{}]*))\s*(?:,|$)")
_EXPRESSION = re.compile(
    r"\s*(?:(?P<name>avg|min|med|max|rate|count|value)|p\s*\(\s*(?P<percent>\d+(?:\.\d+)?)\s*\))"
    r"\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<limit>\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)\s*(?P<unit>us|ms|s|%)?\s*"
)
_TIMES, _SHARES, _RATES = "times", "shares", "rates"
_AGGREGATES = {
    _TIMES: (Aggregate.AVG, Aggregate.MIN, Aggregate.MED, Aggregate.MAX, Aggregate.QUANTILE, Aggregate.COUNT),
    _SHARES: (Aggregate.RATE, Aggregate.COUNT, Aggregate.VALUE),
    _RATES: (Aggregate.RATE, Aggregate.COUNT, Aggregate.VALUE),
}
_EXAMPLES = {
    _TIMES: "write one such as p(95)<500 or avg<200ms",
    _SHARES: "write one such as rate<0.01 or count<10",
    _RATES: "write one such as rate>100 or count>1000",
}
_MS_PER = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def _family(metric: Metric) -> str:
    return _TIMES if metric.is_time else _SHARES if metric.is_share else _RATES


def _limit(metric: Metric, aggregate: Aggregate, number: str, unit: str) -> float:
    """The limit converted to the unit of the metric's values."""
    is_ratio = metric.is_share and aggregate is not Aggregate.COUNT
    is_time = metric.is_time and aggregate is not Aggregate.COUNT
    if (unit == "%" and not is_ratio) or (unit in _MS_PER and not is_time):
        raise ValueError(f"{aggregate} of {metric} is not in {unit}; leave the unit out")
    value = float(number) / 100 if unit == "%" else float(number) * _MS_PER.get(unit, 1.0)
    if is_ratio and value > 1:
        raise ValueError(f"a rate of {metric} is a share from 0 to 1; write 0.01 or 1%")
    return value


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(round(value, 12))


def _quoted(value: str) -> str:
    plain = value and value == value.strip() and not set(value) & set(',{}"')
    return value if plain else f'"{value}"'


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
