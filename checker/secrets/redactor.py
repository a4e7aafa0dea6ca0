"""Masking of secrets in text, in whatever form a server that was sent them writes them down.

A text is searched as it stands and with its escapes undone, repeatedly, ignoring case, white space and, if a secret has
enough letters and digits, all characters between those. A secret is looked for as it is, in base64 (also inside
something larger) and in hex. Matches are masked in place. Other transformations of a secret by a server are not
recognised: docs/secrets.md states the guarantee.
"""

from __future__ import annotations

import base64
import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import compress
from typing import Any, NamedTuple
from unicodedata import normalize

import orjson

from checker.late_patterns import late
from checker.secrets.plain_values import SHORTEST, is_plain

_INVISIBLE = (
    "\\x00-\\x08\\x0e-\\x1a\\x7f-\\x84\\x86-\\x9f\\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Controls, joiners, marks of direction, tags: set between letters they change nothing that is seen."""
_ESCAPE = late(
    rf"[%\\&+\x1b{_INVISIBLE}](?:"  # a set to begin with: what is none of these is skipped fast
    r"(?<=%)(?:(?P<percent>[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*)|u(?P<wide>[0-9A-Fa-f]{4}))"
    r"|(?<=\\)(?:u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|u(?P<unicode>[0-9A-Fa-f]{4})|u\{(?P<braces>[0-9A-Fa-f]{1,6})\}|U(?P<long>[0-9A-Fa-f]{8})|x(?P<hex>[0-9A-Fa-f]{2})"
    r"|(?P<octal>[0-3][0-7]{2}(?:\\[0-3][0-7]{2})*)|(?P<one>[nrtbfva0\"'\\/`]))"
    r"|(?<=&)(?:(?P<number>#\d{1,10}|#[xX][0-9A-Fa-f]{1,8});?|(?P<entity>[A-Za-z]{2,8});)"
    r"|(?<=\+)(?P<plus>)"
    r"|(?<=\x1b)(?P<terminal>\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[ -/]?[0-~])?"
    rf"|(?<=[{_INVISIBLE}])(?P<unseen>))"
)
_BEGINNING = late(rf"[%\\&+\x1b{_INVISIBLE}]")
_QUOTED = late(r"=(?P<percent>[0-9A-Fa-f]{2}(?:=[0-9A-Fa-f]{2})*)")
_ONE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}


class Unescaped:
    """A text with all escapes undone once: percent (and ``+``), backslash (JSON, repr) and HTML."""

    def __init__(self, text: str, starts: list[int], origins: list[int], changed: list[bool]) -> None:
        self.text = text
        self._starts, self._origins, self._changed = starts, origins, changed

    def origin(self, position: int) -> int:
        """The start of the character at this position, in the text before."""
        index = bisect_right(self._starts, position) - 1
        offset = 0 if self._changed[index] else position - self._starts[index]
        return self._origins[index] + offset

    def origin_of_end(self, position: int) -> int:
        """The end, in the text before, of the part that ends at this position."""
        index = bisect_right(self._starts, position - 1) - 1
        if self._changed[index]:
            return self._origins[index + 1]
        return self._origins[index] + position - self._starts[index]


def unescaped(text: str) -> Unescaped | None:
    """The text without its escapes and invisible characters; None if it has none."""
    return None if _BEGINNING.search(text) is None else _undone(text, _ESCAPE)


def unquoted_printable(text: str) -> Unescaped | None:
    """The text without the escapes of quoted-printable (RFC 2045, 6.7), such as ``=2B``; None if it has none."""
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
    """The text without its escapes, for callers that need no positions in the original."""
    if _BEGINNING.search(text) is None:
        return text
    return _ESCAPE.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    if (one := match["one"]) is not None:  # most of them
        return _ONE.get(one, one)
    meant = _meant(match)
    return match[0] if meant is None else "".join([piece for piece, _, _ in meant])


def _meant(match: re.Match[str]) -> list[tuple[str, int, int]] | None:
    """The characters that an escape stands for, each with its start and end in it; None if it is not an escape."""
    kind = match.lastgroup
    if kind == "percent":
        return _decoded_octets(match[0], "%=", 16)
    if kind == "octal":
        return _decoded_octets(match[0], "\\", 8)
    if kind == "low":
        pair = bytes.fromhex(match["high"] + match["low"]).decode("utf-16-be")
        return [(pair, 0, len(match[0]))]
    if kind in ("unicode", "braces", "long", "hex", "wide"):
        number = int(match[kind], 16)
        return [(chr(number), 0, len(match[0]))] if number <= 0x10FFFF else None
    if kind == "one":
        return [(_ONE.get(match["one"], match["one"]), 0, 2)]
    if kind in ("number", "entity"):
        import html  # whose table of names few texts need

        meant = html.unescape(f"&{match[kind]};")
        return None if meant == match[0] or not meant else [(meant, 0, len(match[0]))]
    if kind == "plus":
        return [(" ", 0, 1)]
    return [("", 0, len(match[0]))]


def _decoded_octets(text: str, marks: str, base: int) -> list[tuple[str, int, int]]:
    """The characters of UTF-8 whose bytes are written as numbers behind marks.

    Invalid bytes stand for themselves.
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


_LOWER = bytes(code + 32 if 65 <= code <= 90 else code for code in range(256))
_UNSEEN = frozenset((*range(32), 127, *range(0x80, 0xA1), 0xAD))
_SPACES = bytes(sorted({32, *_UNSEEN}))
_MARKS = bytes(code for code in range(256) if (code < 128 and not chr(code).isalnum()) or code in _UNSEEN)
_MEMORY_BYTES = 4 * 1024 * 1024
"""Memory limit for the states of one search; RE2 discards and rebuilds them if it needs more."""


class Fold:
    """A way to fold texts: lower case, without some characters, one byte for each remaining character.

    A character that is not ASCII is represented by its lowest byte. A match can then be another text, which is no more
    likely than guessing the secret.
    """

    def __init__(self, dropped: bytes) -> None:
        self._dropped = dropped
        self._kept = bytes(code not in dropped for code in range(256))

    def __call__(self, text: str) -> bytes:
        """The folded text."""
        return _as_octets(text).translate(_LOWER, self._dropped)

    def places(self, text: str) -> array[int]:
        """The position in the text of each byte of the folded one."""
        return array("L", compress(range(len(text)), _as_octets(text).translate(self._kept)))


SQUEEZED = Fold(_SPACES)
"""Without white space and invisible characters."""
BARE = Fold(_MARKS)
"""Letters and digits only: nothing that is set between them or escapes them is in the way."""


def _as_octets(text: str) -> bytes:
    if text.isascii():
        return text.encode()
    low = text.lower()
    if len(low) != len(text):
        low = "".join(one if len(one.lower()) > 1 else one.lower() for one in text)
    return low.encode("utf-32-le", "surrogatepass")[::4]


class Pieces:
    """Finds the first of many pieces in a folded text, in a time that hardly depends on their number."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pattern = b"|".join(re.escape(piece) for piece in pieces)

    def first(self, text: bytes, start: int = 0) -> tuple[int, int] | None:
        """Start and end of the first piece from there on; None if there is none."""
        found = self._regexp.search(text, start)
        return None if found is None else found.span()

    @cached_property
    def _regexp(self) -> Any:
        import re2  # not before there is a secret to look for

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem, options.never_capture, options.log_errors = _MEMORY_BYTES, True, False
        return re2._Regexp(self._pattern, options)  # `compile` keeps the last 128 of them


MASK = "***"
"""The mask in place of a secret."""
_PIECE = 8
"""Number of consecutive characters that are looked for first; the text around them decides."""
_CONTINUED = 16
"""A part of a secret as long as this is masked anywhere; at an end or a cut, the first `_PIECE` characters are."""
_STRIDE = _CONTINUED - _PIECE + 1
_MOST_PIECES = 24
_LONGEST_IN_PARTS = 65_536
_LEVELS = 4
"""Number of times that escapes are undone: JSON in JSON in an address in HTML."""
_LEVELS_QUOTED = 2
"""The same before quoted-printable, whose escapes look like the text after the = of a query."""
_CUT = late(r"[^\w/+=-]{0,8}\Z|…|\.\.\.|[\"'<\\&]")
_LONG_NUMBER = late(r"\d{16}")
_LETTERS = late(r"[A-Za-z]+")
_EDGES = late(r"([\W_]*)(.*?)([\W_]*)", re.DOTALL)
Span = tuple[int, int]


class _Needle(NamedTuple):
    text: bytes
    in_parts: bool
    before: str = ""
    after: str = ""
    """The beginning and end of the secret that are not in the folded text."""


class _NeedleSearch:
    """The needles to look for in texts folded the same way, found by their pieces."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.known: dict[bytes, list[tuple[_Needle, int]]] = {}

    def add(self, needle: _Needle, stride: int) -> None:
        """Add this needle, searched by pieces that far apart; 0 searches only the whole."""
        last = len(needle.text) - _PIECE
        stride = max(stride, len(needle.text) // _MOST_PIECES) if stride else last + 1
        for offset in {*range(0, last + 1, stride), *({last} if needle.in_parts and stride <= last else set())}:
            known = self.known.setdefault(needle.text[offset : offset + _PIECE], [])
            if (needle, offset) not in known:
                known.append((needle, offset))

    @cached_property
    def pieces(self) -> Pieces:
        """All pieces; none may be added from then on."""
        return Pieces(self.known)


class Redactor:
    """Masks a set of secrets; immutable."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._searches: tuple[_NeedleSearch, ...] = (_NeedleSearch(BARE), _NeedleSearch(SQUEEZED))
        self._short: dict[str, re.Pattern[str]] = {}
        self._whole: set[str] = set()
        self._known: set[str] = set()
        self._least = 1 << 30
        for secret in secrets:
            if secret not in self._known:
                self._known.add(secret)
                self._add(secret)
        self._searches = tuple(one for one in self._searches if one.known)

    def __bool__(self) -> bool:
        return bool(self._known)

    def __call__(self, text: str) -> str:
        """The text with every secret in it masked; the text itself if it has none."""
        if text in self._whole:
            return MASK
        spans = self._spans(text) if len(text) >= self._least and self.suspects(text) else []
        return _masked(text, spans) if spans else text

    def json(self, document: str) -> str:
        """A JSON text with the secrets in its values masked; everything that is not a value stays as it is.

        Names are masked too if they contain a secret that cannot be a word. The keys of the result are sorted.
        """
        if not self.suspects(document):
            return document
        try:
            value = _loaded(document)
        except (ValueError, RecursionError):
            return self(document)
        masked = self.value(value)
        return document if masked == value else _dumped(masked)

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
        """A member's name; changed only for a secret that cannot be a word, and then still unique."""
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
            cases = {case for one in forms for case in (one, one.lower(), one.upper())}  # once misread they are others
            forms |= {one.encode("utf-8", "replace").decode("latin-1") for one in cases}
            forms |= {normalize(kind, one) for kind in ("NFC", "NFD") for one in list(forms)}
        in_parts = len(secret) <= _LONGEST_IN_PARTS and not re.search(r"://|^[\[{]", secret)
        for form in forms:
            self._look_for(form, _STRIDE if in_parts else 0)
        if in_parts and "\n" in secret:  # the lines of a key: each tells something without the others
            for line in secret.splitlines():
                if len(line) >= _CONTINUED and not line.startswith("-----"):
                    self._look_for(line, len(line))
        for encoded in _encoded(secret):
            self._look_for(encoded, len(encoded) if in_parts else 0)

    def _look_for(self, form: str, stride: int) -> None:
        bare, squeezed, in_parts = BARE(form), SQUEEZED(form), stride > 0
        if len(squeezed) < _PIECE:
            for short in {form, " ".join(form.split())}:
                if len(short) >= SHORTEST:
                    escaped = re.escape(short)
                    bounded = rf"(?<![^\W_]){escaped}(?![^\W_])" if _LETTERS.fullmatch(short) else escaped
                    self._short[short.lower()] = re.compile(bounded, re.IGNORECASE)
                    self._least = min(self._least, len(short))
            return
        self._least = min(self._least, _PIECE)
        if len(bare) >= min(_CONTINUED, max(_PIECE, len(squeezed) // 2)):
            edges = _EDGES.fullmatch(form)
            before, after = (edges[1], edges[3]) if edges else ("", "")
            self._searches[0].add(_Needle(bare, in_parts, before, after), stride)
            stride = 0 if len(bare) < len(squeezed) else -1
        if stride >= 0:  # where it is cut among other characters than letters as well
            self._searches[1].add(_Needle(squeezed, in_parts), stride)

    def suspects(self, text: str) -> bool:
        """True if there may be a secret in the text: fast, and a False is always right."""
        return any(map(self._is_suspect, _texts(text))) or any(f'"{one}"' in text for one in self._whole)

    def _is_suspect(self, text: str) -> bool:
        if self._short and self._shorts.first(_utf8(text.lower())) is not None:
            return True
        return any(search.pieces.first(search.fold(text)) is not None for search in self._searches)

    @cached_property
    def _shorts(self) -> Pieces:
        return Pieces(_utf8(short) for short in self._short)

    def _spans(self, text: str) -> list[Span]:
        """The positions of the secrets in the text."""
        spans: list[Span] = []
        for layer in _layers(text):
            for start, end in self._spans_as_written(layer[-1].text):
                for undone in reversed(layer[1:]):
                    start, end = undone.origin(start), undone.origin_of_end(end)
                spans.append((start, end))
        return spans

    def _spans_as_written(self, text: str) -> Iterator[Span]:
        if self._short and self._shorts.first(_utf8(text.lower())) is not None:
            for short in self._short.values():
                yield from (match.span() for match in short.finditer(text))
        for search in self._searches:
            folded, places = search.fold(text), array("L")
            piece = search.pieces.first(folded)
            while piece is not None:
                places = places or search.fold.places(text)
                at, known = piece[0], search.known[folded[piece[0] : piece[1]]]
                run = max((_run(text, folded, places, at, needle, offset) for needle, offset in known), key=_length)
                if _length(run):
                    yield run[0], run[1]
                piece = search.pieces.first(folded, max(at + 1, run[2]))


class _AsWritten(Unescaped):
    """The text itself, as the first of its layers."""

    def __init__(self, text: str) -> None:
        super().__init__(text, [], [], [])


def _loaded(document: str) -> Any:
    """The value of a JSON text, including numbers beyond 64 bits and broken Unicode; raises ValueError."""
    if not _LONG_NUMBER.search(document):
        try:
            return orjson.loads(document)
        except orjson.JSONDecodeError:  # half of a surrogate pair, which servers may send as an escape
            pass
    return json.loads(document)


def _dumped(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _layers(text: str) -> Iterator[list[Unescaped]]:
    """The text as it stands, and with its escapes undone once, twice and so on: each with the layers before it."""
    layer: list[Unescaped] = [_AsWritten(text)]
    for level in range(_LEVELS + 1):
        yield layer
        if level < _LEVELS_QUOTED and (quoted := unquoted_printable(layer[-1].text)) is not None:
            yield [*layer, quoted]
        undone = unescaped(layer[-1].text) if level < _LEVELS else None
        if undone is None:
            return
        layer = [*layer, undone]


def _texts(text: str) -> Iterator[str]:
    """The text of each of the layers."""
    for level in range(_LEVELS + 1):
        yield text
        if level < _LEVELS_QUOTED and (quoted := unquoted_printable(text)) is not None:
            yield quoted.text
        above, text = text, unescaped_text(text) if level < _LEVELS else text
        if text == above:
            return


def _run(text: str, folded: bytes, places: array[int], at: int, needle: _Needle, offset: int) -> tuple[int, int, int]:
    """The span of text around a piece that matches the needle, and the end of the match in the folded text.

    It is empty if the match is too short to be conclusive.
    """
    start, end, known = at, at + _PIECE, needle.text
    first, last = offset, offset + _PIECE
    if not needle.in_parts:
        start, first = at - offset, 0
        if start < 0 or not folded.startswith(known, start):
            return at, at, at
        end, last = start + len(known), len(known)
    while start and first and folded[start - 1] == known[first - 1]:
        start, first = start - 1, first - 1
    while end < len(folded) and last < len(known) and folded[end] == known[last]:
        end, last = end + 1, last + 1
    begins, ends = places[start], places[end - 1] + 1
    whole = first == 0 and last == len(known)
    if not (whole or end - start >= _CONTINUED or (first == 0 and _CUT.match(text, ends))):
        return at, at, at
    if first == 0 and needle.before and text.endswith(needle.before, 0, begins):
        begins -= len(needle.before)
    if last == len(known) and needle.after and text.startswith(needle.after, ends):
        ends += len(needle.after)
    return begins, ends, end


def _length(run: tuple[int, int, int]) -> int:
    return run[1] - run[0]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encoded(secret: str) -> Iterator[str]:
    """Recognisable forms of an encoded secret: base64 at any offset in something larger, and hex."""
    octets = secret.encode("utf-8", "surrogateescape")
    for before in range(3):
        text = base64.b64encode(bytes(before) + octets).decode()
        seen = text[(0, 2, 3)[before] : (before + len(octets)) * 8 // 6]
        if len(seen) > SHORTEST:
            yield seen
            if "+" in seen or "/" in seen:
                yield seen.translate({43: "-", 47: "_"})
    yield octets.hex()
    yield base64.b64encode(base64.b64encode(octets)).decode()


def _masked(text: str, spans: list[Span]) -> str:
    """The text with a mask for each span, and a single one for spans that touch."""
    pieces: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or not pieces:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join(pieces) + text[done:]
