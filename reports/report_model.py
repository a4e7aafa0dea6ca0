"""What a report is made of, whatever it is about and however it is shown: verdict, sections, tables, charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """Verdict of a report or of one of its rows."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"
    """There is too little to say."""


class Kind(StrEnum):
    """What the values of a column are, which says how they are written."""

    TEXT = "text"
    COUNT = "count"
    NUMBER = "number"
    """A plain number; the unit is in the column."""
    RATIO = "ratio"
    """0 to 1, shown in per cent."""
    TIME = "time"
    """Unix milliseconds, shown in UTC."""
    DURATION = "duration"
    """Milliseconds."""
    STATUS = "status"
    """One of the words of `checker.model.Status`."""
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Insufficient:
    """In the place of a value that too few samples would make a guess of."""

    samples: int
    wanted: int
    """The smallest number of samples that would do."""


class ObjectiveRatio(float):
    """A ratio that is held against an objective: it is never shown rounded to the other side of it."""

    objective_ratio: float | None

    def __new__(cls, ratio: float, objective_ratio: float | None) -> ObjectiveRatio:
        """The ratio, with its objective or None."""
        one = super().__new__(cls, ratio)
        one.objective_ratio = objective_ratio
        return one


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    """For machines: with its unit, as ``p95_ms``."""
    label: str
    """For people."""
    kind: Kind = Kind.TEXT
    unit: str = ""
    """For people, where the kind does not say it: ms, %, per hour."""
    words: str = ""
    """Its meaning and calculation, in a sentence."""
    wide: bool = False
    """Whether its texts are long, and should not be folded into a narrow column."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns. A value is None where there is nothing to say, Insufficient where there is too little."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


class Shape(StrEnum):
    """How a chart draws its lines."""

    LINES = "lines"
    BARS = "bars"
    """A bar for each x and line, side by side."""
    STACK = "stack"
    """Areas one on top of the other, such as the share of each state."""
    BAND = "band"
    """The first line, with the area between the second and the third behind it."""
    POINTS = "points"
    STATES = "states"
    """A row of small cells a line; the values are ratios 0 to 1, None where nothing is known."""
    STEPS = "steps"
    """Lines that hold each value over its whole slot, or up to the next x."""
    HEAT = "heat"
    """A row of cells a line, from the bottom up between the chart's ``edges``; the values are counts."""


class Scale(StrEnum):
    """How an x axis of numbers is laid out."""

    LINEAR = "linear"
    LOG = "log"
    TAIL = "tail"
    """Ratios p at equal distances of log(1 / (1 - p)): 0.9, 0.99 and 0.999 are as far apart as each other."""
    CLOCK = "clock"
    """Starts of slots, in seconds from a beginning, marked as minutes and seconds."""


class Look(StrEnum):
    """How a stretch of the x axis is shown."""

    PLAIN = "plain"
    """By a line at its beginning and its name."""
    SHADED = "shaded"
    HATCHED = "hatched"
    """What lies in it is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Line:
    """A named row of values; None leaves a gap."""

    label: str
    values: Sequence[float | None]
    said: str = ""
    """What stands at the end of a row of STATES, such as the availability over all of it."""
    dashed: bool = False
    """Whether it is dashed, so that an equal line behind it shows through."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a place on the x axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the x axis that is another matter than the rest."""

    from_x: float
    until_x: float
    label: str
    look: Look = Look.PLAIN


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of numbers; the same numbers are in the table of its section or in its own."""

    title: str
    shape: Shape
    x: Sequence[Any]
    """Unix milliseconds where ``x_is_time``, else words, or numbers."""
    lines: Sequence[Line]
    unit: str = ""
    x_is_time: bool = True
    marks: Sequence[Mark] = ()
    threshold: float | None = None
    """A level to draw across, such as an objective."""
    log: bool = False
    """Whether the y axis is logarithmic."""
    scale: Scale = Scale.LINEAR
    """Of an x axis of numbers."""
    x_label: str = ""
    """What numbers on the x axis are."""
    spans: Sequence[Span] = ()
    """On an x axis of numbers."""
    edges: Sequence[float] = ()
    """Of HEAT: the ends of the rows on the y axis, one more than there are lines."""

    @property
    def x_is_number(self) -> bool:
        """Whether the x axis is one of numbers."""
        return not self.x_is_time and all(isinstance(one, int | float) for one in self.x)


@dataclass(frozen=True, slots=True)
class Section:
    """One question and its answer."""

    name: str
    """For machines, unique in the report."""
    title: str
    table: Table | None = None
    text: str = ""
    """Its calculation and meaning, in a sentence or two."""
    charts: Sequence[Chart] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A finished report; the first section is the one that CSV gives."""

    name: str
    title: str
    verdict: str
    """The answer in one sentence."""
    level: Level
    since_ms: int
    until_ms: int
    sections: Sequence[Section]
    servers: int
    """How many servers it is about."""
    selection: str = ""
    """How they were chosen; empty for all."""
    facts: Sequence[tuple[str, str]] = ()
    """What else to know, as words and values: objective, slot width, samples."""
    notes: Sequence[str] = field(default_factory=tuple)
    """What the reader must keep in mind: what was left out, and why."""
    headline: str = ""
    """What stands before the verdict on a page, where the word of the level says too little."""
    until_now: bool = True
    """Whether its time ends with the moment at which it was made."""
