"""The status page: what its files say, how they are named, and that a folder is never left half written or robbed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders import AT_MS
from checker.errors import UsageError
from conftest import ROOT
from documents_parsed import outside, texts, valid_page
from reports.site.documents import badge, uptime_badge
from reports.site.files import LIST, site_folder, slugs
from reports.site.site_data import FEWEST_FOR_P95
from reports.site.write import write_site
from sample_reports import HOSTILE
from site_histories import EVERY_MS, RUNS, write_fleet
from storage.report_history import open_past

NAMES = ["search", "orders", "vault", "Search", "billing & co", *(name for name in HOSTILE if name.isprintable())]


INCIDENTS = [
    "incidents/index.html",
    f"incidents/search-{AT_MS + 3 * EVERY_MS}.html",
    f"incidents/orders-{AT_MS + (RUNS - 2) * EVERY_MS}.html",
]


def write(database: Path, folder: Path, now_ms: int, names: Collection[str] = (), address: str | None = None) -> None:
    with open_past(database, now_ms, names=names) as past:
        write_site(past, folder, "Status of <b>things</b>", address, lambda done, total: None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a fleet with ordinary and hostile names, fifteen minutes after its last run."""
    folder = tmp_path_factory.mktemp("site")
    now_ms = write_fleet(folder / "history.db", NAMES)
    write(folder / "history.db", folder / "public", now_ms, address="https://status.example/here/")
    return folder / "public"


def names_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_every_page_is_valid_and_leads_nowhere_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) == 1 + len(NAMES) + len(INCIDENTS)
    for page in pages:
        tree = valid_page(page.read_text())
        for link in (one.attrib["href"] for one in tree.iter() if "href" in one.attrib):
            if not link.startswith(("#", "data:")):
                assert not outside(link)
                assert (page.parent / link).resolve().is_file(), link


def test_every_server_has_a_page_json_and_two_badges(site: Path) -> None:
    index = json.loads((site / "index.json").read_text())
    assert sorted(one["server"] for one in index["servers"]) == sorted(NAMES)
    wanted = {"index.html", "index.json", "feed.xml", LIST, *INCIDENTS}
    for one in index["servers"]:
        slug = one["slug"]
        wanted |= {f"servers/{slug}.{ending}" for ending in ("html", "json")}
        wanted |= {f"badges/{slug}{ending}.svg" for ending in ("", "-uptime-30d")}
    assert names_in(site) == wanted
    assert not list(site.parent.glob("etc*"))


def test_index_says_the_worst_first(site: Path) -> None:
    tree = valid_page((site / "index.html").read_text())
    said = texts(tree)
    assert f"1 of {len(NAMES)} servers is down" in said
    headings = ["".join(one.itertext()) for one in tree.iter("h2")]
    assert headings[0] == "Open incidents"
    assert headings[-1] == "Recent incidents"
    groups = [one for one in tree.iter("section") if one.attrib.get("class") == "group"]
    first = next(groups[1].iter("li"))
    assert "orders" in "".join(first.itertext())
    # A degraded server is up, as for its availability; its group is marked all the same.
    counts = [next(one.iter("small")) for one in groups]
    sizes = [len(NAMES[place::3]) for place in range(3)]
    assert ["".join(one.itertext()) for one in counts] == [
        f"{up} of {size} up" for up, size in zip((sizes[0], sizes[1] - 1, sizes[2]), sizes, strict=True)
    ]
    assert ["class" in one.attrib for one in counts] == [False, True, True]
    assert "<script>alert(1)</script>" in said


def test_availability_is_that_of_the_known_time(site: Path) -> None:
    index = json.loads((site / "index.json").read_text())
    by_name = {one["server"]: one for one in index["servers"]}
    known_ms = RUNS * EVERY_MS
    up = 1 - 2 * EVERY_MS / known_ms
    for name, ratio in (("search", up), ("orders", up), ("vault", 1.0)):
        assert by_name[name]["availability_ratio"]["24h"] == pytest.approx(ratio, abs=1e-6)
        assert set(by_name[name]["availability_ratio"]) == {"24h", "7d", "30d", "90d"}
        assert by_name[name]["known_ms"]["24h"] == known_ms
    assert [by_name[name]["status"] for name in ("search", "orders", "vault")] == ["HEALTHY", "UNHEALTHY", "DEGRADED"]
    assert by_name["orders"]["open_incident_since"] is not None
    assert by_name["search"]["open_incident_since"] is None


def test_page_of_a_server_tells_what_it_knows_and_keeps_details_to_itself(site: Path) -> None:
    page = (site / "servers" / "orders.html").read_text()
    tree = valid_page(page)
    headings = ["Availability", "Latency", "Incidents", "Reasons", "What it offers"]
    assert [one.text for one in tree.iter("h2")] == headings
    assert "connect_refused" in texts(tree)
    assert "10.0.0.7" not in page
    assert "http://h/" not in page
    document = json.loads((site / "servers" / "orders.json").read_text())
    assert document["reasons_30d"] == {"connect_refused": 2}
    assert document["mcp"]["tool_count"] == 2
    assert document["mcp"]["contract_version"] == 1
    assert [(one["reason"], one["ended_at"]) for one in document["incidents"]] == [("connect_refused", None)]
    assert (len(document["hours"]), len(document["days"])) == (24, 90)


def test_p95_is_not_told_of_few_answers(site: Path) -> None:
    document = json.loads((site / "servers" / "vault.json").read_text())
    assert RUNS < FEWEST_FOR_P95
    assert {hour["mcp_p95_ms"] for hour in document["hours"]} == {None}
    known = [hour["mcp_p50_ms"] for hour in document["hours"] if hour["mcp_p50_ms"] is not None]
    assert known[0] == pytest.approx(42, rel=0.03)


def test_incident_has_a_page_with_its_timeline_and_leads_to_its_server(site: Path) -> None:
    over, going_on = (valid_page((site / name).read_text()) for name in INCIDENTS[1:])
    steps = [" ".join("".join(one.itertext()).split()) for one in over.findall(".//ol/li")]
    assert steps == ["2026-11-23 12:30 down: connect_refused", "2026-11-23 12:50 up again, after 20.0 min"]
    assert "Over" in texts(over)
    assert {"../servers/search.html", "index.html", "../index.html"} <= {one.attrib["href"] for one in over.iter("a")}
    steps = [" ".join("".join(one.itertext()).split()) for one in going_on.findall(".//ol/li")]
    assert steps[-1].endswith("still down, after 20.0 min")
    assert "10.0.0.7" not in (site / INCIDENTS[2]).read_text()


def test_all_incidents_are_listed_by_day(site: Path) -> None:
    tree = valid_page((site / INCIDENTS[0]).read_text())
    assert [one.text for one in tree.iter("h2")] == ["2026-11-23"]
    assert [item.find("a/bdi").text for item in tree.findall(".//ul/li")] == ["orders", "search"]  # type: ignore[union-attr]
    links = {one.attrib["href"].removeprefix("../") for one in tree.iter("a")}
    assert set(INCIDENTS[1:]) <= links


def test_index_has_latency_dates_and_what_the_script_needs_to_tell_the_age(site: Path) -> None:
    tree = valid_page((site / "index.html").read_text())
    (age,) = [one for one in tree.iter("span") if one.attrib.get("id") == "age"]
    last_ms = AT_MS + (RUNS - 1) * EVERY_MS
    assert (age.attrib["data-at"], age.attrib["data-interval"]) == (str(last_ms), str(EVERY_MS))
    rows = [one for one in tree.iter("li") if one.attrib.get("class") == "server"]
    latencies = {row.find("a/bdi").text: row.find("span[@class='mean latency']").text for row in rows}  # type: ignore[union-attr]
    assert float((latencies["search"] or "").removesuffix(" ms")) == pytest.approx(45, rel=0.03)
    traces = [row.findall("span[@class='trace']/*")[0].attrib["data-v"] for row in rows]
    assert {trace.split()[0] for trace in traces} == {"-*29"}
    starts = ["".join(one.itertext()) for one in tree.iter("p") if one.attrib.get("class") == "ends w30d"]
    assert set(starts) == {"2026-10-25now"}


def test_interval_of_a_site_that_is_written_less_often_than_checked_is_that_of_writing(tmp_path: Path) -> None:
    now_ms = write_fleet(tmp_path / "h.db", ["search"])
    intervals = []
    for later_ms in (0, 3_600_000):
        write(tmp_path / "h.db", tmp_path / "public", now_ms + later_ms)
        intervals += re.findall(r'data-interval="(\d+)"', (tmp_path / "public" / "index.html").read_text())
    assert intervals == [str(EVERY_MS), "3600000"]


def test_feed_is_rss_with_an_item_for_each_incident_newest_first(site: Path) -> None:
    rss = ElementTree.fromstring((site / "feed.xml").read_text())
    assert (rss.tag, rss.attrib) == ("rss", {"version": "2.0"})
    channel = rss.find("channel")
    assert channel is not None
    assert [channel.findtext(name) for name in ("title", "link")] == [
        "Status of <b>things</b>: incidents",
        "https://status.example/here/",
    ]
    items = channel.findall("item")
    assert [item.findtext("title") for item in items] == [
        "orders is down: connect_refused",
        "search was down for 20.0 min",
    ]
    assert items[0].findtext("link") == "https://status.example/here/servers/orders.html"
    dates = [parsedate_to_datetime(item.findtext("pubDate") or "") for item in items]
    assert dates == sorted(dates, reverse=True)
    guids = [item.find("guid") for item in items]
    assert len({guid.text for guid in guids if guid is not None}) == 2
    assert all(guid is not None and guid.attrib == {"isPermaLink": "false"} for guid in guids)


def test_feed_without_an_address_has_no_links_of_items(tmp_path: Path) -> None:
    now_ms = write_fleet(tmp_path / "h.db", ["search", "orders"])
    write(tmp_path / "h.db", tmp_path / "public", now_ms)
    rss = ElementTree.fromstring((tmp_path / "public" / "feed.xml").read_text())
    assert rss.findtext("channel/link") == "about:blank"
    assert rss.find("channel/item/link") is None


def test_site_of_one_server_checked_once(tmp_path: Path) -> None:
    now_ms = write_fleet(tmp_path / "h.db", ["search"], runs=1)
    with open_past(tmp_path / "h.db", now_ms) as past:
        write_site(past, tmp_path / "public", "not \udcff UTF-8", None, lambda done, total: None)
    tree = valid_page((tmp_path / "public" / "index.html").read_text())
    assert "not \\udcff UTF-8" in texts(tree)
    assert "the server is up" in texts(tree)
    assert "none in the last 90 days" in texts(tree)


def test_server_that_was_not_checked_for_long_is_unknown(tmp_path: Path) -> None:
    now_ms = write_fleet(tmp_path / "h.db", ["search"]) + 7 * 3_600_000
    write(tmp_path / "h.db", tmp_path / "public", now_ms)
    index = json.loads((tmp_path / "public" / "index.json").read_text())
    assert (index["level"], index["verdict"]) == ("unknown", "nothing is known of 1 server now")
    assert "unknown" in (tmp_path / "public" / "badges" / "search.svg").read_text()


def test_renewed_site_loses_the_pages_of_servers_that_are_gone_and_nothing_else(tmp_path: Path) -> None:
    now_ms = write_fleet(tmp_path / "h.db", ["search", "orders"])
    public = tmp_path / "public"
    public.mkdir()
    (public / "CNAME").write_text("status.example")
    write(tmp_path / "h.db", public, now_ms)
    before = names_in(public)
    write(tmp_path / "h.db", public, now_ms, names=["orders"])
    gone = before - names_in(public)
    of_server = {"servers/search.html", "servers/search.json", "badges/search.svg", "badges/search-uptime-30d.svg"}
    assert gone == {*of_server, INCIDENTS[1]}
    assert (public / "CNAME").read_text() == "status.example"


def test_file_that_says_the_same_is_left_as_it_is(tmp_path: Path) -> None:
    now_ms = write_fleet(tmp_path / "h.db", ["search"])
    public = tmp_path / "public"
    stamps = []
    for _ in range(2):
        write(tmp_path / "h.db", public, now_ms)
        stamps.append((public / "badges" / "search.svg").stat().st_mtime_ns)
    assert stamps[0] == stamps[1]


def test_folder_with_files_of_another_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"index\.html is there and was not put there by `report site`"),
        site_folder(tmp_path, ["index.html"]),
    ):
        pytest.fail("must not get here")
    assert names_in(tmp_path) == {"index.html"}
    assert (tmp_path / "index.html").read_text() == "mine"


def test_broken_off_write_leaves_whole_files_and_can_be_taken_up_again(tmp_path: Path) -> None:
    with site_folder(tmp_path, ["index.html", "servers/a.html"]) as files:
        files.put("index.html", "old")
        files.put("servers/a.html", "old")
    with suppress(KeyboardInterrupt), site_folder(tmp_path, ["index.html", "servers/b.html"]) as files:
        files.put("servers/b.html", "new")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == {LIST, "index.html", "servers/a.html", "servers/b.html"}
    with site_folder(tmp_path, ["index.html"]) as files:
        files.put("index.html", "new")
    assert names_in(tmp_path) == {LIST, "index.html"}


def test_list_of_files_that_was_tampered_with_removes_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    public = tmp_path / "public"
    public.mkdir()
    (public / LIST).write_text(json.dumps({"files": ["../precious", "/etc/passwd", "servers/../../precious", 7, None]}))
    with site_folder(public, ["index.html"]) as files:
        files.put("index.html", "new")
    assert (tmp_path / "precious").read_text() == "keep"


def test_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    precious, public = tmp_path / "precious", tmp_path / "public"
    precious.write_text("keep")
    with site_folder(public, ["index.html"]) as files:
        files.put("index.html", "old")
    (public / "index.html").unlink()
    (public / "index.html").symlink_to(precious)
    with site_folder(public, ["index.html"]) as files:
        files.put("index.html", "new")
    assert precious.read_text() == "keep"
    assert (public / "index.html").read_text() == "new"


def test_files_can_be_read_by_who_serves_them(site: Path) -> None:
    assert {file.stat().st_mode & 0o044 for file in site.rglob("*") if file.is_file()} == {0o044}


@given(st.lists(st.text(max_size=80), unique=True, max_size=12))
@example(["../../etc/passwd", "a/b", "a\\b", "a b", "A B", "CON", ".", "..", "", "\u2028", "a-uptime-30d", "a"])
@example(["x" * 300, "x" * 301, "\u00e9", "e", "E", "\u6570\u636e", "\u6570"])
def test_slugs_are_safe_and_of_one_name_each(names: list[str]) -> None:
    found = slugs(names)
    files = [name for slug in found.values() for name in (f"{slug}.svg", f"{slug}-uptime-30d.svg")]
    assert set(found) == set(names)
    assert len(set(files)) == len(files)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", slug) and len(slug) <= 80 for slug in found.values())


def test_slug_of_an_ordinary_name_is_the_name_whoever_else_there_is() -> None:
    assert slugs(["search", "Search", "half of it down"]) == {
        "search": "search",
        "Search": slugs(["Search", "search"])["Search"],
        "half of it down": "half-of-it-down",
    }
    assert slugs(["Search"])["Search"] == "search"
    assert re.fullmatch(r"search-[0-9a-f]{16}", slugs(["search", "Search"])["Search"])


@pytest.mark.parametrize("name", HOSTILE)
def test_badge_is_xml_and_says_its_value_in_words(name: str) -> None:
    root = ElementTree.fromstring(badge(name, "down", "bad"))
    assert root.attrib["aria-label"].endswith(": down")
    assert "script" not in {str(one.tag).rpartition("}")[2] for one in root.iter()}


@pytest.mark.parametrize(
    ("ratio", "objective", "colour"),
    [(0.9995, 0.999, "#0a6b3b"), (0.9985, 0.999, "#8a5200"), (0.5, None, "#b3142e"), (None, None, "#5c4a92")],
)
def test_uptime_badge_is_measured_by_the_objective(ratio: float | None, objective: float | None, colour: str) -> None:
    assert colour in uptime_badge(ratio, objective)


def test_command_writes_the_site_and_says_the_verdict(status: Any, tmp_path: Path) -> None:
    write_fleet(tmp_path / "history.db", ["search", "orders"], at_ms=AT_MS)
    done = status("report", "site", tmp_path / "public", "--title", "Ours", "--server", "search")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"{tmp_path}/public/index.html: ")
    assert json.loads((tmp_path / "public" / "index.json").read_text())["title"] == "Ours"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "status.example"], "--url 'status.example': an address begins with https:// or http://"),
        (["--group", "nobody"], "no server with group 'nobody'"),
    ],
)
def test_command_says_what_is_wrong(
    status: Any, site: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = status("report", "site", tmp_path / "public", *arguments, "--db", site.parent / "history.db")
    assert done.returncode == 3
    assert message in done.stderr
    assert not (tmp_path / "public").exists()


def test_every_field_of_the_json_files_is_documented(site: Path) -> None:
    text = (ROOT / "docs" / "pages.md").read_text()
    index, one = (json.loads((site / name).read_text()) for name in ("index.json", "servers/orders.json"))
    fields = {*index, *index["servers"][0], *one, *one["incidents"][0]} | {"start", *index["servers"][0]["known_ms"]}
    assert sorted(name for name in fields if f"`{name}`" not in text) == []
