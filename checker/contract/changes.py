"""Changes between two contracts, and their severity for users of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from checker.contract.canonical_form import KEYS, dumps
from checker.contract.schemas import input_changes, output_changes
from checker.contract.severity import Change, Grade, same, worst

__all__ = ["Change", "Grade", "diff", "worst"]

_RANKS = {grade: rank for rank, grade in enumerate(Grade)}
WORDS = {"tools": "tool", "resources": "resource", "resourceTemplates": "template", "prompts": "prompt"}
_REMOVED = {
    "tools": Grade.BREAKING,
    "resources": Grade.RISKY,
    "resourceTemplates": Grade.BREAKING,
    "prompts": Grade.BREAKING,
}
_HINTS = {
    "readOnlyHint": (False, True),
    "destructiveHint": (True, False),
    "idempotentHint": (False, True),
    "openWorldHint": (True, False),
}
"""Annotation -> its default if it is missing, and its harmless value (2025-06-18, ToolAnnotations)."""

MOST_COMPARED_BYTES = 1024 * 1024
"""Items that differ are compared part by part up to this total size; the others are only reported as changed."""

Say = Callable[[str, Grade, str], Change]


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes from one contract document to another, the worst first.

    Breaking changes make a call fail that used to work; risky ones may change the behaviour of a model or a program,
    such as a description, which models act on; the rest is cosmetic. Documents are taken as servers send them: any part
    may be missing or of a wrong type. A part with too many differences is not compared in detail
    (`MOST_COMPARED_BYTES`).
    """
    found, left = list(_about_the_server(old, new)), Left(MOST_COMPARED_BYTES)
    for member, key in KEYS.items():
        found += _about_items(member, items(old, member, key), items(new, member, key), left)
    rest = {*old, *new} - {*KEYS, "protocolVersion", "server", "capabilities", "instructions"}
    for name in sorted(rest):
        if not same(old.get(name), new.get(name)):
            found.append(Change.of("server", "other_changed", Grade.COSMETIC, f"{name} has changed"))
    if not found and dumps(old) != dumps(new):  # such as 1 for 1.0, or an empty object for none
        found.append(Change.of("server", "other_changed", Grade.COSMETIC, "the contract is written otherwise"))
    found.sort(key=lambda change: (_RANKS[change.grade], change.item, change.kind, change.detail))
    return tuple(found)


class Left:
    """The remaining budget for comparing part by part."""

    def __init__(self, size: int) -> None:
        self._bytes = size

    def take(self, *items: Mapping[str, Any]) -> bool:
        """True if the items fit into the budget; they are deducted from it."""
        self._bytes -= sum(len(dumps(item)) for item in items)
        return self._bytes >= 0


def _about_the_server(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    def say(kind: str, grade: Grade, detail: str) -> Change:
        return Change.of("server", kind, grade, detail)

    before, after = old.get("protocolVersion"), new.get("protocolVersion")
    if not same(before, after):
        older = str(after or "") < str(before or "")
        yield say("protocol_version_changed", Grade.RISKY if older else Grade.COSMETIC, f"{before} -> {after}")
    yield from _identity(_mapping(old.get("server")), _mapping(new.get("server")), say)
    had, has = _mapping(old.get("capabilities")), _mapping(new.get("capabilities"))
    for name in sorted({*had, *has}):
        if name not in has:
            yield say("capability_removed", Grade.BREAKING, name)
        elif name not in had:
            yield say("capability_added", Grade.COSMETIC, name)
        elif not same(had[name], has[name]):
            yield say("capability_changed", Grade.COSMETIC, f"{name}: {short(had[name])} -> {short(has[name])}")
    if not same(old.get("instructions"), new.get("instructions")):
        yield say("instructions_changed", Grade.RISKY, short(new.get("instructions")))


def _identity(before: Mapping[str, Any], after: Mapping[str, Any], say: Say) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        if not same(before.get(name), after.get(name)):
            grade = Grade.RISKY if name == "name" else Grade.COSMETIC
            yield say(f"server_{name}_changed", grade, f"{short(before.get(name))} -> {short(after.get(name))}")


def _about_items(
    member: str, old: dict[str, Mapping[str, Any]], new: dict[str, Mapping[str, Any]], left: Left
) -> Iterator[Change]:
    word = WORDS[member]
    gone, come = [name for name in old if name not in new], [name for name in new if name not in old]
    renamed = _renamed(member, {name: old[name] for name in gone}, {name: new[name] for name in come})
    for name, twin in renamed.items():
        yield Change.of(f"{word} {name}", f"{word}_renamed", _REMOVED[member], f"{name} -> {twin}")
    taken = set(renamed.values())
    gone, come = [name for name in gone if name not in renamed], [name for name in come if name not in taken]
    for name in gone:
        yield Change.of(f"{word} {name}", f"{word}_removed", _REMOVED[member], "no longer listed")
    for name in come:
        yield Change.of(f"{word} {name}", f"{word}_added", Grade.COSMETIC, "listed for the first time")
    for name in old.keys() & new.keys():
        if same(old[name], new[name]):
            continue
        if left.take(old[name], new[name]):
            yield from _item_changes(member, f"{word} {name}", old[name], new[name])
        else:
            detail = "has changed; there is too much in the contract to say in what"
            yield Change.of(f"{word} {name}", f"{word}_changed", Grade.RISKY, detail)


def _renamed(
    member: str, gone: Mapping[str, Mapping[str, Any]], come: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Names of removed items -> names under which they have come back.

    An item is the same if its shape and its description are, or its shape alone if that is distinctive. Items are
    looked up, not compared one by one: a server may list thousands.
    """
    described: dict[bytes, list[str]] = {}
    shaped: dict[bytes, list[str]] = {}
    for name in reversed(list(come)):
        shape, is_telling = _shape(member, come[name])
        if description := come[name].get("description"):
            described.setdefault(shape + dumps(description), []).append(name)
        if is_telling:
            shaped.setdefault(shape, []).append(name)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for index, by_description in ((described, True), (shaped, False)):
        for name in gone:
            shape, _ = _shape(member, gone[name])
            key = shape + dumps(gone[name].get("description")) if by_description else shape
            twins = index.get(key, []) if name not in found else []
            while twins and twins[-1] in taken:
                twins.pop()
            if twins:
                found[name] = twins.pop()
                taken.add(found[name])
    return found


def _shape(member: str, item: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Everything in an item except its name and its descriptions, and True if that is distinctive on its own."""
    if member == "tools":
        telling = bool(_mapping(_mapping(item.get("inputSchema")).get("properties")))
        return dumps([item.get("inputSchema"), item.get("outputSchema")]), telling
    if member == "prompts":
        return dumps(item.get("arguments")), bool(item.get("arguments"))
    return dumps([item.get("mimeType"), item.get("name")]), False


def _item_changes(member: str, item: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    def say(kind: str, grade: Grade, detail: str) -> Change:
        return Change.of(item, kind, grade, detail)

    for part in sorted({*old, *new}):
        before, after = old.get(part), new.get(part)
        if same(before, after) and (part in old) == (part in new):
            continue
        if part == "description":
            yield say("description_changed", Grade.RISKY, short(after))
        elif part == "inputSchema" and member == "tools":
            yield from (say(*change) for change in input_changes(before, after))
        elif part == "outputSchema" and member == "tools":
            yield from (say(*change) for change in output_changes(before, after))
        elif part == "annotations" and member == "tools":
            yield from _annotation_changes(_mapping(before), _mapping(after), say)
        elif part == "arguments" and member == "prompts":
            yield from _argument_changes(_by_name(before), _by_name(after), say)
        else:
            kind = f"{part}_changed" if part in ("title", "name", "mimeType", "annotations") else "other_changed"
            yield say(kind, Grade.COSMETIC, f"{part}: {short(before)} -> {short(after)}")


def _annotation_changes(old: Mapping[str, Any], new: Mapping[str, Any], say: Say) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if same(old.get(name), new.get(name)) and (name in old) == (name in new):
            continue
        usual, harmless = _HINTS.get(name, (None, None))
        before, after = old.get(name, usual), new.get(name, usual)
        worse = name in _HINTS and before is harmless and after is not harmless
        detail = f"{name}: {short(before)} -> {short(after)}"
        yield say("annotation_changed", Grade.RISKY if worse else Grade.COSMETIC, detail)


def _argument_changes(
    old: dict[str, Mapping[str, Any]], new: dict[str, Mapping[str, Any]], say: Say
) -> Iterator[Change]:
    before_and_after = {name: (old.get(name), new.get(name)) for name in sorted({*old, *new})}
    yielded = False
    for name, (before, after) in before_and_after.items():
        if same(before, after):
            continue
        yielded = True
        if after is None:
            yield say("argument_removed", Grade.BREAKING, name)
        elif before is None:
            required = after.get("required") is True
            kind = "required_argument_added" if required else "argument_added"
            yield say(kind, Grade.BREAKING if required else Grade.COSMETIC, name)
        else:
            yield from _argument_change(name, before, after, say)
    if not yielded:
        yield say("other_changed", Grade.COSMETIC, "arguments are listed otherwise")


def _argument_change(name: str, before: Mapping[str, Any], after: Mapping[str, Any], say: Say) -> Iterator[Change]:
    had, has = before.get("required") is True, after.get("required") is True
    if has and not had:
        yield say("argument_became_required", Grade.BREAKING, name)
    elif had and not has:
        yield say("argument_became_optional", Grade.COSMETIC, name)
    for part in sorted({*before, *after} - {"required"}):
        if not same(before.get(part), after.get(part)):
            grade = Grade.RISKY if part == "description" else Grade.COSMETIC
            kind = "description_changed" if part == "description" else "other_changed"
            yield say(kind, grade, f"{name}: {part}: {short(after.get(part))}")
    if had == has and not same(before.get("required"), after.get("required")):
        yield say("other_changed", Grade.COSMETIC, f"{name}: required is written otherwise")


def items(document: Mapping[str, Any], member: str, key: str) -> dict[str, Mapping[str, Any]]:
    """The items by name; a duplicate name, or a missing one, is replaced by a name that no server uses."""
    found: dict[str, Mapping[str, Any]] = {}
    counts: Counter[str] = Counter()
    listed = document.get(member)
    for item in listed if isinstance(listed, list) else ():
        name = item.get(key) if isinstance(item, dict) else None
        if not isinstance(name, str) or name in found:
            name = f"(no name) {short(item)}"
            counts[name] += 1
            name = f"{name} ({counts[name]})" if counts[name] > 1 else name
        found[name] = item if isinstance(item, dict) else {"value": item}
    return found


def _by_name(arguments: Any) -> dict[str, Mapping[str, Any]]:
    listed = arguments if isinstance(arguments, list) else []
    return {str(one.get("name")): one for one in listed if isinstance(one, dict)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def short(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value).decode("utf-8", "replace")
    return text if len(text) <= 60 else text[:59] + "…"
