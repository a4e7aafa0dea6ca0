"""Flapping of a server: the weighted share of state changes among its last results, as Nagios computes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from checker.stats import Floats

RESULTS = 21
"""Number of results examined; between them are 20 possible changes."""

WEIGHTS: Floats = np.linspace(0.8, 1.2, RESULTS - 1)
"""Weights of changes, oldest first; they add up to 20, so that a change at every result gives a ratio of 1."""

START_RATIO = 0.20
"""Flapping starts above this ratio (the service default of Nagios)."""


def flap_ratio(statuses: npt.ArrayLike, unknown: int | None = None) -> Floats:
    """The weighted share of changes, 0 to 1, among the last 21 statuses along the last axis, oldest first.

    A matrix with a row for each server gives a ratio for each. A shorter history is padded with no changes, as in
    Nagios. An ``unknown`` result counts like the one before it: the checker's own trouble is no change.
    """
    changed = _changes(statuses, unknown)[..., -(RESULTS - 1) :]
    return np.asarray(changed @ WEIGHTS[WEIGHTS.size - changed.shape[-1] :] / (RESULTS - 1), dtype=np.float64)


def _changes(statuses: npt.ArrayLike, unknown: int | None) -> Floats:
    """1 where a status differs from the last known one before it; one shorter than the statuses."""
    given = np.asarray(statuses)
    if given.shape[-1] < 2:
        return np.zeros((*given.shape[:-1], 0))
    if unknown is None:
        return np.asarray(given[..., 1:] != given[..., :-1], dtype=np.float64)
    known = given != unknown
    places = np.maximum.accumulate(np.where(known, np.arange(given.shape[-1]), -1), axis=-1)
    filled = np.take_along_axis(given, np.maximum(places, 0), axis=-1)
    return np.asarray((filled[..., 1:] != filled[..., :-1]) & (places[..., :-1] >= 0), dtype=np.float64)
