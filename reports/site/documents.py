"""The JSON files of a site: the overview, and all of each server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from checker.plain_text import json_text
from reports.documents import iso
from reports.show import rounded
from reports.site.facts import Happening, Latencies, Site, Subject, Values


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
    """`servers/<slug>.json`: with the availability and the latency of each hour of the last day, and of each day."""
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
    """The begins of slots, which are the same for all servers."""
    return [iso(start) for start in slots_ms]


def _slots(slots_ms: tuple[int, ...], cells: Values, latencies: Sequence[Latencies]) -> list[dict[str, Any]]:
    return [
        {
            "start": start,
            "availability_ratio": None if cell is None else rounded(cell),
            **{f"{line.kind}_{name}": value for line in latencies for name, value in _percentiles(line, place)},
        }
        for place, (start, cell) in enumerate(zip(_starts(slots_ms), cells, strict=True))
    ]


def _percentiles(line: Latencies, place: int) -> list[tuple[str, float | None]]:
    pairs = (("p50_ms", line.p50_ms[place]), ("p95_ms", line.p95_ms[place]))
    return [(name, None if value is None else round(value, 3)) for name, value in pairs]


def _incident(one: Happening) -> dict[str, Any]:
    return {
        "started_at": iso(one.started_at_ms),
        "ended_at": iso(one.ended_at_ms),
        "unknown_since": iso(one.unknown_since_ms),
        "reason": one.reason,
    }


def _text(document: dict[str, Any]) -> str:
    return json_text(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode())
