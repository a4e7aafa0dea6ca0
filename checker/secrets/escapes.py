"""Text as it was before somebody escaped it, with the way back from each character to where it stands."""

from __future__ import annotations

import html
import re
from bisect import bisect_right

_UNSEEN = (
    "\\x00-\\x08\\x0e-\\x1a\\x7f-\\x84\\x86-\\x9f\\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Controls, joiners, marks of direction, tags: set between letters they change nothing that is seen."""
_ESCAPE = re.compile(
    rf"[%\\&+\x1b{_UNSEEN}](?:"  # a set to begin with: what is none of these is skipped fast
    r"(?<=%)(?:(?P<percent>[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*)|u(?P<wide>[0-9A-Fa-f]{4}))"
    r"|(?<=\\)(?:u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|u(?P<unicode>[0-9A-Fa-f]{4})|u\{(?P<braces>[0-9A-Fa-f]{1,6})\}|U(?P<long>[0-9A-Fa-f]{8})|x(?P<hex>[0-9A-Fa-f]{2})"
    r"|(?P<octal>[0-3][0-7]{2}(?:\\[0-3][0-7]{2})*)|(?P<one>[nrtbfva0\"'\\/`]))"
    r"|(?<=&)(?:(?P<number>#\d{1,10}|#[xX][0-9A-Fa-f]{1,8});?|(?P<entity>[A-Za-z]{2,8});)"
    r"|(?<=\+)(?P<plus>)"
    r"|(?<=\x1b)(?P<terminal>\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[ -/]?[0-~])?"
    rf"|(?<=[{_UNSEEN}])(?P<unseen>))"
)
_BEGINNING = re.compile(rf"[%\\&+\x1b{_UNSEEN}]")
_QUOTED = re.compile(r"=(?P<percent>[0-9A-Fa-f]{2}(?:=[0-9A-Fa-f]{2})*)")
_ONE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}


class Unescaped:
    """A text with all escapes undone once: percent (and ``+``), backslash (JSON, repr) and HTML."""

    def __init__(self, text: str, starts: list[int], origins: list[int], changed: list[bool]) -> None:
        self.text = text
        self._starts, self._origins, self._changed = starts, origins, changed

    def origin(self, position: int) -> int:
        """Where the character at this position begins in the text before."""
        index = bisect_right(self._starts, position) - 1
        offset = 0 if self._changed[index] else position - self._starts[index]
        return self._origins[index] + offset

    def origin_of_end(self, position: int) -> int:
        """Where what ends before this position ends in the text before."""
        index = bisect_right(self._starts, position - 1) - 1
        if self._changed[index]:
            return self._origins[index + 1]
        return self._origins[index] + position - self._starts[index]


def unescaped(text: str) -> Unescaped | None:
    """The text without its escapes, and without what is not seen; None where it has none."""
    return None if _BEGINNING.search(text) is None else _undone(text, _ESCAPE)


def unquoted_printable(text: str) -> Unescaped | None:
    """The text without the escapes of quoted-printable (RFC 2045, 6.7), such as ``=2B``; None where it has none."""
    return _undone(text, _QUOTED) if "=" in text else None


def _undone(text: str, escape: re.Pattern[str]) -> Unescaped | None:
    pieces: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    changed: list[bool] = []
    length = 0

    def add(piece: str, origin: int, is_changed: bool) -> None:
        nonlocal length
        starts.append(length)
        origins.append(origin)
        changed.append(is_changed)
        pieces.append(piece)
        length += len(piece)

    done, any_changed = 0, False
    for match in escape.finditer(text):
        meant = _meant(match)
        if meant is None:
            continue
        any_changed = True
        if match.start() > done:
            add(text[done : match.start()], done, False)
        for piece, start, _ in meant:
            add(piece, match.start() + start, True)
        done = match.end()
    if not any_changed:
        return None
    add(text[done:], done, False)
    starts.append(length + 1)
    origins.append(len(text))
    changed.append(True)
    return Unescaped("".join(pieces), starts, origins, changed)


def unescaped_text(text: str) -> str:
    """The text without its escapes, where the way back is of no interest."""
    if _BEGINNING.search(text) is None:
        return text
    return _ESCAPE.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    if (one := match["one"]) is not None:  # most of them
        return _ONE.get(one, one)
    meant = _meant(match)
    return match[0] if meant is None else "".join([piece for piece, _, _ in meant])


def _meant(match: re.Match[str]) -> list[tuple[str, int, int]] | None:
    """What an escape stands for: each character, with where it begins and ends in it; None for what is none."""
    kind = match.lastgroup
    if kind == "percent":
        return _octets(match[0], "%=", 16)
    if kind == "octal":
        return _octets(match[0], "\\", 8)
    if kind == "low":
        pair = bytes.fromhex(match["high"] + match["low"]).decode("utf-16-be")
        return [(pair, 0, len(match[0]))]
    if kind in ("unicode", "braces", "long", "hex", "wide"):
        number = int(match[kind], 16)
        return [(chr(number), 0, len(match[0]))] if number <= 0x10FFFF else None
    if kind == "one":
        return [(_ONE.get(match["one"], match["one"]), 0, 2)]
    if kind in ("number", "entity"):
        meant = html.unescape(f"&{match[kind]};")
        return None if meant == match[0] or not meant else [(meant, 0, len(match[0]))]
    if kind == "plus":
        return [(" ", 0, 1)]
    return [("", 0, len(match[0]))]


def _octets(text: str, marks: str, base: int) -> list[tuple[str, int, int]]:
    """The characters of UTF-8 whose bytes are written as numbers behind marks.

    Bytes that are none stand for themselves.
    """
    numbers = re.split(f"[{re.escape(marks)}]", text)[1:]
    octets, width = bytes(int(number, base) for number in numbers), len(numbers[0]) + 1
    found, at = [], 0
    while at < len(octets):
        first = octets[at]
        length = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        try:
            piece = octets[at : at + length].decode()
        except UnicodeDecodeError:
            piece, length = chr(first), 1
        found.append((piece, at * width, (at + length) * width))
        at += length
    return found
