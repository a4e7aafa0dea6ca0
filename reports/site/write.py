"""Writing of a site to a folder: pages, badges, JSON files and the feed of the servers of a history."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from reports import svg
from reports.html import WORDS
from reports.report_model import Line
from reports.site import documents
from reports.site.documents import badge, feed, uptime_badge
from reports.site.files import site_folder
from reports.site.site_data import STATES, WINDOWS, Happening, Latencies, Site, Subject, UptimeWindow, gather
from reports.svg import Picture, plot
from reports.templating import render
from storage.report_history import Past

MOST_RECENT = 25
"""Largest number of ended incidents on the overview."""
DEFAULT_WINDOW = "30d"
_FEWEST_SLOTS = 7
"""Fewest slots in the chart of a new server."""
_ORDER = {state.status: place for place, state in enumerate(STATES.values())}


@dataclass(frozen=True, slots=True)
class Group:
    """The servers of a group, worst first."""

    name: str
    subjects: Sequence[Subject]
    up: int


def write_site(past: Past, folder: Path, title: str, address: str | None, progress: Callable[[int, int], None]) -> Site:
    """Write or update the site in the folder; ``address`` is its later URL, for the links of the feed.

    ``progress`` is called with the number of servers written and the total. Raises UsageError if the folder cannot be
    used.
    """
    site = gather(past, title)
    planned = ["index.html", "index.json", "feed.xml", *(name for one in site.subjects for name in _names(one))]
    with site_folder(folder, planned) as files:
        for done, one in enumerate(site.subjects, 1):
            for name, text in zip(_names(one), _texts(site, one), strict=True):
                files.put(name, text)
            progress(done, len(site.subjects))
        happened = sorted(
            (incident for one in site.subjects for incident in one.incidents),
            key=lambda incident: (incident.ended_at_ms or incident.started_at_ms, incident.server.name),
            reverse=True,
        )
        files.put("feed.xml", feed(site, happened, address))
        files.put("index.json", documents.overview(site))
        files.put("index.html", _index(site, happened))
    return site


def _names(one: Subject) -> tuple[str, ...]:
    return (
        f"servers/{one.slug}.html",
        f"servers/{one.slug}.json",
        f"badges/{one.slug}.svg",
        f"badges/{one.slug}-uptime-30d.svg",
    )


def _texts(site: Site, one: Subject) -> Iterator[str]:
    """The contents of a server's files, in the order of their names."""
    yield _page(site, one)
    yield documents.subject(site, one)
    yield badge(one.server.name, one.state.word.lower(), one.state.level.value)
    yield uptime_badge(one.windows[2].ratio, one.server.objective_ratio)


def _index(site: Site, happened: Sequence[Happening]) -> str:
    groups = _groups(site.subjects)
    return render(
        "site_index.html.j2",
        site=site,
        word=WORDS[site.level],
        groups=groups,
        open_ones=[one for one in happened if one.is_open],
        recent=[one for one in happened if not one.is_open][:MOST_RECENT],
        strip=_strip,
        cell_counts=[cells for _, _, cells in WINDOWS],
        legend=svg.legend(),
        windows=[window.name for window in site.subjects[0].windows],
        shown=DEFAULT_WINDOW,
    )


def _groups(subjects: Sequence[Subject]) -> list[Group]:
    by_group = sorted(subjects, key=lambda one: (one.server.group, _ORDER[one.state.status], one.server.name))
    found = ((name, list(of)) for name, of in itertools.groupby(by_group, key=lambda one: one.server.group))
    return [Group(name or "Servers", of, sum(one.state.status == "HEALTHY" for one in of)) for name, of in found]


def _page(site: Site, one: Subject) -> str:
    return render(
        "site_server.html.j2",
        site=site,
        one=one,
        strip=_strip,
        cell_counts=[cells for _, _, cells in WINDOWS],
        legend=svg.legend(one.server.objective_ratio),
        pictures=[
            ("Last 24 hours, by hour", _picture(site.hours, one.hourly, "latency by hour")),
            ("Last 90 days, by day", _picture(site.days, one.daily, "latency by day")),
        ],
    )


def _picture(x_ms: Sequence[int], latencies: Sequence[Latencies], name: str) -> Picture:
    """The chart, starting at the first answer, so that a new server is not a line at the edge."""
    known = [place for one in latencies for place, value in enumerate(one.p50_ms) if value is not None]
    first = min([*known, len(x_ms) - _FEWEST_SLOTS])
    lines = [
        Line(f"{one.kind} {word}", values[first:])
        for one in latencies
        for word, values in (("p50", one.p50_ms), ("p95", one.p95_ms))
    ]
    return plot(x_ms[first:], lines, "ms", name)


def _strip(window: UptimeWindow, one: Subject, aloud: bool) -> Markup:
    return svg.strip(window.cells, window.name if aloud else None, one.server.objective_ratio)
