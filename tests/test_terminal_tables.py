"""Tables on a terminal of any width: figures and reasons are whole, no line is too wide, what is left out is named."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from builders import AT_MS, facts, probe
from checker import untrusted_text
from checker.model import ProbeResult, Reason, Remark, RemarkName, Status
from conftest import ROOT
from reports import output_forms, run_as_text
from reports.report_model import Column, Insufficient, Kind, Section, Table
from reports.text_tables import Cell, Role, TextColumn, TextOutput, TextTable, table_text
from servers import RestServer
from storage.history import CheckRow

WIDTHS = (60, 80, 120, 200)
UNITS = ("ms", "s", "min", "h", "%", "/s", "MiB", "tools")


def squeezed(text: str) -> str:
    """The text without white space: in full, wherever its lines are broken."""
    return re.sub(r"\s+", "", text)


# Any table at any width

NUMBERS = st.builds(
    lambda value, unit: f"{value:,} {unit}".replace(" %", "%"), st.integers(-99_999, 999_999), st.sampled_from(UNITS)
)
FIGURES = st.one_of(NUMBERS, st.sampled_from(["", "-", "HEALTHY", "UNHEALTHY", "2026-11-30 18:24", "0.00", "99.99%"]))
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [
                *(
                    "deadline",
                    "took 802 ms, expected at most 500 ms",
                    "日本語のサーバー",
                    "한국어",
                    "👩\u200d👩\u200d👧",
                    "❤\ufe0f",
                ),
                *(
                    "n\u0303",
                    "\uff46\uff55",
                    "مرحبا",
                    "हिन्दी",
                    "\x1b[2J",
                    "\u202eevil",
                    "x" * 90,
                    "a/b/c?d=e&f=g",
                    "\t",
                    "\n",
                ),
            ]
        ),
        max_size=8,
    ).map(" ".join),
)
NAMES = st.one_of(st.text(min_size=1, max_size=20), TEXTS)
PARTS = st.lists(st.tuples(st.sampled_from(["mcp", "rest"]), NUMBERS).map(" ".join), max_size=3).map("  ".join)
CELLS = {Role.FIGURE: FIGURES, Role.NAME: NAMES, Role.WORDS: TEXTS, Role.PARTS: PARTS, Role.REASON: TEXTS}
HEADERS = st.sampled_from(["ms", "p95 response", "budget left", "Good per second", "status", "日本", "why"])


LATER = [Role.FIGURE, Role.FIGURE, Role.WORDS, Role.PARTS, Role.REASON]
"""What a row begins with is its name, if it has one."""


@st.composite
def tables(draw: st.DrawFn) -> TextTable:
    first = draw(st.sampled_from([Role.NAME, Role.FIGURE]))
    roles = [first, *draw(st.lists(st.sampled_from(LATER), max_size=12))]
    columns = [
        TextColumn(f"{draw(HEADERS)} {at}", role, right=draw(st.booleans()), rank=draw(st.integers(-1, 3)))
        for at, role in enumerate(roles)
    ]
    rows = draw(st.lists(st.tuples(*(CELLS[role] for role in roles)), min_size=1, max_size=5))
    styled = draw(st.booleans())
    cells = [[((text, "red"),) if styled else text for text in row] for row in rows]
    return TextTable.of_rows(columns, cells)


def table_lines(table: TextTable, width: int | None) -> list[str]:
    return table_text(table, width).split("\n")


def text_of(cell: Cell) -> str:
    return untrusted_text.terminal(cell if isinstance(cell, str) else cell[0][0])


@given(tables(), st.integers(40, 250), st.booleans())
@settings(max_examples=120, deadline=None)
def test_figures_and_reasons_are_whole_and_no_line_is_too_wide(table: TextTable, width: int, coloured: bool) -> None:
    printed = table_text(table, width, coloured)
    shown = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert coloured or shown == printed
    assert [line for line in shown.split("\n") if cell_len(line) > width] == []
    all_of_it = squeezed(shown)
    note = all_of_it.rpartition("leftoutat")[2]
    for column, cells in zip(table.columns, table.cells, strict=True):
        texts = [text_of(cell) for cell in cells]
        if column.role in (Role.NAME, Role.REASON):
            assert [text for text in texts if squeezed(text) not in all_of_it] == []
        elif squeezed(column.header) not in note and column.role is Role.FIGURE:
            assert [text for text in texts if text not in shown] == [], "a figure is on one line, its unit beside it"
        elif squeezed(column.header) not in note and column.role is Role.PARTS:
            assert [part for text in texts for part in text.split("  ") if part not in shown] == []


@given(tables())
@settings(max_examples=60, deadline=None)
def test_without_a_terminal_every_row_is_one_line_with_all_of_it(table: TextTable) -> None:
    lines = table_lines(table, None)
    assert len(lines) == table.row_count + 2
    for row, line in enumerate(lines[2:]):
        assert [text for cells in table.cells if (text := text_of(cells[row]).rstrip()) not in line] == []


@given(st.lists(st.tuples(FIGURES, st.integers(-1, 3)), min_size=2, max_size=14), st.integers(40, 120))
@settings(max_examples=60, deadline=None)
def test_columns_are_left_out_in_their_order(figures: list[tuple[str, int]], width: int) -> None:
    """Those without a value first, then those of the highest rank, of equal ones the last."""
    columns = [TextColumn(f"c{at}.", rank=rank) for at, (_, rank) in enumerate(figures)]
    lines = table_lines(TextTable.of_rows(columns, [[text for text, _ in figures]]), width)
    gone = re.findall(r"c\d+\.", "".join(lines[3:]).partition("(")[0])
    order = sorted(range(1, len(columns)), key=lambda at: (not figures[at][0], figures[at][1], at), reverse=True)
    assert sorted(gone) == sorted(columns[at].header for at in order[: len(gone)])
    assert all(column.header in lines[0] for column in columns if column.header not in gone)
    if found := re.search(r"a terminal of (\d+) shows", " ".join(lines)):
        enough = int(found[1])
        table = TextTable.of_rows(columns, [[text for text, _ in figures]])
        assert "left out" not in " ".join(table_lines(table, enough))
        assert "left out" in " ".join(table_lines(table, enough - 1))


def test_values_from_too_few_samples_are_a_dash_and_the_note_says_what_they_need() -> None:
    columns = [Column("server", "server"), *(Column(one, one, Kind.DURATION) for one in ("p50", "p99", "p999"))]
    few = [Insufficient(286, 368), Insufficient(286, 3_688)]
    rows = [["search", 12.0, *few], ["orders", 13.0, Insufficient(294, 368), Insufficient(294, 3_688)]]
    lines = table_lines(output_forms.text_table(Section("s", "S", Table(columns, rows))), 80)
    assert lines[2:4] == ["search  12.0 ms    -     -", "orders  13.0 ms    -     -"]
    assert " ".join(lines[4:]) == (
        "- insufficient: p99 needs 368 samples (286 to 294 here); p999 needs 3,688 samples (286 to 294 here)"
    )


# A check


def row(
    name: str, status: str = "HEALTHY", reason: str | None = None, detail: str | None = None, **more: object
) -> CheckRow:
    probes = more.pop("probes", (probe("mcp", duration_us=1_234_567, mcp=facts(tool_count=120)), probe("rest")))
    assert isinstance(probes, tuple)
    return CheckRow(
        run_id=7,
        server=name,
        group="shop",
        tags=(),
        status=status,
        reason=reason,
        detail=detail,
        score={"HEALTHY": 1.0, "DEGRADED": 0.5, "UNHEALTHY": 0.0}.get(status),
        started_at_ms=AT_MS,
        duration_us=1_250_000,
        tries=1,
        probes=probes,
        **more,  # type: ignore[arg-type]
    )


LONG = (
    "tools/call search: the answer has 12,288 bytes, expected at most 4,096 bytes; it took 1,912 ms of the 2,000 ms "
    "of its deadline, and https://example.org/a/very/long/path/that/nobody/would/type/by/hand?with=a&query=1 said so"
)
REMARKED: ProbeResult = probe(
    remarks=(
        Remark(name=RemarkName.STATUS_CODE, detail="a reply with a body had status 204; some clients drop its body"),
    )
)
FLEET = (
    row("search"),
    row(
        "orders",
        "UNHEALTHY",
        "deadline",
        "the reply did not end within 2 s; a stream that need not end is checked alone",
    ),
    row(
        "a server whose name is as long as a sentence, since nobody stopped who wrote it",
        "UNHEALTHY",
        "mcp_error",
        LONG,
    ),
    row("日本語のサーバー", "DEGRADED", "slow", "データベースの応答が遅いです。took 802 ms, expected at most 500 ms"),
    row("\x1b[2J\u202eevil", "UNKNOWN", "worker_lost", "\x1b]0;title\x07 [red]not red[/red]", suspect=True),
    row("x" * 130, "UNHEALTHY", "connect_refused", "127.0.0.1 port 18199 refused the connection"),
    row("gateway", "HEALTHY", probes=(REMARKED,), maintenance=True),
    row(
        "billing",
        cached_ms=95_000,
        probes=(probe(duration_us=2_002_000, status=Status.UNHEALTHY, reason=Reason.DEADLINE),),
    ),
)


@pytest.mark.parametrize("width", WIDTHS)
def test_table_of_a_check_is_as_recorded(width: int) -> None:
    """`MCP_STATUS_UPDATE=1 pytest` records it anew."""
    lines = table_lines(run_as_text.checks_table(run_as_text.listed(FLEET, everything=False)), width)
    text = "\n".join(lines) + "\n"
    for check in FLEET:
        told = (
            check.server,
            check.reason,
            check.detail,
            *(one.detail for each in check.probes for one in each.remarks),
        )
        missing = [one for one in told if one and squeezed(untrusted_text.terminal(one)) not in squeezed(text)]
        assert missing == []
    assert max(map(cell_len, lines)) <= width
    file = ROOT / "tests" / "snapshots" / f"terminal-check-{width}.txt"
    if os.environ.get("MCP_STATUS_UPDATE"):
        file.write_text(text)
    assert text == file.read_text()


def test_a_large_fleet_shows_its_problems_and_counts_the_healthy() -> None:
    healthy = [row(f"healthy-{number:03}") for number in range(200)]
    remarked = [row(f"odd-{number}", probes=(REMARKED,)) for number in range(3)]
    checks = [*healthy, row("slow", "DEGRADED", "slow"), *remarked, row("down", "UNHEALTHY", "deadline")]
    shown = run_as_text.listed(checks, everything=False)
    assert [one.server for one in shown] == ["down", "slow"]
    assert run_as_text.not_listed(checks, shown) == "203 more healthy, 3 of them with remarks (--all lists them)"
    everything = run_as_text.listed(checks, everything=True)
    assert [one.server for one in everything[:3]] == ["down", "slow", "healthy-000"]
    assert len(everything) == len(checks)
    assert run_as_text.not_listed(checks, everything) == ""
    assert run_as_text.not_listed(healthy, []) == "200 healthy (--all lists them)"
    few = [*healthy[: run_as_text.MOST_LISTED - 1], row("down", "UNHEALTHY", "deadline")]
    assert len(run_as_text.listed(few, everything=False)) == len(few), "of a small fleet all are listed"


def test_check_lists_healthy_servers_of_a_large_fleet_on_request(
    status: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    with RestServer() as server:
        addresses = [server.url()] * 60 + [server.url("/none")]
        servers = "".join(f"  - {{name: s{at}, rest: '{url}'}}\n" for at, url in enumerate(addresses))
        config = tmp_path / "fleet.yaml"
        config.write_text(f"servers:\n{servers}")
        problems = status("check", str(config))
        everything = status("check", str(config), "--all")
    assert problems.stdout.splitlines()[2].split()[:2] == ["s60", "UNHEALTHY"]
    assert "60 more healthy (--all lists them)" in problems.stdout
    assert "s59" not in problems.stdout
    assert [line.split()[0] for line in everything.stdout.splitlines()[2:4]] == ["s60", "s0"]
    assert "s59" in everything.stdout


# Streams


def on_terminal(arguments: list[str], columns: int, environment: dict[str, str]) -> str:
    """What a command prints on a terminal of this width."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "checker", *arguments]
    with subprocess.Popen(command, env=environment, stdout=its, stderr=subprocess.DEVNULL, cwd=ROOT):
        os.close(its)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # Linux says so when the other end is closed
            pass
    os.close(ours)
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_width_is_that_of_the_terminal_unless_columns_says_otherwise(tmp_path: Path) -> None:
    environment = {**os.environ, "TERM": "xterm", "MCP_STATUS_DB": str(tmp_path / "h.db")}
    environment.pop("COLUMNS", None)
    environment.pop("NO_COLOR", None)
    query = ["sql", "select 'a word ' || hex(zeroblob(30)) || ' and more of them' as said"]
    subprocess.run(
        [sys.executable, "-m", "checker", "check", "--rest", "http://127.0.0.1:9/", "--timeout", "1s"],
        env=environment,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    for wished, columns, expected in ((None, 50, 50), ("70", 132, 70)):
        more = {} if wished is None else {"COLUMNS": wished}
        printed = on_terminal(query, columns, {**environment, **more})
        assert "\x1b[1msaid\x1b[0m" in printed
        plain = re.sub(r"\x1b\[[\d;]*m", "", printed).splitlines()
        assert len(plain[1]) == min(expected, 84), f"the rule, at {expected}"
        assert max(map(len, plain)) <= expected
    piped = subprocess.run(
        [sys.executable, "-m", "checker", *query], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert piped.stdout.splitlines()[2] == f"a word {'00' * 30} and more of them"


def test_colours_are_for_terminals_and_can_be_had_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def printed() -> str:
        stream = io.StringIO()
        out = TextOutput(stream)
        out.line("verdict", "red bold")
        out.table(TextTable.of_rows([TextColumn("status")], [[(("HEALTHY", "green"),)]]))
        return stream.getvalue()

    plain = printed()
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31mverdict\x1b[0m\n" in printed()
    assert "\x1b[32mHEALTHY\x1b[0m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed() == plain
