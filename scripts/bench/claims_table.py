"""The claims of the legacy system beside what was measured, for the terminal and docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEGIN, END = "<!-- claims: written by scripts/claims -->\n", "<!-- end of claims -->"
CLAIMS = {
    "at_once": "checks at once instead of one after the other: 3 to 5 times faster",
    "reuse": "reused connections: 20 to 30% saved",
    "caching": "caches: 50 to 80% of repeated operations saved",
}


def figure(row: Mapping[str, Any], value: float) -> str:
    """In the terms of the claim."""
    return f"{value:.3g} times" if row["claim"] == "at_once" else f"{value * 100:.0f}%"


def terminal(row: Mapping[str, Any]) -> str:
    """One line."""
    least, middle, most = (figure(row, row[name]) for name in ("least", "median", "most"))
    return f"{row['what']}: {middle} ({least} to {most}); the legacy system claimed: {CLAIMS[row['claim']]}"


def markdown(document: Mapping[str, Any]) -> str:
    """The part of docs/performance.md between its markers."""
    of = document["machine"]
    lines = [
        "",
        f"Measured {document['date']} on {of['cpu']}, {of['cores']} cores, Python {of['python']}, loopback; median and "
        f"range of {document['rounds']} rounds; load average {of['load_average_1min']} at the end.",
        "",
        "| claim of the legacy system | measured here | figure | range |",
        "| --- | --- | ---: | ---: |",
    ]
    for row in document["rows"]:
        least, middle, most = (figure(row, row[name]) for name in ("least", "median", "most"))
        lines.append(f"| {CLAIMS[row['claim']]} | {row['what']} | {middle} | {least} to {most} |")
    return "\n".join(lines) + "\n\n"
