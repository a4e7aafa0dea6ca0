"""The Python library: check fleets, read their history, and test them under load, from a program.

::

    from checker.api import Checker

    with Checker("history.db") as checker:
        for check in checker.stream("fleet.yaml", max_concurrent=100):
            print(check.server, check.status, check.detail or "")

Every name in ``__all__`` is stable; everything else in this project is not. docs/library.md is the guide, examples/ has
programs to begin with.
"""

from checker.api.checking import Checker, CheckStream, Interrupted, Progress, check
from checker.api.fleets import Entry, Servers, load_fleet, server
from checker.api.load_tests import Benchmark, LoadResult, LoadTestInterrupted
from checker.api.own_probes import probe
from checker.api.past import REPORTS, History, default_database, report_html
from checker.api.results import Results, check_as_dict
from checker.errors import (
    CheckerError,
    ConfigError,
    ConfigFault,
    QueryError,
    StorageBusy,
    StorageError,
    UsageError,
    WorkerStartError,
)
from checker.metrics import RunMeasures
from checker.model import ProbeResult, Reason, Server, Status
from checker.probes.functions import Degraded, ProbeContext, ProbeResponse, Unhealthy
from checker.settings.blocks import Settings
from storage.history import CheckRow, ContractRow, RunRow

__all__ = [
    "REPORTS",
    "Benchmark",
    "CheckRow",
    "CheckStream",
    "Checker",
    "CheckerError",
    "ConfigError",
    "ConfigFault",
    "ContractRow",
    "Degraded",
    "Entry",
    "History",
    "Interrupted",
    "LoadResult",
    "LoadTestInterrupted",
    "ProbeContext",
    "ProbeResponse",
    "ProbeResult",
    "Progress",
    "QueryError",
    "Reason",
    "Results",
    "RunMeasures",
    "RunRow",
    "Server",
    "Servers",
    "Settings",
    "Status",
    "StorageBusy",
    "StorageError",
    "Unhealthy",
    "UsageError",
    "WorkerStartError",
    "check",
    "check_as_dict",
    "default_database",
    "load_fleet",
    "probe",
    "report_html",
    "server",
]
