"""Folded buckets under the numbers of their series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from storage.rollups.buckets import LatencyBuckets, OutcomeBuckets
from storage.rollups.fold import FoldedLatencies, Keys, Outcomes
from storage.rollups.histogram import Integers


@dataclass(frozen=True, slots=True)
class SeriesOf:
    """Which number each series has."""

    kinds: Sequence[str]
    """The kinds that the keys count in."""
    stages: Sequence[str]
    numbers: Mapping[tuple[int, str, str], int]
    """Server id, kind and stage -> number."""

    def of(self, keys: Keys) -> Integers:
        """The number of each key's series."""
        named = zip(keys.server.tolist(), keys.kind.tolist(), keys.stage.tolist(), strict=True)
        found = (self.numbers[server, self.kinds[kind], self.stages[stage]] for server, kind, stage in named)
        return np.fromiter(found, np.int64, len(keys.server))


def outcome_buckets(folded: Outcomes, numbers: SeriesOf) -> OutcomeBuckets:
    """The folded hours of outcomes under their series."""
    table = np.column_stack((folded.counts, folded.times_ms, folded.changes))
    return OutcomeBuckets(numbers.of(folded.keys), folded.keys.hour, table, folded.reasons)


def latency_buckets(folded: FoldedLatencies, numbers: SeriesOf) -> LatencyBuckets:
    """The folded hours of latencies under their series."""
    sums = (folded.count, folded.sum_us, folded.min_us, folded.max_us)
    return LatencyBuckets(numbers.of(folded.keys), folded.keys.hour, *sums, folded.cells)
