"""The history from a program: checks and runs as records, reports, SQL, and pandas frames."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checker.api.results import Results, database_at, results_of
from checker.clock import now_ms
from checker.errors import UsageError
from checker.units import parse_duration

if TYPE_CHECKING:
    from pandas import DataFrame

    from checker.named_query import Value
    from reports.recommendation_rules import SettingRecommendation
    from reports.report_model import Report
    from storage.history import CheckRow, ContractRow, RunRow

REPORTS = ("availability", "latency", "trends", "incidents", "contract", "cost")
"""The reports of `History.report`; `mcp-status report NAME --help` describes each."""
_TIMEOUT_S = 30.0
_EVERYTHING = "select * from check_history"
_LARGEST = 2**62


def default_database() -> Path:
    """The history that `mcp-status` uses: ``MCP_STATUS_DB``, else history.db in the user's data directory."""
    from storage.sqlite_driver import default_path

    return default_path(os.environ)


class History:
    """Read access to the history in a database file; it opens the file for each call, and keeps nothing open."""

    def __init__(self, database: str | Path | None = None) -> None:
        """``database`` is the file; by default the one that `mcp-status` uses (`default_database`)."""
        self.database = default_database() if database is None else database_at(database)

    def servers(self) -> list[str]:
        """The names of all servers, in order; raises StorageError, as all of these, if there is no history."""
        from storage.history import open_history

        with open_history(self.database) as history:
            return history.server_names()

    def runs(self, limit: int = 20) -> list[RunRow]:
        """The newest runs, newest first."""
        from storage.history import open_history

        with open_history(self.database) as history:
            return history.runs(limit)

    def results(self, run_id: int | None = None) -> Results:
        """All results of a run, by default of the newest; raises UsageError if there is none."""
        if run_id is None:
            newest = self.runs(1)
            if not newest:
                raise UsageError(f"{self.database}: no run yet")
            run_id = newest[0].id
        return results_of(self.database, run_id)

    def checks(self, server: str, *, since: float | str | None = None, limit: int | None = None) -> list[CheckRow]:
        """The checks of a server, newest first; raises UsageError if the server is unknown.

        ``since`` is how far to look back: seconds, or text such as "24h".
        """
        from storage.history import open_history

        since_ms = 0 if since is None else now_ms() - round(_seconds("since", since) * 1000)
        with open_history(self.database) as history:
            return history.checks_of_server(server, since_ms, _LARGEST if limit is None else limit)

    def latest(self) -> list[CheckRow]:
        """The newest check of every server, by name."""
        from storage.history import open_history

        with open_history(self.database) as history:
            found = (history.checks_of_server(name, 0, 1) for name in history.server_names())
            return [check for checks in found for check in checks]

    def contracts(self, server: str) -> list[ContractRow]:
        """The versions of what an MCP server offers, oldest first; raises UsageError if the server is unknown."""
        from storage.history import open_history

        with open_history(self.database) as history:
            return history.contracts_of_server(server)

    def report(
        self,
        name: str,
        *,
        since: float | str = "30d",
        servers: Sequence[str] = (),
        groups: Sequence[str] = (),
        tags: Sequence[str] = (),
        **options: Any,
    ) -> Report:
        """A report by its name in `REPORTS`: verdict, sections, tables, charts.

        ``options`` are those of the report, such as ``objective_ratio`` of availability; `report_html` makes a page of
        it.
        """
        if name not in REPORTS:
            raise UsageError(f'no report "{name}"; there are: {", ".join(REPORTS)}')
        from importlib import import_module

        from storage.report_history import open_past
        from storage.rollups.read import Period

        at_ms = now_ms()
        since_ms = at_ms - round(_seconds("since", since) * 1000)
        build = import_module(f"reports.{name}").build
        with open_past(self.database, at_ms, groups=groups, tags=tags, names=servers) as past:
            try:
                report: Report = build(past, Period.of(since_ms, at_ms), **options)
            except TypeError as error:
                raise UsageError(f"report {name}: {error}") from None
        return report

    def records(self, report: str, section: str | None = None, **given: Any) -> list[dict[str, Any]]:
        """The rows of a section of a report, by default of the first, as dicts; arguments as of `report`."""
        from reports.output_forms import records

        made = self.report(report, **given)
        found = next((one for one in made.sections if section is None or one.name == section), None)
        if found is None:
            there = ", ".join(one.name for one in made.sections)
            raise UsageError(f'report {report} has no section "{section}"; there are: {there}')
        return list(records(found))

    def sql(
        self, query: str, params: Mapping[str, Value] | None = None, *, timeout: float | str = _TIMEOUT_S
    ) -> Iterator[dict[str, Any]]:
        """The rows of one reading statement as dicts, read while they are used; raises QueryError.

        docs/views.md describes the views; values for ``:name`` in the query come from ``params``.
        """
        from storage.sql import ask

        with ask(self.database, query, _seconds("timeout", timeout), params) as answer:
            for row in answer.rows:
                yield dict(zip(answer.columns, row, strict=True))

    def frame(
        self,
        query: str = _EVERYTHING,
        params: Mapping[str, Value] | None = None,
        *,
        timeout: float | str = _TIMEOUT_S,
    ) -> DataFrame:
        """The rows of a reading statement, by default of all checks, as a pandas frame; columns ``*_at`` are times.

        Raises UsageError where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("frames are made by pandas, which is not installed: pip install pandas") from None
        from storage.sql import ask

        with ask(self.database, query, _seconds("timeout", timeout), params) as answer:
            frame = pandas.DataFrame.from_records(list(answer.rows), columns=list(answer.columns))
        for name in frame.columns:
            if str(name).endswith("_at"):
                frame[name] = pandas.to_datetime(frame[name], format="ISO8601", utc=True)
        return frame

    def recommendations(self, since: float | str = "7d") -> tuple[SettingRecommendation, ...]:
        """Settings to change, each with its evidence, most important first; three finished runs are needed."""
        from reports.recommendations import recommend
        from storage.settings_evidence import evidence_since

        since_ms = round((time.time() - _seconds("since", since)) * 1000)
        evidence = evidence_since(self.database, since_ms)
        return recommend(evidence, {}, os.cpu_count(), socket.gethostname()).recommendations


def report_html(report: Report) -> str:
    """A report as one self-contained page."""
    from reports.html import page

    return page(report)


def _seconds(name: str, value: float | str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise UsageError(f"{name}={value!r}: {error}") from None
