"""The load generator's own health: each worker's use of resources and lateness, and the times when it was the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from checker.loadtest.bottleneck import Saturation
from checker.loadtest.results import BenchRun, WorkerSecond
from reports.loadtests.timeline import Timeline, stage_spans
from reports.output_forms import duration
from reports.report_model import Column, Kind, Line, Look, Section, Shape, Span, Table
from reports.ticks import clock

CPU_LIMIT_PERCENT = 85.0
_MIB = 1024 * 1024
_CHARTS: tuple[tuple[str, str, Callable[[WorkerSecond], float], float | None], ...] = (
    ("CPU", "% of a core", lambda one: 100 * one.cpu_ratio, CPU_LIMIT_PERCENT),
    ("Event loop lag, p99", "ms", lambda one: one.lag_p99_us / 1000, None),
    ("Late starts, p99", "ms", lambda one: one.late_p99_us / 1000, None),
    ("Garbage collection", "ms /s", lambda one: one.gc_us / 1000, None),
    ("Memory", "MiB", lambda one: one.memory_bytes / _MIB, None),
    ("File descriptors", "", lambda one: float(one.descriptors), None),
    ("Local ports held", "", lambda one: float(one.ports), None),
)
"""Title, unit, value, limit."""


def bound_spans(saturation: Saturation) -> list[Span]:
    """The periods in which the load generator was the limit, for hatching in charts; overlapping ones merged."""
    found: list[Span] = []
    for one in sorted(saturation.spans, key=lambda span: span.from_s):
        if found and one.from_s <= found[-1].until_x:
            last = found.pop()
            found.append(Span(last.from_x, max(last.until_x, one.until_s), last.label, Look.HATCHED))
        else:
            found.append(Span(one.from_s, one.until_s, one.what, Look.HATCHED))
    return found


def client(run: BenchRun, saturation: Saturation) -> Section:
    """Each worker over time, with the invalid spans, and one summary row each."""
    line = Timeline.of(run)
    spans = [*stage_spans(run), *bound_spans(saturation)]
    workers = sorted({one.worker for one in run.health})
    charts = []
    for title, unit, value, limit in _CHARTS:
        lines = [Line(f"worker {worker}", _most(run, line.starts, worker, value)) for worker in workers]
        charts.append(line.chart(title, Shape.LINES, lines, unit, spans, threshold=limit))
    columns = [
        Column("worker", "Worker"),
        Column("cpu_mean_ratio", "CPU, mean", Kind.RATIO, words="Of one core."),
        Column("cpu_max_ratio", "CPU, most", Kind.RATIO, words="Of one core, over a second."),
        Column(
            "lag_p99_ms", "Lag p99, worst", Kind.DURATION, words="How late its event loop ran, in the worst second."
        ),
        Column(
            "late_p99_ms",
            "Late p99, worst",
            Kind.DURATION,
            words="How late requests were started with connections free.",
        ),
        Column("gc_ms", "GC, in all", Kind.DURATION),
        Column("in_flight", "Most in flight", Kind.COUNT),
        Column("backlog", "Most queued", Kind.COUNT),
        Column("descriptors", "Descriptors", Kind.COUNT),
        Column("ports", "Ports", Kind.COUNT),
        Column("memory_mib", "Memory, most", Kind.NUMBER, "MiB"),
    ]
    rows = [_row(worker, [one for one in run.health if one.worker == worker]) for worker in workers]
    return Section("client", "The load generator", Table(columns, rows), _words(saturation), charts if workers else [])


def bound_table(saturation: Saturation) -> Section:
    """The periods in which the load generator was the limit, and their causes."""
    columns = [
        Column("from", "From"),
        Column("until", "Until"),
        Column("worker", "Worker"),
        Column("what", "What", is_reason=True),
    ]
    rows = [
        [clock(one.from_s), clock(one.until_s), "all" if one.worker is None else str(one.worker), one.what]
        for one in saturation.spans
    ]
    return Section("client_bound", "When the load generator was the limit", Table(columns, rows))


def affected(run: BenchRun, saturation: Saturation) -> Section:
    """The percentiles that the load generator affected, each between its possible value and the measured one."""
    columns = [
        Column("scenario", "Scenario"),
        Column("operation", "Operation"),
        Column("server", "Server"),
        Column("percentile", "Percentile"),
        Column("low_ms", "From", Kind.DURATION, words="Without anything that the load generator may have added."),
        Column("measured_ms", "Measured", Kind.DURATION),
        Column("high", "To", words="As measured, unless the server did not get the load."),
    ]
    rows = []
    for one in saturation.claims.numbers:
        series = run.series[one.series]
        high = "open: the server did not get the full load" if one.is_open else "as measured"
        named = [series.scenario, series.operation, series.server, one.percentile]
        rows.append([*named, one.low_us / 1000, one.value_us / 1000, high])
    text = "Times from the scheduled start include how late the load generator sent requests and read replies."
    return Section("client_added", "Percentiles that include delays of the load generator", Table(columns, rows), text)


def affected_note(run: BenchRun, saturation: Saturation) -> str:
    """A sentence about the percentile that the load generator changed most; empty if it changed none."""
    numbers = saturation.claims.numbers
    if not numbers:
        return ""
    most = max(numbers, key=lambda one: one.value_us - one.low_us)
    series = run.series[most.series]
    value, low = duration(most.value_us / 1000), duration(most.low_us / 1000)
    others = f"; {len(numbers) - 1} more are marked" if len(numbers) > 1 else ""
    longer = ", or longer, since the server did not get the full load" if most.is_open else ""
    return (
        f"{most.percentile} of {series.server} {series.operation}, {value}, includes delays of the load "
        f"generator: without them it may be {low}{longer}{others}."
    )


def calibration(run: BenchRun) -> Section:
    """The load generator's maximum rate and added latency, against a loopback echo."""
    columns = [
        Column("operation", "Operation"),
        Column("ceiling_per_s", "Ceiling", Kind.NUMBER, "/s", "Operations of all workers against the echo."),
        Column("cpu_us", "CPU", Kind.NUMBER, "µs each"),
        Column("noise_p50_ms", "Noise p50", Kind.DURATION, words="Response times of the echo at a low rate."),
        Column("noise_p99_ms", "Noise p99", Kind.DURATION),
    ]
    rows = [
        [one.operation, one.ceiling_per_s, one.cpu_us, one.noise_p50_us / 1000, one.noise_p99_us / 1000]
        for one in run.calibrations
    ]
    text = "Measured just before, against an echo on loopback: times shorter than the noise say nothing about a server."
    return Section("calibration", "Calibration", Table(columns, rows), text)


def summed(run: BenchRun, starts: Sequence[int], name: str) -> list[float | None]:
    """The largest value of each worker in each slot, summed over the workers; None without any report."""
    workers = sorted({one.worker for one in run.health})
    each = [_most(run, starts, worker, lambda one: float(getattr(one, name))) for worker in workers]
    found: list[float | None] = []
    for at in range(len(starts)):
        known = [value for values in each if (value := values[at]) is not None]
        found.append(sum(known) if known else None)
    return found


def _most(
    run: BenchRun, starts: Sequence[int], worker: int, value: Callable[[WorkerSecond], float]
) -> list[float | None]:
    width = starts[1] - starts[0] if len(starts) > 1 else 1
    found: list[float | None] = [None] * len(starts)
    for one in run.health:
        place = one.at_s // width
        if one.worker == worker and 0 <= place < len(starts):
            before = found[place]
            found[place] = value(one) if before is None else max(before, value(one))
    return found


def _row(worker: int, seconds: Sequence[WorkerSecond]) -> list[object]:
    return [
        f"worker {worker}",
        sum(one.cpu_ratio for one in seconds) / len(seconds),
        max(one.cpu_ratio for one in seconds),
        max(one.lag_p99_us for one in seconds) / 1000,
        max(one.late_p99_us for one in seconds) / 1000,
        sum(one.gc_us for one in seconds) / 1000,
        max(one.in_flight for one in seconds),
        max(one.backlog for one in seconds),
        max(one.descriptors for one in seconds),
        max(one.ports for one in seconds),
        max(one.memory_bytes for one in seconds) / _MIB,
    ]


def _words(saturation: Saturation) -> str:
    if saturation.invalid and saturation.spans:
        return "The load generator, not the server, was the limit; hatched spans show when."
    if saturation.spans:
        return "In the hatched spans the load generator was the limit: they do not show the server."
    return "The load generator was never the limit. Each slot shows its worst second."
