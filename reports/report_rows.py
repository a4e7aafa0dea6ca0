"""The rows of a report: servers, groups, kinds or stages, with the series that belong to each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from reports.report_model import Column
from storage.report_history import Past
from storage.rollups.read import BucketSeries

TOTAL = "total"


class By(StrEnum):
    """Dimension of the rows; each is split by kind of probe."""

    SERVER = "server"
    GROUP = "group"
    KIND = "kind"
    STAGE = "stage"


_COLUMNS = {
    By.SERVER: ("server", "kind", "group"),
    By.GROUP: ("group", "kind"),
    By.KIND: ("kind",),
    By.STAGE: ("kind", "stage"),
}
_LABELS = {"server": "Server", "group": "Group", "kind": "Kind", "stage": "Stage"}


class Subjects(Struct, frozen=True):
    """The rows with their keys."""

    by: By
    keys: Sequence[tuple[str, ...]]
    """The values of the columns."""
    row: npt.NDArray[np.int64]
    """Row of each series; -1 if it belongs to none."""

    @property
    def columns(self) -> list[Column]:
        """The columns of the keys."""
        return [
            Column(name, _LABELS[name], rank=2 if place and name == "group" else 0)
            for place, name in enumerate(_COLUMNS[self.by])
        ]

    @property
    def short_columns(self) -> list[Column]:
        """The columns that name a row: without the group of a server."""
        return self.columns[:2]

    def short(self, row: int) -> tuple[str, ...]:
        """The values of the short columns."""
        return self.keys[row][:2]

    def name(self, row: int) -> str:
        """Name of the row as text."""
        return " ".join(value or "(no group)" for value in self.short(row))

    def also(self, past: Past, series: Sequence[BucketSeries]) -> Subjects:
        """The same rows for other series; series that belong to none of them get -1."""
        numbers = {key: row for row, key in enumerate(self.keys)}
        keys = _keys(past, series, self.by)
        return Subjects(self.by, self.keys, np.array([numbers.get(key, -1) for key in keys], np.int64))


def subjects(past: Past, series: Sequence[BucketSeries], by: By, stage: str = TOTAL) -> Subjects:
    """The rows of these series; only series of this stage count, but all of them if rows are stages."""
    numbers: dict[tuple[str, ...], int] = {}
    row = [
        numbers.setdefault(key, len(numbers)) if by is By.STAGE or one.stage == stage else -1
        for one, key in zip(series, _keys(past, series, by), strict=True)
    ]
    return Subjects(by, list(numbers), np.array(row, np.int64))


def _keys(past: Past, series: Sequence[BucketSeries], by: By) -> list[tuple[str, ...]]:
    servers = {one.id: one for one in past.servers}
    if by is By.SERVER:
        return [(servers[one.server_id].name, one.kind, servers[one.server_id].group) for one in series]
    if by is By.GROUP:
        return [(servers[one.server_id].group, one.kind) for one in series]
    return [(one.kind, one.stage) if by is By.STAGE else (one.kind,) for one in series]
