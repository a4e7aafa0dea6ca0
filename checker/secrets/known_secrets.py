"""The secrets to mask at present: found by their declarations, those of one probe or of the whole process.

A text field declares its content by its type in `checker.units`: `Secret`, `Public`, or one of the marks below in an
Annotated. One without a declaration counts as a secret, and a test refuses it.

A probe identifies itself once (`begin`); from then on all server text to be shown is masked before it is cut
(`checker.secrets.excerpts.excerpt`), and so is every line that is logged.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote_plus

from msgspec.structs import fields

from checker.secrets.fragments import (
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
from checker.secrets.redactor import Redactor
from checker.secrets.sensitive_names import texts_of_program
from checker.structs import is_options
from checker.units import Holds, Secret

_PAIRS = (("username", "password"), ("client_id", "client_secret"))
"""Options that are sent together, as ``user:password`` in base64; the latter encoded like a form (RFC 6749, 2.3.1)."""
_Read = Callable[[Any], Iterator[str]]


def declared_secrets(options: Any) -> Iterator[str]:
    """Every secret in a record of options, in each of its forms; raises nothing for unusual values."""
    kind: Any = type(options)
    for take, default, read in _readers(kind):
        value = take(options)
        if value and value is not default and value != default:  # what is empty holds none, and most is
            yield from read(value)
    for user, password in _PAIRS:
        if secret := getattr(options, password, None):
            name = getattr(options, user, "")
            yield from pair_secrets(f"{name}:{secret}")
            yield from pair_secrets(f"{quote_plus(name)}:{quote_plus(secret)}")


@lru_cache(maxsize=64)
def undeclared(kind: Any) -> tuple[str, ...]:
    """The text fields of an options class, and of nested ones, that do not declare if they are secret."""
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
    """For each field that may contain a secret: its getter, its default, and the function that finds its secrets."""
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
    """The function that finds secrets in a value of this type, or its options class; neither if it has none."""
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
    """The secrets of a field without a declaration: a secret, unless it is plainly none."""
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


class Masking:
    """The secrets of some options, and those acquired on the way; nothing is built before it is needed."""

    _redactor: Redactor | None = None
    _count = 0

    def __init__(self, *options: Any) -> None:
        self._options = options
        self.acquired: set[str] = set()
        """Secrets that are not configured, such as access tokens: masked as soon as they are in here."""

    def __call__(self, text: str) -> str:
        """The text with every secret in it masked."""
        redactor = self._known()
        return redactor(text) if redactor else text

    def json(self, document: str) -> str:
        """A JSON text with the secrets in its values masked, and its structure unchanged."""
        redactor = self._known()
        return redactor.json(document) if redactor else document

    def value(self, value: Any) -> Any:
        """A JSON value with the secrets in its texts masked."""
        redactor = self._known()
        return redactor.value(value) if redactor else value

    @property
    def masks_anything(self) -> bool:
        """True if there is any secret to mask."""
        return bool(self._known())

    def suspects(self, text: str) -> bool:
        """True if there may be a secret in a text: fast, and a False is always right."""
        redactor = self._known()
        return bool(redactor) and redactor.suspects(text)

    def secrets(self) -> tuple[str, ...]:
        """The masked secrets, for masking in another process."""
        found: dict[str, None] = {}
        for one in self._options:
            found.update(dict.fromkeys(_secrets(one)))
        if self.acquired:
            found.update(dict.fromkeys(self.acquired))
        return tuple(found)

    def _known(self) -> Redactor:
        if self._redactor is None or self._count != len(self.acquired):
            self._count = len(self.acquired)
            self._redactor = _redactor(self.secrets())
        return self._redactor


@lru_cache(maxsize=256)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    """The redactor for these secrets, cached because servers of a fleet often share their credentials."""
    return Redactor(secrets)


def _secrets(options: Any) -> Iterator[str]:
    return iter((options,)) if isinstance(options, str) else declared_secrets(options)


_NOBODY = Masking()
_current: ContextVar[Masking] = ContextVar("secrets of the probe", default=_NOBODY)
_process: list[Masking] = [_NOBODY]


def begin(options: Any) -> Masking:
    """Mask the secrets of these options from now on, in this greenlet."""
    masking = Masking(options)
    _current.set(masking)
    return masking


def go_on(masking: Masking) -> None:
    """Mask these secrets from now on in a greenlet that a probe has started."""
    _current.set(masking)


def current() -> Masking:
    """The masking of the current probe; nothing is masked outside one."""
    return _current.get()


def acquire(secrets: Iterable[str]) -> None:
    """Mask these as well in the current probe: they were made or fetched for it."""
    if (masking := _current.get()) is not _NOBODY:
        masking.acquired.update(secrets)


def know(secrets: Iterable[Any]) -> None:
    """Mask these secrets, or those of these options, in the process's own output: logs and tracebacks."""
    _process[0] = Masking(*secrets)


def masked_for_log(text: str) -> str:
    """The text without the secrets of the current probe and without those that the process knows."""
    return _process[0](_current.get()(text))
