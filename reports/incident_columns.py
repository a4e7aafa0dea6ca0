"""The columns of the incidents report, each with its words."""

from __future__ import annotations

from reports.report import Column, Kind

_SERVER, _GROUP = Column("server", "server"), Column("group", "group")
_REASON = Column("reason", "reason", words="Of the check that began it.")
_COUNT = Column("incidents", "incidents", Kind.COUNT)

INCIDENTS = (
    _SERVER,
    _GROUP,
    Column("started_at", "start", Kind.TIME),
    Column("ended_at", "end", Kind.TIME, words="Empty where no check has ended it."),
    Column(
        "state",
        "until",
        words="over; now while the server is known to be down; maintenance; retired where it left the configuration; "
        "unknown where no check speaks for it any more.",
    ),
    Column("unknown_since", "unknown since", Kind.TIME, words="Where the server is not known to be down now."),
    Column("duration_ms", "duration", Kind.DURATION, words="As far as it is known, while it has no end."),
    Column("down_ms", "down", Kind.DURATION, words="Of that, known to be down."),
    Column("unknown_ms", "unknown", Kind.DURATION, words="Of that, not known."),
    Column("maintenance_ms", "maint.", Kind.DURATION, words="Of that, under maintenance."),
    _REASON,
    Column(
        "cause_servers", "together", Kind.COUNT, words="How many servers failed by the same fault, this one with it."
    ),
    Column("detail", "detail", words="What the check said that began it, while its raw row is kept."),
)
CAUSES = (
    Column("started_at", "start", Kind.TIME, words="Of the first incident."),
    Column("ended_at", "end", Kind.TIME, words="Of the last one; empty while one has none."),
    Column("servers", "servers", Kind.COUNT),
    _COUNT,
    Column("reasons", "reasons", Kind.LIST, words="The most frequent first."),
    Column("hosts", "hosts", Kind.LIST, words="That several of the servers have in common."),
    Column("names", "names", Kind.LIST, words="The first twenty."),
)
SERVERS = (
    _SERVER,
    _GROUP,
    Column("incidents", "incidents", Kind.COUNT, words="That began in the period."),
    Column("unresolved", "open", Kind.COUNT, words="That no check has ended."),
    Column("down_ms", "down", Kind.DURATION, words="Known to be down, in the period."),
    Column("unknown_ms", "unknown", Kind.DURATION, words="Not known, of the time of its incidents."),
    Column("maintenance_ms", "maint.", Kind.DURATION, words="Under maintenance, of the time of its incidents."),
    Column("mttr_ms", "MTTR", Kind.DURATION, words="Mean time to repair: mean length of the repaired incidents."),
    Column("mtbf_ms", "MTBF", Kind.DURATION, words="Mean time between failures: up time for each incident."),
    Column("longest_ms", "longest", Kind.DURATION),
)
REASONS = (
    _REASON,
    _COUNT,
    Column("servers", "servers", Kind.COUNT),
    Column("down_ms", "down", Kind.DURATION),
    Column("down_ratio", "share", Kind.RATIO, words="Of the downtime of all servers together."),
)
FLAPPING = (
    _SERVER,
    _GROUP,
    Column("flap_ratio", "changes", Kind.RATIO, words="Weighted share of state changes in the newest checks."),
    Column("checks", "checks", Kind.COUNT, words="Checks that it is computed from: 21 or, for a new server, fewer."),
    Column("since", "since", Kind.TIME, words="When the first of them began."),
)
