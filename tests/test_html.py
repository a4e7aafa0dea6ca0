"""A report as one HTML page: it says what the report says, to everybody, whatever servers are called, in 2 MB."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from msgspec.structs import replace

from builders import AT_MS
from conftest import ROOT
from documents_parsed import texts, valid_page
from reports.html import MOST_BYTES, MOST_STRIPS, page
from reports.report_model import (
    Chart,
    Column,
    Insufficient,
    KeyNumber,
    Kind,
    Level,
    Line,
    Report,
    Section,
    Shape,
    Table,
)
from sample_reports import DAY_MS, HOSTILE, report, times


def small(*sections: Section, **values: object) -> Report:
    good = Report(
        name="latency",
        title="Latency",
        verdict="all is quick",
        level=Level.GOOD,
        since_ms=AT_MS - DAY_MS,
        until_ms=AT_MS,
        sections=sections,
        servers=2,
    )
    return replace(good, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("servers", [1, 30])
def test_page_is_valid(servers: int) -> None:
    valid_page(page(report(servers, 90)))


def test_page_of_a_thousand_servers_is_small_and_has_all_their_rows() -> None:
    text = page(report(1000, 90))
    assert len(text.encode()) < MOST_BYTES
    assert text.count("team-2-search-0989</th>") == 2
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_page_with_png_images_is_valid_and_small() -> None:
    text = page(report(30), "png")
    tree = valid_page(text)
    assert len(text.encode()) < MOST_BYTES
    assert len(tree.findall(".//img")) == 8


def test_page_of_a_report_without_charts_needs_no_chart_library() -> None:
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/support']; import test_html, reports.html;"
        "reports.html.page(test_html.small()); print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_same_report_gives_the_same_page() -> None:
    assert page(report(3)) == page(report(3))


def test_what_is_too_large_is_cut_and_says_so() -> None:
    table = Table([Column("server", "Server"), Column("text", "Text")], [(f"s{n}", "x" * 1500) for n in range(3000)])
    text = page(small(Section("long", "Long", table)))
    assert len(text.encode()) < MOST_BYTES
    assert "The last 2000 of 3000 rows are left out to keep the page small" in text
    assert text.count('<th scope="row">') == 1000


def test_more_charts_than_a_page_may_have_are_left_out_with_a_word() -> None:
    x = times(2, DAY_MS)
    charts = [Chart(f"chart {n}", Shape.LINES, x, [Line("a", [1.0, 2.0])]) for n in range(30)]
    text = page(small(Section("many", "Many", None, charts=charts)))
    assert text.count("<figure>") == 24
    assert "6 pictures left out to keep the page small." in text


def test_more_rows_of_states_than_one_can_look_at_are_left_out_with_a_word() -> None:
    lines = [Line(f"s{n}", [1.0]) for n in range(500)]
    text = page(small(Section("s", "S", None, charts=[Chart("States", Shape.STATES, [AT_MS], lines)])))
    assert text.count('class="row"') == MOST_STRIPS
    assert f"{500 - MOST_STRIPS} of 500 rows are left out of the picture." in text


def test_hostile_names_are_text_and_nothing_else() -> None:
    tree = valid_page(page(report(30)))
    assert len(list(tree.iter("script"))) == 1
    assert not list(tree.iter("img"))
    said = texts(tree)
    for name in HOSTILE:
        if len(name) <= 80 and name.isprintable():
            assert name in said, name
    assert any(text.startswith("null\\x00 escape") for text in said)


def test_page_is_utf8_without_what_html_forbids() -> None:
    text = page(report(30))
    assert text.encode().decode() == text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)


def test_policy_lets_nothing_in_but_our_own_style_and_script() -> None:
    tree = valid_page(page(small()))
    (policy,) = [one.attrib["content"] for one in tree.iter("meta") if "http-equiv" in one.attrib]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]+='", rules["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]+='", rules["style-src"])
    assert (rules["base-uri"], rules["form-action"]) == ("'none'", "'none'")


@pytest.mark.parametrize(
    ("level", "word"),
    [(Level.GOOD, "Good"), (Level.WARNING, "Warning"), (Level.BAD, "Bad"), (Level.UNKNOWN, "Unknown")],
)
def test_verdict_comes_first_and_its_level_is_a_word(level: Level, word: str) -> None:
    tree = valid_page(page(small(level=level, verdict="so it is")))
    (verdict,) = [one for one in tree.iter("p") if "verdict" in one.attrib.get("class", "")]
    assert " ".join("".join(verdict.itertext()).split()) == f"{word} so it is"
    header = tree.find(".//header")
    assert header is not None
    assert list(header)[1] is verdict


def test_cells_are_written_by_their_kind() -> None:
    columns = [
        Column("server", "Server"),
        Column("status", "Status", Kind.STATUS),
        Column("availability_ratio", "Availability", Kind.RATIO),
        Column("checks", "Checks", Kind.COUNT),
        Column("p95_ms", "p95", Kind.DURATION),
        Column("seen", "Seen", Kind.TIME),
        Column("tags", "Tags", Kind.LIST),
        Column("few", "Few", Kind.RATIO),
        Column("none", "None"),
    ]
    row = ("search", "DEGRADED", 0.999, 12345, 1500.0, AT_MS, ["a", "b"], Insufficient(3, 30), None)
    tree = valid_page(page(small(Section("s", "Servers", Table(columns, [row])))))
    (written,) = tree.findall(".//tbody/tr")
    assert ["".join(cell.itertext()) for cell in written] == [
        "search",
        "DEGRADED",
        "99.90%",
        "12,345",
        "1.50 s",
        "2026-11-23 12:00",
        "a, b",
        "insufficient (3 of 30)",
        "",
    ]
    state = written.find(".//span")
    assert state is not None
    assert state.attrib["class"] == "state warning"


def test_every_chart_has_its_numbers_behind_it() -> None:
    x = times(3, DAY_MS)
    chart = Chart("p95", Shape.LINES, x, [Line("search", [1.0, None, 3.0])], "ms")
    tree = valid_page(page(small(Section("s", "Latency", None, charts=[chart]))))
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.findall(".//details//tbody/tr")]
    assert rows == [["2026-11-20 12:00", "1.00"], ["2026-11-21 12:00", ""], ["2026-11-22 12:00", "3.00"]]


def shown(*sections: Section, **values: object) -> tuple[list[str], list[str]]:
    """The captions of the tables that are open, and of those behind a fold."""
    tree = valid_page(page(small(*sections, **values)))
    folded = [caption.text or "" for caption in tree.findall(".//details//table/caption")]
    every = [caption.text or "" for caption in tree.findall(".//table/caption")]
    return [one for one in every if one not in folded], folded


@pytest.mark.parametrize("rows", [3, 300])
def test_main_table_is_open_whatever_is_drawn_above_it_and_the_rest_is_folded(rows: int) -> None:
    chart = Chart("p95", Shape.LINES, times(2, DAY_MS), [Line("search", [1.0, 2.0])])
    table = Table([Column("server", "Server")], [(f"s{n}",) for n in range(rows)])
    more = (Section("b", "Second", table), Section("c", "Third", table, open=True))
    assert shown(Section("a", "First", table, charts=[chart]), *more) == (["First", "Third"], ["p95", "Second"])


def test_folded_section_is_in_the_contents_and_says_what_is_inside() -> None:
    table = Table([Column("server", "Server")], [("a",)])
    tree = valid_page(page(small(Section("a", "First", table), Section("b", "Second", table))))
    links = {link.attrib["href"]: link.text for link in tree.findall(".//nav//a")}
    assert links == {"#section-1": "First", "#section-2": "Second"}
    (summary,) = tree.findall(".//section/details/summary")
    assert " ".join("".join(summary.itertext()).split()) == "Second 1 row"
    assert tree.find(".//section/details/*[@id='section-2']") is not None, "a browser unfolds what a link leads into"


def test_cells_of_rows_that_the_table_has_are_a_column_of_it() -> None:
    chart = Chart("by day", Shape.STATES, times(3, DAY_MS), [Line("b", [1.0, None, 0.9991])], threshold=0.9995)
    table = Table([Column("server", "Server"), Column("up", "Up", Kind.RATIO)], [("a", 1.0), ("b", 0.99)])
    tree = valid_page(page(small(Section("s", "Servers", table, charts=[chart]))))
    assert [head.text for head in tree.findall(".//thead//th")] == ["Server", "Up", "by day"]
    empty, drawn = tree.findall(".//tbody//td[@class='cells']")
    assert len(empty) == 0
    assert [one.attrib["data-v"] for one in drawn] == ["100% - 99.91%"]
    (data,) = [one.attrib["data-x"] for one in tree.iter("table")]
    assert json.loads(data) == ["2026-11-20 12:00", "2026-11-21 12:00", "2026-11-22 12:00"]


def test_every_point_of_a_picture_is_there_for_the_script_whatever_lines_are_called() -> None:
    x = times(3, DAY_MS)
    lines = [Line(name, [1.0, None, 3.14159]) for name in HOSTILE]
    tree = valid_page(page(small(Section("s", "S", None, charts=[Chart("p95", Shape.LINES, x, lines, "ms")]))))
    (data,) = [json.loads(one.attrib["data-points"]) for one in tree.iter("div") if "data-points" in one.attrib]
    assert (data["unit"], data["across"], len(data["x"])) == ("ms", False, 3)
    assert data["at"] == sorted(data["at"])
    assert 0 < data["at"][0] < data["at"][-1] < data["size"][0]
    assert [line[2] for line in data["lines"]] == [[1.0, None, 3.142]] * len(HOSTILE)
    assert data["lines"][0][0] == "<script>alert(1)</script>"
    assert max(len(line[0]) for line in data["lines"]) <= 60


def test_numbers_at_the_top_replace_the_facts() -> None:
    numbers = [KeyNumber("p95", "171 ms", "mcp", Level.WARNING), KeyNumber("<b>", "1")]
    tree = valid_page(page(small(numbers=numbers, facts=[("slot", "1 d")])))
    (key,) = tree.findall(".//dl[@class='key']")
    assert [" ".join("".join(one.itertext()).split()) for one in key] == ["p95171 msmcp", "<b>1"]
    assert [one.attrib.get("class") for one in key] == ["warning", None]
    assert "slot" not in texts(tree)


def test_chart_at_the_top_is_not_drawn_again_in_its_section() -> None:
    chart = Chart("p95", Shape.LINES, times(2, DAY_MS), [Line("a", [1.0, 2.0])])
    tree = valid_page(page(small(Section("s", "S", None, charts=[chart]), lead=[chart])))
    (figure,) = tree.iter("figure")
    assert figure in list(tree.findall("./body/main/div/figure"))


def test_short_table_of_a_page_has_the_whole_one_folded_below() -> None:
    whole = Table([Column("server", "Server")], [(f"s{n}",) for n in range(9)])
    short = Table([Column("server", "Server")], [("s0",)])
    tree = valid_page(page(small(Section("s", "Incidents", whole, page_table=short))))
    counts = [len(table.findall("tbody/tr")) for table in tree.iter("table")]
    assert counts == [1, 9]
    assert len(tree.findall(".//details//tbody/tr")) == 9
