"""Safe reading of reply bodies: character encodings, and JSON within limits of work and memory.

The rules are those of browsers (WHATWG Encoding Standard): a byte order mark overrides Content-Type, which overrides
the document's own declaration, and labels mean what the web takes them for. JSON declared as Latin-1 is read as UTF-8
if its bytes are UTF-8 (RFC 8259 section 8.1), because servers that declare Latin-1 by default do not always send it.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Any

import orjson

from checker.late_patterns import late
from checker.probes.offload import breathe, values_in

_PIECE_BYTES = 65536
_DECLARED = late(r"charset\s*=\s*[\"']?\s*([\w.:+-]+)", re.IGNORECASE)
_IN_DOCUMENT = late(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:+-]+)|<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:+-]+)", re.I
)
_PROLOGUE_BYTES = 1024
"""Length that browsers search for a document's own declaration of its encoding."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FIRST_BYTES = {mark[:1] for mark, _ in _MARKS}
_TAKEN_FOR = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
    "utf-32": "utf-32-le",
}
"""Python's name of an encoding -> the web's meaning of it, which has more characters or states the byte order."""
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7", "mbcs", "oem"}
"""Text encodings of Python that no document is written in."""


def as_utf8(body: bytes, content_type: str | None) -> bytes:
    """The body as UTF-8 without a byte order mark; unchanged if no known encoding is declared."""
    for mark, encoding in _MARKS if body[:1] in _FIRST_BYTES else ():
        if body.startswith(mark):
            rest = body[len(mark) :]
            return rest if encoding == "utf-8" else _recoded(rest, encoding)
    codec = _declared(content_type or "") or _said_by_itself(body, content_type or "")
    return body if codec is None or codec == "utf-8" else _recoded(body, codec)


def json_as_utf8(body: bytes, content_type: str | None) -> bytes:
    """The same for JSON; bytes that are not UTF-8 in the end become replacement characters, as in browsers."""
    if body.isascii() and b"\0" not in body[:4]:
        return body
    codec = _declared(content_type or "")
    if (codec is None or codec == "cp1252") and _is_utf8(body) and b"\0" not in body[:4]:
        return body.removeprefix(codecs.BOM_UTF8)
    if codec is None and b"\0" in body[:4] and not body.startswith(tuple(mark for mark, _ in _MARKS)):
        import json  # which knows UTF-16 and UTF-32 by their zero bytes

        return _recoded(body, json.detect_encoding(body))
    found = as_utf8(body, content_type)
    return found if found is not body else _recoded(body, "utf-8")


@lru_cache(maxsize=256)
def _declared(content_type: str) -> str | None:
    """The codec of the charset in a Content-Type; None if it names none that is known."""
    match = _DECLARED.search(content_type)
    return _codec(match[1]) if match else None


def _said_by_itself(body: bytes, content_type: str) -> str | None:
    """The codec that an HTML or XML document declares at its beginning."""
    if not re.search(r"html|xml", content_type, re.IGNORECASE):
        return None
    match = _IN_DOCUMENT.search(body[:_PROLOGUE_BYTES])
    if match is None:
        return None
    codec = _codec((match[1] or match[2]).decode("ascii", "replace"))
    return None if codec is None or codec.startswith(("utf-16", "utf-32")) else codec  # it could be read: it is neither


def _codec(label: str) -> str | None:
    label = label.strip().lower()
    if label in ("x-sjis", "windows-31j"):
        label = "cp932"
    try:
        found = codecs.lookup(label.removeprefix("x-"))
    except (LookupError, ValueError):
        return None
    if not getattr(found, "_is_text_encoding", True) or found.name.replace("-", "_") in _NO_CHARSETS | {"utf_7"}:
        return None
    return _TAKEN_FOR.get(found.name, found.name)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _recoded(body: bytes, codec: str) -> bytes:
    """The body converted from that encoding to UTF-8, in pieces, because it may be long."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    text = bytearray()
    for start in range(0, len(body), _PIECE_BYTES):
        text += decoder.decode(body[start : start + _PIECE_BYTES]).encode("utf-8", "replace")
        breathe()
    text += decoder.decode(b"", final=True).encode("utf-8", "replace")
    return bytes(text)


MOST_VALUES = 500_000
"""The number that is parsed in about 50 ms. A list of 10,000 tools with large schemas has fewer."""
_DEEP = 200
_WINDOW_BYTES = 65536
_LONG_NUMBER = late(rb"\d{19}")


class TooDeep(ValueError):
    """The text is JSON, but nested deeper than any real document (RFC 8259 section 9 allows a limit)."""

    def __init__(self) -> None:
        super().__init__("JSON that is nested too deeply")


class TooManyValues(ValueError):
    """The text contains too many values to be parsed."""

    def __init__(self) -> None:
        super().__init__(f"JSON of more than {MOST_VALUES} values")


def loads(text: bytes, levels_around: int = 0) -> Any:
    """The value; raises TooManyValues, TooDeep, and orjson's JSONDecodeError (all ValueErrors) if it is not JSON.

    Values are counted by the characters that precede them. ``levels_around`` are those of a document that the text is
    only a part of.
    """
    if (
        len(text) > MOST_VALUES
        and values_in(text) > MOST_VALUES
        and values_outside_texts(text, MOST_VALUES) > MOST_VALUES
    ):
        raise TooManyValues
    value = orjson.loads(text)
    if text.count(b"{") + text.count(b"[") > _DEEP:  # which long lists are too, so look closer
        around = value
        for _ in range(levels_around):
            around = [around]
        try:
            orjson.dumps(around)  # goes down 254 levels and no further
        except orjson.JSONEncodeError:
            raise TooDeep from None
    return value


def with_whole_numbers(value: Any, text: bytes) -> Any:
    """The parsed value of a JSON text, with its whole numbers of more than 64 bits exact.

    The parser turns those numbers into the nearest floats, so a text that may have some is parsed again by another
    parser.
    """
    if _LONG_NUMBER.search(text) is None:
        return value
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # Python reads no number of thousands of digits
        return value


def values_outside_texts(text: bytes, most: float) -> int:
    """Number of values in a JSON text, like `heavy.values_in`, but without commas and brackets inside texts.

    Counting stops somewhere past ``most``. Yields to others now and then.
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
