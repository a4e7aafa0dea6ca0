"""Stored checks as documents for JSON, NDJSON and CSV output; `docs/check.schema.json` is their stable format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from msgspec.structs import asdict

from checker.model import ProbeResult, Remark, Status, figures
from checker.probe_kinds import STAGES
from storage.history import CheckRow, ContractRow, RunRow


def iso(at_ms: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def milliseconds(duration_us: int | None) -> float | None:
    """Milliseconds with three decimals."""
    return None if duration_us is None else round(duration_us / 1000, 3)


def counts(checks: Sequence[CheckRow]) -> dict[str, int]:
    """Number of checks by status, without suspect ones and those under maintenance; every status is present."""
    counted = Counter(check.status for check in checks if not check.suspect and not check.maintenance)
    return {status.value: counted[status.value] for status in Status}


def run_document(run: RunRow, checks: Sequence[CheckRow]) -> dict[str, Any]:
    """A run as a document."""
    return {
        "id": run.id,
        "state": run.state,
        "started_at": iso(run.started_at_ms),
        "finished_at": iso(run.finished_at_ms),
        "duration_ms": None if run.finished_at_ms is None else run.finished_at_ms - run.started_at_ms,
        "servers_expected": run.servers_expected,
        "servers_checked": sum(check.cached_ms is None for check in checks),
        "servers_cached": run.servers_cached,
        "counts": counts(checks),
        "suspect": sum(check.suspect for check in checks),
        "maintenance": sum(check.maintenance for check in checks),
        "remarks": sum(len(probe.remarks) for check in checks for probe in check.probes),
        "workers": run.workers,
        "concurrency": run.concurrency,
        "config_path": run.config_path,
        "environment": run.environment,
        "checker_version": run.checker_version,
        "host": run.host,
    }


def check_document(check: CheckRow) -> dict[str, Any]:
    """A check with its probes as a document."""
    return {
        "run_id": check.run_id,
        "server": check.server,
        "group": check.group,
        "tags": list(check.tags),
        "status": check.status,
        "reason": check.reason,
        "detail": check.detail,
        "score": check.score,
        "started_at": iso(check.started_at_ms),
        "duration_ms": milliseconds(check.duration_us),
        "tries": check.tries,
        "cached": check.cached_ms is not None,
        "suspect": check.suspect,
        "maintenance": check.maintenance,
        "remarks": [
            {"kind": probe.kind, **remark} for probe in check.probes for remark in remark_documents(probe.remarks)
        ],
        "probes": [probe_document(probe) for probe in check.probes],
    }


def _as_shown(name: str, value: Any) -> Any:
    """A figure in the form of documents: times as text, durations in milliseconds."""
    if name.endswith("_at_ms"):
        return iso(value)
    return milliseconds(value) if name.endswith("_us") else value


def probe_document(probe: ProbeResult) -> dict[str, Any]:
    """A probe; ``stages`` has the stages that happened, ``mcp`` the facts that an MCP server stated about itself."""
    spent_us = probe.stages_us
    stages = {f"{stage}_ms": milliseconds(spent_us[stage]) for stage in STAGES if stage in spent_us}
    document = {
        "kind": probe.kind,
        "status": probe.status,
        "reason": probe.reason,
        "detail": probe.detail,
        "score": probe.score,
        "started_at": iso(probe.started_at_ms),
        "duration_ms": milliseconds(probe.duration_us),
        "failed_stage": probe.failed_stage,
        "url": probe.url,
        "attempts": probe.attempts,
        "earlier_reasons": probe.earlier_reasons,
        **{figure.shown: _as_shown(figure.name, getattr(probe, figure.name)) for figure in figures()},
        "stages": stages,
        "remarks": remark_documents(probe.remarks),
        "mcp": None,
    }
    if probe.mcp is not None:
        facts = asdict(probe.mcp)
        if probe.mcp.capabilities is not None:
            facts["capabilities"] = orjson.loads(probe.mcp.capabilities)
        document["mcp"] = facts
    return document


def remark_documents(remarks: Sequence[Remark]) -> list[dict[str, str]]:
    """Remarks, each with name and detail."""
    return [{"name": str(one.name), "detail": one.detail} for one in remarks]


def contract_document(row: ContractRow) -> dict[str, Any]:
    """A version of an MCP server's contract, without the contract itself."""
    return {
        "server": row.server,
        "version": row.version,
        "seen_at": iso(row.seen_at_ms),
        "run_id": row.run_id,
        "digest": row.digest,
        "grade": row.grade,
        "change_counts": dict(row.change_counts),
        "changes": [dict(change) for change in row.changes],
    }


CSV_COLUMNS = (
    "run_id",
    "server",
    "group",
    "tags",
    "status",
    "reason",
    "detail",
    "score",
    "started_at",
    "duration_ms",
    "cached",
    "suspect",
    "maintenance",
    "remarks",
)


def csv_header(kinds: Sequence[str]) -> tuple[str, ...]:
    """The columns of a check on one line: its own, then status, reason and duration of each kind of probe."""
    return (*CSV_COLUMNS, *(f"{kind}_{what}" for kind in kinds for what in ("status", "reason", "duration_ms")))


def csv_row(check: CheckRow, kinds: Sequence[str]) -> tuple[Any, ...]:
    """The check in the columns of `csv_header`; tags and the names of remarks are joined by spaces."""
    names = dict.fromkeys(remark.name for probe in check.probes for remark in probe.remarks)
    document = check_document(check) | {"tags": " ".join(check.tags), "remarks": " ".join(names)}
    probes = {probe.kind: probe for probe in check.probes}
    row = [document[name] for name in CSV_COLUMNS]
    for kind in kinds:
        probe = probes.get(kind)
        row += [None] * 3 if probe is None else [probe.status, probe.reason, milliseconds(probe.duration_us)]
    return tuple(row)
