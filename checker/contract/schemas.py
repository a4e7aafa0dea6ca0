"""Changes in a tool's JSON Schemas: callers send by the input schema, and read by the output schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checker.contract.canonical_form import dumps
from checker.contract.severity import Grade, distinct, same

Found = tuple[str, Grade, str]
"""Kind, grade and detail of a change."""

_DEEPEST = 20
_ALL_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_COUNTS = ("minLength", "minItems", "minProperties")
_WORDS = ("title", "examples", "$comment", "deprecated", "$schema", "$id")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_ALONE = {"type", "title", "description"}


def input_changes(old: Any, new: Any) -> Iterator[Found]:
    """Changes to the input that a caller may send: allowing less is breaking."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield "schema_changed", Grade.RISKY, "inputSchema became an object, or is none any more"
        return
    found = list(_schema(old, new, "", False, 0))
    yield from found or [("schema_changed", Grade.COSMETIC, "inputSchema is written otherwise")]


def output_changes(old: Any, new: Any) -> Iterator[Found]:
    """Changes to the output that a caller gets: promising less is breaking."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        removed = isinstance(old, dict)
        grade = Grade.BREAKING if removed else Grade.COSMETIC
        yield ("output_schema_removed" if removed else "output_schema_added"), grade, "outputSchema"
        return
    found = list(_schema(old, new, "", True, 0))
    yield from found or [("schema_changed", Grade.COSMETIC, "outputSchema is written otherwise")]


def _schema(old: Mapping[str, Any], new: Mapping[str, Any], where: str, out: bool, depth: int) -> Iterator[Found]:
    """The changes of a schema and of its subschemas; ``out`` for the output side."""
    if same(old, new):
        return
    if depth > _DEEPEST:
        yield "schema_changed", Grade.RISKY, f"{where}: differs deep inside"
        return
    side = "output" if out else "argument"
    yield from _types(old, new, where, out)
    yield from _values(old, new, where, out)
    yield from _bounds(old, new, where, out)
    yield from _properties(old, new, where, out, depth, side)
    for name, mark in (("items", "[]"), ("additionalProperties", ".*")):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _schema(before, after, f"{where}{mark}", out, depth + 1)
        elif not same(before, after):
            yield from _extent(name, before, after, where, out)
    yield from _words(old, new, where)
    yield from _rest(old, new, where)


def _types(old: Mapping[str, Any], new: Mapping[str, Any], where: str, out: bool) -> Iterator[Found]:
    before, after = _type_set(old), _type_set(new)
    if before == after:
        return
    detail = f"{_named(where)}: {_spelled(before)} -> {_spelled(after)}"
    if after < before:
        yield "type_narrowed", Grade.COSMETIC if out else Grade.BREAKING, detail
    elif after > before:
        yield "type_widened", Grade.BREAKING if out else Grade.COSMETIC, detail
    else:
        yield "type_changed", Grade.BREAKING, detail


def _values(old: Mapping[str, Any], new: Mapping[str, Any], where: str, out: bool) -> Iterator[Found]:
    before, after = _enumerated(old), _enumerated(new)
    if before is None and after is None:
        return
    gone = (
        [] if before is None else [value for text, value in before.items() if after is not None and text not in after]
    )
    come = (
        [] if after is None else [value for text, value in after.items() if before is not None and text not in before]
    )
    if gone or (before is None and after is not None):
        shown = (
            ", ".join(map(_short, gone[:5]))
            if gone
            else f"only {', '.join(map(_short, list((after or {}).values())[:5]))}"
        )
        yield (
            "enum_shrunk",
            Grade.COSMETIC if out else Grade.BREAKING,
            f"{_named(where)}: {'no longer ' if gone else ''}{shown}",
        )
    if come or (after is None and before is not None):
        shown = ", ".join(map(_short, come[:5])) if come else "any value"
        yield "enum_grown", Grade.RISKY if out else Grade.COSMETIC, f"{_named(where)}: now also {shown}"


def _bounds(old: Mapping[str, Any], new: Mapping[str, Any], where: str, out: bool) -> Iterator[Found]:
    for name in (*_UPPER, *_LOWER):
        usual = 0 if name in _COUNTS else None
        before, after = _number(old.get(name, usual)), _number(new.get(name, usual))
        if same(old.get(name, usual), new.get(name, usual)):
            continue
        if isinstance(old.get(name), bool) or isinstance(new.get(name), bool):  # exclusiveMinimum of draft 4
            tighter = new.get(name) is True
        else:
            tighter = before is None if before is None or after is None else (after < before) == (name in _UPPER)
        yield _constraint(tighter, out, f"{_named(where)}: {name} {_short(old.get(name))} -> {_short(new.get(name))}")
    for name in ("pattern", "format", "multipleOf"):
        if not same(old.get(name), new.get(name)):
            tighter = new.get(name) is not None and not _divides(new.get(name), old.get(name))
            yield _constraint(
                tighter, out, f"{_named(where)}: {name} {_short(old.get(name))} -> {_short(new.get(name))}"
            )
    if not same(old.get("uniqueItems", False), new.get("uniqueItems", False)):
        yield _constraint(new.get("uniqueItems") is True, out, f"{_named(where)}: uniqueItems")


def _divides(new: Any, old: Any) -> bool:
    """True if every multiple of the old number is a multiple of the new one."""
    whole = isinstance(new, int) and isinstance(old, int)
    return whole and bool(new) and not isinstance(new, bool) and old % new == 0


def _constraint(tighter: bool, out: bool, detail: str) -> Found:
    kind = "constraint_tightened" if tighter else "constraint_loosened"
    return kind, Grade.COSMETIC if out or not tighter else Grade.BREAKING, detail


def _extent(name: str, before: Any, after: Any, where: str, out: bool) -> Iterator[Found]:
    """``items`` or ``additionalProperties`` that was added, removed, or became true or false."""
    if name == "additionalProperties":
        closed = after is False or (isinstance(after, dict) and before is not False)
        opened = before is False or after in (None, True)
        if closed or opened:
            yield _constraint(closed, out, f"{_named(where)}: additionalProperties {_short(before)} -> {_short(after)}")
            return
    yield "schema_changed", Grade.RISKY, f"{_named(where)}: {name} has changed"


def _properties(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str, out: bool, depth: int, side: str
) -> Iterator[Found]:
    before, after = _mapping(old.get("properties")), _mapping(new.get("properties"))
    had, has = _names(old.get("required")), _names(new.get("required"))
    for name in sorted({*before, *after, *had, *has}):
        path = f"{where}.{name}" if where else name
        if name in before and name not in after:
            yield f"{side}_removed", Grade.BREAKING, path
            continue
        if name in after and name not in before:
            required = name in has
            kind = f"required_{side}_added" if required else f"{side}_added"
            yield kind, Grade.BREAKING if required and not out else Grade.COSMETIC, path
            continue
        if name in has and name not in had:
            yield f"{side}_became_required", Grade.COSMETIC if out else Grade.BREAKING, path
        elif name in had and name not in has:
            yield f"{side}_became_optional", Grade.RISKY if out else Grade.COSMETIC, path
        if not same(before.get(name), after.get(name)):
            inner_old, inner_new = before.get(name), after.get(name)
            if isinstance(inner_old, dict) and isinstance(inner_new, dict):
                yield from _schema(inner_old, inner_new, path, out, depth + 1)
            else:
                yield "schema_changed", Grade.RISKY, f"{path}: has changed"


def _words(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[Found]:
    if not same(old.get("description"), new.get("description")):
        yield "description_changed", Grade.RISKY, f"{_named(where)}: {_short(new.get('description'))}"
    if not same(old.get("default"), new.get("default")) or ("default" in old) != ("default" in new):
        shown = f"{_short(old.get('default'))} -> {_short(new.get('default'))}"
        yield "default_changed", Grade.RISKY, f"{_named(where)}: {shown}"
    for name in _WORDS:
        if not same(old.get(name), new.get(name)):
            yield f"{name.strip('$').lower()}_changed", Grade.COSMETIC, _named(where)


def _rest(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[Found]:
    """Keywords that are not interpreted here, such as combinations and references."""
    understood = {
        *("type", "enum", "const", "properties", "required", "items", "additionalProperties", "uniqueItems"),
        *("pattern", "format", "multipleOf", "description", "default"),
        *(*_UPPER, *_LOWER, *_WORDS),
    }
    for name in sorted({*old, *new} - understood):
        if not same(old.get(name), new.get(name)) or (name in old) != (name in new):
            if name == "anyOf" and _only_types(old) and _only_types(new):
                if _type_set(old) == _type_set(new):  # so it is a title or a description of a branch
                    yield "description_changed", Grade.RISKY, f"{_named(where)}: a branch of anyOf"
                continue  # else the types tell it
            if name in _BRANCHES and _in_another_order(old.get(name), new.get(name)):
                yield "schema_changed", Grade.COSMETIC, f"{_named(where)}: {name} is in another order"
                continue
            yield "schema_changed", Grade.RISKY, f"{_named(where)}: {name} has changed"


def _in_another_order(before: Any, after: Any) -> bool:
    """True if two lists of schemas have the same members."""
    both = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    return both and sorted(map(dumps, before)) == sorted(map(dumps, after))


def _type_set(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types that a schema allows; all of them if it names none."""
    kind = schema.get("type")
    if isinstance(kind, str):
        kinds = frozenset({kind})
    elif isinstance(kind, list):
        kinds = frozenset(one for one in kind if isinstance(one, str))
    else:
        kinds = _plain_union(schema) or _ALL_TYPES
    return kinds | {"integer"} if "number" in kinds else kinds


def _only_types(schema: Mapping[str, Any]) -> bool:
    """True if the types fully describe ``type`` and ``anyOf``."""
    return not ("type" in schema and "anyOf" in schema) and _plain_union(schema) is not None


def _plain_union(schema: Mapping[str, Any]) -> frozenset[str] | None:
    """The types of an ``anyOf`` whose branches are types alone, a common form for optional arguments."""
    branches = schema.get("anyOf", [{"type": schema["type"]}] if isinstance(schema.get("type"), str) else None)
    if not isinstance(branches, list) or not branches:
        return None
    kinds = [branch.get("type") for branch in branches if isinstance(branch, dict) and branch.keys() <= _ALONE]
    if len(kinds) != len(branches) or not all(isinstance(kind, str) for kind in kinds):
        return None
    return frozenset(str(kind) for kind in kinds)


def _enumerated(schema: Mapping[str, Any]) -> dict[bytes, Any] | None:
    if "const" in schema:  # the narrower of the two
        return distinct([schema["const"]])
    return distinct(values) if isinstance(values := schema.get("enum"), list) else None


def _names(required: Any) -> set[str]:
    return {one for one in required if isinstance(one, str)} if isinstance(required, list) else set()


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _named(where: str) -> str:
    return where or "the schema"


def _spelled(kinds: frozenset[str]) -> str:
    if kinds == _ALL_TYPES:
        return "any type"
    return " or ".join(sorted(kinds - {"integer"} if "number" in kinds else kinds)) or "no type"


def _short(value: Any) -> str:
    text = dumps(value).decode("utf-8", "replace")
    return text if len(text) <= 60 else text[:59] + "…"
