"""JSON that a server sent: parsed at once, or refused before it holds up the loop or takes the memory."""

from __future__ import annotations

import re
from typing import Any

import orjson

from checker.probes.heavy import breathe, values_in

MOST_VALUES = 500_000
"""About as many as are parsed in 50 ms. A list of 10,000 tools with large schemas has fewer."""
_DEEP = 200
_WINDOW_BYTES = 65536
_LONG_NUMBER = re.compile(rb"\d{19}")


class TooDeep(ValueError):
    """The text is JSON, and nested so deeply that nobody means it (RFC 8259 section 9 allows a limit)."""

    def __init__(self) -> None:
        super().__init__("JSON that is nested too deeply")


class TooManyValues(ValueError):
    """The text holds so many values that it is not parsed."""

    def __init__(self) -> None:
        super().__init__(f"JSON of more than {MOST_VALUES} values")


def loads(text: bytes) -> Any:
    """The value; raises TooManyValues, TooDeep, and orjson's JSONDecodeError (all ValueErrors) where it is no JSON.

    Values are counted by the characters that come before them.
    """
    if (
        len(text) > MOST_VALUES
        and values_in(text) > MOST_VALUES
        and values_outside_texts(text, MOST_VALUES) > MOST_VALUES
    ):
        raise TooManyValues
    value = orjson.loads(text)
    if text.count(b"{") + text.count(b"[") > _DEEP:  # which long lists are too, so look closer
        try:
            orjson.dumps(value)  # goes down 254 levels and no further
        except orjson.JSONEncodeError:
            raise TooDeep from None
    return value


def with_whole_numbers(value: Any, text: bytes) -> Any:
    """The value of a JSON text that was parsed, with its whole numbers of more than 64 bits exact.

    The parser makes those numbers that are near them, so a text that may have some is parsed once more by another one.
    """
    if _LONG_NUMBER.search(text) is None:
        return value
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # Python reads no number of thousands of digits
        return value


def values_outside_texts(text: bytes, most: float) -> int:
    """How many values a JSON text holds, as `heavy.values_in` has it, but for the commas and brackets within its texts.

    Counting stops somewhere past ``most``. Lets others run now and then.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    number, outside = 1, 0
    for start in range(0, len(text), _WINDOW_BYTES):
        pieces = text[start : start + _WINDOW_BYTES].split(b'"')
        number += values_in(b"".join(pieces[outside::2])) - 1
        outside = (outside + len(pieces) - 1) % 2
        if number > most:
            break
        breathe()
    return number
