"""Results that the official clients accept and refuse, and facts that a server states about itself.

Determined by running them: `tests/test_referees.py` checks every statement here against the Python and the TypeScript
SDK. A result that both refuse breaks the server for every client; null in place of an absent member breaks it for one
of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from checker.model import Reason, Status
from checker.probes.base import Complaint
from checker.secrets.excerpts import excerpt

PYTHON, TYPESCRIPT, TYPESCRIPT_1 = "Python SDK", "TypeScript SDK", "TypeScript SDK 1.x"
_BOTH = (PYTHON, TYPESCRIPT)
_SPELLED = {str: "text", bool: "true or false", dict: "an object", list: "a list", int: "a number"}
_TAKEN_FOR_FLAGS = frozenset(["0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"])
"""Texts that pydantic, with which the Python SDK reads, takes for true or false, in any case."""
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class ValueShape:
    """The required type of a value."""

    kind: type
    """str, bool, int for any number, dict or list."""
    members: Mapping[str, ValueShape] = field(default_factory=dict)
    """Shapes of an object's members; others may exist, with any value."""
    required: tuple[str, ...] = ()
    each: ValueShape | None = None
    """Shape of every item of a list, or of every value of an object with free names."""
    words: frozenset[str] = frozenset()
    """The only texts allowed; empty if any text is."""
    list_may_pass: bool = False
    """An object for which the TypeScript SDK 1.x also accepts a list."""
    is_property: bool = False
    """A schema within a schema, which may be true or false (JSON Schema 2020-12, section 4.3.2)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A member for which clients refuse a whole result."""

    where: str
    what: str
    clients: tuple[str, ...]

    @property
    def by_all(self) -> bool:
        """True if both official clients refuse it."""
        return self.clients == _BOTH

    def __str__(self) -> str:
        return f"{self.where} {self.what} ({' and '.join(self.clients)} {_refuse(self.clients)} it)"


def _refuse(clients: tuple[str, ...]) -> str:
    return "refuse" if len(clients) > 1 else "refuses"


def is_accepted(value: Any, shape: ValueShape) -> bool:
    """True if there is nothing in the value that clients refuse: the usual case, without the words for others."""
    kind = shape.kind
    if kind is dict:
        if not isinstance(value, dict):
            return False
        if shape.is_property:
            return True
        for name in shape.required:
            if name not in value and name not in getattr(value, "held", ()):
                return False
        members, each = shape.members, shape.each
        for name, item in value.items():
            inner = members.get(name) or each
            if inner is None or (type(item) is str and inner.kind is str and not inner.words):
                continue
            if item is None and name in members and name not in shape.required:
                return False
            if not is_accepted(item, inner):
                return False
        return True
    if kind is list:
        if type(value) is not list:
            return False
        if (each := shape.each) is not None:
            for item in value:
                if not is_accepted(item, each):
                    return False
        return True
    if kind is int:
        return type(value) in (int, float)
    return type(value) is kind and (not shape.words or value in shape.words)


def refusals(value: Any, shape: ValueShape, where: str) -> Iterator[Refusal]:
    """The parts of the value that clients refuse; ``where`` is its name in messages."""
    return iter(()) if is_accepted(value, shape) else _refusals(value, shape, where)


def _refusals(value: Any, shape: ValueShape, where: str) -> Iterator[Refusal]:
    kind = type(value)
    if shape.is_property:
        if kind is bool:
            yield Refusal(where, f"is {str(value).lower()}", (TYPESCRIPT_1,))
        elif not isinstance(value, dict):
            yield Refusal(where, "is neither an object nor true or false", (PYTHON, TYPESCRIPT_1))
    elif shape.kind is dict and isinstance(value, dict):
        held = getattr(value, "held", ())  # of a result that is too large to be read here
        for name in shape.required:
            if name not in value and name not in held:
                yield Refusal(_path(where, name), "is missing", _BOTH)
        for name, item in value.items():
            inner = shape.members.get(name) or shape.each
            if inner is None:
                continue
            if item is None and name in shape.members and name not in shape.required:
                yield Refusal(_path(where, name), "is null", (TYPESCRIPT,))
            elif inner.kind is not str or type(item) is not str or inner.words:
                yield from _refusals(item, inner, _path(where, excerpt(name, 40)))
    elif shape.kind is list and kind is list:
        if shape.each is not None:
            for place, item in enumerate(value):
                yield from _refusals(item, shape.each, f"{where}[{place}]")
    elif shape.kind is int and kind in (int, float):
        return
    elif kind is not shape.kind:
        yield Refusal(where, f"is {_spelled(value)}, not {_SPELLED[shape.kind]}", _refusing(value, shape))
    elif shape.words and value not in shape.words:
        yield Refusal(where, f"is {excerpt(str(value), 40)!r}, not {' or '.join(sorted(shape.words))}", _BOTH)


def _refusing(value: Any, shape: ValueShape) -> tuple[str, ...]:
    """The clients that refuse a value of the wrong type."""
    if shape.list_may_pass and isinstance(value, list):
        return (PYTHON, "TypeScript SDK 2.x")
    if shape.kind is bool and (value in (0, 1) if isinstance(value, int | float) else _is_flag_word(value)):
        return (TYPESCRIPT,)
    return _BOTH


def _is_flag_word(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in _TAKEN_FOR_FLAGS


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _spelled(value: Any) -> str:
    return "null" if value is None else _SPELLED.get(int if type(value) is float else type(value), "something else")


def refused(
    found: Iterable[Refusal], what: str, stage: str, reason: Reason = Reason.MCP_INVALID_RESULT
) -> list[Complaint]:
    """One complaint for all refused parts: UNHEALTHY if both clients refuse something, else DEGRADED."""
    everything = list(found)
    if not everything:
        return []
    worst = [one for one in everything if one.by_all]
    shown = worst or everything
    more = f"; and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    detail = f"{what}: {'; '.join(map(str, shown[:_MOST_NAMED]))}{more}"
    status = Status.UNHEALTHY if worst else Status.DEGRADED
    return [Complaint(status, reason, detail, stage)]


_TEXT, _FLAG, _OBJECT, _NUMBER = ValueShape(str), ValueShape(bool), ValueShape(dict), ValueShape(int)
_ANY_OBJECT = ValueShape(dict, list_may_pass=True)
_CHANGES = ValueShape(dict, {"listChanged": _FLAG})
_ICONS = ValueShape(
    list,
    each=ValueShape(dict, {"src": _TEXT, "mimeType": _TEXT, "sizes": ValueShape(list, each=_TEXT)}, required=("src",)),
)
_NAMED = {"title": _TEXT, "description": _TEXT, "icons": _ICONS, "_meta": _OBJECT}
_CAPABILITIES = ValueShape(
    dict,
    {
        "tools": _CHANGES,
        "prompts": _CHANGES,
        "resources": ValueShape(dict, {"listChanged": _FLAG, "subscribe": _FLAG}),
        "logging": _ANY_OBJECT,
        "completions": _ANY_OBJECT,
        "experimental": ValueShape(dict, each=_ANY_OBJECT),
        "extensions": ValueShape(dict, each=_ANY_OBJECT),
        "tasks": ValueShape(dict, {"requests": _OBJECT}),
    },
)
INITIALIZE = ValueShape(
    dict,
    {
        "protocolVersion": _TEXT,
        "capabilities": _CAPABILITIES,
        "serverInfo": ValueShape(
            dict,
            {
                "name": _TEXT,
                "version": _TEXT,
                "title": _TEXT,
                "websiteUrl": _TEXT,
                "description": _TEXT,
                "icons": _ICONS,
            },
            required=("name", "version"),
        ),
        "instructions": _TEXT,
        "_meta": _OBJECT,
    },
    required=("protocolVersion", "capabilities", "serverInfo"),
)
"""The result of initialize."""
PAGE = ValueShape(dict, {"nextCursor": _TEXT, "_meta": _OBJECT})
"""Members of a page of any list, besides its items."""
SCHEMA = ValueShape(
    dict,
    {
        "type": ValueShape(str, words=frozenset({"object"})),
        "properties": ValueShape(dict, each=ValueShape(dict, is_property=True)),
        "required": ValueShape(list, each=_TEXT),
    },
    required=("type",),
)
TOOL = ValueShape(
    dict,
    {
        **_NAMED,
        "name": _TEXT,
        "inputSchema": SCHEMA,
        "outputSchema": SCHEMA,
        "annotations": ValueShape(
            dict,
            {
                "title": _TEXT,
                **dict.fromkeys(("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"), _FLAG),
            },
        ),
        "execution": ValueShape(
            dict, {"taskSupport": ValueShape(str, words=frozenset({"required", "optional", "forbidden"}))}
        ),
    },
    required=("name", "inputSchema"),
)
"""A tool of tools/list."""
TOOL_BESIDES_INPUT = ValueShape(
    dict, {name: shape for name, shape in TOOL.members.items() if name != "inputSchema"}, required=("name",)
)
"""The same without its input schema, which is judged by itself: many tools have the same."""
_RESOURCE = {**_NAMED, "name": _TEXT, "mimeType": _TEXT}
OTHERS: Mapping[str, ValueShape] = {
    "resources": ValueShape(dict, {**_RESOURCE, "uri": _TEXT, "size": _NUMBER}, required=("name", "uri")),
    "resourceTemplates": ValueShape(dict, {**_RESOURCE, "uriTemplate": _TEXT}, required=("name", "uriTemplate")),
    "prompts": ValueShape(
        dict,
        {
            **_NAMED,
            "name": _TEXT,
            "arguments": ValueShape(
                list,
                each=ValueShape(dict, {"name": _TEXT, "description": _TEXT, "required": _FLAG}, required=("name",)),
            ),
        },
        required=("name",),
    ),
}
"""Member of a list's result -> an item of it, of the lists other than that of tools."""


def server_identity(info: Any) -> tuple[str | None, str | None]:
    """Name and version from an Implementation object; None for members that are not text."""
    if not isinstance(info, dict):
        return None, None
    name, version = info.get("name"), info.get("version")
    return (
        excerpt(name, 200) if isinstance(name, str) else None,
        excerpt(version, 100) if isinstance(version, str) else None,
    )


def capabilities_text(capabilities: Mapping[str, Any]) -> str:
    """The capabilities as canonical JSON text; beyond any realistic size only the names are kept."""
    text = orjson.dumps(capabilities, option=orjson.OPT_SORT_KEYS)
    if len(text) > 10_000:
        text = orjson.dumps({name: {} for name in sorted(capabilities)[:100]})
    return text.decode()


def instructions_text(instructions: Any) -> str | None:
    """The instructions, if they are text; cut beyond any realistic length."""
    return instructions[:100_000] if isinstance(instructions, str) else None
