"""What MCP servers offer, and what has changed in it: tables and documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from checker.contract.canonical import KEYS
from checker.contract.change import Change, Grade
from reports.documents import iso
from reports.tables import grade_text
from storage.queries import ContractRow

_WORDS = {"tools": "tool", "resources": "resource", "resourceTemplates": "template", "prompts": "prompt"}

VERSION_COLUMNS = ("version", "seen_at", "run_id", "grade", "changes", "digest")
CHANGE_COLUMNS = ("grade", "kind", "item", "detail")


def offer_title(row: ContractRow) -> str:
    """Who offers it."""
    server = row.document.get("server") or {}
    named = " ".join(str(server[part]) for part in ("name", "version") if server.get(part))
    protocol = row.document.get("protocolVersion")
    return f"{row.server}: {named or 'no name'}, protocol {protocol}, version {row.version} of its contract"


def offer_table(row: ContractRow) -> Table:
    """One line for each thing that a server offers."""
    document = row.document
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "name"):
        table.add_column(name, no_wrap=name == "kind")
    table.add_column("description", overflow="fold")
    for member, key in KEYS.items():
        for item in document.get(member) or ():
            if isinstance(item, dict):
                said = " ".join(str(item.get("description") or "").split())
                shown = said if len(said) <= 100 else said[:99] + "…"
                table.add_row(_WORDS[member], Text(str(item.get(key))), Text(shown))
    return table


def versions_table(versions: Sequence[ContractRow]) -> Table:
    """One line a version, the newest first."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title="versions", title_justify="left")
    for name in ("version", "seen at", "run", "grade", "changes", "digest"):
        table.add_column(name, justify="right" if name in ("version", "run") else "left")
    for row in reversed(versions):
        kinds = Counter(change["kind"] for change in row.changes)
        told = ", ".join(kind if number == 1 else f"{number} {kind}" for kind, number in kinds.items())
        table.add_row(
            str(row.version), iso(row.seen_at_ms), str(row.run_id), grade_text(row.grade), Text(told), row.digest[:12]
        )
    return table


def version_row(row: ContractRow) -> tuple[Any, ...]:
    """A version under `VERSION_COLUMNS`."""
    return row.version, iso(row.seen_at_ms), row.run_id, row.grade, len(row.changes), row.digest


def changes_table(changes: Sequence[Change]) -> Table:
    """One line a change."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("grade", "change", "item"):
        table.add_column(name, no_wrap=name != "item")
    table.add_column("what", overflow="fold")
    for change in changes:
        table.add_row(grade_text(change.grade), Text(change.kind), Text(change.item), Text(change.detail))
    return table


def change_document(change: Change) -> dict[str, Any]:
    """A change."""
    return asdict(change)


def change_row(change: Change) -> tuple[Any, ...]:
    """A change under `CHANGE_COLUMNS`."""
    return change.grade.value, change.kind, change.item, change.detail


def diff_document(before: ContractRow, after: ContractRow, changes: Sequence[Change]) -> dict[str, Any]:
    """What changed from one version to another."""
    return {
        "server": before.server,
        "from": {"version": before.version, "digest": before.digest, "seen_at": iso(before.seen_at_ms)},
        "to": {"version": after.version, "digest": after.digest, "seen_at": iso(after.seen_at_ms)},
        "changes": [change_document(change) for change in changes],
    }


def summary(changes: Sequence[Change]) -> str:
    """How many changes of which grade."""
    counted = Counter(change.grade for change in changes)
    return ", ".join(f"{counted[grade]} {grade}" for grade in Grade if counted[grade])
