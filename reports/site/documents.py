"""The machine-readable files of a site: JSON of the overview and of each server, badges, the feed of incidents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import orjson
from markupsafe import Markup, escape

from checker.untrusted_text import json_text, markup
from checker.version import VERSION
from reports.check_documents import iso
from reports.output_forms import duration, per_cent, rounded, when
from reports.palette import LIGHT
from reports.site.site_data import Happening, Latencies, Site, Subject, Values

_NARROW, _WIDE = frozenset("fijlrt.,:;|!'()[]{}/- "), frozenset("mwMW%@&")
_SIDES = 12
_MOST_LETTERS = 40


def badge(label: str, value: str, level: str) -> Markup:
    """A badge; ``level`` is good, warning, bad or unknown, and the value states the same as text."""
    label, value = _cut(label), _cut(value)
    left, right = (round(sum(map(_width, words))) + _SIDES for words in (label, value))
    name, said, width = escape(label), escape(value), left + right
    # Markup.format takes four times as long, and a site has two badges for each server.
    return Markup(  # noqa: S704 # numbers, words of ours and what is escaped
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{name}: {said}">'
        f"<title>{name}: {said}</title>"
        f'<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><path fill="#444b54" d="M0 0h{left}v20H0z"/>'
        f'<path fill="{LIGHT[level]}" d="M{left} 0h{right}v20H{left}z"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="14" textLength="{left - _SIDES}">{name}</text>'
        f'<text x="{left + right / 2}" y="14" textLength="{right - _SIDES}">{said}</text></g></svg>\n'
    )


def uptime_badge(ratio: float | None, objective_ratio: float | None) -> Markup:
    """The availability of 30 days: good if it meets the objective, or 99% without one."""
    if ratio is None:
        return badge("uptime 30d", "unknown", "unknown")
    level = "good" if ratio >= (objective_ratio or 0.99) else "warning" if ratio >= 0.9 else "bad"
    return badge("uptime 30d", per_cent(ratio, objective_ratio), level)


def _width(letter: str) -> float:
    """Approximate width of a letter in 11 px Verdana; the text is stretched to the sum, whatever the font."""
    if not letter.isascii():
        return 11.0
    if letter in _NARROW:
        return 4.6
    return 10.5 if letter in _WIDE else 7.8 if letter.isupper() else 6.9


def _cut(words: str) -> str:
    plain = markup(words)
    return plain if len(plain) <= _MOST_LETTERS else f"{plain[: _MOST_LETTERS - 1]}…"


MOST_ITEMS = 100
_NOWHERE = "about:blank"
"""A channel must have an address (RSS 2.0): this one is used if none is given."""


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


def overview(site: Site) -> str:
    """`index.json`."""
    return _text(
        {
            "title": site.title,
            "generated_at": iso(site.now_ms),
            "level": site.level.value,
            "verdict": site.verdict,
            "servers": [{**_subject(one), "json": f"servers/{one.slug}.json"} for one in site.subjects],
        }
    )


def subject(site: Site, one: Subject) -> str:
    """`servers/<slug>.json`: includes availability and latency of each hour of the last day, and of each day."""
    offer = one.offer
    return _text(
        {
            "generated_at": iso(site.now_ms),
            **_subject(one),
            "hours": _slots(site.hours, one.windows[0].cells, one.hourly),
            "days": _slots(site.days, one.windows[-1].cells, one.daily),
            "incidents": [_incident(incident) for incident in one.incidents],
            "reasons_30d": dict(one.reasons),
            "mcp": None
            if offer is None
            else {
                "server_name": offer.server_name,
                "server_version": offer.server_version,
                "protocol_version": offer.protocol_version,
                "era": offer.era,
                "transport": offer.transport,
                "tool_count": offer.tool_count,
                "resource_count": offer.resource_count,
                "template_count": offer.template_count,
                "prompt_count": offer.prompt_count,
                "contract_version": offer.contract_version,
                "contract_since": iso(offer.contract_since_ms),
            },
        }
    )


def _subject(one: Subject) -> dict[str, Any]:
    return {
        "server": one.server.name,
        "slug": one.slug,
        "group": one.server.group,
        "tags": list(one.server.tags),
        "status": one.state.status,
        "reason": None if one.newest is None else one.newest.reason,
        "checked_at": None if one.newest is None else iso(one.newest.at_ms),
        "objective_ratio": one.server.objective_ratio,
        "availability_ratio": {
            window.name: None if window.ratio is None else rounded(window.ratio, one.server.objective_ratio)
            for window in one.windows
        },
        "known_ms": {window.name: window.known_ms for window in one.windows},
        "open_incident_since": next((iso(it.started_at_ms) for it in one.incidents if it.is_open), None),
    }


@lru_cache(maxsize=2)
def _starts(slots_ms: tuple[int, ...]) -> list[str | None]:
    """The starts of slots, which are the same for all servers."""
    return [iso(start) for start in slots_ms]


def _slots(slots_ms: tuple[int, ...], cells: Values, latencies: Sequence[Latencies]) -> list[dict[str, Any]]:
    named = [
        (f"{line.kind}_{name}", of)
        for line in latencies
        for name, of in (("p50_ms", line.p50_ms), ("p95_ms", line.p95_ms))
    ]
    names = ("start", "availability_ratio", *(name for name, _ in named))
    ratios = [None if cell is None else rounded(cell) for cell in cells]
    columns = (_starts(slots_ms), ratios, *(of for _, of in named))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _incident(one: Happening) -> dict[str, Any]:
    return {
        "started_at": iso(one.started_at_ms),
        "ended_at": iso(one.ended_at_ms),
        "unknown_since": iso(one.unknown_since_ms),
        "reason": one.reason,
    }


def _text(document: dict[str, Any]) -> str:
    return json_text(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode())
