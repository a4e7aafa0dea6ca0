"""The figures as text: the tables on the terminal, in docs/performance.md and in the README, from the same document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.contestants import COMPARISONS, CONTESTANTS, GROUPS

BEGIN, END = "<!-- benchmark: written by scripts/bench_peers -->\n", "<!-- end of benchmark -->"
BRIEF = (
    ("this checker, one worker", "checker-rest", "checker-mcp"),
    ("this checker, from YAML to stored rows", "checker-rest-run", "checker-mcp-run"),
    ("urllib3 and gevent, default settings", "urllib3", "urllib3-mcp"),
    ("requests and gevent", "requests", None),
    ("aiohttp", "aiohttp", None),
    ("geventhttpclient", "geventhttpclient", None),
    ("blackbox_exporter", "blackbox", None),
    ("official MCP SDK, as documented", None, "mcp-sdk"),
    ("official MCP SDK, one HTTP client for all", None, "mcp-sdk-shared"),
)
"""The rows of the README: words, and the contestants for REST and for MCP in the session era."""
HEAD = ("", "checks per CPU s", "range", "ratio", "checks per s", "requests", "connections", "peak MB", "start CPU s")

Figures = Mapping[str, Mapping[str, Any]]
Rows = list[tuple[str, ...]]


def terminal(document: Mapping[str, Any]) -> str:
    """Tables for people, with everything there is."""
    figures, lines = by_name(document), []
    for title, contestants in GROUPS.items():
        rows = [_row(figures, one.name) for one in contestants if one.name in figures]
        if rows:
            lines += [title, *_aligned([HEAD, *rows]), ""]
    lines += [f"{words}: {ratio}" for words, ratio in comparisons(figures)]
    lines += [f"not measured: {name}, {reason}" for name, reason in document["skipped"].items()]
    return "\n".join(lines)


def markdown(document: Mapping[str, Any]) -> str:
    """The part of docs/performance.md between its markers."""
    figures, machine = by_name(document), document["machine"]
    columns = (0, 1, 2, 3, 5, 6, 7)
    lines = [
        "",
        f"Measured {document['date']} on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['kernel']}; {document['repeats']} rounds, median and range. Five million additions in Python took "
        f"{machine['loop_of_5m_s']} s of CPU; the load average was {machine['load_average_1min']} at the start.",
    ]
    for title, contestants in GROUPS.items():
        rows = [_row(figures, one.name) for one in contestants if one.name in figures]
        if not rows:
            continue
        table = [(title, *HEAD[1:]), *rows]
        lines += ["", *(_line([row[column] for column in columns]) for row in table)]
        lines.insert(-len(rows), _line(["---", *["---:"] * (len(columns) - 1)]))
    lines += ["", *(f"- {words}: {ratio}" for words, ratio in comparisons(figures))]
    lines += [*(f"- not measured: {name}, {reason}" for name, reason in document["skipped"].items()), ""]
    return "\n".join(lines) + "\n"


def brief(document: Mapping[str, Any]) -> str:
    """The part of the README between its markers: checks per CPU second alone."""
    figures = by_name(document)
    lines = ["", "| checks per CPU second | REST | MCP |", "| --- | ---: | ---: |"]
    for words, *pair in BRIEF:
        cells = [_row(figures, name)[1] if name in figures else "-" for name in pair]
        lines.append(_line([words, *cells]))
    return "\n".join(lines) + "\n\n"


def into_page(page: str, part: str) -> str:
    """The page with the part between the markers replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + part + END + after


def save(document: Mapping[str, Any], root: Path) -> None:
    """Write the figures into the pages that show them."""
    for name, part in (("docs/performance.md", markdown(document)), ("README.md", brief(document))):
        (root / name).write_text(into_page((root / name).read_text(), part))


def by_name(document: Mapping[str, Any]) -> Figures:
    """The document's figures by contestant."""
    return {figure["contestant"]: figure for figure in document["figures"]}


def comparisons(figures: Figures) -> list[tuple[str, str]]:
    """Words and ratio of the comparisons that both sides were measured for."""
    found = []
    for one in COMPARISONS:
        key = {"cpu": "per_cpu_s", "wall": "per_s"}[one.by]
        unit = {"cpu": "checks per CPU second", "wall": "checks per second"}[one.by]
        if ratio := _ratio(figures, one.first, one.second, key):
            found.append((one.words, f"{ratio} times the {unit}"))
    return found


def _row(figures: Figures, name: str) -> tuple[str, ...]:
    contestant, figure = CONTESTANTS[name], figures[name]
    per_cpu_s, per_s = figure["per_cpu_s"], figure["per_s"]
    return (
        contestant.words,
        _number(per_cpu_s and per_cpu_s["median"]),
        f"{_number(per_cpu_s['least'])} to {_number(per_cpu_s['most'])}" if per_cpu_s else "-",
        (contestant.against and _ratio(figures, name, contestant.against, "per_cpu_s")) or "-",
        _number(per_s and per_s["median"]),
        f"{figure['requests_per_check']:.3g}",
        f"{figure['connections_per_check']:.2f}",
        f"{figure['peak_bytes'] / 1e6:.0f}",
        f"{figure['start_cpu_s']['median']:.2f}",
    )


def _ratio(figures: Figures, first: str, second: str, key: str) -> str:
    """Empty where one of them is missing."""
    ours, theirs = figures.get(first, {}).get(key), figures.get(second, {}).get(key)
    if not ours or not theirs:
        return ""
    ratio = ours["median"] / theirs["median"]
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _number(value: float | None) -> str:
    """Three significant digits: more would not be there the next time."""
    return "-" if not value else f"{float(f'{value:.3g}'):,.0f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aligned(rows: Rows) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
