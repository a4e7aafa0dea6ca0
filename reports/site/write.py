"""Writing of a site to a folder: pages, badges, JSON files and the feed of the servers of a history."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import orjson
from markupsafe import Markup
from msgspec import Struct

from checker.stats.slo import error_budget
from reports import blips, hover, svg
from reports.html import WORDS
from reports.output_forms import duration, per_cent, when
from reports.palette import series
from reports.report_model import Level, Line
from reports.site import documents
from reports.site.documents import badge, feed, uptime_badge
from reports.site.files import site_folder
from reports.site.incident_entries import MOST_LISTED, MOST_PAGES, IncidentEntry, entries_of, together
from reports.site.site_data import (
    STATES,
    WINDOWS,
    Latencies,
    Site,
    Subject,
    UptimeWindow,
    Values,
    gather,
)
from reports.svg import Picture, plot
from reports.templating import render
from storage.report_history import Past
from storage.rollups.watermarks import DAY_MS

MOST_RECENT = 25
"""Largest number of ended incidents on the overview."""
DEFAULT_WINDOW = "30d"
SEARCHED_FROM = 9
"""Number of servers from which on the overview can be searched."""
_FOLDED_FROM = 60
"""Number of servers from which on groups that are up are folded."""
_FEWEST_SLOTS = 7
"""Fewest slots in the chart of a new server."""
_ORDER = {state.status: place for place, state in enumerate(STATES.values())}


class Group(Struct, frozen=True):
    """The servers of a group, worst first."""

    name: str
    subjects: Sequence[Subject]
    up: int
    """Healthy or degraded."""
    all_healthy: bool
    open: bool

    @property
    def level(self) -> Level:
        """The level of its worst server."""
        return self.subjects[0].state.level


class _SharedData(Struct, frozen=True):
    """What several pages of a site need."""

    site: Site
    entries: Sequence[IncidentEntry]
    """Newest start first."""
    by_start: Sequence[IncidentEntry]
    """By the start of their first incident."""
    paged: Collection[str]
    """Slugs of the entries that have a page."""
    of_server: Mapping[int, Sequence[IncidentEntry]]
    names: Mapping[str, str]
    """By window: the names of its cells, for the page's script."""


def write_site(past: Past, folder: Path, title: str, address: str | None, progress: Callable[[int, int], None]) -> Site:
    """Write or update the site in the folder; ``address`` is its later URL, for the links of the feed.

    ``progress`` is called with the number of servers written and the total. Raises UsageError if the folder cannot be
    used.
    """
    site = gather(past, title)
    pages = _pages(site)
    with_page = pages.entries[:MOST_PAGES]
    planned = ["index.html", "index.json", "feed.xml", "incidents/index.html"]
    planned += [name for one in site.subjects for name in _names(one)]
    planned += [f"incidents/{one.slug}.html" for one in with_page]
    interval_ms = _interval_ms(site, folder)
    with site_folder(folder, planned) as files:
        for done, one in enumerate(site.subjects, 1):
            for name, text in zip(_names(one), _texts(pages, one), strict=True):
                files.put(name, text)
            progress(done, len(site.subjects))
        for entry in with_page:
            files.put(f"incidents/{entry.slug}.html", _incident(pages, entry))
        files.put("incidents/index.html", _incidents(pages))
        happened = sorted(
            (incident for one in site.subjects for incident in one.incidents),
            key=lambda incident: (incident.ended_at_ms or incident.started_at_ms, incident.server.name),
            reverse=True,
        )
        files.put("feed.xml", feed(site, happened, address))
        files.put("index.json", documents.overview(site))
        files.put("index.html", _index(pages, interval_ms))
    return site


def _pages(site: Site) -> _SharedData:
    entries = entries_of(site.subjects)
    of_server: dict[int, list[IncidentEntry]] = {}
    for entry in entries:
        of_server.setdefault(entry.newest.server.id, []).append(entry)
    names = {name: hover.names_of_slots(_slots(site, slot_ms)[-cells:]) for name, slot_ms, cells in WINDOWS}
    by_start = sorted(entries, key=lambda one: one.started_at_ms)
    return _SharedData(site, entries, by_start, {one.slug for one in entries[:MOST_PAGES]}, of_server, names)


def _slots(site: Site, slot_ms: int) -> Sequence[int]:
    return site.days if slot_ms == DAY_MS else site.hours


def _interval_ms(site: Site, folder: Path) -> int | None:
    """How far apart news come: the interval of the checks, or of writing the site, if that is longer."""
    if site.interval_ms is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        earlier = datetime.fromisoformat(orjson.loads((folder / "index.json").read_bytes())["generated_at"])
        apart_ms = site.now_ms - round(earlier.timestamp() * 1000)
        if 0 < apart_ms < DAY_MS:
            return max(site.interval_ms, apart_ms)
    return site.interval_ms


def _names(one: Subject) -> tuple[str, ...]:
    return (
        f"servers/{one.slug}.html",
        f"servers/{one.slug}.json",
        f"badges/{one.slug}.svg",
        f"badges/{one.slug}-uptime-30d.svg",
    )


def _texts(pages: _SharedData, one: Subject) -> Iterator[str]:
    """The contents of a server's files, in the order of their names."""
    yield _page(pages, one)
    yield documents.subject(pages.site, one)
    yield badge(one.server.name, one.state.word.lower(), one.state.level.value)
    yield uptime_badge(one.windows[2].ratio, one.server.objective_ratio)


def _index(pages: _SharedData, interval_ms: int | None) -> str:
    site = pages.site
    firsts = {name: _slots(site, slot_ms)[-cells] for name, slot_ms, cells in WINDOWS}
    counted = [(state, sum(one.state is state for one in site.subjects)) for state in STATES.values()]
    return render(
        "site_index.html.j2",
        site=site,
        word=WORDS[site.level],
        groups=_groups(site.subjects),
        open_ones=[one for one in pages.entries if one.newest.is_open],
        recent=[one for one in pages.entries if not one.newest.is_open][:MOST_RECENT],
        paged=pages.paged,
        strip=_strip,
        cell_counts=[cells for _, _, cells in WINDOWS],
        legend=svg.legend(),
        windows=site.subjects[0].windows,
        names=pages.names,
        ends={name: when(first) if name == "24h" else when(first)[:10] for name, first in firsts.items()},
        shown=DEFAULT_WINDOW,
        searched_from=SEARCHED_FROM,
        states=[(state, number) for state, number in counted if number],
        interval_ms=interval_ms,
    )


def _incidents(pages: _SharedData) -> str:
    """The list of all incidents, by day."""
    listed = pages.entries[:MOST_LISTED]
    return render(
        "site_incidents.html.j2",
        site=pages.site,
        days=[
            (day, list(of))
            for day, of in itertools.groupby(listed, key=lambda one: when(one.newest.started_at_ms)[:10])
        ],
        paged=pages.paged,
        left_out=len(pages.entries) - len(listed),
        words=blips.WORDS,
        cell_counts=(),
    )


def _incident(pages: _SharedData, entry: IncidentEntry) -> str:
    """The page of one entry."""
    others = together(entry, pages.by_start)
    return render("site_incident.html.j2", site=pages.site, one=entry, others=others, paged=pages.paged, cell_counts=())


def _groups(subjects: Sequence[Subject]) -> list[Group]:
    by_group = sorted(subjects, key=lambda one: (one.server.group, _ORDER[one.state.status], one.server.name))
    found = ((name, list(of)) for name, of in itertools.groupby(by_group, key=lambda one: one.server.group))
    counted = [(name or "Servers", of, Counter(one.state.status for one in of)) for name, of in found]
    small = len(subjects) < _FOLDED_FROM or len(counted) == 1
    return [
        Group(
            name,
            of,
            states["HEALTHY"] + states["DEGRADED"],
            all_healthy=states["HEALTHY"] == len(of),
            open=small or states["HEALTHY"] < len(of),
        )
        for name, of, states in counted
    ]


def _page(pages: _SharedData, one: Subject) -> str:
    site = pages.site
    return render(
        "site_server.html.j2",
        site=site,
        one=one,
        entries=pages.of_server.get(one.server.id, ()),
        paged=pages.paged,
        names=pages.names,
        numbers=_numbers(one),
        strip=_strip,
        cell_counts=[cells for _, _, cells in WINDOWS],
        legend=svg.legend(one.server.objective_ratio),
        pictures=[
            ("Last 24 hours, by hour", *_picture(site.hours, one.hourly, "latency by hour")),
            ("Last 90 days, by day", *_picture(site.days, one.daily, "latency by day")),
        ],
    )


def _numbers(one: Subject) -> list[tuple[str, str, str]]:
    """Budget left and latency of a server, each with its name and a note."""
    found = []
    window = one.windows[2]
    if one.server.objective_ratio is not None and window.ratio is not None:
        up_ms = window.ratio * window.known_ms
        budget = error_budget(up_ms, window.known_ms - up_ms, one.server.objective_ratio)
        found.append(("budget left", per_cent(budget.left_ratio), f"of {window.name}"))
    for line in one.daily:
        median_ms, tail_ms = (_newest(values) for values in (line.p50_ms, line.p95_ms))
        if median_ms is not None:
            found.append((f"{line.kind} p50", duration(median_ms), "on the last day"))
        if tail_ms is not None:
            found.append((f"{line.kind} p95", duration(tail_ms), "on the last day"))
    return found


def _newest(values: Values) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _picture(x_ms: tuple[int, ...], latencies: Sequence[Latencies], name: str) -> tuple[Picture, str]:
    """The chart, and its points for the script.

    It starts at the first answer, so that a new server is not a line at the edge.
    """
    known = [place for one in latencies for place, value in enumerate(one.p50_ms) if value is not None]
    first = min([*known, len(x_ms) - _FEWEST_SLOTS])
    lines = [
        Line(f"{one.kind} {word}", values[first:])
        for one in latencies
        for word, values in (("p50", one.p50_ms), ("p95", one.p95_ms))
    ]
    picture = plot(x_ms[first:], lines, "ms", name)
    told = [(line.label, series(place // 2)[0], list(line.values)) for place, line in enumerate(lines)]
    return picture, hover.document(_names_of_slots(x_ms[first:]), picture, "ms", told)


@lru_cache(maxsize=256)
def _names_of_slots(x_ms: tuple[int, ...]) -> str:
    """The names of slots, which are the same for most servers."""
    return hover.names_of_slots(x_ms)


def _strip(window: UptimeWindow, one: Subject, aloud: bool) -> Markup:
    told = hover.strip_values(window.cells, one.server.objective_ratio)
    return svg.strip(window.cells, window.name if aloud else None, one.server.objective_ratio, told)
