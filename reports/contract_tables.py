"""Contracts of MCP servers and their changes as tables and documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from checker.contract.canonical_form import KEYS
from checker.contract.outline import is_outline
from checker.contract.severity import Change, Grade
from checker.untrusted_text import shortened
from reports.check_documents import iso
from reports.tables import CHANGE_COLUMNS as SHOWN_CHANGE_COLUMNS
from reports.tables import grade_cell
from reports.text_tables import Cell, Role, TextColumn, TextTable
from storage.history import ContractRow

_WORDS = {"tools": "tool", "resources": "resource", "resourceTemplates": "template", "prompts": "prompt"}

MOST_ROWS = 50
"""Largest number of rows in a table, unless all are requested."""
VERSION_COLUMNS = ("version", "seen_at", "run_id", "grade", "changes", "digest")
CHANGE_COLUMNS = ("grade", "kind", "item", "detail")


def offer_title(row: ContractRow) -> str:
    """Title naming the server, its protocol and its contract version."""
    server = row.document.get("server") or {}
    named = " ".join(str(server[part]) for part in ("name", "version") if server.get(part))
    protocol = row.document.get("protocolVersion")
    return f"{row.server}: {named or 'no name'}, protocol {protocol}, version {row.version} of its contract"


def kept_words(versions: Sequence[ContractRow]) -> Iterator[str]:
    """Note on the parts of a server's contract that are not stored, with the reason; empty if all is."""
    newest = versions[-1]
    if newest.document and is_outline(newest.document):
        size = (newest.contract_bytes or 0) / 1e6
        yield f"contract of {size:.1f} MB: kept as digest and outline only, which say what has changed but not how"
    elif not newest.document:
        yield "contract known by its digest alone: it is not kept"
    if (gone := newest.version - len(versions)) > 0:
        yield (
            f"changed {newest.version - 1:,} times: versions kept: the first and the latest {len(versions) - 1:,}; "
            f"{gone:,} between them are not"
        )


def offered(row: ContractRow) -> int:
    """Number of things that a server offers, as far as they are stored by name."""
    return sum(len(items) for member in KEYS if isinstance(items := row.document.get(member), list))


def offer_table(row: ContractRow, most: int | None = None) -> TextTable:
    """One line for each thing that a server offers, up to a limit."""
    document = row.document
    listed = [(member, item) for member in KEYS if isinstance(document.get(member), list) for item in document[member]]
    rows = []
    for member, item in listed[:most]:
        if isinstance(item, dict):
            said = " ".join(str(item.get("description") or "")[:1000].split())
            shown = said if len(said) <= 100 else said[:99] + "…"
            rows.append((_WORDS[member], shortened(str(item.get(KEYS[member])), 200), shown))
    columns = [TextColumn("kind"), TextColumn("name", Role.WORDS, rank=-1), TextColumn("description", Role.WORDS)]
    return TextTable.of_rows(columns, rows)


def versions_table(versions: Sequence[ContractRow], most: int | None = None) -> TextTable:
    """One line per version, newest first, up to a limit."""
    columns = [
        TextColumn("version", right=True),
        TextColumn("seen at"),
        TextColumn("run", right=True, rank=1),
        TextColumn("grade"),
        TextColumn("changes", Role.WORDS),
        TextColumn("digest"),
    ]
    rows: list[Sequence[Cell]] = []
    for row in list(reversed(versions))[:most]:
        kinds = Counter(change["kind"] for change in row.changes)
        told = ", ".join(kind if number == 1 else f"{number} {kind}" for kind, number in kinds.items())
        if more := sum(row.change_counts.values()) - len(row.changes):
            told += f", {more:,} more"
        seen_at = iso(row.seen_at_ms) or ""
        rows.append((str(row.version), seen_at, str(row.run_id), grade_cell(row.grade), told, row.digest[:12]))
    return TextTable.of_rows(columns, rows, title="versions")


def version_row(row: ContractRow) -> tuple[Any, ...]:
    """A version in the columns `VERSION_COLUMNS`."""
    return row.version, iso(row.seen_at_ms), row.run_id, row.grade, sum(row.change_counts.values()), row.digest


def changes_table(changes: Sequence[Change]) -> TextTable:
    """One line per change."""
    rows = [(grade_cell(change.grade), change.kind, change.item, change.detail) for change in changes]
    return TextTable.of_rows(SHOWN_CHANGE_COLUMNS, rows)


def change_document(change: Change) -> dict[str, Any]:
    """A change as a document."""
    return asdict(change)


def change_row(change: Change) -> tuple[Any, ...]:
    """A change in the columns `CHANGE_COLUMNS`."""
    return change.grade.value, change.kind, change.item, change.detail


def diff_document(before: ContractRow, after: ContractRow, changes: Sequence[Change]) -> dict[str, Any]:
    """Changes from one version to another, as a document."""
    return {
        "server": before.server,
        "from": {"version": before.version, "digest": before.digest, "seen_at": iso(before.seen_at_ms)},
        "to": {"version": after.version, "digest": after.digest, "seen_at": iso(after.seen_at_ms)},
        "changes": [change_document(change) for change in changes],
    }


def summary(changes: Sequence[Change]) -> str:
    """Number of changes by grade."""
    counted = Counter(change.grade for change in changes)
    return ", ".join(f"{counted[grade]} {grade}" for grade in Grade if counted[grade])
