"""Parts of a contract that differ at each start of its server: generated defaults, orders, times in texts (pure).

Each is reported once and then never again: a user who is alerted at every check without a real change stops looking.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from checker.contract.canonical_form import KEYS, dumps
from checker.contract.changes import WORDS, Left, items, short
from checker.contract.severity import Change, Grade, same
from checker.secrets.randomness import looks_random

DEFAULT, ORDER, TEXT = "volatile_default", "volatile_order", "volatile_text"
KINDS = (DEFAULT, ORDER, TEXT)
"""Kinds of changes that occur at each start."""
MOST_LOOKED_THROUGH = 256 * 1024
"""Maximum bytes of the items that differ, as JSON; beyond it changes are reported as they are."""
_POSITIONAL = ("prefixItems", "items")
"""Lists of a schema of which the order is a part of the meaning."""
_MADE_AT_START = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
    r"(?:Z|[+-]\d\d:?\d\d)?|\d\d:\d\d(?::\d\d(?:\.\d+)?)?|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d{6,}"
)
_NUMBERS = re.compile(r"\d+")
_SECONDS_SINCE_1970 = 10**9
Known = Collection[tuple[str, str]]


@dataclass(slots=True)
class Settled:
    """A new contract with its volatile parts as they were before, and the volatile parts to report."""

    document: Mapping[str, Any]
    told: list[Change] = field(default_factory=list)


def settled(old: Mapping[str, Any], new: Mapping[str, Any], before: Mapping[str, Any] | None, known: Known) -> Settled:
    """The new contract with its volatile parts as in the old one.

    ``known`` has item and kind of everything reported before. Anything else is volatile if it was plainly generated at
    the start (a time, a random name), or if it also differed between the version ``before`` the old one and the old
    one.
    """
    found, left = Settled(dict(new)), Left(MOST_LOOKED_THROUGH)
    for member, key in KEYS.items():
        if not isinstance(new.get(member), list):
            continue
        olds, ancient = items(old, member, key), items(before or {}, member, key)
        kept = [
            _item(f"{WORDS[member]} {name}", olds.get(name), item, ancient.get(name), known, found.told, left)
            for name, item in items(new, member, key).items()
        ]
        if all(isinstance(one, dict) for one in new[member]) and len(kept) == len(new[member]):
            found.document = {**found.document, member: kept}
    texts = [
        {"instructions": one["instructions"]} if "instructions" in one else None for one in (old, new, before or {})
    ]
    if texts[1] is not None:
        found.document = {**found.document, **_item("server", texts[0], texts[1], texts[2], known, found.told, left)}
    return found


def _item(
    label: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    known: Known,
    told: list[Change],
    left: Left,
) -> Mapping[str, Any]:
    """An item with its volatile parts as in the old one; new ones are added to the report."""
    if old is None or same(old, new) or not left.take(old, new):
        return new
    label = Change.of(label, "", Grade.COSMETIC, "").item
    expected = [kind for kind in KINDS if (label, kind) in known]
    adopted = dict(_adopted(old, new, expected, []))
    if same(old, adopted):
        return old
    if not same(old, _adopted(old, new, KINDS, [])):
        return adopted
    for more in _choices([kind for kind in KINDS if kind not in expected]):
        pairs: list[_Pair] = []
        if not same(old, _adopted(old, new, [*expected, *more], pairs)):
            continue
        fresh = {kind: [pair for pair in pairs if pair.kind == kind] for kind in more}
        if all(_is_made_at_start(pair) for of_kind in fresh.values() for pair in of_kind) or _again(
            before, old, [*expected, *more]
        ):
            told += [_change(label, kind, of_kind) for kind, of_kind in fresh.items()]
            return old
        break
    return adopted


@dataclass(frozen=True, slots=True)
class _Pair:
    kind: str
    name: str
    old: Any
    new: Any


def _adopted(old: Any, new: Any, kinds: Collection[str], pairs: list[_Pair], name: str = "", above: str = "") -> Any:
    """The new value, with differences of only these kinds reset to the old value; ``pairs`` gets their places."""
    if same(old, new):
        return old
    if isinstance(old, dict) and isinstance(new, dict):
        adopted: dict[str, Any] = {}
        for key, value in new.items():
            if key == "default" and name != "properties" and key in old and DEFAULT in kinds:
                pairs += [] if same(old[key], value) else [_Pair(DEFAULT, name, old[key], value)]
                adopted[key] = old[key]
            else:
                adopted[key] = _adopted(old[key], value, kinds, pairs, key, name) if key in old else value
        return adopted
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        if ORDER in kinds and name not in _POSITIONAL and sorted(map(dumps, old)) == sorted(map(dumps, new)):
            pairs.append(_Pair(ORDER, name, old, new))
            return old
        return [_adopted(one, other, kinds, pairs, name, above) for one, other in zip(old, new, strict=True)]
    if isinstance(old, str) and isinstance(new, str) and TEXT in kinds and _steady(old) == _steady(new):
        pairs.append(_Pair(TEXT, name, old, new))
        return old
    return new


def _choices(kinds: list[str]) -> Iterator[tuple[str, ...]]:
    """Each combination of the kinds, the smallest first."""
    for count in range(1, len(kinds) + 1):
        yield from combinations(kinds, count)


def _again(before: Mapping[str, Any] | None, old: Mapping[str, Any], kinds: Collection[str]) -> bool:
    """True if the old one already differed from the one before it, in these kinds and nothing else."""
    return before is not None and not same(before, old) and same(before, _adopted(before, old, kinds, []))


def _is_made_at_start(pair: _Pair) -> bool:
    """True if both values were plainly generated at a start, so that one occurrence is enough."""
    old, new = pair.old, pair.new
    if isinstance(old, str) and isinstance(new, str):
        stripped = [_MADE_AT_START.sub("", one) for one in (old, new)]
        return stripped[0] == stripped[1] or (pair.kind == DEFAULT and looks_random(old) and looks_random(new))
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return pair.kind == DEFAULT and numbers and old >= _SECONDS_SINCE_1970 and new >= _SECONDS_SINCE_1970


def _steady(text: str) -> str:
    """A text without times, random names and numbers: the remainder must be equal, or it is a different text."""
    return _NUMBERS.sub("", _MADE_AT_START.sub("", text))


def _change(label: str, kind: str, pairs: list[_Pair]) -> Change:
    names = ", ".join(dict.fromkeys(pair.name for pair in pairs if pair.name))
    example = f"{short(pairs[0].old)} -> {short(pairs[0].new)}" if pairs and kind != ORDER else ""
    said = f"{names}: {example}" if example else names
    return Change.of(label, kind, Grade.COSMETIC, f"another one at each start, told once: {said}")
