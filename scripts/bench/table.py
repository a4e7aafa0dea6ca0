"""The figures as text: the tables on the terminal, in docs/performance.md and in the README, from the same document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.budgets import BUDGETS, Figures, cost_us
from bench.contestants import COMPARISONS, CONTESTANTS, GROUPS, GROWTH, START, Contestant

BEGIN, END = "<!-- benchmark: written by scripts/bench_peers -->\n", "<!-- end of benchmark -->"
BUDGETS_BEGIN, BUDGETS_END = "<!-- budgets: written by scripts/bench_peers -->\n", "<!-- end of budgets -->"
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
HEAD = (
    "",
    "checks per CPU s",
    "range",
    "us",
    "ratio",
    "checks per s",
    "requests",
    "connections",
    "peak MB",
    "start CPU s",
)
GROWTH_HEAD = ("", "us a check", "of these parent", "workers", "parent MB", "largest worker MB", "ratio")
START_HEAD = ("", "CPU s", "range")
MOST_BUSY_RATIO = 0.9
"""Of the target: where it has more to do, it may be what the client waited for."""

Rows = list[tuple[str, ...]]
Row = Callable[[Figures, str], tuple[str, ...]]
BUSY = "-busy"
"""Ends the name of a file with figures of a machine that was kept busy."""


def terminal(document: Mapping[str, Any]) -> str:
    """Tables for people, with everything there is."""
    figures, lines = by_name(document), []
    for title, table in tables(figures):
        lines += [title, *_aligned([("", *table[0][1:]), *table[1:]]), ""]
    lines += [f"{words}: {ratio}" for words, ratio in comparisons(figures)]
    lines += [f"not measured: {name}, {reason}" for name, reason in document["skipped"].items()]
    for name, one in figures.items():
        if (busy := one.get("target_busy_ratio", 0.0)) > MOST_BUSY_RATIO:
            lines.append(f"{name}: the target was busy {busy:.0%} of the time, and may have been what it waited for")
    lines.append(f"load average {_load(document)}")
    return "\n".join(lines)


def tables(figures: Figures) -> Iterator[tuple[str, Rows]]:
    """Title, and head and rows of each table that something was measured for."""
    kinds: tuple[tuple[Mapping[str, tuple[Contestant, ...]], tuple[str, ...], Row], ...] = (
        (GROUPS, HEAD, _row),
        (GROWTH, GROWTH_HEAD, _growth_row),
        (START, START_HEAD, _start_row),
    )
    for groups, head, row in kinds:
        for title, contestants in groups.items():
            rows = [row(figures, one.name) for one in contestants if one.name in figures]
            if rows:
                yield title, [(title, *head[1:]), *rows]


def markdown(document: Mapping[str, Any]) -> str:
    """The part of docs/performance.md between its markers."""
    figures, machine = by_name(document), document["machine"]
    left_out = {HEAD.index("checks per s"), HEAD.index("start CPU s")}
    lines = [
        "",
        f"Measured {document['date']} on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['kernel']}; {document['repeats']} rounds, median and range. Five million additions in Python took "
        f"{machine['loop_of_5m_s']} s of CPU; the load average was {_load(document)}.",
    ]
    for _, table in tables(figures):
        columns = [place for place in range(len(table[0])) if len(table[0]) != len(HEAD) or place not in left_out]
        lines += ["", *(_line([row[column] for column in columns]) for row in table)]
        lines.insert(-(len(table) - 1), _line(["---", *["---:"] * (len(columns) - 1)]))
    lines += ["", *(f"- {words}: {ratio}" for words, ratio in comparisons(figures))]
    lines += [*(f"- not measured: {name}, {reason}" for name, reason in document["skipped"].items()), ""]
    return "\n".join(lines) + "\n"


def budgets(calm: Mapping[str, Any], busy: Mapping[str, Any] | None) -> str:
    """The part of docs/performance.md with what was aimed at, beside what both kinds of run came to."""
    runs = [calm, *([busy] if busy else [])]
    heads = [f"at load {_load(run)}, {run['date']}" for run in runs]
    lines = ["", _line(["what", "budget", *heads]), _line(["---", *["---:"] * (1 + len(runs))])]
    lines += [_line([one.words, one.bound_text, *(one.measured(by_name(run)) for run in runs)]) for one in BUDGETS]
    return "\n".join(lines) + "\n\n"


def newest(root: Path) -> tuple[Any, Any]:
    """The figures saved last, of a calm machine and of one that was kept busy; None where there are none of that."""
    files = sorted((root / "docs" / "benchmarks").glob("*.json"))
    kinds = [[file for file in files if file.stem.endswith(BUSY) is busy] for busy in (False, True)]
    calm, busy = (json.loads(kind[-1].read_text()) if kind else None for kind in kinds)
    return calm, busy


def brief(document: Mapping[str, Any]) -> str:
    """The part of the README between its markers: checks per CPU second alone."""
    figures = by_name(document)
    lines = ["", "| checks per CPU second | REST | MCP |", "| --- | ---: | ---: |"]
    for words, *pair in BRIEF:
        cells = [_row(figures, name)[1] if name in figures else "-" for name in pair]
        lines.append(_line([words, *cells]))
    return "\n".join(lines) + "\n\n"


def into_page(page: str, part: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with the part between the markers replaced."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + part + end + after


def pages(root: Path) -> dict[Path, str]:
    """The pages that show figures, with those saved last."""
    calm, busy = newest(root)
    performance, readme = root / "docs" / "performance.md", root / "README.md"
    page = into_page(performance.read_text(), markdown(calm))
    return {
        performance: into_page(page, budgets(calm, busy), BUDGETS_BEGIN, BUDGETS_END),
        readme: into_page(readme.read_text(), brief(calm)),
    }


def save(document: Mapping[str, Any], root: Path) -> None:
    """Keep the figures, and write them into the pages that show them."""
    file = root / "docs" / "benchmarks" / f"{document['date']}{BUSY if document['busy'] else ''}.json"
    file.write_text(json.dumps(document, indent=1) + "\n")
    for page, text in pages(root).items():
        page.write_text(text)


def _load(document: Mapping[str, Any]) -> str:
    """The load average over the rounds; in older files at the start alone."""
    loads = document.get("load_averages_1min") or [document["machine"]["load_average_1min"]]
    least, most = (f"{value:.1f}" for value in (min(loads), max(loads)))
    return least if least == most else f"{least} to {most}"


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
        _us(per_cpu_s),
        (contestant.against and _ratio(figures, name, contestant.against, "per_cpu_s")) or "-",
        _number(per_s and per_s["median"]),
        f"{figure['requests_per_check']:.3g}",
        f"{figure['connections_per_check']:.2f}",
        _megabytes(figure["peak_bytes"]),
        f"{figure['start_cpu_s']['median']:.2f}",
    )


def _growth_row(figures: Figures, name: str) -> tuple[str, ...]:
    contestant, figure = CONTESTANTS[name], figures[name]
    parent, workers = figure["parent_us"], figure["workers_us"]
    return (
        contestant.words,
        _number(cost_us(figure)),
        _number(parent and parent["median"]),
        _number(workers and workers["median"]),
        _megabytes(figure["parent_peak_bytes"]),
        _megabytes(figure["worker_peak_bytes"]),
        (contestant.against and _ratio(figures, name, contestant.against, "per_cpu_s")) or "-",
    )


def _start_row(figures: Figures, name: str) -> tuple[str, ...]:
    cpu_s = figures[name]["start_cpu_s"]
    return (
        CONTESTANTS[name].words,
        f"{cpu_s['median']:.2f}",
        f"{cpu_s['least']:.2f} to {cpu_s['most']:.2f}",
    )


def _us(per_cpu_s: Mapping[str, float] | None) -> str:
    """Microseconds of CPU a check."""
    return _number(1e6 / per_cpu_s["median"]) if per_cpu_s else "-"


def _megabytes(size_bytes: float | None) -> str:
    return f"{size_bytes / 1e6:.0f}" if size_bytes else "-"


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
