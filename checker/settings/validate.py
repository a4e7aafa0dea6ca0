"""Plain values into options classes: by pydantic unless they are as usual, and its errors as problems to fix."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from checker.secrets.plain_values import SECRET_NAME
from checker.settings.usual_options import usual
from checker.settings.yaml_document import Place, Problem
from checker.structs import is_options

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Options = TypeVar("Options")
_SECRET_KEYS = {"headers", "body", "value", "env", "args", "arguments", "proxy"}
_PUBLIC_KEYS = {"auth_required", "auth_tokens", "key_id"}
_UNKNOWN_KEY = {"unexpected_keyword_argument", "extra_forbidden"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}
_PLAINER = {
    r"should be a valid tuple": "write a list, such as [a, b]",
    r"should be a valid mapping|should be a (?:valid )?dictionary.*": "write keys and values, indented below",
    r"should be a valid string": "write text; put quotes around it",
    r"should be a valid boolean.*": "write true or false",
    r"should be a valid integer.*": "write a whole number",
    r"should be a valid number.*": "write a number",
    r"should be greater than or equal to (\S+)": r"write \1 or more",
    r"should be less than or equal to (\S+)": r"write \1 or less",
    r"should be greater than (\S+)": r"write more than \1",
}


class Source(Struct, frozen=True):
    """Origin of values: the content of the file, its place, and the list that collects its problems."""

    place: Place
    raw: Any
    """The values before variables were filled in: only these may be shown."""
    problems: list[Problem]

    def complain(self, where: Place, text: str) -> None:
        """Add a problem at a place below this one."""
        self.problems.append(Problem((*self.place, *where), text))

    def below(self, *keys: str | int) -> Source:
        """The source of what stands below these keys."""
        raw = self.raw
        for key in keys:
            try:
                raw = raw[key]
            except (LookupError, TypeError):
                raw = None
        return Source((*self.place, *keys), raw, self.problems)

    def shown(self, where: Place) -> str:
        """The value as written in the file, shortened; a secret's is not shown."""
        if any(step in _SECRET_KEYS or _is_secret(str(step)) for step in where):
            return "the value (not shown)"
        raw = self.raw
        for step in where:
            try:
                raw = raw[step]
            except (LookupError, TypeError):
                return "the value"
        if isinstance(raw, dict | list):
            return "this " + ("mapping" if isinstance(raw, dict) else "list")
        if isinstance(raw, str) and "://" in raw:
            return "the address (not shown)"
        text = {None: "null", True: "true", False: "false"}.get(raw) if isinstance(raw, bool | None) else None
        text = text or (f'"{raw}"' if isinstance(raw, str) else str(raw))
        return text if len(text) <= 80 else text[:79] + "…"


def _is_secret(key: str) -> bool:
    """True if an option's name marks its value as secret; the name of a file is not secret."""
    return not key.endswith("_file") and key not in _PUBLIC_KEYS and SECRET_NAME.search(key) is not None


@lru_cache(maxsize=64)
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of an options class; cached, since making it takes longer than a thousand validations."""
    from pydantic import TypeAdapter  # not before: most configurations need none

    return TypeAdapter(kind)


def validated(kind: type[Options], values: Any, source: Source) -> Options | None:
    """The options, or None and an entry in the source's problems for each fault."""
    try:
        return usual(kind, values)
    except ValueError:
        return judged(kind, values, source)


def judged(kind: type[Options], values: Any, source: Source) -> Options | None:
    """The same by pydantic alone."""
    from pydantic import ValidationError

    try:
        options: Options = adapter(cast(Any, kind)).validate_python(values)
    except ValidationError as error:
        seen: set[Place] = set()
        for fault in error.errors(include_url=False):
            missing = fault["type"] in _MISSING
            where = _in_document(fault["loc"], values, missing)
            if where not in seen:
                seen.add(where)
                source.complain(where, _text(fault, kind, where, source))
        return None
    misread = list(_misread(kind, values, ()))
    for where in misread:
        source.complain(where, f"{source.shown(where)} is not valid: write a number")
    return None if misread else options


def without_faulty(kind: type[Options], values: Any, source: Source, before: int) -> Options | None:
    """The options without the keys that the source has complained of since it had ``before`` problems.

    None if the others are no options either. What they contradict can be told together with those faults.
    """
    depth = len(source.place)
    faulty = {one.place[depth] for one in source.problems[before:] if len(one.place) > depth}
    if not isinstance(values, Mapping) or not faulty:
        return None
    left = {key: value for key, value in values.items() if key not in faulty}
    return validated(kind, left, Source(source.place, source.raw, []))


def _misread(kind: Any, value: Any, where: Place) -> Iterator[Place]:
    """Places, nested ones too, where pydantic took a boolean, or a variable that holds "nan", for a number."""
    if kind is int or kind is float or _is_number(kind):
        if isinstance(value, bool) or not _finite(value):
            yield where
    elif isinstance(value, dict):
        if is_options(kind):
            hints = _with_numbers(cast(Any, kind))
            for key, item in value.items():
                if key in hints:
                    yield from _misread(hints[key], item, (*where, key))
        elif get_origin(kind) is Mapping:
            inner = _bare(get_args(kind)[1])
            for key, item in value.items():
                yield from _misread(inner, item, (*where, key))
    elif isinstance(value, list) and get_origin(kind) is tuple:
        inner = _bare(get_args(kind)[0])
        for index, item in enumerate(value):
            yield from _misread(inner, item, (*where, index))


def _is_number(kind: Any) -> bool:
    """True if the type accepts both int and float, so that whole numbers stay whole."""
    return {int, float} <= set(get_args(kind)) <= {int, float, types.NoneType}


@lru_cache(maxsize=64)
def _with_numbers(kind: Any) -> dict[str, Any]:
    """The options that are numbers or may have some in them, with their types."""
    return {name: hint for name, hint in option_types(kind).items() if hint is not str and hint is not bool}


def _finite(value: Any) -> bool:
    """False for infinity, NaN and non-numbers in any notation; durations and sizes are already parsed here."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return True


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


def _text(fault: Any, kind: type[Any], where: Place, source: Source) -> str:
    if fault["type"] in _UNKNOWN_KEY:
        return unknown_key(str(where[-1]), known_keys(kind, where[:-1])) if where else "unknown key"
    if fault["type"] in _MISSING:
        return "missing; add this key"
    said = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")
    for pattern, plainer in _PLAINER.items():
        if match := re.fullmatch(pattern, said):
            said = match.expand(plainer)
            break
    return f"{source.shown(where)} is not valid: {said}"


def unknown_key(name: str, known: list[str]) -> str:
    """The message for a key that does not exist, with the most similar known key."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    if close:
        return f'unknown key; did you mean "{close[0]}"?'
    return f"unknown key; known here: {', '.join(sorted(known)) or 'none'}"


def known_keys(kind: Any, where: Place) -> list[str]:
    """The keys that an options class has at a place inside it; none if keys are free."""
    for step in where:
        kind = _bare(kind)
        if is_options(kind):
            kind = option_types(cast(Any, kind)).get(str(step))
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        elif get_origin(kind) is Mapping:
            kind = get_args(kind)[1]
        else:
            return []
    kind = _bare(kind)
    return list(kind.__struct_fields__) if is_options(kind) else []


@lru_cache(maxsize=64)
def _required(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.required)


def required_options(kind: Any) -> frozenset[str]:
    """The options of a class that have no default."""
    return _required(kind)


@lru_cache(maxsize=64)
def option_types(kind: Any) -> dict[str, Any]:
    """The type of each option of a class, without Annotated and without None."""
    return {name: _bare(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


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
