"""Options classes from plain values that are spelled as usual, without the validator.

Loading pydantic and building its validators takes longer than a whole check of one server. Values that are valid beyond
doubt become options here; everything else, and every message about a fault, is the validator's
(`checker.settings.validate`). Both give the same options for what is accepted here, which a property test compares.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from inspect import get_annotations
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from checker.structs import is_options
from checker.units import Convert, Holds, Secret

Options = TypeVar("Options")


class ForTheValidator(ValueError):
    """A value for the validator to judge."""


def usual(kind: type[Options], values: Any) -> Options:
    """The options; raises ValueError for values that are not certainly valid."""
    if type(values) is not dict:
        raise ForTheValidator
    if not values:
        return _made(kind, {})  # without the types, which take a while to look up
    convert = _conversions(cast(Any, kind))
    try:
        return _made(kind, {key: convert[key](value) for key, value in values.items()})
    except (KeyError, OverflowError, RecursionError):
        raise ForTheValidator from None


def option_value(kind: Any, name: str, value: Any) -> Any:
    """The value of one option; raises ValueError if it is not certainly valid."""
    try:
        return _conversions(kind)[name](value)
    except (KeyError, OverflowError, RecursionError):
        raise ForTheValidator from None


def _made(kind: type[Options], fields: Mapping[str, Any]) -> Options:
    try:
        return kind(**fields)
    except TypeError:  # one is missing
        raise ForTheValidator from None


class _Conversions(dict[str, Convert]):
    """Option of a class -> the function that returns its value, or raises ValueError; made on first use.

    A block has a few options of dozens, and looking up the types of all takes longer than reading a small file.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __missing__(self, name: str) -> Convert:
        if name not in self._kind.__struct_fields__:
            raise KeyError(name)
        base = next(one for one in self._kind.__mro__ if name in get_annotations(one))
        written = types.SimpleNamespace(__annotations__={name: get_annotations(base)[name]})
        hints = get_type_hints(written, vars(sys.modules[base.__module__]), include_extras=True)
        self[name] = _conversion(hints[name])
        return self[name]


_conversions = lru_cache(maxsize=64)(_Conversions)


def _conversion(hint: Any) -> Convert:
    origin = get_origin(hint)
    if origin is Annotated:
        return _annotated(*get_args(hint))
    if origin in (Union, types.UnionType):
        return _union(get_args(hint))
    if origin is Literal:
        return _literal(get_args(hint))
    if origin is tuple and get_args(hint)[1:] == (...,):
        return _listed(_conversion(get_args(hint)[0]))
    if origin is Mapping and get_args(hint)[0] is str:
        return _keyed(_conversion(get_args(hint)[1]))
    if is_options(hint):
        return lambda value: usual(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _literal({one.value: one for one in hint})
    return _SIMPLE.get(hint, _for_the_validator)


def _for_the_validator(value: Any) -> Any:
    raise ForTheValidator


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ForTheValidator
    return value


def _secret(value: Any) -> Secret:
    return Secret(_text(value))


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ForTheValidator
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ForTheValidator
    return value


def _number(value: Any) -> float:
    if (type(value) is not float and type(value) is not int) or not math.isfinite(value):
        raise ForTheValidator
    return float(value)


def _fraction(value: Any) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise ForTheValidator
    return value


def _nothing(value: Any) -> None:
    if value is not None:
        raise ForTheValidator


def _anything(value: Any) -> Any:
    return value


_SIMPLE: dict[Any, Convert] = {
    str: _text,
    Secret: _secret,
    bool: _truth,
    int: _whole,
    float: _number,
    type(None): _nothing,
    Any: _anything,
}


def _annotated(hint: Any, *metadata: Any) -> Convert:
    convert = _conversion(hint)
    for one in metadata:
        if isinstance(one, Holds):
            continue
        if not hasattr(one, "around"):  # the validator may know what it is
            return _for_the_validator
        convert = one.around(convert)
    return convert


def _union(hints: tuple[Any, ...]) -> Convert:
    others = [one for one in hints if one is not type(None)]
    if len(others) == 1:
        convert = _conversion(others[0])
    else:
        # both of int and float take a whole number, which has to stay one
        members = [_fraction if one is float else _conversion(one) for one in others]
        convert = _first_of(members)
    if len(others) == len(hints):
        return convert
    return lambda value: None if value is None else convert(value)


def _first_of(members: list[Convert]) -> Convert:
    def convert(value: Any) -> Any:
        for member in members:
            try:
                return member(value)
            except ValueError:
                continue
        raise ForTheValidator

    return convert


def _literal(meanings: Any) -> Convert:
    known = meanings if isinstance(meanings, dict) else dict(zip(meanings, meanings, strict=True))

    def convert(value: Any) -> Any:
        if type(value) is not str or value not in known:
            raise ForTheValidator
        return known[value]

    return convert


def _listed(convert: Convert) -> Convert:
    def each(value: Any) -> tuple[Any, ...]:
        if type(value) is not list and type(value) is not tuple:
            raise ForTheValidator
        return tuple([convert(item) for item in value])

    return each


def _keyed(convert: Convert) -> Convert:
    def each(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ForTheValidator
        return {_text(key): convert(item) for key, item in value.items()}

    return each
