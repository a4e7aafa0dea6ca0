"""The saved queries of a configuration: `queries`, a name -> SQL, or SQL with its description and parameters."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checker.named_query import Query, listed, parameters
from checker.settings.blocks import ENVIRONMENT_KEYS
from checker.settings.overlay import expand, with_environment
from checker.settings.selection import selected_environment
from checker.settings.validate import Source, validated
from checker.settings.yaml_document import Problem, read

KEY = "queries"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def saved_queries(path: Path, environment: str | None, environ: Mapping[str, str] = os.environ) -> Mapping[str, Query]:
    """The saved queries of a file; raises ConfigError for faults in them.

    The rest of the file is ignored: a query needs neither the servers' variables nor their secrets.
    """
    environment, named_by = selected_environment(environment, environ)
    document = with_environment(read(path), environment, ENVIRONMENT_KEYS, named_by)
    problems: list[Problem] = []
    values = expand(document.values.get(KEY), environ, (KEY,), problems)
    found = read_queries(values, Source((), document.values, problems).below(KEY)) if not problems else {}
    if problems:
        raise document.refuse(problems)
    return found


def read_queries(values: Any, source: Source) -> dict[str, Query]:
    """The queries under the key; faults are added to the problems."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        source.complain((), "write names of queries, each with its SQL, indented below")
        return {}
    found = {name: _query(name, entry, source) for name, entry in values.items()}
    return {name: query for name, query in found.items() if query is not None}


def _query(name: str, entry: Any, source: Source) -> Query | None:
    if not _NAME.fullmatch(name):
        source.complain((name,), "not a name to call it by, as in @slowest; use letters, digits, _ and -")
        return None
    if not isinstance(entry, str | Mapping):
        source.complain((name,), "write the SQL, or sql: and description: indented below")
        return None
    query = validated(Query, {"sql": entry} if isinstance(entry, str) else entry, source.below(name))
    if query is None:
        return None
    if not query.sql.strip():
        source.complain((name,) if isinstance(entry, str) else (name, "sql"), "empty; write a reading statement")
    names = parameters(query.sql)
    for param in query.params:
        if param not in names:
            source.complain((name, "params", param), f"the SQL has no parameter :{param}; it has {listed(names)}")
    return query
