"""JSON Schema validation of documents: by meta-schemas stored here, so that nothing is ever fetched.

A server's schema is only data for the meta-schema of its dialect: no ``$schema``, ``$id``, ``$ref`` or ``$dynamicRef``
in it is followed, whatever its URI scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

import jsonschema_rs

from checker.secrets.excerpts import excerpt

MOST_LEVELS = 100
"""Maximum nesting of a schema that is judged; the validator recurses, and schemas in use have less than 30."""

_NAMES = (
    ("json-schema.org/draft-04/schema", "http", jsonschema_rs.Draft4Validator),
    ("json-schema.org/draft-06/schema", "http", jsonschema_rs.Draft6Validator),
    ("json-schema.org/draft-07/schema", "http", jsonschema_rs.Draft7Validator),
    ("json-schema.org/draft/2019-09/schema", "https", jsonschema_rs.Draft201909Validator),
    ("json-schema.org/draft/2020-12/schema", "https", jsonschema_rs.Draft202012Validator),
)
_USUAL = "https://json-schema.org/draft/2020-12/schema"
"""The dialect of a schema that names none (MCP 2025-11-25, JSON Schema Usage)."""
_META = {
    f"{scheme}://{name}{end}": (f"{own}://{name}", validator)
    for name, own, validator in _NAMES
    for scheme in ("http", "https")
    for end in ("", "#")
}
"""Each spelling of a known dialect -> the address of its meta-schema, and its class of validators."""


def schema_fault(schema: Mapping[str, Any]) -> str | None:
    """The reason why the object is not a JSON Schema of its dialect; None if it is one.

    An unknown dialect is reported, unless 2020-12 finds a worse fault: clients cannot be expected to know it.
    """
    if _is_deep(schema):
        return f"is nested more than {MOST_LEVELS} levels deep"
    named = schema.get("$schema", _USUAL)
    known = named if isinstance(named, str) and named in _META else _USUAL
    try:
        _judge(known).validate(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        return f"is not a JSON Schema: {excerpt(getattr(error, 'message', str(error)), 80)}"
    if known != named and named is not None:
        return f"is of a dialect that is not known: {excerpt(str(named), 80)}"
    return None


@cache
def _judge(dialect: str) -> jsonschema_rs.Validator:
    meta_schema, kind = _META[dialect]
    return kind({"$ref": meta_schema}, retriever=_refuse)


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not fetched")


def _is_deep(schema: Mapping[str, Any]) -> bool:
    """True if values are nested deeper than the judging limit; not recursive, because it guards recursive code."""
    level: list[Any] = [schema]
    for _ in range(MOST_LEVELS):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True
