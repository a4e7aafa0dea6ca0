"""Replies that came before: servers of one kind answer with the same bytes, which are then read and judged only once.

A reading is found by the very bytes that it was made from, and by nothing that a server could make collide. Only what
is usual is kept: a reply with a fault, an oddity, or a text in which a secret of the present probe may be goes the
whole way every time, because the outcome then depends on more than its bytes.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from checker.secrets.known_secrets import current

Value = TypeVar("Value")
_MOST_SEEN = 4096


class Readings(Generic[Value]):
    """What was worked out from texts, kept from the second time on: of a fleet of different servers nothing is kept.

    The total length of the texts is bounded: in two generations, of which the older one is forgotten when the younger
    one has half of it, which costs nothing when something is found.
    """

    __slots__ = ("_bytes", "_most_bytes", "_old", "_seen", "_young")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes // 2, 0
        self._young: dict[Hashable, tuple[Value, int]] = {}
        self._old: dict[Hashable, tuple[Value, int]] = {}
        self._seen: set[int] = set()

    def get(self, key: Hashable) -> Value | None:
        """The value of the key; None if it is not kept."""
        if (found := self._young.get(key)) is not None:
            return found[0]
        if not self._old or (found := self._old.pop(key, None)) is None:
            return None
        self._put(key, *found)
        return found[0]

    def note(self, key: Hashable, value: Value, length: int) -> None:
        """Keep the value if the key was noted before; ``length`` is that of the texts that it came from."""
        number = hash(key)
        if number in self._seen:
            if length <= self._most_bytes:
                self._put(key, value, length)
            return
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.add(number)

    def forget(self) -> None:
        """Begin with nothing."""
        self._young, self._old, self._seen, self._bytes = {}, {}, set(), 0

    def _put(self, key: Hashable, value: Value, length: int) -> None:
        if self._bytes + length > self._most_bytes:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = value, length
        self._bytes += length


def may_hold_secret(text: bytes) -> bool:
    """True if a secret of the present probe may be in a JSON text: what comes of it is then for this probe only.

    A text with escapes that canonical JSON does not have is suspected too: a short secret is only found in that form.
    """
    masking = current()
    if not masking.masks_anything:
        return False
    return b"\\u" in text or b"\\/" in text or masking.suspects(text.decode("utf-8", "replace"))
