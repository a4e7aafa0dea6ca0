"""JSON, JSON with comments and TOML as plain values."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from checker.errors import ConfigError

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
    """The mapping; of a key that stands twice, each value that is a mapping itself is kept, under a name of its own.

    So that no server is lost. For anything else the last one counts, as it does for the programs that read the file.
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
