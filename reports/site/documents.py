"""The JSON files of a site: the overview, and all of each server."""

from __future__ import annotations

from typing import Any

import orjson

from reports.documents import iso
from reports.site.facts import Happening, Latencies, Site, Subject
from reports.templating import clean


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
            window.name: None if window.ratio is None else round(window.ratio, 6) for window in one.windows
        },
        "known_ms": {window.name: window.known_ms for window in one.windows},
        "open_incident_since": next((iso(it.started_at_ms) for it in one.incidents if it.ended_at_ms is None), None),
    }


def _slots(starts: Any, cells: Any, latencies: Any) -> list[dict[str, Any]]:
    return [
        {
            "start": iso(start),
            "availability_ratio": None if cells[place] is None else round(cells[place], 6),
            **{f"{line.kind}_{name}": value for line in latencies for name, value in _percentiles(line, place)},
        }
        for place, start in enumerate(starts)
    ]


def _percentiles(line: Latencies, place: int) -> list[tuple[str, float | None]]:
    pairs = (("p50_ms", line.p50_ms[place]), ("p95_ms", line.p95_ms[place]))
    return [(name, None if value is None else round(value, 3)) for name, value in pairs]


def _incident(one: Happening) -> dict[str, Any]:
    return {"started_at": iso(one.started_at_ms), "ended_at": iso(one.ended_at_ms), "reason": one.reason}


def _text(document: dict[str, Any]) -> str:
    """The document, readable for machines and people; names that UTF-8 cannot hold are cleaned."""
    return orjson.dumps(_fit(document), option=orjson.OPT_APPEND_NEWLINE).decode()


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _fit(one) for key, one in value.items()}
    return [_fit(one) for one in value] if isinstance(value, list) else value
