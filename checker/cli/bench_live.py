"""The live display of a load test: a picture on a terminal, lines elsewhere, JSON lines for machines.

Each view receives every second (`checker.loadtest.protocols.Watcher`); none can end or delay the run, whatever happens
to its output: a view whose pipe is closed, or not read for minutes, is dropped.
"""

from __future__ import annotations

import queue
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, cast

import orjson

from checker.loadtest.live import RECENT_S, ClientNow, Live, Moment, Rates, StageNow, Times
from checker.loadtest.plan import Threshold
from checker.loadtest.protocols import Second, Watcher
from checker.loadtest.results import ThresholdResult
from checker.untrusted_text import json_text
from reports.loadtests.verdict import limit_words, measured_words
from reports.terminal import Console, Group, Text, live

_REASONS = 3


def plain_line(moment: Moment) -> str:
    """One line for a moment; rates and times are those of the last seconds."""
    parts = [f"{moment.at_s:6.0f} s", stages_words(moment.stages) or moment.note, rates_words(moment.recent)]
    parts.append(times_words(moment.recent_times))
    parts.append(f"errors {moment.failed:,}" + (f" ({reasons_words(moment.reasons)})" if moment.reasons else ""))
    parts.append(thresholds_words(moment.thresholds))
    if moment.client is not None and moment.client.bound:
        parts.append(f"client-bound: {moment.client.bound}")
    return "  ".join(part for part in parts if part)


def stages_words(stages: tuple[StageNow, ...]) -> str:
    """The stages in progress, each with its level, and whether it counts."""
    several = len({stage.scenario for stage in stages}) > 1
    named = [" ".join(filter(None, (stage.scenario if several else "", *stage_words(stage)))) for stage in stages]
    return ", ".join(
        words if stage.measured else f"{words} (not measured)" for stage, words in zip(stages, named, strict=True)
    )


def thresholds_words(thresholds: Sequence[ThresholdResult]) -> str:
    """The number of thresholds that hold so far, and the broken ones; empty without thresholds."""
    broken = [threshold_words(one) for one in thresholds if not one.passed]
    if broken:
        return f"BROKEN: {'; '.join(broken)}"
    return f"thresholds hold: {len(thresholds)} of {len(thresholds)}" if thresholds else ""


def threshold_words(one: ThresholdResult) -> str:
    """A threshold with its value so far."""
    over = "" if one.over_s is None else f" over {one.over_s:g} s"
    value = (
        "no answers yet"
        if one.value is None
        else f"{'' if one.over_s is None else 'worst '}{measured_words(one, one.value)}"
    )
    return f"{one.metric} {limit_words(one)}{over}: {value}"


def stage_words(stage: StageNow) -> tuple[str, str]:
    """Name and level of a stage; the name is empty if it equals the level."""
    name, level = stage.name or stage.kind, level_words(stage)
    return ("" if name == level else name), level


def level_words(stage: StageNow) -> str:
    """The level with its unit: 200/s or 20 users."""
    return f"{number(stage.level)}{stage.unit}"


def rates_words(rates: Rates) -> str:
    """The three rates."""
    return f"offered {number(rates.offered)}/s achieved {number(rates.achieved)}/s ok {number(rates.ok)}/s"


def times_words(times: Times) -> str:
    """The three percentiles."""
    return f"p50 {milliseconds(times.p50_ms)} p95 {milliseconds(times.p95_ms)} p99 {milliseconds(times.p99_ms)}"


def reasons_words(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons, and the number of further kinds."""
    shown = ", ".join(f"{reason} {count:,}" for reason, count in list(reasons.items())[:_REASONS])
    return f"{shown}, {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else shown


def number(value: float) -> str:
    """A number with three digits, or with all digits before the decimal point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(value: float | None) -> str:
    """A time with three digits and a unit; a dash without a value."""
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:.3g} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def clock(seconds: float) -> str:
    """A duration such as 0:42 or 1:02:03."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_LABEL = 10
_COLUMN = 9
_BAR = 20
_STAGES = 4
_MOST_THRESHOLDS = 8
_WIDE = 80
_MOST_BARS, _FEWEST_BARS, _RANGE = 60, 2, 24
"""Bars of p95, and the room that the lowest and the highest value beside them take."""
_SPARKS = "▁▂▃▄▅▆▇█"


def picture(moment: Moment, width: int, unicode: bool) -> Group:
    """The lines of the picture: stages, rates, times, errors, load generator, thresholds."""
    lines = list(_lines(moment, width, unicode))
    for line in lines:
        line.truncate(width, overflow="ellipsis" if unicode else "crop")
    return Group(*lines)


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Bars of the newest values up to a maximum number, from zero to the highest of them; a gap for None."""
    shown = values[-width:] if width > 0 else ()
    highest = max((value for value in shown if value is not None), default=0.0)
    top = len(_SPARKS) - 1
    return "".join(
        " " if value is None else _SPARKS[round(top * value / highest) if highest > 0 else 0] for value in shown
    )


def _lines(moment: Moment, width: int, unicode: bool) -> Iterator[Text]:
    yield _head(moment)
    yield from _stages(moment, width, unicode)
    yield from _rates(moment, width, unicode)
    yield _line("latency", "".join(f"{name:>{_COLUMN}}" for name in ("p50", "p95", "p99", "max")), "dim")
    yield _times(f"  last {RECENT_S:g} s", moment.recent_times)
    yield _times("  measured", moment.run_times)
    yield from _p95_over_time(moment.p95_history, width, unicode)
    errors = f"{moment.failed:,}  {reasons_words(moment.reasons)}" if moment.failed else "none"
    yield from _wrapped("errors", errors, "red" if moment.failed else "", width)
    if moment.excluded:
        total = f"{sum(moment.excluded.values()):,} operations of {', '.join(moment.excluded)}: not measured"
        yield from _wrapped("excluded", total, "dim", width)
    if moment.client is not None:
        yield from _client(moment.client, width)
    yield from _thresholds(moment.thresholds)


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
        yield from _wrapped("", f"CLIENT-BOUND: {client.bound}", "bold red", width)
    elif client.bound_s:
        yield _line("", f"client-bound for {client.bound_s} s until now", "yellow")


def _thresholds(results: Sequence[ThresholdResult]) -> Iterator[Text]:
    """A line for each threshold, the broken ones first where there are many; the value comes before what may be cut."""
    shown = results if len(results) <= _MOST_THRESHOLDS else sorted(results, key=lambda one: one.passed)
    for place, one in enumerate(shown[:_MOST_THRESHOLDS]):
        word, style = ("ok", "green") if one.passed else ("BROKEN", "bold red")
        word, style = ("-", "dim") if one.passed and one.value is None else (word, style)
        over = "" if one.over_s is None else f" over {one.over_s:g} s"
        line = _label("threshold" if place == 0 else "")
        line.append(f"{word:<7}", style)
        line.append(f"{'' if one.value is None else measured_words(one, one.value):>{_COLUMN}}")
        line.append(f"  {one.metric} {limit_words(one)}{over}")
        yield line
    if len(shown) > _MOST_THRESHOLDS:
        rest = shown[_MOST_THRESHOLDS:]
        broken = sum(not one.passed for one in rest)
        yield _line(
            "", f"and {len(rest)} more, {broken} of them broken" if broken else f"and {len(rest)} more hold", "dim"
        )


def _p95_over_time(values: Sequence[float | None], width: int, unicode: bool) -> Iterator[Text]:
    """The newest values of p95 as bars, with the lowest and the highest of them."""
    room = min(_MOST_BARS, width - _LABEL - _RANGE)
    known = [value for value in values[-room:] if value is not None]
    if len(known) < _FEWEST_BARS:
        return
    line = _label("  p95")
    if unicode:
        line.append(f"{sparkline(values, room)}  ", "cyan")
    line.append(f"{milliseconds(min(known))} to {milliseconds(max(known))}")
    yield line


def _label(label: str) -> Text:
    # Appended, because the style of a whole text also lies under what is appended later.
    return Text(no_wrap=True).append(f"{label:<{_LABEL}} ", "dim")


def _line(label: str, words: str, style: str = "") -> Text:
    line = _label(label)
    line.append(words, style)
    return line


def _wrapped(label: str, words: str, style: str, width: int) -> Iterator[Text]:
    """The words in as many lines as they need."""
    for place, part in enumerate(textwrap.wrap(words, max(20, width - _LABEL - 1)) or [""]):
        yield _line(label if place == 0 else "", part, style)


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
        "response": _times_document(moment.updates),
        "run_response": _times_document(moment.run_times),
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


def _times_document(times: Times) -> dict[str, float | int | None]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return {
        "samples": times.samples,
        "p50_ms": rounded(times.p50_ms),
        "p95_ms": rounded(times.p95_ms),
        "p99_ms": rounded(times.p99_ms),
        "max_ms": rounded(times.max_ms),
    }


_WAITING = 300
"""Maximum number of queued texts: five minutes at one a second."""
_LAST_S = 2.0


class Unread(Exception):
    """An error for output that nobody reads any more, or that is read far too slowly.

    It is not an OSError on purpose: rich ends the process on a BrokenPipeError.
    """


class BackgroundWriter:
    """A text stream with the methods needed for writing; a full pipe or a stopped terminal delays nobody."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._texts: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._write, name="background-writer", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """True if the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor of the stream; raises OSError if it has none."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Queue the text for writing; raises `Unread` if an earlier write failed, or too much is queued."""
        if self._failed:
            raise Unread
        try:
            self._texts.put_nowait(text)
        except queue.Full:
            self._failed = True
            raise Unread from None
        return len(text)

    def flush(self) -> None:
        """Does nothing: each text is flushed when it is written."""

    def close(self) -> None:
        """Wait for queued text, two seconds at most; the stream stays open."""
        try:
            self._texts.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_LAST_S)

    def _write(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # a closed pipe, a closed stream, a character that it cannot encode
                self._failed = True
                return


@contextmanager
def background(stream: IO[str]) -> Iterator[BackgroundWriter]:
    """A writer to the stream, closed at the end."""
    writer = BackgroundWriter(stream)
    try:
        yield writer
    finally:
        writer.close()


EVERY_S = 5.0
"""Seconds between two plain lines."""


@contextmanager
def live_view(
    wanted: bool = True,
    json_lines: bool = False,
    console: Console | None = None,
    stdout: IO[str] | None = None,
    thresholds: Sequence[Threshold] = (),
) -> Iterator[Watcher]:
    """The watcher that displays the seconds of one run, with the state of the thresholds of its plan.

    ``json_lines`` writes one JSON object per second on standard output, and nothing else is shown. Otherwise standard
    error shows the picture if it is a terminal that can redraw lines, or else a line every five seconds.
    """
    shown = console or Console(sys.stderr)
    if json_lines:
        with background(stdout or sys.stdout) as out:
            yield _Guarded(_json_lines(out), thresholds)
    elif not wanted:
        yield lambda second: None
    elif shown.is_terminal and not shown.is_dumb_terminal:
        with _redrawn(shown) as show:
            yield _Guarded(show, thresholds)
    else:
        with background(shown.file) as out:
            yield _Guarded(_plain_lines(out), thresholds)


class _Guarded:
    """A watcher that sums the updates and shows them until showing fails."""

    def __init__(self, show: Callable[[Moment], None], thresholds: Sequence[Threshold]) -> None:
        self._show, self._failed, self._live = show, False, Live(thresholds)

    def __call__(self, second: Second) -> None:
        if self._failed:
            return
        try:
            self._show(self._live.take(second))
        except Exception:  # whatever it is, the load test is worth more than its picture
            self._failed = True


@contextmanager
def _redrawn(console: Console) -> Iterator[Callable[[Moment], None]]:
    """The redrawn picture, without a thread of its own, which would take CPU time from the run at arbitrary moments."""
    stream = console.file
    with background(stream) as writer:
        console.file = cast(IO[str], writer)
        drawn = live(console)

        def show(moment: Moment) -> None:
            drawn.update(picture(moment, console.width, not console.options.ascii_only), refresh=True)

        try:
            drawn.start()
            yield show
        finally:
            with suppress(Unread):
                drawn.stop()
            console.file = stream


def _plain_lines(out: BackgroundWriter) -> Callable[[Moment], None]:
    """A line every five seconds, and each note and each threshold that breaks once, when it does.

    Between levels all notes come again.
    """
    next_s, said = EVERY_S, {""}
    broken: set[int] = set()

    def show(moment: Moment) -> None:
        nonlocal next_s
        for place, one in enumerate(moment.thresholds):
            if not one.passed and place not in broken:
                broken.add(place)
                out.write(f"{moment.at_s:6.0f} s  threshold BROKEN: {threshold_words(one)}\n")
        if moment.note not in said:
            said.add(moment.note)
            out.write(f"{moment.at_s:6.0f} s  {moment.note}\n")
        if moment.at_s + 0.5 >= next_s:
            next_s = (moment.at_s + 0.5) // EVERY_S * EVERY_S + EVERY_S
            out.write(f"{plain_line(moment)}\n")

    return show


def _json_lines(out: BackgroundWriter) -> Callable[[Moment], None]:
    def show(moment: Moment) -> None:
        out.write(f"{json_line(moment)}\n")

    return show
