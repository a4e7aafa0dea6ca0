"""Records as plain lists and back: what crosses between processes is data, never a class or an exception.

A dataclass becomes the list of its fields in order, with None for a record or a mapping that is at its default: most
are. Both sides are the same version, which their greeting checks.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from checker.records import rebuilder

Record = TypeVar("Record")
_Decode = Callable[[Any], Any]


def to_plain(value: Any) -> Any:
    """Lists, dicts with text keys, text, numbers, booleans and None for a value made of records.

    Records that are equal become equal lists.
    """
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    kind: Any = type(value)
    return _encoder(kind)(value)


def from_plain(kind: type[Record], plain: Any) -> Record:
    """The record of a dataclass that `to_plain` made plain; raises TypeError where the fields do not fit."""
    decode = _decoder(cast(Any, kind))
    return plain if decode is None else decode(plain)  # type: ignore[no-any-return]


def reader(kind: type[Record], **read: Callable[[Any], Any]) -> Callable[[Any], Record]:
    """As `from_plain` for one kind of record, with functions for the fields whose type says too little."""
    return _record(kind, read)


@lru_cache(maxsize=256)
def _encoder(kind: Any) -> Callable[[Any], Any]:
    """How to take a record apart: all fields at once, and then those that are not plain yet."""
    hints, defaults = get_type_hints(kind, include_extras=True), _defaults(kind)
    names = [field.name for field in fields(kind)]
    writers = {index: write for index, name in enumerate(names) if (write := _writer(hints[name])) is not None}
    nested = [(index, defaults.get(names[index]), write) for index, write in writers.items()]
    take = attrgetter(*names)
    if len(names) == 1:
        return lambda record: [to_plain(take(record))]
    if not nested:
        return take

    def encode(record: Any) -> list[Any]:
        values = [*take(record)]
        for index, default, write in nested:
            if (value := values[index]) is not None:
                values[index] = None if value is default or value == default else write(value)
        return values

    return encode


def _defaults(kind: Any) -> dict[str, Any]:
    """Field -> default, of those that have one."""
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    }


def _writer(kind: Any) -> Callable[[Any], Any] | None:
    """How to make a value of this type plain; None where it is already."""
    if _is_plain(kind):
        return None
    if isinstance(kind, type) and is_dataclass(kind):
        return _encoder(kind)
    if get_origin(kind) is tuple:
        write = _writer(get_args(kind)[0])
        return None if write is None else lambda values: [write(value) for value in values]
    return to_plain


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


def _mapping(decode: _Decode | None) -> _Decode:
    return dict if decode is None else lambda plain: {key: decode(item) for key, item in plain.items()}


def _record(kind: type[Any], read: Mapping[str, _Decode] = MappingProxyType({})) -> _Decode:
    hints = get_type_hints(kind, include_extras=True)
    builder = rebuilder(kind, {name: one for name in hints if (one := read.get(name) or _decoder(hints[name]))})
    return lambda plain: builder(*plain)
