"""Text from outside, made safe to show: without secrets, one line, printable, short."""

from __future__ import annotations

from checker.secrets.known_secrets import current

_LOOKED_THROUGH = 16 * 1024
"""Characters behind the shown ones in which the rest of a secret is looked for."""


def excerpt(text: str | bytes, limit: int = 120) -> str:
    """At most ``limit`` characters of the text on one line, without control characters.

    The secrets of the current probe are masked before anything is cut off.
    """
    if len(text) > limit * 4 + _LOOKED_THROUGH:
        text = text[: limit * 4 + _LOOKED_THROUGH]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = current()(text)
    if len(text) <= limit and text.isprintable() and "  " not in text and text == text.strip():
        return text
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
