"""The figures of `scripts/bench_reports` for the terminal and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEGIN = "<!-- reports: written by scripts/bench_reports -->\n"
END = "<!-- end of reports -->"
HEAD = ("report", "CPU s", "range", "peak MB", "lines")
_WORDS = {"start": "start of a command (--help)"}


def terminal(document: Mapping[str, Any]) -> str:
    """For people who have just run it."""
    rows = [HEAD, *_rows(document)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([_about(document), "", *table])


def into_page(page: str, document: Mapping[str, Any]) -> str:
    """The page with the part between the markers replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [_line(HEAD), _line(["---", *["---:"] * (len(HEAD) - 1)]), *map(_line, _rows(document))]
    return before + BEGIN + "\n".join(["", _about(document), "", *lines, "", END]) + after


def _about(document: Mapping[str, Any]) -> str:
    about = document["machine"]
    return (
        f"Measured {document['date']} on {about['cpu']}, {about['cores']} cores, Python {about['python']}: "
        f"{document['servers']:,} servers, {document['days']} days, {document['rows']:,} raw rows, "
        f"{document['database_bytes'] / 1e6:,.0f} MB; {document['rounds']} rounds, median and range. Five million "
        f"additions in Python took {about['loop_of_5m_s']} s of CPU; the load average was {about['load_average_1min']} "
        "at the start."
    )


def _rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            _WORDS.get(one["report"], one["report"]),
            f"{one['cpu_s']['median']:.2f}",
            f"{one['cpu_s']['least']:.2f} to {one['cpu_s']['most']:.2f}",
            f"{one['peak_bytes'] / 1e6:.0f}",
            f"{one['lines']:,}",
        )
        for one in document["figures"]
    ]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
