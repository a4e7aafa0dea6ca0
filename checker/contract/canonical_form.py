"""A contract in its canonical form: the same text and digest whatever the order in which a server lists things."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from checker.late_patterns import late
from checker.structs import Record

KEYS = {"tools": "name", "resources": "uri", "resourceTemplates": "uriTemplate", "prompts": "name"}
"""List of a contract -> the member that names its items."""

_ONE = rb'"(?:[^"\\]|\\.)*+"|[-+.0-9eE]++|true|false|null'
_SCALAR = late(_ONE)
_LIST = late(rb'":\[((?:(?:' + _ONE + rb"),)++(?:" + _ONE + rb"))\]")
"""The value of a member that is a list of two scalars or more; it begins with the fastest text to search for."""
_BYTES_PER_TOKEN = 4
_DEEPEST = 200


class Contract(Record, frozen=True, kw_only=True):
    """The canonical text of a contract, and its size."""

    digest: str
    """SHA-256 of the text, in hex."""
    text: str
    """JSON with sorted keys and lists and without spaces."""
    tools_digest: str | None
    """SHA-256 of the canonical tool list; None if there is no list, as for the counts."""
    tool_count: int | None
    resource_count: int | None
    template_count: int | None
    prompt_count: int | None
    tools_bytes: int | None
    """Length of the canonical tool list."""
    tools_tokens: int | None
    """Estimate of the tokens a model reads for the tool list: its bytes divided by 4, rounded up."""


def canonical(document: Mapping[str, Any]) -> Contract:
    """The contract of a document, without volatile members (sizes and dates of resources) and ornament (icons).

    Raises ValueError for a document nested more than 200 levels deep.
    """
    ordered = dict(document)
    for member, key in KEYS.items():
        if isinstance(items := document.get(member), list):
            ordered[member] = _sorted([_steady(member, item) for item in items], key)
    text, tools = _texts(ordered)
    return Contract(
        digest=hashlib.sha256(text).hexdigest(),
        text=text.decode(),
        tools_digest=None if tools is None else hashlib.sha256(tools).hexdigest(),
        tool_count=_count(document, "tools"),
        resource_count=_count(ordered, "resources"),
        template_count=_count(ordered, "resourceTemplates"),
        prompt_count=_count(ordered, "prompts"),
        tools_bytes=None if tools is None else len(tools),
        tools_tokens=None if tools is None else tokens_of(len(tools)),
    )


def tokens_of(tools_bytes: int) -> int:
    """`Contract.tools_tokens` of a canonical tool list of that length."""
    return -(-tools_bytes // _BYTES_PER_TOKEN)


def _texts(ordered: Mapping[str, Any]) -> tuple[bytes, bytes | None]:
    """The canonical text of the document, and that of its tool list if there is one."""
    listed = ordered.get("tools")
    if not isinstance(listed, list):
        return with_sets_sorted(dumps(ordered)), None
    rest = {name: value for name, value in ordered.items() if name != "tools"}
    if rest and max(rest) < "tools":  # the longest part is the last, and needs to be written only once
        try:
            tools = with_sets_sorted(orjson.dumps(listed, option=orjson.OPT_SORT_KEYS))
            begin = with_sets_sorted(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))
        except TypeError:  # `dumps` knows another way, but for the whole
            pass
        else:
            return b'%s,"tools":%s}' % (begin[:-1], tools), tools
    return with_sets_sorted(dumps(ordered)), with_sets_sorted(dumps(listed))


def with_sets_sorted(text: bytes) -> bytes:
    """Canonical JSON in which the values of ``required``, ``enum`` and ``type`` are sorted.

    They are sets (JSON Schema 2020-12 validation, sections 6.1 and 6.5.3), which some servers write from hash tables.
    The text is scanned, not the values: every check does it.
    """
    return _LIST.sub(_sorted_set, text)


def _sorted_set(found: re.Match[bytes]) -> bytes:
    start, text = found.start(), found.string
    if text[start - 9 : start] != b'"required' and text[start - 5 : start] not in (b'"enum', b'"type'):
        return found[0]
    return b'":[' + b",".join(sorted(_SCALAR.findall(found[1]))) + b"]"


def dumps(value: Any) -> bytes:
    """JSON with sorted keys and without spaces, including numbers beyond 64 bits and broken Unicode.

    Raises ValueError for a value nested too deeply to be compared.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        if _is_deep(value):
            raise ValueError(f"nested more than {_DEEPEST} levels deep") from None
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _is_deep(value: Any) -> bool:
    """True if values are nested deeper than the comparison limit; not recursive, because it guards recursive code."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for items in inner for item in items]
        if not level:
            return False
    return True


def _steady(member: str, item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    kept = {key: value for key, value in item.items() if key != "icons"} if "icons" in item else item
    if member == "resources" and ("size" in kept or "annotations" in kept):
        kept = {key: value for key, value in kept.items() if key != "size"}
        if isinstance(notes := kept.get("annotations"), dict):
            kept["annotations"] = {key: value for key, value in notes.items() if key != "lastModified"}
    return kept


def _sorted(items: list[Any], key: str) -> list[Any]:
    names = [name if isinstance(item, dict) and isinstance(name := item.get(key), str) else "" for item in items]
    if len(set(names)) == len(names):
        if (in_order := sorted(names)) == names:
            return items
        item_of = dict(zip(names, items, strict=True))
        return [item_of[name] for name in in_order]
    return [item for _, item in sorted(zip(names, items, strict=True), key=lambda pair: (pair[0], dumps(pair[1])))]


def _count(document: Mapping[str, Any], member: str) -> int | None:
    items = document.get(member)
    return len(items) if isinstance(items, list) else None
