"""Rates, times and moments of a load test in words, for lines that people read."""

from __future__ import annotations

from collections.abc import Mapping

from checker.bench.live import Moment, Rates, StageNow, Times

_REASONS = 3


def plain_line(moment: Moment) -> str:
    """A moment in one line; rates and times are those of the last seconds."""
    parts = [f"{moment.at_s:6.0f} s", stages_words(moment.stages) or moment.note, rates_words(moment.recent)]
    parts.append(times_words(moment.recent_times))
    parts.append(f"errors {moment.failed:,}" + (f" ({reasons_words(moment.reasons)})" if moment.reasons else ""))
    if moment.client is not None and moment.client.bound:
        parts.append(f"client-bound: {moment.client.bound}")
    return "  ".join(part for part in parts if part)


def stages_words(stages: tuple[StageNow, ...]) -> str:
    """The stages under way, each with its level."""
    several = len({stage.scenario for stage in stages}) > 1
    return ", ".join(
        " ".join(filter(None, (stage.scenario if several else "", *stage_words(stage)))) for stage in stages
    )


def stage_words(stage: StageNow) -> tuple[str, str]:
    """Name and level of a stage; the name is empty where it says the level and nothing else."""
    name, level = stage.name or stage.kind, level_words(stage)
    return ("" if name == level else name), level


def level_words(stage: StageNow) -> str:
    """200/s or 20 users."""
    return f"{number(stage.level)}{stage.unit}"


def rates_words(rates: Rates) -> str:
    """The three rates."""
    return f"offered {number(rates.offered)}/s achieved {number(rates.achieved)}/s ok {number(rates.ok)}/s"


def times_words(times: Times) -> str:
    """The three percentiles."""
    return f"p50 {milliseconds(times.p50_ms)} p95 {milliseconds(times.p95_ms)} p99 {milliseconds(times.p99_ms)}"


def reasons_words(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons, and how many more kinds there are."""
    shown = ", ".join(f"{reason} {count:,}" for reason, count in list(reasons.items())[:_REASONS])
    return f"{shown}, {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else shown


def number(value: float) -> str:
    """Three digits, and all that are before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(value: float | None) -> str:
    """Three digits and a unit; a dash where there is no value."""
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:.3g} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def clock(seconds: float) -> str:
    """0:42, or 1:02:03."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
