"""Every form of a load test's report says the same, and is what programs of its kind can read."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from bench_runs import FAILED, Faults, load_run, stress_run, suite_run, threshold, usl_run
from checker.errors import UsageError
from checker.loadtest.bottleneck import BoundSpan, Saturation
from checker.loadtest.results import BenchRun
from checker.loadtest.summary import measured, of_stage
from conftest import ROOT
from reports.loadtests.exports import MOST_LINES, spectrum
from reports.loadtests.json_document import document
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.output_forms import FILES, FORMS, write_folder
from reports.report_model import Column, Kind, Level, Report, Section, Table

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "bench.schema.json").read_text()))
SPANS = (BoundSpan(20, 26, 0, "97% of a core"),)


def compared(verdict: str = "worse") -> Report:
    names = ("scenario", "operation", "server", "statistic", "verdict")
    numbers = ("baseline", "candidate", "difference", "low", "high")
    columns = [*(Column(name, name) for name in names), *(Column(name, name, Kind.NUMBER) for name in numbers)]
    rows = [
        ("rest", "rest", "search", "p95_ms", verdict, 60.0, 100.0, 40.0, 30.0, 50.0),
        ("rest", "rest", "search", "failed_ratio", "same", 0.01, 0.01, 0.0, 0.0, 0.0),
        ("rest", "rest", "orders", "p95_ms", "cannot tell", 60.0, 61.0, 1.0, None, None),
    ]
    sections = [Section("compared", "Series", Table(columns, rows))]
    return Report("bench_compare", "Comparison", "Worse: p95 of search +40 ms.", Level.BAD, 0, 1, sections, 1)


@cache
def outcomes() -> dict[str, LoadTestOutcome]:
    stages = [("warm_up", 2, 50.0, 50.0), ("hold", 12, 50.0, 50.0)]
    small = load_run(stages=stages, faults=Faults(failing_ratio=0.02), thresholds=FAILED)
    return {
        "small": LoadTestOutcome(run=small, comparison=compared()),
        "invalid": LoadTestOutcome(run=small, saturation=Saturation(True, "worker 0 was busy", SPANS)),
        "closed": LoadTestOutcome(run=load_run(model="closed", stages=stages), comparison=compared(), trend=compared()),
        "interrupted": LoadTestOutcome(run=load_run(cut_s=33.0, thresholds=())),
        "stress": LoadTestOutcome(run=stress_run()),
        "scalability": LoadTestOutcome(run=usl_run()),
        "suite": LoadTestOutcome(run=suite_run(blocks=2)),
        "empty": LoadTestOutcome(
            run=replace(small, slots=(), stages=(), series=(), health=(), id=None, finished_at_ms=None)
        ),
    }


KINDS = ("small", "invalid", "closed", "interrupted", "stress", "scalability", "suite", "empty")


@pytest.mark.parametrize("kind", KINDS)
def test_document_keeps_to_the_published_schema(kind: str) -> None:
    found = json.loads(FORMS["json"](outcomes()[kind]))
    assert [error.message for error in SCHEMA.iter_errors(found)] == []


def test_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)


def test_document_has_null_and_the_number_that_is_wanted_where_samples_are_too_few() -> None:
    latency = document(outcomes()["small"])["series"][0]["measured"]["latency"]["response"]
    assert latency["p99_ms"] is None
    assert latency["insufficient"] == {"p99_ms": 368, "p999_ms": 3688}
    assert latency["intervals"]["p99_ms"][1] is None
    assert latency["intervals"]["p50_ms"][0] <= latency["p50_ms"] <= latency["intervals"]["p50_ms"][1]


def test_document_marks_the_closed_model() -> None:
    assert [one["coordinated_omission"] for one in document(outcomes()["closed"])["series"]] == [True, True]
    assert [one["coordinated_omission"] for one in document(outcomes()["small"])["series"]] == [False, False]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_csv_has_a_row_for_each_series_and_stage() -> None:
    run = outcomes()["small"].run
    found = rows(FORMS["csv"](outcomes()["small"]))
    assert [(row["server"], row["stage"]) for row in found] == [
        (server, stage) for server in ("search", "orders") for stage in ("warm_up 1", "hold 2")
    ]
    assert [row["measured"] for row in found[:2]] == ["false", "true"]
    one = of_stage(run, 1, lambda slot: slot.series == 0)
    assert int(found[1]["ok"]) == one.ok
    assert float(found[1]["response_p50_ms"]) == pytest.approx((one.quantile_us(0.5) or 0) / 1000, abs=0.001)
    assert found[1]["response_p99_ms"] == ""


def test_csv_of_slots_has_a_row_for_each_of_them() -> None:
    run = outcomes()["small"].run
    found = rows(FORMS["csv-slots"](outcomes()["small"]))
    assert len(found) == len(run.slots)
    assert sum(int(row["offered"]) for row in found) == sum(slot.offered for slot in run.slots)


def test_markdown_of_any_run_is_short() -> None:
    names = [f"server-{number}|*_" for number in range(40)]
    many = tuple(threshold("response_time", f"p(95)<{number}", 7.0, number > 7) for number in range(40))
    wide = load_run(servers=names, stages=[("hold", 10, 800.0, 800.0)], thresholds=many, faults=Faults(churn=True))
    for outcome in (*outcomes().values(), LoadTestOutcome(run=wide, comparison=compared())):
        text = FORMS["markdown"](outcome)
        assert len(text.splitlines()) <= MOST_LINES
        assert text.startswith("## ")
    assert "28 more series are in the report." in text
    assert "28 more thresholds are in the report." in text
    cells = [line for line in text.splitlines() if line.startswith("| server-")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in cells} == {12}, "a name is one cell"


def test_markdown_says_what_became_worse_and_that_the_closed_model_omits() -> None:
    assert "| rest search p95\\_ms | 60.0 | 100 | 40.0 (30.0 to 50.0) | worse |" in FORMS["markdown"](
        outcomes()["small"]
    )
    assert "coordinated omission applies" in FORMS["markdown"](outcomes()["closed"])
    assert "coordinated omission" not in FORMS["markdown"](outcomes()["small"])


def cases(outcome: LoadTestOutcome) -> dict[str, str]:
    """Name of each test case -> passed, failure or skipped."""
    root = ElementTree.fromstring(FORMS["junit"](outcome))
    (suite,) = root.findall("testsuite")
    found = {one.attrib["name"]: next((child.tag for child in one), "passed") for one in suite.findall("testcase")}
    assert int(suite.attrib["tests"]) == len(found)
    assert int(suite.attrib["failures"]) == list(found.values()).count("failure")
    assert int(suite.attrib["skipped"]) == list(found.values()).count("skipped")
    return found


def test_junit_has_a_case_for_each_threshold_and_each_comparison() -> None:
    assert cases(outcomes()["small"]) == {
        "response_time p(95)<500": "passed",
        "failed rate<0.05 over 10 s": "passed",
        "response_time{server:search} p(99)<100": "failure",
        "rest search p95_ms": "failure",
        "rest search failed_ratio": "passed",
        "rest orders p95_ms": "skipped",
        "the run is valid and complete": "passed",
    }


@pytest.mark.parametrize("kind", ["invalid", "interrupted"])
def test_junit_fails_a_run_that_is_invalid_or_incomplete(kind: str) -> None:
    assert cases(outcomes()[kind])["the run is valid and complete"] == "failure"


def test_junit_of_names_that_no_xml_may_hold_is_xml() -> None:
    run = replace(outcomes()["small"].run, name="a\x00<b>", thresholds=(threshold("x\x1b", "<&>", 1.0, False),))
    assert "x\\x1b <&>" in cases(LoadTestOutcome(run=run))


def test_hgrm_ends_with_all_samples_and_rises() -> None:
    one = measured(outcomes()["small"].run)
    lines = spectrum(one, "response").splitlines()
    table = [line.split() for line in lines if line and not line.startswith("#")][1:]
    values, ratios, counts = ([float(row[place]) for row in table] for place in (0, 1, 2))
    for column in (values, ratios, counts):
        assert column == sorted(column)
    assert (ratios[-1], counts[-1]) == (1.0, one.ok)
    assert values[-1] == pytest.approx(one.max_us / 1000, rel=0.01)
    assert all(float(row[3]) == pytest.approx(1 / (1 - float(row[1])), rel=0.01) for row in table[:-1])


def test_prometheus_text_is_what_its_format_demands() -> None:
    run = replace(outcomes()["small"].run, name='a "quoted"\\ name\nof two lines')
    named: dict[str, str] = {}
    for line in FORMS["prometheus"](LoadTestOutcome(run=run)).splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in named, "the samples of a metric stand together"
            named[name] = kind
        elif not line.startswith("# HELP "):
            found = re.fullmatch(r'(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+)', line)
            assert found is not None, line
            assert found[1] == list(named)[-1]
            float(found[3])
    assert "mcp_status_bench_response_seconds" in named


def test_prometheus_leaves_out_quantiles_of_too_few_samples_and_says_which_runs_are_valid() -> None:
    text = FORMS["prometheus"](outcomes()["small"])
    assert 'quantile="0.95"' in text
    assert 'quantile="0.99"' not in text
    assert '\nmcp_status_bench_valid{run="checkout"} 1\n' in text
    assert '\nmcp_status_bench_valid{run="checkout"} 0\n' in FORMS["prometheus"](outcomes()["invalid"])


def test_folder_has_every_form_and_each_chart_as_a_picture(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    written = write_folder(outcomes()["invalid"], tmp_path, [*FORMS, "svg"])
    assert [path.name for path in written[: len(FORMS)]] == list(FILES.values())
    charts = [path for path in written if path.parent.name == "charts"]
    assert len(charts) > 12
    for path in charts:
        words = [one.text or "" for one in ElementTree.fromstring(path.read_text()).iter()]
        assert any("CPU" in word for word in words) is ("cpu" in path.name)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_folder_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="name a folder that can be written"):
        write_folder(outcomes()["small"], tmp_path / "file" / "folder", ["json"])


@pytest.mark.parametrize("form", ["table", "markdown", "junit"])
def test_form_of_a_small_run_is_what_it_was(form: str) -> None:
    """`MCP_STATUS_UPDATE=1 pytest` records it anew."""
    recorded = ROOT / "tests" / "snapshots" / f"bench-{FILES[form]}"
    text = FORMS[form](outcomes()["small"])
    if os.environ.get("MCP_STATUS_UPDATE"):
        recorded.write_text(text)
    assert text == recorded.read_text()


def test_terminal_says_the_verdict_first_and_no_table_behind_a_picture() -> None:
    lines = FORMS["table"](outcomes()["small"]).splitlines()
    assert lines[0].startswith("FAILED: 1 of 3 thresholds")
    assert lines[-1] == "again: mcp-status bench rerun 12"
    assert "Latency over time" not in lines


EXPECTED: dict[str, Callable[[LoadTestOutcome], Any]] = {
    "json": lambda outcome: json.loads(FORMS["json"](outcome))["verdict"]["text"],
    "table": lambda outcome: FORMS["table"](outcome).splitlines()[0],
}


def test_all_forms_give_the_same_verdict() -> None:
    run: BenchRun = outcomes()["small"].run
    outcome = LoadTestOutcome(run=run)
    assert {form(outcome) for form in EXPECTED.values()} == {
        "FAILED: 1 of 3 thresholds, response_time{server:search} p(99)<100 (measured: 4,210 ms)."
    }
