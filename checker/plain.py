"""Records as plain lists and back: what crosses between processes is data, never a class or an exception.

A dataclass becomes the list of its fields in order; both sides are the same version, which their greeting checks.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from checker.records import constructor

Record = TypeVar("Record")
_Decode = Callable[[Any], Any]


def to_plain(value: Any) -> Any:
    """Lists, tuples, dicts with text keys, text, numbers, booleans and None for a value made of records."""
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    kind: Any = type(value)
    return _encoder(kind)(value)


def from_plain(kind: type[Record], plain: Any) -> Record:
    """The record of a dataclass that `to_plain` made plain; raises TypeError where the fields do not fit."""
    decode = _decoder(cast(Any, kind))
    return plain if decode is None else decode(plain)  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _encoder(kind: Any) -> Callable[[Any], Any]:
    """How to take a record apart: fields whose types are plain go as they are, all at once."""
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    nested = [index for index, name in enumerate(names) if not _is_plain(hints[name])]
    take = attrgetter(*names)
    if len(names) == 1:
        return lambda record: (to_plain(take(record)),)
    if not nested:
        return take

    def encode(record: Any) -> Any:
        values = list(take(record))
        for index in nested:
            if (value := values[index]) is not None:
                values[index] = to_plain(value)
        return values

    return encode


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
        return kind
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


def _record(kind: type[Any]) -> _Decode:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    rebuilt = [(index, decode) for index, name in enumerate(names) if (decode := _decoder(hints[name])) is not None]
    construct: Any = constructor(kind)

    def build(plain: Any) -> Any:
        values = list(plain)
        if len(values) != len(names):
            raise TypeError(f"{kind.__name__} has {len(names)} fields, got {len(values)}")
        for index, decode in rebuilt:
            values[index] = decode(values[index])
        return construct(*values)

    return build
