"""The run as JUnit XML: each threshold and each row of a comparison is a test case."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from checker.bench.results import BenchState
from checker.plain_text import markup
from reports.bench.compared import compared_rows
from reports.bench.outcome import LoadTestOutcome
from reports.bench.verdict import reached_s, threshold_words, verdict_of
from reports.documents import iso


def junit(outcome: LoadTestOutcome) -> str:
    """One suite, as Jenkins and GitLab read it; an invalid or unfinished run is a failure of its own."""
    run, verdict = outcome.run, verdict_of(outcome)
    name = markup(f"bench {run.name}")
    stamp = (iso(run.started_at_ms) or "").removesuffix("Z").partition(".")[0]
    suite = Element("testsuite", name=name, timestamp=stamp, time=f"{reached_s(run):.3f}")
    for told in outcome.told():
        one = told.result
        over = "" if one.over_s is None else f" over {one.over_s:g} s"
        case = _case(suite, f"{name}.thresholds", f"{one.metric} {one.expression}{over}")
        if told.word == "failed":
            _failed(case, threshold_words(one))
        elif told.word == "cannot tell":
            SubElement(case, "skipped", message=markup(f"cannot tell, {told.note}: {threshold_words(one)}"))
    for row in compared_rows(outcome.comparison):
        case = _case(suite, f"{name}.comparison", row.name)
        said = f"{row.verdict}: {row.baseline} → {row.candidate}, {row.difference}"
        if row.verdict == "worse":
            _failed(case, said)
        elif not row.is_told:
            SubElement(case, "skipped", message=markup(said))
    case = _case(suite, f"{name}.run", "the run is valid and complete")
    if outcome.saturation.invalid or run.state is not BenchState.FINISHED:
        _failed(case, verdict.line)
    for word, tag in (("tests", "testcase"), ("failures", "testcase/failure"), ("skipped", "testcase/skipped")):
        suite.set(word, str(len(suite.findall(tag))))
    suite.set("errors", "0")
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _case(suite: Element, group: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=group, name=markup(name), time="0")


def _failed(case: Element, message: str) -> None:
    SubElement(case, "failure", message=markup(message), type="threshold").text = markup(message)
