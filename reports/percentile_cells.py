"""Percentiles of summed histograms with their intervals, as table cells: never a number from too few samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from checker.probe_kinds import KINDS
from checker.stats import Floats
from checker.stats.intervals import fewest, ranks_of_many
from reports.output_forms import duration
from reports.report_model import Column, Insufficient, KeyNumber, Kind
from storage.rollups.buckets import Sums

if TYPE_CHECKING:
    from storage.report_history import Past
    from storage.rollups.read import Period

_RANKS = {"p90": 1, "p999": 1}
"""Name of a percentile -> its rank among the columns that a narrow terminal leaves out."""
QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999))
"""Name -> ratio; the value is the sample at the nearest rank."""
_MONTH_MS = 31 * 86_400_000
"""Longest time whose latencies are read for the numbers at the top of another report: they cost as much as it does."""
LABELS = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9"}


@lru_cache(maxsize=64)
def fewest_samples(q: float) -> int:
    """The smallest number of samples for which quantile ``q`` is shown: 6 for p50, then 10, 20, 100 and 1,000.

    In fewer samples the nearest rank is simply the largest sample; for the median the limit comes from its interval.
    """
    return max(fewest(0.5), math.ceil(1 / (1 - q) - 1e-9))


class PercentileTable(Struct, frozen=True):
    """Percentiles in milliseconds; a row for each label, a column for each of `QUANTILES`."""

    count: Floats
    min_ms: Floats
    max_ms: Floats
    values_ms: Floats
    """NaN if there are too few samples."""
    low_ms: Floats
    """The lower ends of 95% intervals; -inf if no sample is far enough out."""
    high_ms: Floats

    def cells(self, row: int) -> list[Any]:
        """n, min, the percentiles and max, in the order of `columns`."""
        n = int(self.count[row])
        if n == 0:
            return [0, *[None] * (len(QUANTILES) + 2)]
        values = [
            Insufficient(n, fewest_samples(q)) if math.isnan(value) else value
            for (_, q), value in zip(QUANTILES, self.values_ms[row].tolist(), strict=True)
        ]
        return [n, float(self.min_ms[row]), *values, float(self.max_ms[row])]

    def value(self, row: int, name: str) -> Any:
        """One of the percentiles as a cell."""
        place = [one for one, _ in QUANTILES].index(name)
        return self.cells(row)[2 + place]

    def ends(self, row: int) -> list[Any]:
        """The intervals in the order of `interval_columns`."""
        n = int(self.count[row])
        found: list[Any] = [n]
        for place, (_, q) in enumerate(QUANTILES):
            if n < fewest_samples(q):
                few = Insufficient(n, fewest_samples(q)) if n else None
                found += [few, few]
            else:
                found += [float(self.low_ms[row, place]), float(self.high_ms[row, place])]
        return found


def percentiles_of(sums: Sums) -> PercentileTable:
    """The percentiles of the samples summed under each label."""
    ratios = [q for _, q in QUANTILES]
    enough = sums.count[:, None] >= np.array([fewest_samples(q) for q in ratios])
    ends = np.stack([ranks_of_many(sums.count, q) for q in ratios], axis=1)
    low_us, high_us = sums.around_ranks_us(ends[:, :, 0], ends[:, :, 1])
    return PercentileTable(
        count=sums.count.astype(np.float64),
        min_ms=sums.min_us / 1000,
        max_ms=sums.max_us / 1000,
        values_ms=np.where(enough, sums.quantiles_us(ratios) / 1000, np.nan),
        low_ms=np.where(ends[:, :, 0] >= 1, low_us / 1000, -np.inf),
        high_ms=np.where(ends[:, :, 1] >= 1, high_us / 1000, np.inf),
    )


def latency_numbers(past: Past, period: Period) -> list[KeyNumber]:
    """p50, p95 and p99 of all answers in the period, or its last month, for each kind of probe that has any."""
    month_ms = (period.until_ms - _MONTH_MS) // period.slot_ms * period.slot_ms
    recent = replace(period, since_ms=max(period.since_ms, month_ms))
    stream = past.rollups.stream(recent, tuple(KINDS))
    kinds = sorted({one.kind for one in stream.series})
    row = np.array([kinds.index(one.kind) for one in stream.series], np.int64)
    sums = percentiles_of(stream.summed(row, len(kinds)).of_rows(recent.slots))
    found = key_numbers([(kind, sums.cells(place)) for place, kind in enumerate(kinds)])
    return found if recent == period else [replace(one, note=f"{one.note}; last month") for one in found]


def key_numbers(cells: Sequence[tuple[str, Sequence[Any]]]) -> list[KeyNumber]:
    """p50, p95 and p99 as the numbers of a page: of each kind, given its name and its `PercentileTable.cells`."""
    found = []
    answered = [(kind, of_kind) for kind, of_kind in cells if of_kind[0]]
    for name in ("p50", "p95", "p99") if answered else ():
        place = 2 + [one for one, _ in QUANTILES].index(name)
        (first, value), *others = ((kind, _shown(of_kind[place])) for kind, of_kind in answered)
        note = "".join(f"; {kind} {other}" for kind, other in others)
        found.append(KeyNumber(LABELS[name], value, f"{first}{note}"))
    return found


def _shown(value: Any) -> str:
    return "too few" if isinstance(value, Insufficient) else duration(value)


def columns() -> list[Column]:
    """The columns of `PercentileTable.cells`."""
    return [
        Column("n", "n", Kind.COUNT, words="Probes that got their answer."),
        Column("min_ms", "min", Kind.DURATION, rank=2),
        *(
            Column(
                f"{name}_ms",
                LABELS[name],
                Kind.DURATION,
                words=f"From {fewest_samples(q):,} samples on.",
                rank=_RANKS.get(name, 0),
            )
            for name, q in QUANTILES
        ),
        Column("max_ms", "max", Kind.DURATION),
    ]


def interval_columns() -> list[Column]:
    """The columns of `PercentileTable.ends`."""
    return [
        Column("n", "n", Kind.COUNT),
        *(
            Column(f"{name}_{end}_ms", f"{LABELS[name]} {word}", Kind.DURATION)
            for name, _ in QUANTILES
            for end, word in (("low", "from"), ("high", "to"))
        ),
    ]
