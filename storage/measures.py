"""What a run measured of itself, read back."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select

from checker.measures import (
    CacheMeasures,
    PoolMeasures,
    ResourceAlert,
    ResourceMeasures,
    RunMeasures,
    WorkerMeasures,
)
from storage.tables import run_alerts, run_caches, run_pools, run_resources, run_workers

Record = TypeVar("Record")


def measures_of(connection: Connection, run_id: int) -> RunMeasures:
    """The measures of a run; empty for one that has not ended."""

    def records(table: Table, kind: type[Record]) -> tuple[Record, ...]:
        of_kind: Any = kind
        columns = [table.c[name] for name in of_kind.__struct_fields__]
        found = select(*columns).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
        return tuple(kind(**row._mapping) for row in connection.execute(found))

    resources = records(run_resources, ResourceMeasures)
    return RunMeasures(
        workers=records(run_workers, WorkerMeasures),
        pools=records(run_pools, PoolMeasures),
        caches=records(run_caches, CacheMeasures),
        resources=resources[0] if resources else None,
        alerts=records(run_alerts, ResourceAlert),
    )
