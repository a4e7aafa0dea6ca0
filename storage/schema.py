"""The schema version of a database, and the migrations that upgrade an older one.

A new figure of a probe takes a field in checker/model.py, one of a run's own a field in checker/metrics.py, one of load
tests a field in checker/loadtest/results.py, and each a step at the end of `MIGRATIONS`. Released steps are never
edited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from checker.errors import StorageError
from checker.probe_kinds import STAGES
from storage.connections import DatabaseConnection
from storage.schema_sql import SchemaSql, schema_sql

Step = Callable[[DatabaseConnection], None]


def add_column(table: str, definition: str) -> Step:
    """The migration step that adds a column to a table: its name and its SQL type.

    ``checks`` and ``probes`` stand for both of their tables.
    """

    def step(connection: DatabaseConnection) -> None:
        for one in _TABLES_OF.get(table, (table,)):
            connection.exec_driver_sql(f"alter table {one} add column {definition}")

    return step


def _in_two_parts(connection: DatabaseConnection) -> None:
    """New rows get tables of their own, in the order of runs; those that are there are in the order of servers."""
    for name, end in (("checks", ""), ("probes", ", kind")):
        connection.exec_driver_sql(f"alter table {name} rename to sorted_{name}")
        made = connection.exec_driver_sql("select sql from sqlite_master where name = ?", (f"sorted_{name}",)).scalar()
        recent = str(made).replace(f"sorted_{name}", f"recent_{name}", 1)
        by_run = recent.replace(f"PRIMARY KEY (server_id, run_id{end})", f"PRIMARY KEY (run_id, server_id{end})")
        connection.exec_driver_sql(by_run)
    connection.exec_driver_sql("create index recent_checks_by_time on recent_checks (server_id, started_at_ms)")
    connection.exec_driver_sql("create index rollup_state_by_time on rollup_state (rolled_until_ms)")
    add_column("rollup_marks", "sorted_before_run_id integer not null default '0'")(connection)
    connection.exec_driver_sql(
        "update rollup_marks set sorted_before_run_id = (select coalesce(max(id), 0) + 1 from runs)"
    )


_TABLES_OF = {both: (f"recent_{both}", f"sorted_{both}") for both in ("checks", "probes")}
MIGRATIONS: tuple[Step, ...] = (_in_two_parts,)
"""Step n migrates a database from version n to version n + 1; a new database is created directly in the newest form."""

NEWEST = 1 + len(MIGRATIONS)
"""The version that this program writes."""

_TABLES = "select name from sqlite_master where type = 'table' and name not like 'sqlite!_%' escape '!'"
_OF_FLEETS = "CREATE TABLE known_fleets"
_APPLICATION_ID = 0x4D435053  # "MCPS"
"""The application id in the header of the SQLite file; files from before version 1 have none."""


def version_of(connection: DatabaseConnection, path: str, newest: int = NEWEST) -> int:
    """The schema version of the database; 0 for an empty one.

    Raises StorageError for a database of another program, or of an unknown version.
    """
    tables = connection.exec_driver_sql(_TABLES).scalars()
    if not tables:
        return 0
    if "schema_migrations" not in tables:
        raise StorageError(f"{path}: a SQLite database of another program; use another file with --db")
    if connection.exec_driver_sql("pragma application_id").scalar() != _APPLICATION_ID:
        raise StorageError(
            f"{path}: made by mcp-status-check before its first release, with a schema that this version does not "
            "know; move the file away, or use another one with --db"
        )
    version = int(connection.exec_driver_sql("select max(version) from schema_migrations").scalar() or 0)
    if version > newest:
        raise StorageError(
            f"{path}: made by a newer version of mcp-status-check (schema {version}, this program knows "
            f"{newest}); upgrade the program, or use another file with --db"
        )
    return version


def migrate(connection: DatabaseConnection, path: str, steps: Sequence[Step] = MIGRATIONS) -> None:
    """Create the database, or upgrade it, inside the caller's transaction: all steps or none.

    Raises StorageError as `version_of` does.
    """
    newest = 1 + len(steps)
    version = version_of(connection, path, newest)
    if version == 0:
        connection.exec_driver_sql(f"pragma application_id = {_APPLICATION_ID}")
        for statement in schema_sql(newest).tables:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("insert into rollup_marks (id, first_run_id, raw_from_ms) values (1, 0, 0)")
        _record(connection, newest)
        version = newest
    if version < newest:
        _drop_views(connection)  # they are made anew; one that names a missing column stops "alter table"
    for number, step in enumerate(steps[version - 1 :], version + 1):
        step(connection)
        _record(connection, number)
    missing = missing_stages(connection)
    if missing:
        _drop_views(connection)
    for column in missing:
        add_column("probes", f"{column} integer")(connection)
    _refresh_views(connection, schema_sql(newest))


def _drop_views(connection: DatabaseConnection) -> None:
    for view in connection.exec_driver_sql("select name from sqlite_master where type = 'view'").scalars():
        connection.exec_driver_sql(f"drop view {view}")


def missing_stages(connection: DatabaseConnection) -> list[str]:
    """Columns of stages that the database lacks, because it was created before their kind of probe was known."""
    there = set(connection.exec_driver_sql("select name from pragma_table_info('recent_probes')").scalars())
    return [column for stage in STAGES if (column := f"{stage}_us") not in there]


def _record(connection: DatabaseConnection, version: int) -> None:
    connection.exec_driver_sql(
        "insert into schema_migrations (version, applied_at) values (?, datetime('now'))", (version,)
    )


def _refresh_views(connection: DatabaseConnection, newest: SchemaSql) -> None:
    """Recreate views and triggers that differ from this program's: they hold no data."""
    stored = "select name, sql from sqlite_master where type in ('view', 'trigger')"
    present = {str(name): str(sql) for name, sql in connection.exec_driver_sql(stored)}
    if all(present.get(name) == sql for name, sql in newest.views.items()):
        return
    for statement in newest.tables:  # one that holds no data either, and that triggers write to
        if statement.startswith(_OF_FLEETS):
            connection.exec_driver_sql(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
    for name, sql in newest.views.items():
        kind = "view" if sql.startswith("CREATE VIEW") else "trigger"
        connection.exec_driver_sql(f"drop {kind} if exists {name}")
        connection.exec_driver_sql(sql)
