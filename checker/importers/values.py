"""Documents of other programs as plain values: JSON, JSON with comments and TOML, with typed access to keys."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from checker.errors import ConfigError
from checker.importers.entries import Unusable

# Possessive, and with an optional end, so that no text makes it go over the same characters again and again.
_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*+"?)|//[^\n]*+|/\*(?:.*?\*/|.*\Z)', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\\n])*+"?)|,(?=[ \t\r\n]*+[}\]])', re.DOTALL)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parsed(text: str, shown: str, toml: bool) -> Any:
    """The values in the text; raises ConfigError."""
    try:
        return _toml(text, shown) if toml else _json(text, shown)
    except RecursionError:
        raise ConfigError(f"{shown}: nested too deeply to be a list of servers") from None


def _toml(text: str, shown: str) -> Any:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a number is too long"
        raise ConfigError(f"{shown}: not valid TOML: {said}; mend it") from None


def _json(text: str, shown: str) -> Any:
    try:
        values = json.loads(text, object_pairs_hook=_once)
    except ValueError:
        values = _json_with_comments(text, shown)
    if _HALF_CHARACTER.search(text):
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{shown}: holds half of a character (such as \\ud83d alone); remove it") from None
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The mapping; if a key occurs twice, each value that is a mapping is kept, under a name of its own.

    This way no server is lost. For other values the last one counts, as in the programs that read the file.
    """
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    number: dict[str, int] = {}
    kept: dict[str, Any] = {}
    for key, value in pairs:
        if key in kept and isinstance(value, dict) and isinstance(kept[key], dict):
            number[key] = number.get(key, 1) + 1
            kept[f"{key} ({number[key]})"] = value
        else:
            kept[key] = value
    return kept


def _json_with_comments(text: str, shown: str) -> Any:
    plain = _COMMENT.sub(lambda match: match[1] or re.sub(r"[^\n]", " ", match[0]), text)
    plain = _TRAILING_COMMA.sub(lambda match: match[1] or " ", plain)
    try:
        return json.loads(plain, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
            raise ConfigError(f"{shown}: a web page, not JSON; give the address of the file itself") from None
        raise ConfigError(f"{shown}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}; mend it") from None
    except ValueError:
        raise ConfigError(f"{shown}: not valid JSON: a number is too long") from None


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LONGEST_ADDRESS = 8192
_MOST_TEXTS = 1000
_WORD = re.compile(r"[A-Za-z-]{1,16}")

TRANSPORTS = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "streamable-http",
    "streamable-http": "streamable-http",
    "streamableHttp": "streamable-http",
    "streamable_http": "streamable-http",
    "streamablehttp": "streamable-http",
    "sse": "sse",
}
"""Transport names of other programs -> ours."""


def text(values: Mapping[str, Any], key: str) -> str | None:
    """The text under a key; None if there is none."""
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise Unusable(f"{key} is not text")
    return value or None


def texts(values: Mapping[str, Any], key: str) -> list[str]:
    """The list of texts under a key; numbers become text."""
    value = values.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unusable(f"{key} is not a list")
    if len(value) > _MOST_TEXTS:
        raise Unusable(f"{key} has more than {_MOST_TEXTS} items")
    return [_scalar(item, f"an item of {key}") for item in value]


def texts_by_name(values: Mapping[str, Any], key: str) -> dict[str, str]:
    """The mapping from names to texts under a key; numbers and booleans become text, null is left out."""
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unusable(f"{key} is not a mapping of names to text")
    if len(value) > _MOST_TEXTS:
        raise Unusable(f"{key} has more than {_MOST_TEXTS} names")
    return {name: _scalar(item, f"a value of {key}") for name, item in value.items() if item is not None}


def _scalar(value: Any, what: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        try:
            return str(value)
        except ValueError:  # a number of more digits than Python writes
            pass
    raise Unusable(f"{what} is not text")


def flag(values: Mapping[str, Any], key: str) -> bool:
    """True if the value of a key is true; the word "true" counts as well."""
    return str(values.get(key)).lower() == "true" if isinstance(values.get(key), bool | str) else False


def transport(kind: str | None) -> str | None:
    """Our name of a transport; None if none is given."""
    if kind is None or kind.lower() == "remote":
        return None
    found = TRANSPORTS.get(kind) or TRANSPORTS.get(kind.lower())
    if found is None:
        named = f'the transport "{kind}"' if _WORD.fullmatch(kind) else "its transport"
        raise Unusable(f"{named} is not supported; stdio, streamable-http and sse are")
    return found


def address(url: str) -> str:
    """The address, checked to be usable in a request; one that begins with a variable is accepted as it is."""
    if len(url) > _LONGEST_ADDRESS:
        raise Unusable(f"the address is longer than {_LONGEST_ADDRESS} characters")
    if url.startswith("${"):
        return url
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme not in ("http", "https"):
        named = f'"{scheme}:" addresses' if _WORD.fullmatch(scheme) else "addresses of its kind"
        raise Unusable(f"{named} are not supported; http and https are" if scheme else _NO_ADDRESS)
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\x00-\x1f\x7f]", url)
    except ValueError:
        usable = "${" in url  # a variable may stand for the port
    if not usable:
        raise Unusable(_NO_ADDRESS)
    return url


def headers(given: Mapping[str, str]) -> dict[str, str]:
    """The request headers, checked to be valid in HTTP."""
    for name, value in given.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Unusable("the name of a header is not valid; use letters, digits and -")
        if _BREAKS.search(value) or value.encode("latin-1", "replace").decode("latin-1") != value:
            raise Unusable(f"the header {name} has a character that no header can carry")
    return dict(given)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment variables, checked to be valid for a process."""
    for name, value in given.items():
        if not name or "=" in name or "\0" in name + value:
            raise Unusable("the name or the value of an environment variable is not valid")
    return dict(given)


_NO_ADDRESS = "the address is not valid; write it like https://host/path"
