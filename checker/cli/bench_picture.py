"""A moment of a load test as lines for a terminal, none wider than it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checker.bench.live import RECENT_S, ClientNow, Moment, Times
from checker.bench.results import ThresholdResult
from checker.cli.bench_words import clock, milliseconds, number, reasons_words, stage_words
from reports.terminal import Group, Text

_LABEL = 10
_COLUMN = 9
_BAR = 20
_STAGES = 4
_WIDE = 80
_SPARKS = "▁▂▃▄▅▆▇█"


def picture(moment: Moment, width: int, unicode: bool) -> Group:
    """The lines: what is played, rates, times, errors, the client, thresholds."""
    lines = list(_lines(moment, width, unicode))
    for line in lines:
        line.truncate(width, overflow="ellipsis" if unicode else "crop")
    return Group(*lines)


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest values as so many bars at most, the highest of them full."""
    shown = values[-width:] if width > 0 else ()
    highest = max(shown, default=0.0)
    top = len(_SPARKS) - 1
    return "".join(_SPARKS[round(top * value / highest) if highest > 0 else 0] for value in shown)


def _lines(moment: Moment, width: int, unicode: bool) -> Iterator[Text]:
    yield _head(moment)
    yield from _stages(moment, width, unicode)
    yield from _rates(moment, width, unicode)
    yield _line("latency", "".join(f"{name:>{_COLUMN}}" for name in ("p50", "p95", "p99", "max")), "dim")
    yield _times(f"  last {RECENT_S:g} s", moment.recent_times)
    yield _times("  run", moment.run_times)
    errors = f"{moment.failed:,}  {reasons_words(moment.reasons)}" if moment.failed else "none"
    yield _line("errors", errors, "red" if moment.failed else "")
    if moment.client is not None:
        yield from _client(moment.client, width)
    for result in moment.thresholds:
        yield _threshold(result)


def _head(moment: Moment) -> Text:
    line = Text(no_wrap=True)
    line.append(moment.name, "bold")
    line.append(f"  {moment.kind}  ", "dim")
    line.append(f"{clock(moment.at_s)} of {clock(moment.until_s)}")
    line.append(f"  {clock(moment.until_s - moment.at_s)} left")
    if moment.note:
        line.append(f"  {moment.note}", "yellow")
    return line


def _stages(moment: Moment, width: int, unicode: bool) -> Iterator[Text]:
    full, rest = ("━", "╌") if unicode else ("#", "-")
    several = len({stage.scenario for stage in moment.stages}) > 1
    for stage in moment.stages[:_STAGES]:
        bar = min(_BAR, max(5, width - 50))
        done = round(bar * stage.progress_ratio)
        line = _label("stage")
        line.append(full * done, "green" if stage.measured else "cyan")
        line.append(rest * (bar - done), "dim")
        line.append(f" {stage.progress_ratio:4.0%}")
        name, level = stage_words(stage)
        line.append(f"  {level}", "bold")
        if name:
            line.append(f"  {name}")
        if several:
            line.append(f"  {stage.scenario}", "dim")
        if not stage.measured:
            line.append("  not measured", "dim")
        yield line
    if len(moment.stages) > _STAGES:
        yield _line("", f"and {len(moment.stages) - _STAGES} more stages", "dim")


def _rates(moment: Moment, width: int, unicode: bool) -> Iterator[Text]:
    rates = moment.now
    yield _line("per second", "".join(f"{name:>{_COLUMN}}" for name in ("offered", "achieved", "ok", "failed")), "dim")
    line = _label("")
    for value, style in (
        (rates.offered, ""),
        (rates.achieved, ""),
        (rates.ok, "green"),
        (rates.failed, "red" if rates.failed else ""),
    ):
        line.append(f"{number(value):>{_COLUMN}}", style)
    if unicode:
        line.append(f"  {sparkline(moment.history, min(40, width - line.cell_len - 3))}", "cyan")
    yield line


def _times(label: str, times: Times) -> Text:
    values = (times.p50_ms, times.p95_ms, times.p99_ms, times.max_ms)
    return _line(label, "".join(f"{milliseconds(value):>{_COLUMN}}" for value in values))


def _client(client: ClientNow, width: int) -> Iterator[Text]:
    style = "red" if client.bound else ""
    line = _label("client")
    line.append(f"CPU {100 * client.cpu_ratio:.0f}%  lag {milliseconds(client.lag_p99_ms)}", style)
    line.append(f"  late {milliseconds(client.late_p99_ms)}", style)
    if width < _WIDE:
        yield line
        line = _label("")
    else:
        line.append("  ")
    line.append(f"in flight {client.in_flight:,}")
    line.append(f"  waiting {client.backlog:,}", "yellow" if client.backlog else "")
    yield line
    # Its own line, and words: colour alone does not reach everybody.
    if client.bound:
        yield _line("", f"CLIENT-BOUND: {client.bound}", "bold red")
    elif client.bound_s:
        yield _line("", f"client-bound for {client.bound_s} s until now", "yellow")


def _threshold(result: ThresholdResult) -> Text:
    value = "no samples yet" if result.value is None else f"now {number(result.value)}"
    line = _label("threshold")
    line.append("ok      " if result.passed else "BROKEN  ", "green" if result.passed else "bold red")
    line.append(f"{result.metric} {result.expression}  {value}")
    return line


def _label(label: str) -> Text:
    # Appended, because the style of a whole text also lies under what is appended later.
    return Text(no_wrap=True).append(f"{label:<{_LABEL}} ", "dim")


def _line(label: str, words: str, style: str = "") -> Text:
    line = _label(label)
    line.append(words, style)
    return line
