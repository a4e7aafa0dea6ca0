"""The class of a view, and the expressions for times and durations that all views share."""

from __future__ import annotations

from msgspec import Struct


class View(Struct, frozen=True):
    """A view: its name, the meaning of a row, its columns, and its FROM."""

    name: str
    row: str
    columns: tuple[tuple[str, str, str], ...]
    """Column name, expression, description with unit."""
    source: str

    @property
    def select(self) -> str:
        """The statement that defines the view."""
        listed = ",\n  ".join(f"{expression} as {name}" for name, expression, _ in self.columns)
        return f"select\n  {listed}\n{self.source}"


def iso_time(column: str) -> str:
    """Unix milliseconds as ISO 8601 in UTC with milliseconds, which sorts as text; null stays null."""
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')"


def in_ms(column: str) -> str:
    """Microseconds as milliseconds."""
    return f"round({column} / 1000.0, 3)"
