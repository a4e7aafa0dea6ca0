"""Plain values into options classes by pydantic, and its errors as problems a person can act on."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from checker.settings.document import Place, Problem

Options = TypeVar("Options")
_SECRET_KEYS = {"headers", "bearer", "body"}
_UNKNOWN_KEY = {"unexpected_keyword_argument", "extra_forbidden"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}
_PLAINER = {
    "Input should be a valid tuple": "write a list, such as [a, b]",
    "Input should be a valid mapping": "write keys and values, indented below",
    "Input should be a valid string": "write text; put quotes around it",
    "Input should be a valid boolean, unable to interpret input": "write true or false",
    "Input should be a valid boolean": "write true or false",
}


@lru_cache(maxsize=64)
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of an options class; made once, because that takes longer than a thousand validations."""
    return TypeAdapter(kind)


def validated(kind: type[Options], values: Any, raw: Any, place: Place, problems: list[Problem]) -> Options | None:
    """The options, or None and an entry in problems for each fault.

    ``raw`` is the same value before variables were filled in: it is what may be shown.
    """
    try:
        options: Options = adapter(cast(Any, kind)).validate_python(values)
        return options
    except ValidationError as error:
        seen: set[Place] = set()
        for fault in error.errors(include_url=False):
            missing = fault["type"] in _MISSING
            where = _in_document(fault["loc"], values, missing)
            if where not in seen:
                seen.add(where)
                problems.append(Problem((*place, *where), _text(fault, kind, where, raw)))
    return None


def _in_document(loc: tuple[int | str, ...], values: Any, missing: bool) -> Place:
    """The error's place without the names of union members that pydantic adds to it."""
    where: list[int | str] = []
    for step in loc:
        if step in (values if isinstance(values, Mapping) else range(len(values) if _is_list(values) else 0)):
            values = values[step]
        elif missing and step == loc[-1]:
            where.append(step)
            break
        else:
            break
        where.append(step)
    return tuple(where)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _text(fault: Any, kind: type[Any], where: Place, raw: Any) -> str:
    if fault["type"] in _UNKNOWN_KEY:
        return unknown_key(str(where[-1]), known_keys(kind, where[:-1])) if where else "unknown key"
    if fault["type"] in _MISSING:
        return "missing; add this key"
    said = str(fault["msg"]).removeprefix("Value error, ")
    said = _PLAINER.get(said, said.replace("Input should be", "should be"))
    return f"{_shown(raw, where)} is not valid: {said}"


def unknown_key(name: str, known: list[str]) -> str:
    """The message for a key that does not exist, with the one that was probably meant."""
    close = get_close_matches(name, known, n=1)
    return (
        f'unknown key; did you mean "{close[0]}"?' if close else f"unknown key; known here: {', '.join(sorted(known))}"
    )


def known_keys(kind: Any, where: Place) -> list[str]:
    """The keys that an options class has at a place inside it; none where keys are free."""
    for step in where:
        kind = _bare(kind)
        if is_dataclass(kind) and isinstance(kind, type):
            kind = get_type_hints(kind, include_extras=True).get(str(step))
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        else:
            return []
    kind = _bare(kind)
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _bare(kind: Any) -> Any:
    """The type without Annotated and without None."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            others = [one for one in get_args(kind) if one is not type(None)]
            if len(others) != 1:
                return kind
            kind = others[0]
        else:
            return kind


def _shown(raw: Any, where: Place) -> str:
    """The value as it stands in the file, short; a secret's is not shown."""
    if _SECRET_KEYS & set(where):
        return "the value (not shown)"
    for step in where:
        try:
            raw = raw[step]
        except (LookupError, TypeError):
            return "the value"
    if isinstance(raw, dict | list):
        return "this " + ("mapping" if isinstance(raw, dict) else "list")
    text = {None: "null", True: "true", False: "false"}.get(raw) if isinstance(raw, bool | None) else None
    text = text or (f'"{raw}"' if isinstance(raw, str) else str(raw))
    return text if len(text) <= 80 else text[:79] + "…"
