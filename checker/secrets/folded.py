"""Texts as they are compared: folded to a byte for each character that counts, and searched for many pieces at once."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from functools import cached_property
from itertools import compress
from typing import Any

_LOWER = bytes(code + 32 if 65 <= code <= 90 else code for code in range(256))
_UNSEEN = frozenset((*range(32), 127, *range(0x80, 0xA1), 0xAD))
_SPACES = bytes(sorted({32, *_UNSEEN}))
_MARKS = bytes(code for code in range(256) if (code < 128 and not chr(code).isalnum()) or code in _UNSEEN)
_MEMORY_BYTES = 4 * 1024 * 1024
"""What the states of one search may take; RE2 forgets and makes them anew where it needs more."""


class Fold:
    """A way to fold texts: lower case, without some characters, a byte for each that is left.

    Of a character that is not ASCII the lowest byte stands for it. What is found can be another text then, which is no
    more likely than to guess it.
    """

    def __init__(self, dropped: bytes) -> None:
        self._dropped = dropped
        self._kept = bytes(code not in dropped for code in range(256))

    def __call__(self, text: str) -> bytes:
        """The folded text."""
        return _octets(text).translate(_LOWER, self._dropped)

    def places(self, text: str) -> array[int]:
        """Where in the text each byte of the folded one stands."""
        return array("L", compress(range(len(text)), _octets(text).translate(self._kept)))


SQUEEZED = Fold(_SPACES)
"""Without white space and what cannot be seen."""
BARE = Fold(_MARKS)
"""Letters and digits only: nothing that is set between them or escapes them is in the way."""


def _octets(text: str) -> bytes:
    if text.isascii():
        return text.encode()
    low = text.lower()
    if len(low) != len(text):
        low = "".join(one if len(one.lower()) > 1 else one.lower() for one in text)
    return low.encode("utf-32-le", "surrogatepass")[::4]


class Pieces:
    """Finds the first of many pieces in a folded text, in a time that hardly depends on how many there are."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pattern = b"|".join(re.escape(piece) for piece in pieces)

    def first(self, text: bytes, start: int = 0) -> tuple[int, int] | None:
        """Where the first piece begins and ends, from there on; None where there is none."""
        found = self._regexp.search(text, start)
        return None if found is None else found.span()

    @cached_property
    def _regexp(self) -> Any:
        import re2  # not before there is a secret to look for

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem, options.never_capture, options.log_errors = _MEMORY_BYTES, True, False
        return re2._Regexp(self._pattern, options)  # `compile` keeps the last 128 of them
