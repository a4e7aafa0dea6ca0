"""Midranks and ties: what the rank tests of this package share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.stats import Floats


@dataclass(frozen=True, slots=True)
class Ranking:
    """The midranks of some values (1 for the smallest), in their order, and the size of each group of equal ones."""

    ranks: Floats
    tie_sizes: Floats

    @property
    def has_ties(self) -> bool:
        """Whether two values are equal."""
        return self.tie_sizes.size < self.ranks.size


def ranking(values: npt.ArrayLike) -> Ranking:
    """Rank values, equal ones with the mean of the ranks that they take up together; NaN must have been dropped."""
    _, places, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return Ranking((last - (counts - 1) / 2.0)[places], counts.astype(np.float64))
