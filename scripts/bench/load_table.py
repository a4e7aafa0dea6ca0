"""The figures of `scripts/bench_load` for the terminal and for docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

BEGIN = "<!-- load: written by scripts/bench_load -->\n"
END = "<!-- end of load -->"
AGREES_RATIO, AGREES_MS = 0.10, 0.2
"""Percentiles of two tools agree when they are no further apart than both of these together."""
_NAMES = ("p50_ms", "p90_ms", "p99_ms")


def terminal(document: Mapping[str, Any]) -> str:
    """For people who have just run it."""
    about = document["machine"]
    lines = [f"{document['date']}, {about['cpu']}, {about['cores']} cores, Python {about['python']}", ""]
    for title, head, rows in _tables(document):
        widths = [max(len(str(row[place])) for row in (head, *rows)) for place in range(len(head))]
        lines += [
            title,
            *(
                "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True))
                for row in (head, *rows)
            ),
            "",
        ]
    return "\n".join(lines)


def into_page(page: str, document: Mapping[str, Any]) -> str:
    """The page with the part between the markers replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + _markdown(document) + END + after


def _markdown(document: Mapping[str, Any]) -> str:
    about = document["machine"]
    text = (
        f"\nMeasured {document['date']} on {about['cpu']}, {about['cores']} cores, Python {about['python']}, "
        f"{about['kernel']}, nginx on the same machine; load average {about['load_average_1min']} at the start.\n\n"
    )
    for title, head, rows in _tables(document):
        text += f"| {title} | {' | '.join(head[1:])} |\n| --- |{' ---: |' * (len(head) - 1)}\n"
        text += "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows) + "\n"
    return text


def _tables(document: Mapping[str, Any]) -> list[tuple[str, Sequence[str], list[Sequence[str]]]]:
    """Title, head and rows of each."""
    opened = [
        (
            f"{one['offered_per_s']:,.0f}",
            f"{one['achieved_per_s']:,.0f}",
            f"{one['busy_ratio']:.0%}",
            f"{one['per_core_s']:,.0f}",
            f"{one['late_p99_ms']:.2f} ms",
            f"{one['p50_ms']:.2f} ms",
            f"{one['p99_ms']:.2f} ms",
        )
        for one in document["open"]
    ]
    closed = [
        (name, f"{one['achieved_per_s']:,.0f}", f"{one['per_core_s']:,.0f}")
        for name, one in document["closed"].items()
        if one
    ]
    rounds = document["percentiles"]
    rate = statistics.median(one["wrk"]["achieved_per_s"] for one in rounds)
    compared = []
    for name in _NAMES:
        theirs, ours = (statistics.median(one[who][name] for one in rounds) for who in ("wrk", "load generator"))
        agrees = abs(ours - theirs) <= AGREES_RATIO * theirs + AGREES_MS
        compared.append((name.removesuffix("_ms"), f"{theirs:.3f} ms", f"{ours:.3f} ms", "yes" if agrees else "NO"))
    return [
        (
            "open model, one worker: offered /s",
            ("offered /s", "achieved /s", "loop busy", "per core-second", "late p99", "p50", "p99"),
            opened,
        ),
        ("closed model, 32 users, one process", ("", "requests /s", "per core-second"), closed),
        (f"the same rate, {rate:,.0f} /s", ("", "wrk", "load generator", "agree"), compared),
    ]
