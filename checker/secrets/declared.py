"""The secrets of an options class, found by what its fields are declared to be: none can be forgotten.

A text field says what it holds by its type in `checker.units`: `Secret`, `Public`, or one of the marks below in an
Annotated. One that says nothing counts as a secret, and a test refuses it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote_plus

from msgspec.structs import fields

from checker.secrets.parts import (
    address_secrets,
    argument_secrets,
    found_in,
    maybe_secret,
    pair_secrets,
    path_secrets,
    secrets_of,
    value_secrets,
)
from checker.secrets.plain_values import is_plain, is_prose, is_public_header
from checker.sensitive import texts_of_program
from checker.structs import is_options
from checker.units import Holds, Secret

_PAIRS = (("username", "password"), ("client_id", "client_secret"))
"""Options that are sent together, as ``user:password`` in base64; the latter encoded like a form (RFC 6749, 2.3.1)."""
_Read = Callable[[Any], Iterator[str]]


def declared_secrets(options: Any) -> Iterator[str]:
    """Every secret in a record of options, in every form in which it is one; raises nothing for odd values."""
    kind: Any = type(options)
    for take, default, read in _readers(kind):
        value = take(options)
        if value is not None and value is not default and value != default:
            yield from read(value)
    for user, password in _PAIRS:
        if secret := getattr(options, password, None):
            name = getattr(options, user, "")
            yield from pair_secrets(f"{name}:{secret}")
            yield from pair_secrets(f"{quote_plus(name)}:{quote_plus(secret)}")


@lru_cache(maxsize=64)
def undeclared(kind: Any) -> tuple[str, ...]:
    """The text fields of an options class, and of those in it, that do not say whether they are secret."""
    found: list[str] = []
    hints = get_type_hints(kind, include_extras=True)
    for name in kind.__struct_fields__:
        reads, inner = _what(hints[name])
        if inner is not None:
            found += [f"{name}.{below}" for below in undeclared(inner)]
        elif reads is _unsaid:
            found.append(name)
    return tuple(found)


@lru_cache(maxsize=64)
def _readers(kind: Any) -> tuple[tuple[Callable[[Any], Any], Any, _Read], ...]:
    """For each field that may hold a secret: how to take it, its default, and how to find the secrets in it."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for field in fields(kind):
        read, inner = _what(hints[field.name])
        if read is _nothing or (inner is not None and not _readers(inner)):
            continue
        if read is not None or inner is not None:
            found.append((attrgetter(field.name), field.default, read or declared_secrets))
    return tuple(found)


def _what(hint: Any) -> tuple[_Read | None, Any]:
    """How to find the secrets in a value of this type, or the options class that it is; neither where it has none."""
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *notes = get_args(hint)
        held = next((note for note in notes if isinstance(note, Holds)), None)
        return _what(kind) if held is None else (_READ[held], None)
    if origin in (Union, types.UnionType):
        found = [_what(one) for one in get_args(hint) if one is not type(None)]
        return next((one for one in found if one != (None, None)), (None, None))
    if origin is Literal:
        return None, None
    if origin is tuple or (origin is not None and issubclass(origin, Mapping)):
        read, inner = _what(get_args(hint)[0 if origin is tuple else 1])
        if read is None and inner is None:
            return None, None
        if read is _nothing or read is _unsaid:
            return read, None
        if inner is not None and not _readers(inner):
            return _nothing, None
        return _each(read or declared_secrets, named=origin is not tuple), None
    if hint is Any:
        return _unsaid, None
    if is_options(hint):
        return None, hint
    if isinstance(hint, type) and issubclass(hint, Secret):
        return secrets_of, None
    return (_unsaid, None) if hint is str else (None, None)


def _each(read: _Read, named: bool) -> _Read:
    def of(values: Any) -> Iterator[str]:
        for value in values.values() if named else values:
            yield from read(value)

    return of


def _unsaid(value: Any) -> Iterator[str]:
    """Of a field that does not say what it holds: a secret, unless it is plainly none."""
    yield from value_secrets(value)


def _nothing(value: Any) -> Iterator[str]:
    return iter(())


def _named(values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        yield from maybe_secret(value, name)
    yield from (text for text in texts_of_program((), values) if not is_plain(text))


def _arguments(values: Sequence[str]) -> Iterator[str]:
    yield from argument_secrets(values)
    yield from (text for text in texts_of_program(tuple(values), {}) if not (is_plain(text) or is_prose(text)))


def _headers(values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        if not is_public_header(name):
            yield from secrets_of(value, name)


def _perhaps(value: Any) -> Iterator[str]:
    yield from maybe_secret(value) if isinstance(value, str) else value_secrets(value)


def _address(value: str) -> Iterator[str]:
    if "@" in value or "?" in value or "#" in value or path_secrets(value):
        yield from address_secrets(value)


def _proxy(value: str) -> Iterator[str]:
    yield value
    yield from found_in(value)
    yield from address_secrets(value)


_READ: dict[Holds, _Read] = {
    Holds.NOTHING: _nothing,
    Holds.ADDRESS: _address,
    Holds.PROXY: _proxy,
    Holds.ARGUMENTS: _arguments,
    Holds.VARIABLES: _named,
    Holds.HEADERS: _headers,
    Holds.PERHAPS: _perhaps,
}
