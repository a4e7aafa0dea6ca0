"""The ``thresholds`` block, in k6's form: a metric -> its conditions, each an expression or a mapping with more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checker.bench.plan import Threshold
from checker.bench.thresholds.grammar import canonical, parsed_metric
from checker.settings.bench.shapes import SPELLINGS, ThresholdEntry
from checker.settings.document import Place
from checker.settings.validate import Source, validated


def read_thresholds(values: Any, source: Source) -> list[tuple[Threshold, Place]]:
    """The thresholds and where each stands below the block; what is wrong is added to the problems."""
    if values is None:
        return []
    if not isinstance(values, Mapping):
        source.complain((), "write metrics with lists of conditions, such as response_time: [p(95)<500]")
        return []
    found: list[tuple[Threshold, Place]] = []
    for metric, conditions in values.items():
        try:
            parsed_metric(metric)
        except ValueError as error:
            source.complain((metric,), str(error))
            continue
        for place, entry in _entries(conditions, source, (metric,)):
            threshold = _threshold(metric, entry, source.below(*place))
            found += [(threshold, place)] if threshold is not None else []
    return found


def _entries(conditions: Any, source: Source, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(conditions, str | Mapping):
        yield place, conditions
    elif isinstance(conditions, list) and conditions:
        yield from (((*place, index), entry) for index, entry in enumerate(conditions))
    else:
        source.complain(place, "write a list of conditions, such as [p(95)<500]")


def _threshold(metric: str, entry: Any, source: Source) -> Threshold | None:
    given = {"expression": entry} if isinstance(entry, str) else entry
    if not isinstance(given, Mapping):
        source.complain((), "not a condition; write one such as p(95)<500, or expression: and over:, indented below")
        return None
    given = dict(given)
    for theirs, ours in SPELLINGS.items():
        if theirs in given and ours in given:
            source.complain((theirs,), f"{ours} is set as well; keep one of them")
            del given[theirs]
        elif theirs in given:
            given[ours] = given.pop(theirs)
    before = len(source.problems)
    spelled = validated(ThresholdEntry, given, source)
    if spelled is None or len(source.problems) > before:
        return None
    threshold = Threshold(
        metric=metric,
        expression=spelled.expression.strip(),
        over=spelled.over,
        abort=spelled.abort,
        delay=spelled.delay,
    )
    try:
        return canonical(threshold)
    except ValueError as error:
        source.complain((), str(error))
        return None
