r"""Regular expressions from the configuration, run by RE2 over text from servers, in linear time.

They are written in the syntax of Python's ``re``, parsed by its rules, and translated into RE2's syntax part by part,
because the two differ in important details: the characters that ``\s``, ``\w`` and ``\d`` match, and the positions of
``^``, ``$`` and ``\Z``. One difference remains: ``\b`` considers only ASCII letters, digits and underscores.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined] # in no stubs; the names of what the parser gives
from re import _parser  # type: ignore[attr-defined] # in no stubs; Python's own reading is the one that users expect
from typing import Any

import re2

MEMORY_BYTES = 16 * 1024 * 1024
"""Memory limit of one expression and its states (`max_mem` of RE2); an expression that needs more is refused."""
_LONGEST = 10_000
_MOST_REPEATED = 1000
_REMEDY = "write it without, or as several conditions"
_REFUSED = {
    op.ASSERT: "looks ahead or behind, (?=...) or (?<=...)",
    op.ASSERT_NOT: "looks ahead or behind, (?!...) or (?<!...)",
    op.GROUPREF: "refers back to a group, \\1 or (?P=name)",
    op.GROUPREF_EXISTS: "depends on a group, (?(1)...)",
    op.ATOMIC_GROUP: "has an atomic group, (?>...)",
    op.POSSESSIVE_REPEAT: "repeats possessively, such as a++",
}
_SPACES = ((0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A))
_MORE_SPACES = ((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000))
_ASCII_SPACES = ((0x09, 0x0D), (0x20, 0x20))
_ASCII_DIGITS = ((0x30, 0x39),)
_ASCII_WORDS = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_LAST = 0x10FFFF
_NO_WORDS = r"\p{M}\p{S}\p{Z}\p{C}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\x{203f}\x{2040}\x{2054}\x{fe33}\x{fe34}"
"""Characters that are neither letter nor number, without the underscore; the next line has the rest of its category."""
_NO_WORDS += r"\x{fe4d}-\x{fe4f}\x{ff3f}"


class PatternRefused(ValueError):
    """An expression that is invalid, or that RE2 cannot express; the text names the place and the remedy."""


class Pattern:
    """A compiled expression; `compiled` makes them."""

    __slots__ = ("_regexp", "flags", "pattern", "steps")

    def __init__(self, pattern: str, flags: int = 0, memory_bytes: int = MEMORY_BYTES) -> None:
        self.pattern, self.flags = pattern, flags
        options = re2.Options()
        options.max_mem, options.never_capture, options.log_errors = memory_bytes, True, False
        try:
            self._regexp = re2._Regexp(_translated(pattern, flags), options)  # `compile` keeps the last 128 of them
        except re2.error as error:
            said = error.args[0] if error.args else ""
            text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
            raise PatternRefused(f'"{pattern}" cannot be run in bounded time: {text}; {_REMEDY}') from None
        self.steps: int = self._regexp.programsize
        """The size of the expression: the number of its places that RE2 may have to look at for each byte of a text."""

    def found_in(self, text: str | bytes) -> bool:
        """True if the expression is found anywhere in the text; bytes are read as UTF-8."""
        return self._regexp.search(_utf8(text)) is not None

    def fullmatch(self, text: str) -> bool:
        """True if the expression matches all of the text."""
        return self._regexp.fullmatch(_utf8(text)) is not None

    def search(self, text: str) -> bool:
        """Alias of `found_in`; JSONPath's functions look for it under this name."""
        return self.found_in(text)


@lru_cache(maxsize=1024)
def compiled(pattern: str, flags: int = 0) -> Pattern:
    """The expression, compiled; raises PatternRefused."""
    return Pattern(pattern, flags)


def pattern_fault(pattern: str | None) -> str | None:
    """The error in a configured regular expression, and the remedy; None if it is valid."""
    try:
        compiled(pattern or "")
    except PatternRefused as refused:
        return str(refused)
    return None


def _utf8(text: str | bytes) -> bytes:
    """The text as valid UTF-8, with U+FFFD for invalid parts: RE2 takes no other for a character."""
    if isinstance(text, bytes):
        if text.isascii():
            return text
        text = text.decode("utf-8", "replace")
    return text.encode("utf-8", "replace")


def _translated(pattern: str, flags: int) -> str:
    if len(pattern) > _LONGEST:
        raise PatternRefused(f'"{pattern[:40]}..." is longer than {_LONGEST} characters; make it shorter')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of nested sets, which a configuration may have had for years
            re.compile(pattern, flags)  # finds what the parser alone lets through
            parsed = _parser.parse(pattern, flags)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        raise PatternRefused(f'"{pattern}" is not a regular expression: {error}') from None
    flags = parsed.state.flags
    try:
        body = _sequence(parsed, flags)
    except PatternRefused as refused:
        raise PatternRefused(
            f'"{pattern}" {refused}, which cannot be run over a server\'s text in bounded time; {_REMEDY}'
        ) from None
    return f"(?i:{body})" if flags & re.IGNORECASE else body


def _sequence(items: Iterable[tuple[Any, Any]], flags: int) -> str:
    return "".join(_one(kind, value, flags) for kind, value in items)


def _one(kind: Any, value: Any, flags: int) -> str:
    if kind in _REFUSED:
        raise PatternRefused(_REFUSED[kind])
    if kind is op.LITERAL:
        return _char(value)
    if kind is op.NOT_LITERAL:
        return f"[^{_char(value)}]"
    if kind is op.ANY:
        return "(?s:.)" if flags & re.DOTALL else r"[^\n]"
    if kind is op.IN:
        return _set(value, flags)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
        least, most, inner = value
        once, lazy = f"(?:{_sequence(inner, flags)})", "?" if kind is op.MIN_REPEAT else ""
        return "".join(f"{once}{times}{lazy}" for times in _times(least, None if most is op.MAXREPEAT else most))
    if kind is op.SUBPATTERN:
        _, added, removed, inner = value
        within = (flags | added) & ~removed
        fold = "i" if within & re.IGNORECASE else "-i"
        return f"(?{fold}:{_sequence(inner, within)})"
    if kind is op.BRANCH:
        return f"(?:{'|'.join(_sequence(branch, flags) for branch in value[1])})"
    if kind is op.AT:
        return _place(value, flags)
    raise PatternRefused(f"has {str(kind).lower()}")


def _times(least: int, most: int | None) -> Iterator[str]:
    """Consecutive repetitions that add up to this number: RE2 accepts no number above 1000."""
    if max(least, most or 0) > _MOST_REPEATED * 10:
        raise PatternRefused(f"repeats more than {_MOST_REPEATED * 10} times")
    while least > _MOST_REPEATED:
        yield f"{{{_MOST_REPEATED}}}"
        least, most = least - _MOST_REPEATED, None if most is None else most - _MOST_REPEATED
    if most is None or most <= _MOST_REPEATED:
        yield f"{{{least},{'' if most is None else most}}}"
        return
    yield f"{{{least}}}"
    for done in range(least, most, _MOST_REPEATED):
        yield f"{{0,{min(_MOST_REPEATED, most - done)}}}"


def _place(value: Any, flags: int) -> str:
    many = flags & re.MULTILINE
    places = {
        op.AT_BEGINNING: "(?m:^)" if many else r"\A",
        op.AT_BEGINNING_STRING: r"\A",
        op.AT_END: "(?m:$)" if many else r"(?:\n?\z)",  # before a last line feed too, as in re
        op.AT_END_STRING: r"\z",
        op.AT_BOUNDARY: r"\b",
        op.AT_NON_BOUNDARY: r"\B",
    }
    return places[value]


def _set(items: Iterable[tuple[Any, Any]], flags: int) -> str:
    negated, parts = "", []
    for kind, value in items:
        if kind is op.NEGATE:
            negated = "^"
        elif kind is op.LITERAL:
            parts.append(_char(value))
        elif kind is op.RANGE:
            parts.append(f"{_char(value[0])}-{_char(value[1])}")
        else:
            parts.append(_category(value, bool(flags & re.ASCII)))
    return f"[{negated}{''.join(parts)}]"


def _category(kind: Any, is_ascii: bool) -> str:
    r"""The characters that a class such as ``\s`` matches, in the form used within brackets."""
    spaces, digits, words = (
        (_ranges(_ASCII_SPACES), _ranges(_ASCII_DIGITS), _ranges(_ASCII_WORDS))
        if is_ascii
        else (_ranges(_SPACES + _MORE_SPACES), r"\p{Nd}", r"\p{L}\p{N}_")
    )
    no_spaces, no_digits, no_words = (
        (_others(_ASCII_SPACES), _others(_ASCII_DIGITS), _others(_ASCII_WORDS))
        if is_ascii
        else (_others(_SPACES + _MORE_SPACES), r"\P{Nd}", _NO_WORDS)
    )
    classes = {
        op.CATEGORY_SPACE: spaces,
        op.CATEGORY_NOT_SPACE: no_spaces,
        op.CATEGORY_DIGIT: digits,
        op.CATEGORY_NOT_DIGIT: no_digits,
        op.CATEGORY_WORD: words,
        op.CATEGORY_NOT_WORD: no_words,
    }
    return classes[kind]


def _ranges(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(f"{_char(first)}-{_char(last)}" for first, last in ranges)


def _others(ranges: Iterable[tuple[int, int]]) -> str:
    found, start = [], 0
    for first, last in ranges:
        if first > start:
            found.append((start, first - 1))
        start = last + 1
    return _ranges([*found, (start, _LAST)])


def _char(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise PatternRefused("has half of a surrogate pair, which no text has")
    text = chr(code)
    return text if text.isascii() and text.isalnum() else f"\\x{{{code:x}}}"
