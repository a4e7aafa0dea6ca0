"""Pages in a real browser: nothing fails, nothing is asked of others, and they work by keyboard, dark and narrow."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from bench_runs import Faults, bench_report, load_run
from builders import AT_MS
from checker.loadtest.bottleneck import BoundSpan, Saturation
from conftest import ROOT, missing
from reports.html import page as html_page
from reports.palette import DARK, LIGHT
from reports.site.write import write_site
from sample_reports import HOSTILE, report
from site_histories import EVERY_MS, RUNS, write_fleet
from storage.report_history import open_past

NARROW, WIDE = 390, 1200
NAMES = ["search", "orders", "vault", *(name for name in HOSTILE if name.isprintable())]


class Quiet(SimpleHTTPRequestHandler):
    """Serves the folder and writes no log."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with SVG, one with PNG, one of a load test, and a site."""
    root = tmp_path_factory.mktemp("pages")
    (root / "svg.html").write_text(html_page(report(30)))
    (root / "png.html").write_text(html_page(report(5, hostile=False), "png"))
    run = load_run(faults=Faults(client_bound=(20, 26), freeze=(30, 33)))
    client = Saturation(True, "worker 0 was busy", (BoundSpan(20, 26, 0, "97% of a core"),))
    (root / "bench.html").write_text(html_page(bench_report(run, client)))
    now_ms = write_fleet(root / "history.db", NAMES)
    with open_past(root / "history.db", now_ms) as past:
        write_site(past, root / "site", "Status", None, lambda done, total: None)
    return root


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


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


class Visit:
    """A page that writes down all that it asks for and complains of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.faults: list[str] = []
        page.on("console", lambda message: self.faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        page.on("response", lambda reply: reply.status < 400 or self.faults.append(f"{reply.status}: {reply.url}"))
        page.on("request", lambda request: self._asked(request.url))

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.address}/{path}")
        return self.page

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:")):
            self.faults.append(f"outside: {url}")


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": WIDE, "height": 900})
    visit = Visit(page, address)
    yield visit
    page.close()
    assert visit.faults == []


def colour(page: Page, selector: str, name: str) -> str:
    """A colour of an element as hexadecimal."""
    found: str = page.eval_on_selector(selector, f"one => getComputedStyle(one).{name}")
    red, green, blue = (int(part) for part in found[4:-1].split(","))
    return f"#{red:02x}{green:02x}{blue:02x}"


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return found


def test_all_links_of_the_site_lead_to_pages_that_open(visit: Visit, folder: Path) -> None:
    waiting, seen = ["site/index.html"], set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        page = visit.open(path)
        links: list[str] = page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)")
        for link in links:
            there = urlsplit(link)
            assert f"{there.scheme}://{there.netloc}" == visit.address
            fragment = there.fragment
            if there.path == urlsplit(page.url).path and fragment:
                assert page.evaluate("id => document.getElementById(id) !== null", fragment)
            elif there.path.endswith(".html") and (next_one := there.path.lstrip("/")) not in (*seen, *waiting):
                waiting.append(next_one)
            else:
                assert (folder / there.path.lstrip("/")).is_file()
    incidents = len(list((folder / "site" / "incidents").glob("*.html")))
    assert len(seen) == 1 + len(NAMES) + incidents == 1 + len(NAMES) + 3


@pytest.mark.parametrize("path", ["svg.html", "png.html", "bench.html", "site/index.html", "site/servers/orders.html"])
def test_page_renders_light_dark_and_narrow(visit: Visit, path: str) -> None:
    page = visit.open(path)
    for scheme, colours in (("light", LIGHT), ("dark", DARK)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert colour(page, "body", "backgroundColor") == colours["ground"]
        assert colour(page, "h1", "color") == colours["ink"]
    page.set_viewport_size({"width": NARROW, "height": 800})
    assert sideways(page) <= 0
    page.emulate_media(media="print")
    assert colour(page, "body", "backgroundColor") == LIGHT["ground"]


def test_lines_of_charts_follow_the_scheme(visit: Visit) -> None:
    page = visit.open("svg.html")
    for scheme, colours in (("light", LIGHT), ("dark", DARK)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert colour(page, 'path[stroke="var(--c1)"]', "stroke") == colours["c1"]


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    page = visit.open("svg.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "BUTTON", "DIV", "SUMMARY"} <= reached, "links, headings that sort, tables that scroll, folded parts"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


def test_window_of_the_bars_is_chosen_without_a_script(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/site/index.html")
    shown = [page.locator(f".server >> nth=0 >> .{name}").first.is_visible() for name in ("w24h", "w30d")]
    page.locator("#w24h").check()
    chosen = [page.locator(f".server >> nth=0 >> .{name}").first.is_visible() for name in ("w24h", "w30d")]
    context.close()
    assert (shown, chosen) == ([False, True], [True, False])


def test_table_is_sorted_by_its_headings_with_what_is_not_known_last(visit: Visit) -> None:
    page = visit.open("svg.html")
    button = page.locator("#section-1-table th button", has_text="Availability")
    cells = "all => all.map(one => one.textContent)"
    for order, direction in (("ascending", 1), ("descending", -1)):
        button.click()
        column = page.eval_on_selector_all("#section-1-table tbody td:nth-child(3)", cells)
        numbers = [float(text.split()[0].rstrip("%")) for text in column if not text.startswith("insufficient")]
        assert numbers == sorted(numbers)[::direction]
        assert all(text.startswith("insufficient") for text in column[len(numbers) :])
        assert page.locator("#section-1-table th").nth(2).get_attribute("aria-sort") == order


def told(page: Page) -> str:
    """What the page tells of the cell or point under the pointer or the focus; empty if nothing."""
    return page.locator("#tip").inner_text().replace("\n", " ") if page.locator("#tip").is_visible() else ""


def test_pointer_and_keyboard_tell_the_day_and_the_values_of_every_cell_and_point(visit: Visit) -> None:
    page = visit.open("svg.html")
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    chart = page.locator("[data-points]").nth(1)
    data = json.loads(chart.get_attribute("data-points") or "")
    chart.locator(".chart").scroll_into_view_if_needed()
    # The page hides its tip when it is scrolled, of which the browser tells it with the next picture.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    chart.locator(".chart").hover()
    page.locator("#tip").wait_for()
    assert told(page).startswith("2026-")
    chart.focus()
    page.keyboard.press("Home")
    assert told(page) == f"{data['x'][0]} no data" if data["lines"][0][2][0] is None else data["x"][0] in told(page)
    for place in range(1, len(data["x"])):
        page.keyboard.press("ArrowRight")
        assert told(page).startswith(data["x"][place])
        if (value := data["lines"][0][2][place]) is not None:
            assert f"{data['lines'][0][0]} {value:,.4g}" in told(page)
    page.keyboard.press("Escape")
    assert told(page) == ""


def test_cells_are_walked_with_the_arrow_keys(visit: Visit) -> None:
    page = visit.open("site/index.html")
    page.locator("#w24h").check()
    page.locator(".group").nth(1).locator(".w24h svg[tabindex]").first.focus()
    page.keyboard.press("End")
    first = told(page)
    assert first == "2026-11-23 13:00 orders 50.0%"
    page.keyboard.press("ArrowLeft")
    assert told(page) == "2026-11-23 12:00 orders 100%"
    page.keyboard.press("ArrowDown")
    assert told(page).startswith("2026-11-23 12:00 ")
    assert "orders" not in told(page)


def test_page_turns_stale_by_itself_when_nothing_has_come_for_three_intervals(visit: Visit) -> None:
    page = visit.page
    shown = []
    for minutes in (29, 32):
        page.clock.set_fixed_time(AT_MS / 1000 + (RUNS - 1) * EVERY_MS / 1000 + minutes * 60)
        visit.open("site/index.html")
        shown.append((page.locator("#age").inner_text().strip(), page.locator(".verdict .sign").inner_text()))
    assert shown == [(", 29 min ago", "Bad"), (", 32 min ago", "Stale")]
    assert "of 11 servers is down" in page.locator(".verdict").inner_text()


def test_servers_are_searched_by_name_group_and_state(visit: Visit) -> None:
    page = visit.open("site/index.html")
    shown = page.locator(".server:visible .name")
    page.locator("#search").fill("orders")
    assert (shown.all_inner_texts(), page.locator("#found").inner_text()) == (["orders"], f"1 of {len(NAMES)}")
    page.locator("#search").fill("GROUP 2")
    assert "vault" in shown.all_inner_texts()
    assert "orders" not in shown.all_inner_texts()
    page.locator("#search").fill("")
    page.get_by_label("Degraded").check()
    assert shown.all_inner_texts() == ["vault"]
    page.get_by_label("all").check()
    assert shown.count() == len(NAMES)


def test_hostile_names_run_nothing(visit: Visit) -> None:
    asked: list[str] = []
    visit.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    for path in ("svg.html", "site/index.html"):
        visit.open(path).wait_for_load_state("networkidle")
    assert asked == []


def test_printed_report_shows_its_folded_tables(visit: Visit) -> None:
    page = visit.open("svg.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details table").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


WIDTHS = (390, 768, 1280, 1920)
MEASURE = (ROOT / "tests" / "data" / "page_faults.js").read_text()


@pytest.mark.parametrize(
    "path",
    ["svg.html", "png.html", "site/index.html", "site/servers/orders.html", "site/incidents/index.html", "incident"],
)
def test_nothing_is_cut_or_overlaps_at_any_width_light_or_dark(visit: Visit, folder: Path, path: str) -> None:
    if path == "incident":
        path = str(next((folder / "site" / "incidents").glob("orders-*.html")).relative_to(folder))
    page = visit.open(path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert page.evaluate(MEASURE) == [], f"{width} px, {scheme}"
