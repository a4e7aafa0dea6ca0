"""The series that trends are looked for in: the median and the p95 of every slot, and how servers stood in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.percentiles import fewest_samples
from reports.rhythms import earlier, rhythm_is_known, usual
from reports.stats import Floats
from reports.stats.slope import FEWEST_POINTS
from reports.subjects import TOTAL
from storage.past import Past
from storage.rollups.histogram import GROWTH
from storage.rollups.read import Period

METRICS = {"p50": 0.5, "p95": 0.95}


@dataclass(frozen=True, slots=True)
class OfServer:
    """What a row of values is of."""

    server: str
    group: str
    kind: str


@dataclass(frozen=True, slots=True)
class PercentileSeries:
    """A percentile of all servers and kinds, slot by slot."""

    name: str
    series: Sequence[OfServer]
    values_ms: Floats
    """Shape (series, slots); NaN where a slot has too few answers for it."""
    usual: Floats | None = None
    """How many times its level each is usually at that hour of the day or week, as a logarithm; None for once."""
    rhythm_known: npt.NDArray[np.bool_] | None = None
    """Whether there are days enough to know that of each series; None for all."""

    @property
    def even_ms(self) -> Floats:
        """The values without what they usually do at that hour of the day and of the week."""
        return self.values_ms if self.usual is None else np.asarray(self.values_ms / np.exp(self.usual))

    @property
    def points(self) -> npt.NDArray[np.int64]:
        """How many slots of each series have a value."""
        points: npt.NDArray[np.int64] = np.sum(~np.isnan(self.values_ms), axis=1)
        return points

    @property
    def tested(self) -> Sequence[OfServer]:
        """The series that are long enough for a trend."""
        return [self.series[row] for row in np.flatnonzero(self.points >= FEWEST_POINTS).tolist()]

    def spread_ms(self, seed: int = 0) -> Floats:
        """The even values, each by chance somewhere in the bin of the histogram that it was read from.

        A value stands for its bin, 2% wide, so that many are equal; tests by ranks take equal values for more alike
        than they are.
        """
        random = np.random.default_rng(seed)
        return np.asarray(self.even_ms * GROWTH ** (random.random(self.values_ms.shape) - 0.5), dtype=np.float64)

    def typical_ms(self) -> Floats:
        """The median of each series over its slots; NaN where it has none."""
        found = np.full(len(self.series), np.nan)
        some = self.points > 0
        found[some] = np.nanmedian(self.values_ms[some], axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Steady:
    """How servers stood, slot by slot; every table has the shape (servers, slots)."""

    servers: Sequence[str]
    up_ms: Floats
    down_ms: Floats
    checks: Floats
    changes: Floats

    @property
    def available_ratio(self) -> Floats:
        """Up of the time that is known; NaN where nothing is."""
        known = self.up_ms + self.down_ms
        with np.errstate(invalid="ignore"):
            return np.where(known > 0, self.up_ms / np.maximum(known, 1), np.nan)


def metrics_of(past: Past, period: Period, kinds: Sequence[str]) -> list[PercentileSeries]:
    """The median and the p95 of every slot, and what they usually do at that hour, from the weeks before too."""
    longer = earlier(period, len(past.servers) * len(kinds))
    found = past.rollups.percentiles(longer, kinds, (TOTAL,))
    servers = {one.id: one for one in past.servers}
    series = [OfServer(servers[one.server_id].name, servers[one.server_id].group, one.kind) for one in found.series]
    asked = [row for row, one in enumerate(series) if one.kind in kinds]  # raw rows are of all kinds
    buckets = found.buckets
    now = slice(period.slots.start - longer.slots.start, None)
    counts = buckets.table_us(buckets.count, len(series), longer.slots)[asked]
    there = np.flatnonzero((~np.isnan(counts[:, now])).any(axis=1))  # others have answers before the period only
    known = rhythm_is_known(counts[there], period.slot_ms)
    metrics = []
    for name, column in (("p50", buckets.p50_us), ("p95", buckets.p95_us)):
        enough = np.where(buckets.count >= fewest_samples(METRICS[name]), column / 1000, np.nan)
        table = buckets.table_us(enough, len(series), longer.slots)[asked][there]
        of_rows = [series[asked[row]] for row in there.tolist()]
        metrics.append(PercentileSeries(name, of_rows, table[:, now], usual(table, longer)[:, now], known))
    return metrics


def steady_of(past: Past, period: Period) -> Steady:
    """How the servers stood in every slot."""
    found = past.rollups.standing(period)
    names = {one.id: one.name for one in past.servers}
    buckets = found.buckets
    columns = (buckets.up_ms, buckets.down_ms, buckets.checks, buckets.changes)
    tables = (buckets.table(column, len(found.series), period.slots) for column in columns)
    return Steady([names[one.server_id] for one in found.series], *tables)
