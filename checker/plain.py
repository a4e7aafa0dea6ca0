"""Records as plain lists and back: what crosses between processes is data, never a class or an exception.

A dataclass becomes a list: a number whose bits say which of the fields with a default differ from it, then the values
of the fields without one, then of those that differ. Most records are mostly defaults. Both sides are the same version,
which their greeting checks.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from checker.records import shaped

Record = TypeVar("Record")
_Decode = Callable[[Any], Any]


def to_plain(value: Any) -> Any:
    """Lists, dicts with text keys, text, numbers, booleans and None for a value made of records.

    Records that are equal become equal lists.
    """
    if is_dataclass(value):
        return _encoder(cast(Any, type(value)))(value)
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: type[Record], plain: Any) -> Record:
    """The record of a dataclass that `to_plain` made plain; raises TypeError where the fields do not fit."""
    decode = _decoder(cast(Any, kind))
    return plain if decode is None else decode(plain)  # type: ignore[no-any-return]


def reader(kind: type[Record], **read: Callable[[Any], Any]) -> Callable[[Any], Record]:
    """As `from_plain` for one kind of record, with functions for the fields whose type says too little."""
    return _record(kind, read)


@lru_cache(maxsize=256)
def _encoder(kind: Any) -> Callable[[Any], list[Any]]:
    """The function that takes a record apart, with a line or two for each field."""
    hints = get_type_hints(kind, include_extras=True)
    required, optional = _required_and_optional(kind)
    known: dict[str, Any] = {f"write_{name}": write for name in hints if (write := _writer(hints[name])) is not None}
    taken = [f"write_{name}(record.{name})" if f"write_{name}" in known else f"record.{name}" for name in required]
    lines = [f"given, plain = 0, [{', '.join(['0', *taken])}]"]
    for number, (name, default) in enumerate(optional.items()):
        known[f"default_{number}"] = default
        lines += [
            f"value = record.{name}",
            f"if value is not default_{number} and value != default_{number}:",
            f"    given |= {1 << number}",
            f"    plain.append({f'write_{name}(value)' if f'write_{name}' in known else 'value'})",
        ]
    body = "\n    ".join([*lines, "plain[0] = given", "return plain"])
    exec(f"def encode(record):\n    {body}", known)  # noqa: S102 # made of the record's own field names
    encode: Callable[[Any], list[Any]] = known["encode"]
    return encode


def _writer(kind: Any) -> Callable[[Any], Any] | None:
    """How to make a value of this type plain; None where it is already."""
    if _is_plain(kind):
        return None
    if isinstance(kind, type) and is_dataclass(kind):
        return _encoder(kind)
    if get_origin(kind) is tuple and (write := _writer(get_args(kind)[0])) is not None:
        return lambda values: [write(value) for value in values]
    return to_plain


def _required_and_optional(kind: Any) -> tuple[list[str], dict[str, Any]]:
    """The names of the fields without a default, and the defaults of the others, each in their order."""
    optional = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    }
    return [field.name for field in fields(kind) if field.name not in optional], optional


def _is_plain(kind: Any) -> bool:
    """Whether every value of this type crosses as it is."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _is_plain(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return all(_is_plain(one) for one in get_args(kind))
    if origin is Literal or kind is type(None):
        return True
    return isinstance(kind, type) and issubclass(kind, str | int | float | bytes)


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> _Decode | None:
    """How to rebuild a value of this type; None where the plain value is the value."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _decoder(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return _optional(kind)
    if origin is tuple:
        return _sequence(_decoder(get_args(kind)[0]))
    if origin is not None and origin is not Literal and issubclass(origin, Mapping):
        return _mapping(_decoder(get_args(kind)[1]))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {member.value: member for member in kind}.__getitem__  # calling the class takes ten times as long
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind)
    if isinstance(kind, type) and issubclass(kind, str) and kind is not str:
        return kind
    return None


def _optional(kind: Any) -> _Decode | None:
    wanted = [decode for one in get_args(kind) if one is not type(None) and (decode := _decoder(one))]
    if not wanted:
        return None
    (decode,) = wanted
    return lambda plain: None if plain is None else decode(plain)


def _sequence(decode: _Decode | None) -> _Decode:
    return tuple if decode is None else lambda plain: tuple(map(decode, plain))


def _mapping(decode: _Decode | None) -> _Decode | None:
    return decode and (lambda plain: {key: decode(item) for key, item in plain.items()})


def _record(kind: type[Any], read: Mapping[str, _Decode] = MappingProxyType({})) -> _Decode:
    """Rebuilds each record with a function for those of its fields that are given: there are few such sets."""
    hints = get_type_hints(kind, include_extras=True)
    required, optional = _required_and_optional(kind)
    read = {name: decode for name in hints if (decode := read.get(name) or _decoder(hints[name])) is not None}
    builders: dict[int, Callable[..., Any]] = {}

    def builder(given: int) -> Callable[..., Any]:
        if given >> len(optional):
            raise TypeError(f"{kind.__name__} has {len(optional)} fields with a default, got more")
        names = [name for number, name in enumerate(optional) if given >> number & 1]
        return builders.setdefault(given, shaped(kind, [*required, *names], read))

    def build(plain: Any) -> Any:
        given, *values = plain
        return (builders.get(given) or builder(given))(*values)

    return build
