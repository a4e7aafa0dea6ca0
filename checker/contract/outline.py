"""The outline of a contract that is too large to be kept: names and digests of the listed items.

A comparison of outlines still shows which items were added, removed and changed, but not the change inside an item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from checker.contract.canonical_form import KEYS, dumps
from checker.contract.changes import diff
from checker.contract.severity import Change, Grade

OUTLINE = "outline"
"""Member of an outline that no contract has: ``bytes`` of the contract, and for each list its ``count`` and digest."""
MOST_BYTES = 1024**2
"""Maximum size of an outline; lists whose names would take more are kept as their count and digest alone."""

_MOST_OF_A_PART = 4096
"""Maximum bytes of a part that is not a list, such as the capabilities, that an outline keeps unchanged."""
_LONGEST_NAME = 200
_DIGITS = 32
_WORDS = {"tools": "tool", "resources": "resource", "resourceTemplates": "template", "prompts": "prompt"}
_UNKNOWN = "has changed; of so large a contract only names and digests are kept"


def outline(document: Mapping[str, Any]) -> dict[str, Any]:
    """The outline of a contract; an outline is returned unchanged."""
    if OUTLINE in document:
        return dict(document)
    kept: dict[str, Any] = {key: _part(value) for key, value in document.items() if key not in KEYS}
    facts: dict[str, dict[str, Any]] = {}
    left = MOST_BYTES
    for member, key in KEYS.items():
        if member not in document:
            continue
        items = document[member] if isinstance(document[member], list) else [document[member]]
        facts[member] = {"count": len(items), "sha256": _digest(document[member])}
        named = [{key: _name(item, key), "sha256": _digest(item)} for item in items]
        left -= len(dumps(named))
        if left >= 0:
            kept[member] = named
    return kept | {OUTLINE: {"bytes": len(dumps(dict(document))), "lists": facts}}


def is_outline(document: Mapping[str, Any]) -> bool:
    """True if this is the outline of a contract."""
    return OUTLINE in document


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes from one contract to another, the worst first, as far as known if one is an outline."""
    if not is_outline(old) and not is_outline(new):
        return diff(old, new)
    before, after = outline(old), outline(new)
    found = list(diff(_without_lists(before), _without_lists(after)))
    for member, key in KEYS.items():
        found += _list_changes(member, key, before, after)
    return tuple(sorted(found, key=lambda one: (list(Grade).index(one.grade), one.item, one.kind, one.detail)))


def _list_changes(member: str, key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    had, has = (one[OUTLINE]["lists"].get(member, {}) for one in (before, after))
    if had == has:
        return
    if (had and member not in before) or (has and member not in after):
        fewer = has.get("count", 0) < had.get("count", 0)
        detail = (
            f"{member}: {had.get('count', 0)} -> {has.get('count', 0)} of them; too many for their names to be kept"
        )
        yield Change.of("server", "list_changed", Grade.BREAKING if fewer else Grade.RISKY, detail)
        return
    word = _WORDS[member]
    old, new = _digests(before.get(member, ()), key), _digests(after.get(member, ()), key)
    for name in old.keys() - new.keys():
        grade = Grade.RISKY if member == "resources" else Grade.BREAKING
        yield Change.of(f"{word} {name}", f"{word}_removed", grade, "no longer listed")
    for name in new.keys() - old.keys():
        yield Change.of(f"{word} {name}", f"{word}_added", Grade.COSMETIC, "listed for the first time")
    for name in old.keys() & new.keys():
        if old[name] != new[name]:
            yield Change.of(f"{word} {name}", f"{word}_changed", Grade.RISKY, _UNKNOWN)


def _digests(items: Any, key: str) -> dict[str, list[str]]:
    """Name -> the sorted digests of the items that have it."""
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(item[key], []).append(item["sha256"])
    return {name: sorted(digests) for name, digests in found.items()}


def _without_lists(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != OUTLINE and key not in KEYS}


def _part(value: Any) -> Any:
    """The outline of a part that is not a list."""
    size = len(dumps(value))
    return value if size <= _MOST_OF_A_PART else f"({size} bytes, SHA-256 {_digest(value)})"


def _name(item: Any, key: str) -> str:
    name = item.get(key) if isinstance(item, dict) else None
    if not isinstance(name, str):
        return "(no name)"
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}… {_digest(name)}"


def _digest(value: Any) -> str:
    """The beginning of a SHA-256."""
    return hashlib.sha256(dumps(value)).hexdigest()[:_DIGITS]
