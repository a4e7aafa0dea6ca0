"""Incidents as a feed (RSS 2.0), the newest first: an item for each, which is told again when it has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from checker.plain_text import markup
from checker.version import VERSION
from reports.show import duration, when
from reports.site.facts import Happening, Site

MOST_ITEMS = 100
_NOWHERE = "about:blank"
"""A channel must have an address (RSS 2.0): of one that nobody has told us this is the honest one."""


def feed(site: Site, happened: Sequence[Happening], address: str | None) -> str:
    """The feed; links lead to pages below the address, which ends with a slash, and are left out without one."""
    rss = Element("rss", version="2.0")
    channel = SubElement(rss, "channel")
    _add(channel, "title", f"{site.title}: incidents")
    _add(channel, "link", address or _NOWHERE)
    _add(channel, "description", site.verdict)
    _add(channel, "language", "en")
    _add(channel, "lastBuildDate", _date(site.now_ms))
    _add(channel, "generator", f"mcp-status-check {VERSION}")
    for one in happened[:MOST_ITEMS]:
        item = SubElement(channel, "item")
        name, reason = one.server.name, one.reason or "no reason known"
        if one.ended_at_ms is None and one.unknown_since_ms is not None:
            title, ended = f"{name} was down: {reason}", f"unknown since {when(one.unknown_since_ms)} UTC"
        elif one.ended_at_ms is None:
            title, ended = f"{name} is down: {reason}", "it is still down"
        else:
            title = f"{name} was down for {duration(one.lasted_ms)}"
            ended = f"up again at {when(one.ended_at_ms)} UTC"
        _add(item, "title", title)
        _add(item, "description", f"Down since {when(one.started_at_ms)} UTC ({reason}); {ended}.")
        if address is not None:
            _add(item, "link", f"{address}servers/{one.slug}.html")
        guid = SubElement(item, "guid", isPermaLink="false")
        told = f"{name}\n{one.started_at_ms}\n{one.ended_at_ms}"
        guid.text = f"urn:sha256:{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()}"
        _add(item, "pubDate", _date(one.ended_at_ms or one.started_at_ms))
    indent(rss, space="")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(rss, encoding="unicode")}\n'


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = markup(text)


def _date(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms // 1000, UTC))
