"""A moment of a load test as one line of JSON; docs/bench-judgement.md says what each key is."""

from __future__ import annotations

import orjson

from checker.bench.live import Moment, Times
from checker.plain_text import json_text


def json_line(moment: Moment) -> str:
    """The line, without its end."""
    client = moment.client
    document = {
        "name": moment.name,
        "at_s": round(moment.at_s, 3),
        "until_s": round(moment.until_s, 3),
        "stages": [
            {
                "scenario": stage.scenario,
                "stage": stage.name,
                "kind": stage.kind,
                "measured": stage.measured,
                "progress_ratio": round(stage.progress_ratio, 4),
                "level": round(stage.level, 3),
                "unit": stage.unit.strip(),
            }
            for stage in moment.stages
        ],
        "offered_per_s": round(moment.now.offered, 3),
        "achieved_per_s": round(moment.now.achieved, 3),
        "ok_per_s": round(moment.now.ok, 3),
        "failed_per_s": round(moment.now.failed, 3),
        "response": _times(moment.news),
        "run_response": _times(moment.run_times),
        "ok": moment.ok,
        "failed": moment.failed,
        "reasons": moment.new_reasons,
        "client": None
        if client is None
        else {
            "workers": client.workers,
            "cpu_ratio": round(client.cpu_ratio, 4),
            "lag_p99_ms": client.lag_p99_ms,
            "late_p99_ms": client.late_p99_ms,
            "in_flight": client.in_flight,
            "backlog": client.backlog,
            "bound": client.bound or None,
            "bound_s": client.bound_s,
        },
        "thresholds": [
            {"metric": one.metric, "expression": one.expression, "value": one.value, "passed": one.passed}
            for one in moment.thresholds
        ],
        "note": moment.note or None,
    }
    return json_text(orjson.dumps(document).decode())


def _times(times: Times) -> dict[str, float | int | None]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return {
        "samples": times.samples,
        "p50_ms": rounded(times.p50_ms),
        "p95_ms": rounded(times.p95_ms),
        "p99_ms": rounded(times.p99_ms),
        "max_ms": rounded(times.max_ms),
    }
