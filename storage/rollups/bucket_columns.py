"""Columns of integers of many buckets, read as a row for each series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checker.stats.histogram import Integers


def joined_numbers(*columns: str) -> str:
    """What to select of each series ``s``, grouped by it, so that `numbers_of` gives these columns of integers.

    A row for each series, not for each bucket: the driver takes longer to make the numbers of a row than SQLite to read
    and join a hundred. Aggregates of one row see the same rows in the same order, whichever it is.
    """
    return ", ".join(["s.id", *(f"group_concat({column})" for column in columns)])


def numbers_of(ids: Sequence[int], joined: Sequence[Sequence[str]]) -> list[Integers]:
    """The id of the series of each row, and the columns, as `joined_numbers` gives them."""
    rows = [text.count(",") + 1 for text in joined[0]]
    # numpy reads a text of numbers itself, as integers
    numbers = (np.fromstring(",".join(texts), np.int64, sep=",") for texts in joined)
    return [np.repeat(np.array(ids, np.int64), rows), *numbers]
