"""The secrets in a value: the whole, and every part of it that works or has meaning without the rest."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from checker.late_patterns import late
from checker.secrets.plain_values import SHORTEST, is_flag, is_plain, is_prose
from checker.secrets.sensitive_names import in_url

_SCHEME = late(r"(?:basic|bearer|digest|token|apikey|api-key|key|negotiate|dpop)\s+", re.IGNORECASE)
_SPLIT = late(r"[;,&\s]+")
_NAMED = late(r"\s*([\w.$-]{1,64})\s*[=:]\s*(.+?)\s*", re.DOTALL)
_LONGEST_TAKEN_APART = 65_536
_DEEPEST = 4
_SHORTEST_IN_PATH = 8
_LONG_IN_PATH = late(
    r"([^/]*+//(?:[^/?#@]*+@)?+((?:web)?hooks?[.-])?+[^/?#]*+)(?:/[^/?#]{0,7}(?![^/?#]))*+/[^/?#]{8}", re.IGNORECASE
)
"""An address up to its first long segment; its host, and whether that is one of hooks."""


def secrets_of(value: str, name: str = "", depth: int = 0) -> Iterator[str]:
    """A value that is declared secret, and the secrets in it.

    Parts are the text after a scheme (``Bearer x``), user and password of ``Basic``, pairs of a cookie or a form, parts
    between separators, the texts in JSON, user info and query of an address: those that are not plainly public.
    """
    if not value:
        return
    yield value
    stripped = value.strip()
    if stripped != value:
        yield stripped
    if len(value) > _LONGEST_TAKEN_APART or depth > _DEEPEST:
        return
    if (scheme := _SCHEME.match(stripped)) is not None:
        rest = stripped[scheme.end() :]
        yield from secrets_of(rest, name, depth + 1)
        if scheme[0].strip().lower() == "basic" and (pair := _decoded(rest)) is not None:
            yield from pair_secrets(pair)
        return
    yield from found_in(stripped, name, depth)


def found_in(value: str, name: str = "", depth: int = 0) -> Iterator[str]:
    """The secrets inside a value that is not, or may not be, a secret as a whole."""
    if len(value) < SHORTEST or len(value) > _LONGEST_TAKEN_APART or depth > _DEEPEST:
        return
    if value[0] in '{["':
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            pass
        else:
            yield from value_secrets(document, name, depth + 1)
            return
    if "://" in value:
        yield from address_secrets(value)
    if value.startswith("-----BEGIN"):
        yield "".join(line for line in value.splitlines() if not line.startswith("-----"))
        return
    pieces = _SPLIT.split(value)
    if len(pieces) > 1:
        for piece in pieces:
            named = _NAMED.fullmatch(piece)
            if named is None:
                if _mixed(piece):
                    yield piece
            else:
                yield from maybe_secret(named[2], named[1], depth + 1)
                if (plain := unquote_plus(named[2])) != named[2]:
                    yield from maybe_secret(plain, named[1], depth + 1)
    elif (named := _NAMED.fullmatch(value)) is not None and "://" not in value:
        yield from maybe_secret(named[2], named[1], depth + 1)


def maybe_secret(value: str, name: str = "", depth: int = 0) -> Iterator[str]:
    """A value and its parts, unless it is plainly no secret."""
    if is_plain(value, name):
        return
    if "://" in value and not (name and not is_plain("xxxx", name)) and _is_address(value):
        yield from address_secrets(value)  # host and path are shown, as in an address of an endpoint
        return
    yield from secrets_of(value, name, depth)


def value_secrets(value: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """The secrets in JSON values, judged by their names and form."""
    if depth > 50:
        return
    if isinstance(value, str):
        yield from maybe_secret(value, name, min(depth, _DEEPEST))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from value_secrets(item, str(key), depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            yield from value_secrets(item, name, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from maybe_secret(str(value), name, _DEEPEST)


def pair_secrets(pair: str) -> Iterator[str]:
    """The password and, if it looks like a token, the user of ``user:password``; and the two together."""
    user, colon, password = pair.partition(":")
    if colon:
        yield pair
    if not is_plain(user, "token" if not password else ""):
        yield user
    if password:
        yield password


def address_secrets(url: str) -> Iterator[str]:
    """User, password, query values, fragment and random path parts of an address: as written, and unescaped."""
    for start, end in path_secrets(url):
        yield from {url[start:end], unquote(url[start:end])}
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    info, at, _ = parts.netloc.rpartition("@")
    if at:
        yield from pair_secrets(info)
        user, colon, password = info.partition(":")
        yield from pair_secrets(f"{unquote(user)}{colon}{unquote(password)}")
    for text in (parts.query, parts.fragment):
        for pair in text.split("&"):
            name, equals, value = pair.partition("=")
            if not equals:
                name, value = "", pair
            yield from maybe_secret(value, name)
            for meant in {unquote(value), unquote_plus(value)} - {value}:
                yield from maybe_secret(meant, name)


def path_secrets(url: str) -> list[tuple[int, int]]:
    """Positions in an address's path of random parts, and of parts after a word such as ``hooks``.

    Short ones among those are left out too: ``v1beta1``.
    """
    found = _LONG_IN_PATH.match(url)  # most have none, and a fleet has many
    if found is None:
        return []
    at = found.end(1)
    return [(start + at, end + at) for start, end in _in_path(url[at:], found[2] is not None)]


@lru_cache(maxsize=1024)
def _in_path(path: str, is_hook: bool) -> tuple[tuple[int, int], ...]:
    """The same for a path, cached because the servers of a fleet often have the same one."""
    host = "//hooks.test" if is_hook else "//test"
    return tuple(
        (part.start - len(host), part.end - len(host))
        for part in in_url(host + path)
        if part.name == "path" and part.end - part.start >= _SHORTEST_IN_PATH
    )


def argument_secrets(arguments: Sequence[str]) -> Iterator[str]:
    """The secrets among the arguments of a program."""
    before = ""
    for argument in arguments:
        yield from _argument(argument, before)
        before = argument if is_flag(argument) else ""


def _argument(argument: str, before: str) -> Iterator[str]:
    name, value = split_argument(argument)
    if not name:
        if is_flag(argument):
            return
        name, value = before, argument
    name = name.lstrip("-")
    if not (is_prose(value) and is_plain("text", name)):
        yield from maybe_secret(value, name)


def split_argument(argument: str) -> tuple[str, str]:
    """Name and value of ``--name=value``, ``NAME=value`` and ``Name: value``; no name for any other argument."""
    match = re.fullmatch(r"(-{0,2}[A-Za-z][\w.-]{0,63})(?:=|:\s)\s*(.*)", argument, re.DOTALL)
    return (match[1], match[2]) if match else ("", argument)


def _is_address(value: str) -> bool:
    return re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+", value) is not None


def _mixed(piece: str) -> bool:
    """True if a part between separators is a secret by its form."""
    return not is_plain(piece.strip("\"'(){}[]<>"))


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
