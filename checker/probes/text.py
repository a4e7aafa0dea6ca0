"""Text that came from outside, made fit to be shown: one line, printable, short."""

from __future__ import annotations


def excerpt(text: str | bytes, limit: int = 120) -> str:
    """At most ``limit`` characters of the text on one line, without control characters."""
    if isinstance(text, bytes):
        text = text[: limit * 4].decode("utf-8", "replace")
    if len(text) <= limit and text.isprintable() and "  " not in text and text == text.strip():
        return text
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
