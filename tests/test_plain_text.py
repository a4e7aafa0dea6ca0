"""Whatever servers, files and configurations are called and say, every sink shows it as text."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import sys
import time
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from bench_histories import played
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import builders
from checker import untrusted_text
from checker.cli import root
from checker.log_lines import LogLines
from checker.model import Batch, ContractSnapshot, Reason, RunState, Status
from checker.standard_streams import PlainStream
from documents_parsed import parsed
from reports import terminal, text_tables
from reports.report_model import Chart, Line, Shape
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

NASTY = (
    *("[/red]", "[bold]", "[link=http://evil.example/]x", ":bomb:", "\\[", "{}", "%s"),
    *(
        "\x1b[31m",
        "\x1b]8;;http://evil.example/\x07",
        "\x9b2J",
        "\x07",
        "\x08",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "\x7f",
    ),
    *("\u202e", "\u2066", "\u200f", "\u061c", "\u2028", "\u2029", "\x85", "\u200b", "\ufeff", "\u00ad", "\U000e0041"),
    *("\u3164", "\ufe01\ufe02", "\u200d", "\ufffe", "\ud800", "\udc80"),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=a>",
        '" onmouseover="a',
        "'",
        "&lt;",
        "]]>",
        "<!--",
        "javascript:a",
    ),
    *("=1+1", "+1", "-1+cmd|x", "@SUM(A1)", "|x", "\uff1d1", ",", '"'),
    *(
        "$\\frac$",
        "$x^",
        "`",
        "``",
        "|",
        "* a",
        "# a",
        "1. a",
        "[a](http://evil.example/)",
        "https://evil.example",
        "@octocat",
    ),
    *("../../etc", "CON", "/", "\\"),
)
ORDINARY = (
    "search",
    "日本語",
    "שלום",
    "مرحبا",
    "نامه‌ای",
    "क्‍ष",
    "é",
    "👩‍💻",
    "👨‍👩‍👧",
    "❤️",
    "🇩🇪",
    "a b",
    "naïve",
    "½",
    "№",
)
TEXTS = st.lists(st.sampled_from((*NASTY, *ORDINARY)), min_size=1, max_size=6).map("".join)
STYLES = re.compile("\x1b\\[[0-9;]*m")


def acted_on(text: str) -> list[str]:
    """What a terminal would act on, or a reader not see, in a text of several lines."""
    return [
        one
        for one in text.replace("\r\n", "\n")
        if (unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\n\t")
        or unicodedata.bidirectional(one) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or one in "\u200b\u200e\u200f\u061c\u2060\ufeff\u00ad\u3164\ufffe"
        or "\U000e0000" <= one <= "\U000e00ff"
    ]


@pytest.mark.parametrize("text", ORDINARY)
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert untrusted_text.terminal(text) == untrusted_text.lines(text) == untrusted_text.csv_cell(text) == text
    assert json.loads(untrusted_text.json_text(json.dumps(text, ensure_ascii=False))) == text
    assert untrusted_text.json_text(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a[/red]b", "a[/red]b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("a\u200db", "a\\u200db"),
        ("x\udc80", "x\\udc80"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_cannot_be_shown_is_written_so_that_it_is_seen(text: str, shown: str) -> None:
    assert untrusted_text.terminal(text) == shown


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_each_sink_gets_text(text: str) -> None:
    assert acted_on(untrusted_text.terminal(text)) == []
    assert not {"\n", "\t", "\r"} & set(untrusted_text.terminal(text))
    assert acted_on(untrusted_text.lines(text)) == []
    stored = untrusted_text.storable(text, 50)
    assert "\x00" not in stored
    assert len(stored) <= 50
    stored.encode()
    document = json.dumps({"a": stored}, ensure_ascii=False)
    assert json.loads(untrusted_text.json_text(document)) == {"a": stored}
    assert acted_on(untrusted_text.json_text(document)) == []
    element = ElementTree.Element("a", b=untrusted_text.markup(text))
    element.text = untrusted_text.markup(text)
    assert ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode")).text is not None
    cell = untrusted_text.csv_cell(text)
    assert not re.match(r"\s*[=+\-@|%\uff1d]", cell) or re.fullmatch(r"[-+]?\d+(\.\d+)?", cell)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_markdown_has_no_markup_of_its_own(text: str) -> None:
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    said = untrusted_text.terminal(" ".join(text.split()))
    for page in (
        f"{untrusted_text.markdown(text)}",
        f"- {untrusted_text.markdown(text)}",
        f"## x {untrusted_text.markdown(text)}",
    ):
        tree = html5lib.parse(rendered.render(page).replace("<!-- -->", ""), namespaceHTMLElements=False)
        tags = {str(one.tag) for one in tree.iter() if isinstance(one.tag, str)}
        assert tags <= {"html", "head", "body", "p", "ul", "li", "h2"}, page
        assert said.split() == "".join(tree.itertext()).split()[page.startswith("##") :]
    tree = html5lib.parse(rendered.render(f"a {untrusted_text.markdown_code(text)} b"), namespaceHTMLElements=False)
    assert [str(one.text).split() for one in tree.iter("code")] == ([said.split()] if said else [])


def test_numbers_of_a_table_stay_numbers() -> None:
    assert [untrusted_text.csv_cell(text) for text in ("-3.5", "+2", "-1e-3", "-1+1", "=1")] == [
        *("-3.5", "+2", "-1e-3"),
        *("'-1+1", "'=1"),
    ]


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_tables_and_consoles_look_for_no_markup(text: str) -> None:
    stream = io.StringIO()
    out = text_tables.TextOutput(stream)
    for role in text_tables.Role:
        styled = ((text, "red"), (text, "bold"))
        out.table(text_tables.TextTable.of_rows([text_tables.TextColumn(text, role)], [[text], [styled]], title=text))
    out.line(text)
    out.line(((text, "red"), (text, "bold")))
    assert acted_on(stream.getvalue()) == []
    if untrusted_text.terminal(text) == text:
        assert text in stream.getvalue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("COLUMNS", "80")
        patch.delenv("NO_COLOR", raising=False)
        coloured = io.StringIO()
        text_tables.TextOutput(coloured).line(text, "red")
        styled_table = text_tables.TextTable.of_rows([text_tables.TextColumn(text)], [[((text, "red"),)]])
        text_tables.TextOutput(coloured).table(styled_table)
    assert "\x1b[31m" in coloured.getvalue() or not text
    assert acted_on(STYLES.sub("", coloured.getvalue())) == []
    drawn = io.StringIO()
    on = terminal.Console(drawn, 80, force_terminal=True)  # type: ignore[arg-type] # as a terminal
    on.print(terminal.Text(text, style="red"))
    assert acted_on(STYLES.sub("", drawn.getvalue())) == []


def test_log_lines_are_one_line_each() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "said %s", ("a\nERROR x: all is lost\x1b[2J",), None)
    assert LogLines("%(message)s").format(record) == "said a\\nERROR x: all is lost\\x1b[2J"


def test_a_plain_stream_writes_no_controls_and_is_its_stream_otherwise() -> None:
    behind = io.StringIO()
    stream = PlainStream(behind)
    stream.write("a\x1b[2J\n")
    stream.writelines(["\u202eb\r\n"])
    assert behind.getvalue() == "a\\x1b[2J\n\\u202eb\r\n"
    assert stream.isatty() is False


def test_charts_do_not_read_names_as_formulas() -> None:
    from reports.charts import pictures

    names = ["$\\frac$", "$x^", "<b>", "a\x1b\u202eb", "日本"]
    lines = [Line(name, [1.0, 2.0, 3.0]) for name in names]
    chart = Chart("$\\frac$ of <b>", Shape.LINES, x=[1, 2, 3], lines=lines, unit="$_$", x_is_time=False)
    bars = Chart("b", Shape.BARS, x=names, lines=[Line("$x^", [1.0, 2.0, 3.0, 4.0, 5.0])], x_is_time=False)
    for picture in pictures([chart, bars], "svg"):
        parsed_picture = ElementTree.fromstring(str(picture.markup).replace("&nbsp;", " "))
        assert acted_on("".join(parsed_picture.itertext())) == []


def history_of(path: Path, names: list[str], said: str) -> None:
    """Three runs over servers of these names, of which every text is said; one load test."""
    now_ms = time.time_ns() // 1_000_000
    servers = [builders.server(name, group=f"g{said}", tags=(f"t{said}",)) for name in names]
    with open_store(path) as store:
        for place in range(3):
            at_ms = now_ms - (3 - place) * 60_000
            digest = f"{place:064}"
            document = {"server": {"name": said}, "tools": [{"name": f"{said}{place}", "description": said}]}
            mcp = builders.probe(
                "mcp",
                mcp=builders.facts(server_name=said, server_version=said, contract_digest=digest),
                started_at_ms=at_ms,
            )
            failed: dict[str, Any] = {"status": Status.UNHEALTHY, "reason": Reason.HTTP_STATUS, "detail": said}
            rest = builders.probe(
                "rest", **failed, stderr_tail=said, auth_metadata_url=said, url=f"http://h/{said}", started_at_ms=at_ms
            )
            checks = [builders.check(name, **failed, probes=(mcp, rest), started_at_ms=at_ms) for name in names]
            snapshot = ContractSnapshot(digest=digest, document=json.dumps(document))
            run_id = store.begin_run(builders.run_info(started_at_ms=at_ms, config_path=said), servers)
            store.write(run_id, Batch(checks=tuple(checks), contracts=(snapshot,)))
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
        test = played(median_ms=5.0, failed_ratio=0.1, seconds=2)
        RecordingWriter(store, test).finish(test, "")


def ran(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """The command in this process: exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["mcp-status", *words])
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        code = root.run()
    return code, out.getvalue(), err.getvalue()


COMMANDS = (
    *(
        ("history", "NAME"),
        ("contract", "NAME"),
        ("contract", "diff", "NAME", "1", "2"),
        ("sql", "select * from latest_status"),
    ),
    *(("sql", "select * from probe_history"), ("sql", "select * from contract_history")),
    *(("report", report) for report in ("availability", "latency", "trends", "incidents", "contract", "cost")),
    ("report", "availability", "--server", "NAME"),
    ("report", "latency", "--group", "GROUP"),
    *(("cache", "stats"), ("db", "info"), ("bench", "list")),
)
FORMS = ("table", "json", "ndjson", "csv", "html")


THOROUGH = "MCP_STATUS_EXAMPLES" in os.environ
"""Whether generated texts go through every form as well: each report on a page of its own takes its time."""


@given(said=TEXTS, others=st.lists(TEXTS, min_size=1, max_size=3))
@settings(max_examples=12 if THOROUGH else 2, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_command_shows_names_and_what_servers_say_as_text(
    said: str, others: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _is_text_everywhere(said, others, FORMS if THOROUGH else ("table", "ndjson"), tmp_path, monkeypatch)


def test_every_command_and_form_shows_all_that_is_nasty_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ["".join(NASTY[start : start + 12]) for start in range(0, len(NASTY), 12)]
    _is_text_everywhere("".join((*NASTY, *ORDINARY)), others, FORMS, tmp_path, monkeypatch)


def _is_text_everywhere(
    said: str, others: Sequence[str], forms: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / f"{time.monotonic_ns()}.db"
    names = sorted({untrusted_text.storable(f"{number}{name}", 60) for number, name in enumerate((said, *others))})
    said = untrusted_text.storable(said, 10_000)
    history_of(path, names, said)
    for words in COMMANDS:
        given_words = [{"NAME": names[0], "GROUP": f"g{said}"}.get(word, word) for word in words]
        for form in forms:
            if form == "html" and words[0] != "report":
                continue
            code, out, err = ran(monkeypatch, *given_words, "--format", form, "--db", str(path))
            assert (code, "Traceback" in out + err) in ((0, False), (3, False)), (words, form, out, err)
            assert acted_on(out) == acted_on(err) == [], (words, form)
            _holds(out, form)
    _, out, _ = ran(monkeypatch, "history", names[0], "--format", "json", "--db", str(path))
    assert json.loads(out)["server"] == names[0]
    code, out, err = ran(monkeypatch, "history", f"no{said}body", "--db", str(path))
    assert (code, acted_on(out + err)) == (3, [])


def _holds(out: str, form: str) -> None:
    """The output is what its form says, and nothing in it is more than text."""
    if form == "json":
        json.loads(out)
    elif form == "ndjson":
        [json.loads(line) for line in out.splitlines()]
    elif form == "csv":
        for row in csv.reader(io.StringIO(out, newline="")):
            for cell in row:
                number = re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", cell)
                assert number or not re.match(r"\s*[=+\-@|%\uff1d]", cell), cell
    elif form == "html" and out:
        tree = parsed(out)
        assert len(list(tree.iter("script"))) <= 1
        for one in tree.iter():
            assert not {name for name in one.attrib if name.startswith("on")}
            assert not str(one.attrib.get("href", "")).startswith("javascript:")
        assert [one for one in tree.iter("img") if one.attrib.get("src") == "x"] == []


def test_the_status_page_is_text_wherever_names_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, folder = tmp_path / "h.db", tmp_path / "site"
    names = [untrusted_text.storable(f"{one}", 60) or "x" for one in NASTY]
    history_of(path, sorted({*names, *ORDINARY}), untrusted_text.storable("".join(NASTY), 10_000))
    code, out, err = ran(
        monkeypatch,
        "report",
        "site",
        str(folder),
        "--db",
        str(path),
        "--title",
        "<i>\x1b\u202e",
        "--url",
        "https://x.example",
    )
    assert code == 0, out + err
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > len(names)
    for file in files:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", file.name), file
        assert file.resolve().is_relative_to(folder.resolve())
        text = file.read_text(encoding="utf-8")
        assert acted_on(text) == [], file
        if file.suffix == ".html":
            _holds(text, "html")
        elif file.suffix in (".xml", ".svg"):
            ElementTree.fromstring(text)
        elif file.suffix == ".json":
            json.loads(text)


def test_stored_text_holds_neither_nul_nor_surrogates_and_has_an_end(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "h.db"
    with open_store(path) as store:
        run_id = store.begin_run(builders.run_info(), [builders.server()])
        said = "\x00\ud800" + "x" * 100_000
        values: dict[str, Any] = {
            "detail": said,
            "stderr_tail": said,
            "auth_metadata_url": said,
            "earlier_reasons": said,
            "url": said,
            "mcp": builders.facts(server_name=said, capabilities=said),
        }
        failed = {"status": Status.UNHEALTHY, "reason": Reason.HTTP_STATUS}
        check = builders.check(**failed, detail=said, probes=(builders.probe("mcp", **failed, **values),))
        store.write(run_id, builders.batch(check))
    with closing(sqlite3.connect(path)) as connection:
        rows = [*connection.execute("select * from probe_history"), *connection.execute("select * from check_history")]
    texts = [value for row in rows for value in row if isinstance(value, str)]
    assert max(map(len, texts)) <= 20_000
    assert not [text for text in texts if "\x00" in text]
