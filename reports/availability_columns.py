"""The columns of the availability report, each with its words."""

from __future__ import annotations

from reports.burning import LENGTHS_MS, label
from reports.report import Column, Kind

_SERVER = Column("server", "server")
_MEASURED = (
    Column("availability_ratio", "availability", Kind.RATIO, words="Up share of the known time."),
    Column("objective_ratio", "objective", Kind.RATIO, words="Of the server, or given with --objective."),
    Column(
        "budget_left_ratio",
        "budget left",
        Kind.RATIO,
        words="What is left of the allowed downtime; below 0 the objective is missed.",
    ),
    Column("budget_left_min", "left", Kind.NUMBER, "min", "What is left of it, in minutes of downtime."),
    Column("unhealthy_ms", "down", Kind.DURATION, words="Time in the state unhealthy."),
    Column("unknown_ms", "unknown", Kind.DURATION, words="Time in which nothing is known; not counted."),
    Column("maintenance_ms", "maint.", Kind.DURATION, words="Time under maintenance; not counted."),
    Column("coverage_ratio", "coverage", Kind.RATIO, words="Known share of the time since the server's first check."),
)
_INCIDENTS = Column("incidents", "incidents", Kind.COUNT, words="That began in the period.")
_REASONS = Column("reasons", "reasons", Kind.LIST, words="Of its incidents, those with the most downtime.")

SERVERS = (
    _SERVER,
    Column("group", "group"),
    *_MEASURED,
    Column("alert", "alert", words="page or ticket, where a burn rule fires now."),
    _INCIDENTS,
    _REASONS,
)
GROUPS = (
    Column("group", "group"),
    Column("servers", "servers", Kind.COUNT),
    *_MEASURED,
    _INCIDENTS,
    _REASONS,
)
CHECKS = (
    _SERVER,
    Column("good_ratio", "good checks", Kind.RATIO, words="Healthy or degraded, of those that could tell."),
    Column("good_low_ratio", "at least", Kind.RATIO, words="Lower end of its 95% interval, from incidents."),
    Column("good_high_ratio", "at most", Kind.RATIO, words="Upper end of it."),
    Column("healthy", "healthy", Kind.COUNT),
    Column("degraded", "degraded", Kind.COUNT),
    Column("unhealthy", "unhealthy", Kind.COUNT),
    Column("unknown", "unknown", Kind.COUNT),
    Column("maintenance", "maintenance", Kind.COUNT),
    Column("suspect", "suspect", Kind.COUNT, words="Taken by a worker that was late; its time is unknown time."),
    Column("healthy_ms", "time healthy", Kind.DURATION),
    Column("degraded_ms", "time degraded", Kind.DURATION),
)
BURNS = (
    _SERVER,
    Column("alert", "alert", words="page or ticket, where a rule fires."),
    Column("interval_ms", "every", Kind.DURATION, words="How far apart its checks are, typically."),
    *(Column(f"burn_{label(length)}", f"burn {label(length)}", Kind.NUMBER) for length in LENGTHS_MS),
)
REPAIRS = (
    _SERVER,
    _INCIDENTS,
    Column("unresolved", "open", Kind.COUNT, words="Incidents that are going on."),
    Column("mttr_ms", "MTTR", Kind.DURATION, words="Mean time to repair: mean length of the repaired incidents."),
    Column("mtbf_ms", "MTBF", Kind.DURATION, words="Mean time between failures: up time for each incident."),
    Column("longest_ms", "longest", Kind.DURATION, words="Longest incident that touches the period."),
)
REMARKS = (
    _SERVER,
    Column("kind", "kind"),
    Column("remark", "remark"),
    Column("detail", "detail", wide=True),
    Column("checked_at", "checked", Kind.TIME),
)
