"""`mcp-status check --dry-run`: what would be asked of whom, with secrets masked; nothing is sent or stored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict

from checker.limits import RunOptions
from checker.model import Server
from checker.settings.planned_probes import planned

_COLUMNS = ("server", "kind", "target", "requests", "sends", "timeout_s", "attempts")


def print_plan(servers: Sequence[Server], options: RunOptions, fmt: str) -> None:
    """Print the probes that a run of these servers would make."""
    from checker.run.run import workers_of
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput

    plans = list(planned(servers))
    records = [asdict(one) for one in plans]
    if fmt != "table":
        rows = [[_cell(value) for value in one.values()] for one in records]
        sys.stdout.writelines(rows_as_text.answer(fmt, {"probes": records}, records, _COLUMNS, rows))
    else:
        shown = [(one.server, one.kind, one.target, ", ".join(one.requests), ", ".join(one.sends)) for one in plans]
        out = TextOutput(sys.stdout)
        out.table(tables.plan_table(shown))
        out.line()
    probes = (
        f"{len(plans)} probe{'' if len(plans) == 1 else 's'} of {len(servers)} server{'' if len(servers) == 1 else 's'}"
    )
    workers = workers_of(servers, options)
    TextOutput(sys.stdout if fmt == "table" else sys.stderr).line(
        f"{probes} with {workers} worker{'' if workers == 1 else 's'}, at most {options.concurrency} at once; "
        "nothing was sent"
    )


def _cell(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list) else value
