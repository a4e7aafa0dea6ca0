"""JSON that a server sent: parsed at once, or refused before it holds up the loop or takes the memory."""

from __future__ import annotations

from typing import Any

import orjson

MOST_VALUES = 500_000
"""About as many as are parsed in 50 ms. A list of 10,000 tools with large schemas has fewer."""


_DEEP = 200


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

    Values are counted by the characters that come before them. Those in texts count as well; a text has few of them for
    its length.
    """
    if len(text) > MOST_VALUES and text.count(b",") + text.count(b"[") + text.count(b"{") > MOST_VALUES:
        raise TooManyValues
    value = orjson.loads(text)
    if text.count(b"{") + text.count(b"[") > _DEEP:  # which long lists are too, so look closer
        try:
            orjson.dumps(value)  # goes down 254 levels and no further
        except orjson.JSONEncodeError:
            raise TooDeep from None
    return value
