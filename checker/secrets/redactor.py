"""Masking secrets in text, in whatever form somebody who was sent them writes them down.

A text is looked through as it stands and with its escapes undone, once and again, without regard to case and white
space; a secret is looked for as it is, in base64 (also inside something larger) and in hex. What is found is masked
where it stands. What a server makes of a secret beyond that is not recognised: docs/secrets.md says what is promised.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from checker.secrets.escapes import Unescaped, unescaped, unescaped_text
from checker.secrets.plain_values import SHORTEST, is_plain

MASK = "***"
"""What stands in the place of a secret."""
_PIECE = 8
"""So many characters in a row are looked for first; what is around them decides."""
_CONTINUED = 16
"""A part of a secret as long as this is masked wherever it stands; at an end or a cut, the first `_PIECE` are."""
_STRIDE = _CONTINUED - _PIECE + 1
_MOST_PIECES = 24
_LONGEST_IN_PARTS = 4096
_LEVELS = 4
"""How often escapes are undone: JSON in JSON in an address in HTML."""
_CUT = re.compile(r"[^\w/+=-]{0,8}\Z|…|\.\.\.|[\"'<\\&]")
_UPPER = {code: code + 32 for code in range(65, 91)}
_LETTERS = re.compile(r"[A-Za-z]+")
Span = tuple[int, int]


class _Needle(NamedTuple):
    text: str
    in_parts: bool


class Redactor:
    """Masks a set of secrets; it does not change."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._pieces: dict[str, list[tuple[_Needle, int]]] = {}
        self._short: dict[str, re.Pattern[str] | None] = {}
        self._whole: set[str] = set()
        self._known: set[str] = set()
        self._least = 1 << 30
        for secret in secrets:
            if secret not in self._known:
                self._known.add(secret)
                self._add(secret)

    def __bool__(self) -> bool:
        return bool(self._known)

    def __call__(self, text: str) -> str:
        """The text with every secret in it masked; the text itself where it has none."""
        if text in self._whole:
            return MASK
        spans = self._spans(text) if len(text) >= self._least and self.suspects(text) else []
        return _masked(text, spans) if spans else text

    def json(self, document: str) -> str:
        """A JSON text with the secrets in its values masked; what is no value stays as it is.

        Names are masked as well where a secret is in them that nobody takes for a word. Keys come sorted out of it.
        """
        if not self.suspects(document):
            return document
        try:
            value = orjson.loads(document)
        except orjson.JSONDecodeError:
            return self(document)
        masked = self.value(value)
        return document if masked == value else orjson.dumps(masked, option=orjson.OPT_SORT_KEYS).decode()

    def value(self, value: Any) -> Any:
        """A JSON value with the secrets in its texts masked."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            found: dict[str, Any] = {}
            for key, item in value.items():
                found[self._name(key, found)] = self.value(item)
            return found
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            return MASK if len(text) >= _PIECE and self(text) != text else value
        return value

    def _name(self, key: str, taken: dict[str, Any]) -> str:
        """A member's name; changed only for what is nobody's word, and then still one of its own."""
        if is_plain(key) or len(key) < _PIECE or (masked := self(key)) == key:
            return key
        number, name = 1, masked
        while name in taken:
            number += 1
            name = f"{masked}{number}"
        return name

    def _add(self, secret: str) -> None:
        if not secret.strip():
            return
        if len(secret) < SHORTEST:
            self._whole.add(secret)
            return
        forms = {secret, secret.strip()}
        level = secret
        for _ in range(_LEVELS):
            level = unescaped_text(level)
            forms.add(level)
        if not secret.isascii():
            forms |= {one.encode("utf-8", "replace").decode("latin-1") for one in list(forms)}
        in_parts = len(secret) <= _LONGEST_IN_PARTS and not re.search(r"://|^[\[{]", secret)
        for form in forms:
            self._look_for(form, _STRIDE if in_parts else 0)
        for encoded in _encoded(secret):
            self._look_for(encoded, len(encoded) if in_parts else 0)

    def _look_for(self, form: str, stride: int) -> None:
        """Find this form, and pieces of it that far apart; 0 stands for nothing but the whole."""
        squeezed = _squeezed(form)
        if len(squeezed) < _PIECE:
            for short in {form, " ".join(form.split())}:
                if len(short) >= SHORTEST:
                    self._short[short] = (
                        re.compile(rf"(?<![^\W_]){re.escape(short)}(?![^\W_])") if _LETTERS.fullmatch(short) else None
                    )
                    self._least = min(self._least, len(short))
            return
        needle = _Needle(squeezed, stride > 0)
        self._least = min(self._least, _PIECE)
        last = len(squeezed) - _PIECE
        stride = max(stride, len(squeezed) // _MOST_PIECES) if stride else last + 1
        for offset in {*range(0, last + 1, stride), *({last} if needle.in_parts and stride <= last else set())}:
            known = self._pieces.setdefault(squeezed[offset : offset + _PIECE], [])
            if (needle, offset) not in known:
                known.append((needle, offset))

    def suspects(self, text: str) -> bool:
        """Whether there may be a secret in the text: quick, and never wrong where it says no."""
        layer, above = text, ""
        for _ in range(_LEVELS + 1):
            squeezed = _squeezed(layer)
            if any(piece in squeezed for piece in self._pieces) or any(short in layer for short in self._short):
                return True
            layer, above = unescaped_text(layer), layer
            if layer == above:
                break
        return any(f'"{one}"' in text for one in self._whole)

    def _spans(self, text: str) -> list[Span]:
        """Where in the text the secrets are."""
        spans: list[Span] = []
        for layer in _layers(text):
            for start, end in self._spans_as_written(layer[-1].text):
                for undone in reversed(layer[1:]):
                    start, end = undone.origin(start), undone.origin_of_end(end)
                spans.append((start, end))
        return spans

    def _spans_as_written(self, text: str) -> Iterator[Span]:
        for short, bounded in self._short.items():
            if bounded is not None:
                yield from (match.span() for match in bounded.finditer(text))
                continue
            at = text.find(short)
            while at >= 0:
                yield at, at + len(short)
                at = text.find(short, at + len(short))
        squeezed = _squeezed(text)
        places: list[int] | None = None
        for piece, needles in self._pieces.items():
            at = squeezed.find(piece)
            while at >= 0:
                run = max((_run(squeezed, at, needle, offset) for needle, offset in needles), key=_length)
                if _length(run):
                    if places is None:
                        places = [index for index, one in enumerate(text) if not one.isspace()]
                    yield places[run[0]], places[run[1] - 1] + 1
                at = squeezed.find(piece, max(at + 1, run[1]))


class _AsWritten(Unescaped):
    """The text itself, as the first of its layers."""

    def __init__(self, text: str) -> None:
        super().__init__(text, [], [], [])


def _layers(text: str) -> Iterator[list[Unescaped]]:
    """The text as it stands, and with its escapes undone once, twice and so on: each with the layers before it."""
    layer: list[Unescaped] = [_AsWritten(text)]
    yield layer
    for _ in range(_LEVELS):
        undone = unescaped(layer[-1].text)
        if undone is None:
            return
        layer = [*layer, undone]
        yield layer


def _run(text: str, at: int, needle: _Needle, offset: int) -> Span:
    """How far the text around a piece is the needle; nothing where that is too little to tell."""
    start, end, known = at, at + _PIECE, needle.text
    first, last = offset, offset + _PIECE
    if not needle.in_parts:
        start = at - offset
        return (start, start + len(known)) if text.startswith(known, start) else (at, at)
    while start and first and text[start - 1] == known[first - 1]:
        start, first = start - 1, first - 1
    while end < len(text) and last < len(known) and text[end] == known[last]:
        end, last = end + 1, last + 1
    whole = first == 0 and last == len(known)
    if whole or end - start >= _CONTINUED or (first == 0 and _CUT.match(text, end)):
        return start, end
    return at, at


def _length(span: Span) -> int:
    return span[1] - span[0]


def _squeezed(text: str) -> str:
    """The text in lower case and without white space, a character for each that is left."""
    lower = text.lower()
    if len(lower) != len(text):
        lower = text.translate(_UPPER)
    return "".join(lower.split())


def _encoded(secret: str) -> Iterator[str]:
    """What of a secret can be seen when it is encoded: base64 wherever it begins in something larger, and hex."""
    octets = secret.encode("utf-8", "surrogateescape")
    for before in range(3):
        text = base64.b64encode(bytes(before) + octets).decode()
        seen = text[(0, 2, 3)[before] : (before + len(octets)) * 8 // 6]
        if len(seen) > SHORTEST:
            yield seen
            if "+" in seen or "/" in seen:
                yield seen.translate({43: "-", 47: "_"})
    yield octets.hex()


def _masked(text: str, spans: list[Span]) -> str:
    """The text with a mask for each span, and one for spans that touch."""
    pieces: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not pieces:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join(pieces) + text[done:]
