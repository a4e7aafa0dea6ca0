"""The data model of every report, independent of its subject and output: verdict, sections, tables, charts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class Level(StrEnum):
    """Verdict of a report or of one of its rows."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"
    """Too little data for a verdict."""


class Kind(StrEnum):
    """Kind of a column's values, which decides how they are formatted."""

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


class Insufficient(Struct, frozen=True):
    """Placeholder for a value that would be a guess from too few samples."""

    samples: int
    wanted: int
    """The smallest number of samples that is enough."""


class ObjectiveRatio(float):
    """A ratio with its objective: rounding never shows it on the other side of the objective."""

    objective_ratio: float | None

    def __new__(cls, ratio: float, objective_ratio: float | None) -> ObjectiveRatio:
        """The ratio, with its objective or None."""
        one = super().__new__(cls, ratio)
        one.objective_ratio = objective_ratio
        return one


class Column(Struct, frozen=True):
    """A column of a table."""

    name: str
    """For machines: with its unit, as in ``p95_ms``."""
    label: str
    """For people."""
    kind: Kind = Kind.TEXT
    unit: str = ""
    """For people, if the kind does not imply it: ms, %, per hour."""
    words: str = ""
    """Its meaning and calculation, in a sentence."""
    wide: bool = False
    """True if its texts are long, and should not be wrapped in a narrow column."""
    is_reason: bool = False
    """True for a reason or a list that a narrow terminal has on a line of its own below its row."""
    rank: int = 0
    """On a terminal that is too narrow, columns of a higher rank are left out first; of equal ones, the last."""


class Table(Struct, frozen=True):
    """Rows with their columns. A value is None if there is none, Insufficient if there are too few samples."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


class Shape(StrEnum):
    """Shape of a chart's lines."""

    LINES = "lines"
    BARS = "bars"
    """A bar for each x and line, side by side."""
    STACK = "stack"
    """Stacked areas, such as the share of each state."""
    BAND = "band"
    """The first line, with the area between the second and the third behind it."""
    POINTS = "points"
    STATES = "states"
    """A row of small cells per line; the values are ratios 0 to 1, None if unknown."""
    STEPS = "steps"
    """Lines that hold each value over its whole slot, or up to the next x."""
    HEAT = "heat"
    """A row of cells per line, from the bottom up between the chart's ``edges``; the values are counts."""


class Scale(StrEnum):
    """Scale of a numeric x axis."""

    LINEAR = "linear"
    LOG = "log"
    TAIL = "tail"
    """Ratios p at equal distances of log(1 / (1 - p)): 0.9, 0.99 and 0.999 are equally spaced."""
    CLOCK = "clock"
    """Starts of slots, in seconds from a start time, labelled as minutes and seconds."""


class Look(StrEnum):
    """Look of a span of the x axis."""

    PLAIN = "plain"
    """A line at its beginning, and its name."""
    SHADED = "shaded"
    HATCHED = "hatched"
    """Marks a span whose values are not to be trusted."""


class Line(Struct, frozen=True):
    """A named row of values; None leaves a gap."""

    label: str
    values: Sequence[float | None]
    said: str = ""
    """Text at the end of a row of STATES, such as the overall availability."""
    dashed: bool = False
    """True for a dashed line, so that an equal line behind it stays visible."""
    steps: bool = False
    """True for a line that holds each value up to the next x, such as a level."""


class Mark(Struct, frozen=True):
    """An event at a place on the x axis."""

    x: float
    label: str


class Span(Struct, frozen=True):
    """A highlighted part of the x axis."""

    from_x: float
    until_x: float
    label: str
    look: Look = Look.PLAIN


class Chart(Struct, frozen=True):
    """A chart of numbers; the same numbers are in the table of its section or in its own."""

    title: str
    shape: Shape
    x: Sequence[Any]
    """Unix milliseconds if ``x_is_time``, else words, or numbers."""
    lines: Sequence[Line]
    unit: str = ""
    x_is_time: bool = True
    marks: Sequence[Mark] = ()
    threshold: float | None = None
    """A horizontal line at this level, such as an objective."""
    log: bool = False
    """True for a logarithmic y axis."""
    scale: Scale = Scale.LINEAR
    """Scale of a numeric x axis."""
    x_label: str = ""
    """Meaning of the numbers on the x axis."""
    spans: Sequence[Span] = ()
    """Only on a numeric x axis."""
    edges: Sequence[float] = ()
    """For HEAT: the edges of the rows on the y axis, one more than there are lines."""

    @property
    def x_is_number(self) -> bool:
        """True for a numeric x axis."""
        return not self.x_is_time and all(isinstance(one, int | float) for one in self.x)


class Section(Struct, frozen=True):
    """One question and its answer."""

    name: str
    """For machines, unique in the report."""
    title: str
    table: Table | None = None
    text: str = ""
    """Its calculation and meaning, in a sentence or two."""
    charts: Sequence[Chart] = ()
    """Rows of STATES that are named like the rows of the table are drawn in it, as a column."""
    open: bool = False
    """True for a section that a page shows unfolded; the first one always is."""
    page_table: Table | None = None
    """The table that a page shows instead, with the whole one folded below it; without rows only that one."""
    page_note: str = ""
    """How the page's table comes from the whole one, before the latter."""


class KeyNumber(Struct, frozen=True):
    """One of the numbers that answer first, at the top of a page."""

    label: str
    value: str
    note: str = ""
    """What it is of, or which server it is, in a few words."""
    level: Level | None = None
    """None for a number that is neither good nor bad."""


class Report(Struct, frozen=True):
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
    """Number of servers covered."""
    selection: str = ""
    """Selection of the servers; empty for all."""
    facts: Sequence[tuple[str, str]] = ()
    """Further facts as names and values: objective, slot width, samples."""
    notes: Sequence[str] = field(default_factory=tuple)
    """Caveats for the reader: what was left out, and why."""
    numbers: Sequence[KeyNumber] = ()
    """The numbers at the top of a page, which shows ``facts`` in their place where there are none."""
    lead: Sequence[Chart] = ()
    """Charts of the sections that a page draws at its top, and not in their sections again."""
    headline: str = ""
    """Text before the verdict on a page, if the word of the level says too little."""
    until_now: bool = True
    """True if the period ends at the moment the report is made."""
