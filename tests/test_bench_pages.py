"""Pages of load tests as a browser draws them: the answer on the first screen, nothing cut, nothing over another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_histories import AT_MS, played
from msgspec.structs import replace
from playwright.sync_api import Browser, Error, Page, sync_playwright

from bench_runs import FAILED, Faults, bench_report, load_run, stress_run, suite_run
from checker.loadtest.bottleneck import BoundSpan, Saturation
from conftest import ROOT, missing
from reports.html import page as html_page
from reports.loadtests.compare import Effects, compare_sides
from reports.loadtests.compared_runs import Side
from reports.loadtests.comparison_report import report_of as comparison_of
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.output_forms import html
from reports.loadtests.trend import build
from reports.report_model import Report

NAMES = ("short", "failing", "stress", "suite", "compare", "trend")
WIDTHS = (390, 768, 1280, 1920)
SCHEMES = ("light", "dark")
MOST_PIXELS = 4000
"""Height at 1280 pixels of the page of a short load test, as it opens."""
BOUND = Saturation(False, "worker 0 was the limit for 6 s", (BoundSpan(20, 26, 0, "97% of a core"),))

MEASURE = (ROOT / "tests" / "data" / "page_faults.js").read_text()
"""Unfolds everything, and gives what is cut, too wide or drawn over another."""
OUTSIDE = "() => document.documentElement.scrollWidth - innerWidth"


def side(name: str, seed: int, median_ms: float) -> Side:
    return Side(name, tuple(played(seed=10 * seed + number, median_ms=median_ms, seconds=20) for number in range(5)))


def few_charts(report: Report) -> Report:
    """The report with the charts that are open: the folded ones are those of the short run."""
    sections = [one if one.open else replace(one, charts=()) for one in report.sections]
    return replace(report, sections=sections)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of each kind."""
    root = tmp_path_factory.mktemp("pages")
    short = load_run(
        servers=("search",), stages=[("warm_up", 2, 200.0, 200.0), ("hold", 10, 200.0, 200.0)], name="a short one"
    )
    faults = Faults(client_bound=(20, 26), freeze=(30, 33), failing_ratio=0.02)
    failing = load_run(operations=("rest", "mcp_check"), faults=faults, thresholds=FAILED)
    effects = Effects()
    compared = comparison_of(compare_sides(side("release", 1, 5.0), side("today", 2, 9.0), effects), effects, 40)
    nights = [
        replace(
            played(seed=number, median_ms=10.0 if number < 7 else 14.0, seconds=20),
            id=number,
            started_at_ms=AT_MS + number * 86_400_000,
        )
        for number in range(1, 13)
    ]
    pages = {
        "short": html(LoadTestOutcome(run=short)),
        "failing": html_page(few_charts(bench_report(failing, BOUND))),
        "stress": html_page(few_charts(bench_report(stress_run()))),
        "suite": html_page(few_charts(bench_report(suite_run(users=(1, 5), counts=(1,))))),
        "compare": html_page(compared),
        "trend": html_page(build(nights)),
    }
    for name, text in pages.items():
        (root / f"{name}.html").write_text(text)
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = subprocess.run([str(ROOT / "scripts" / "browser"), "--find"], capture_output=True, text=True, check=False)
    if found.returncode:
        missing(found.stderr.strip())
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        except Error as error:
            missing(f"the browser does not start: {error}")
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose console has to stay empty."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    page.close()
    assert faults == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_or_overlaps_at_any_width_light_or_dark(page: Page, folder: Path, name: str) -> None:
    page.goto((folder / f"{name}.html").as_uri())
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(MEASURE) == [], (width, scheme)


@pytest.mark.parametrize("name", NAMES)
def test_page_as_it_opens_is_of_moderate_height_and_answers_first(page: Page, folder: Path, name: str) -> None:
    page.goto((folder / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollHeight") <= MOST_PIXELS
    numbers = page.locator(".key")
    box = numbers.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 450


def test_percentiles_throughput_and_errors_have_their_verdicts_on_the_first_screen_of_a_phone(
    page: Page, folder: Path
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((folder / "failing.html").as_uri())
    told = {
        one.locator("dt").inner_text(): (one.get_attribute("class"), one.locator(".note").inner_text())
        for one in page.locator(".key > div").all()
    }
    assert list(told) == ["p50", "p95", "p99", "longest", "throughput", "failed"]
    assert told["p95"] == ("good", "p(95)<500 ms: passed")
    assert told["failed"] == ("good", "rate<0.05 over 10 s: passed")
    box = page.locator(".key").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 844


def test_every_point_is_told_under_the_pointer_and_by_the_keyboard(page: Page, folder: Path) -> None:
    page.goto((folder / "short.html").as_uri())
    picture = page.locator("[data-points]").first
    picture.scroll_into_view_if_needed()
    box = picture.locator("svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = page.locator("#tip").inner_text()
    assert "0:0" in told
    assert all(word in told for word in ("p50", "p95", "p99", "max", "ms"))
    picture.focus()
    page.keyboard.press("Home")
    first = page.locator("#tip").inner_text()
    page.keyboard.press("ArrowRight")
    second = page.locator("#tip").inner_text()
    assert first.startswith("0:00")
    assert second.startswith("0:01")


def test_link_of_the_contents_opens_what_is_folded(page: Page, folder: Path) -> None:
    page.goto((folder / "short.html").as_uri())
    page.locator("nav a", has_text="Percentiles").first.click()
    assert page.locator("details[open] h2", has_text="Percentiles").count() >= 1


def test_print_has_all_sections_and_fits_the_paper(page: Page, folder: Path) -> None:
    page.goto((folder / "short.html").as_uri())
    page.set_viewport_size({"width": 700, "height": 1000})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("h2", has_text="The plan").is_visible()
    assert page.evaluate(OUTSIDE) <= 0
