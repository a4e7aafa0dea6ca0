"""Which of many tests to believe: the share of false discoveries among what is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reports.stats import Floats


def discoveries(p_values: npt.ArrayLike) -> Floats:
    """The p-values adjusted for being many, in their order; NaN stand for what was not tested, and stay.

    What is at most 0.05 then has one false one in twenty on average; and where nothing happened to any, nothing is told
    in nineteen of twenty families (Benjamini and Hochberg, Journal of the Royal Statistical Society B 57, 1995).
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    if not tested.size:
        return adjusted
    order = tested[np.argsort(given[tested], kind="stable")]
    stepped = given[order] * (tested.size / np.arange(1.0, tested.size + 1))
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(stepped[::-1])[::-1])
    return adjusted


def discoveries_of(families: Sequence[Floats]) -> list[Floats]:
    """Several arrays of p-values as one family: what is told of any of them is corrected for all."""
    if not families:
        return []
    every = discoveries(np.concatenate(list(families)))
    return np.split(every, np.cumsum([len(one) for one in families])[:-1])
