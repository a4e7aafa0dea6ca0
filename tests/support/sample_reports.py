"""Reports of any size that no history is behind: every shape of chart, every kind of column, names that are attacks."""

from __future__ import annotations

import math
from random import Random

from builders import AT_MS
from reports.report_model import Chart, Column, Insufficient, Kind, Level, Line, Mark, Report, Section, Shape, Table

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} $\\frac{1}{2}$ &amp; </style>",
    "x" * 300,
    "\N{RIGHT-TO-LEFT OVERRIDE}evil.example\N{POP DIRECTIONAL FORMATTING} \u05e9\u05dc\u05d5\u05dd",
    "\N{FIRE} \U0001f1e9\U0001f1ea \u6570\u636e\u5e93",
    "null\x00 escape\x1b[31m surrogate\ud800 bell\x07",
    "../../etc/passwd",
    "javascript:alert(1)",
    " leading and trailing ",
)
STATUSES = ("HEALTHY", "HEALTHY", "HEALTHY", "DEGRADED", "UNHEALTHY", "UNKNOWN")


def names(servers: int, *, hostile: bool = True) -> list[str]:
    """As many names, the attacks first."""
    attacks = HOSTILE if hostile else ()
    return [*attacks, *(f"team-{number % 7}-search-{number:04}" for number in range(servers))][:servers]


def times(slots: int, slot_ms: int) -> list[int]:
    return [AT_MS - (slots - place) * slot_ms for place in range(slots)]


def wave(random: Random, slots: int, height: float, gaps: float = 0.06) -> list[float | None]:
    """A daily rhythm with noise and gaps."""
    return [
        None if random.random() < gaps else height * (1.3 + math.sin(place / 3.8) + random.random())
        for place in range(slots)
    ]


def availability(random: Random, slots: int) -> list[float | None]:
    return [
        None if random.random() < 0.02 else 1.0 if random.random() < 0.93 else random.choice((0.995, 0.96, 0.7, 0.0))
        for _ in range(slots)
    ]


def report(servers: int = 30, slots: int = 72, *, hostile: bool = True, seed: int = 7) -> Report:
    """A report with every shape, about so many servers."""
    random = Random(seed)
    listed = names(servers, hostile=hostile)
    hours, days = times(slots, HOUR_MS), times(min(slots, 90), DAY_MS)
    rows = [
        (
            name,
            random.choice(STATUSES),
            Insufficient(3, 30) if number % 9 == 4 else 0.9 + random.random() / 10,
            random.randrange(100_000),
            None if number % 8 == 5 else random.random() * 3000,
            AT_MS - random.randrange(DAY_MS),
            random.random() * 1e6,
            ["prod", "eu"],
            "connect_refused",
        )
        for number, name in enumerate(listed)
    ]
    table = Table(
        (
            Column("server", "Server"),
            Column("status", "Status", Kind.STATUS),
            Column("availability_ratio", "Availability", Kind.RATIO, words="Up over up and down"),
            Column("checks", "Checks", Kind.COUNT),
            Column("p95_ms", "p95", Kind.DURATION),
            Column("last_at", "Last incident", Kind.TIME),
            Column("bytes", "Read", Kind.NUMBER, "bytes"),
            Column("tags", "Tags", Kind.LIST),
            Column("reason", "Reason"),
        ),
        rows,
    )
    lines = [Line(name, wave(random, slots, 20 + 3 * number % 90)) for number, name in enumerate(listed)]
    states = [Line(name, availability(random, len(days)), "99.95%") for name in listed]
    median = wave(random, len(days), 40, 0.05)
    low = [None if value is None else value * 0.6 for value in median]
    high = [None if value is None else value * 2.2 for value in median]
    words = [f"{name}" for name in listed]
    charts = (
        Chart("p95 by hour", Shape.LINES, hours, lines, "ms", threshold=150, marks=[Mark(hours[-1], HOSTILE[0])]),
        Chart(
            "Fleet median", Shape.BAND, days, [Line("p50", median), Line("p10", low), Line("p90", high)], "ms", log=True
        ),
        Chart("Reasons", Shape.STACK, days, [Line(one, wave(random, len(days), 3)) for one in ("slow", "dns", "tls")]),
        Chart("Slowest", Shape.BARS, words, [Line("p95", [2000 / (1 + n) for n in range(servers)])], "ms", False),
        Chart("Incidents by day", Shape.BARS, days, [Line("incidents", [float(n % 4) for n in range(len(days))])]),
        Chart("Samples", Shape.POINTS, hours, lines[:3], "ms", log=True),
        Chart("Nothing", Shape.LINES, hours, [Line("none", [None] * slots)]),
        Chart("Constant", Shape.LINES, hours, [Line("constant", [5.0] * slots)]),
        Chart("Huge", Shape.LINES, hours, [Line("huge", [1e15 * n for n in range(slots)])]),
    )
    return Report(
        name="sample",
        title="Availability",
        verdict=f"3 of {servers} servers miss their objective; the worst is {listed[-1]}",
        level=Level.BAD,
        since_ms=hours[0],
        until_ms=AT_MS,
        sections=(
            Section("servers", "Servers", table, "Time-weighted: up over up and down.", ()),
            Section(
                "days", "Day by day", table, "", [Chart("Availability", Shape.STATES, days, states, threshold=0.99)]
            ),
            Section("latency", "Latency", None, "", charts),
            Section("empty", "Nothing to see", Table((Column("a", "A"),), ())),
        ),
        servers=servers,
        selection="group prod",
        facts=(("Objective", "99.9%"), ("Slots", "an hour"), ("Samples", "123,456")),
        notes=("2 servers are left out: too few checks.", HOSTILE[0]),
    )
