"""Results as rows in the order of their columns: how they cross from a worker, and how they are stored.

A probe has some forty columns, most of them null. A worker sends only what is not null, and rows with the same columns
together, one after the other in one list: then a column is a slice of it, and the parent binds the list as it came,
without an object for each result. Columns follow from the fields of the records and from the registry of stages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, ClassVar, cast

import msgspec
from msgspec.structs import astuple, fields, replace

from checker.model import Batch, CheckResult, McpFacts, ProbeResult, Reason, Status
from checker.probe_kinds import STAGES
from checker.structs import Record

SERVER, POSITION, MCP, REMARKS, URL = "server", "position", "mcp", "remarks", "url"
"""Columns that need a look before they are stored: the name of the server, the place of the probe in its check, that of
its facts in `ResultRows.facts`, its remarks as records, its address."""
FULL_BATCH = 100
"""Checks in a batch that a worker sends without waiting for more."""
_APART = (MCP, "stages_us", "probes")
"""Fields that are no columns of their own."""
_STAGE_COLUMN = {stage: f"{stage}_us" for stage in STAGES}


class Rows(Record, frozen=True):
    """Rows with the same columns, none of whose values is null."""

    columns: tuple[str, ...]
    values: Sequence[Any]
    """Those of the first row, then those of the second, and so on: a list."""

    def __len__(self) -> int:
        return len(self.values) // len(self.columns)

    def column(self, name: str) -> list[Any]:
        """The values of a column; empty if the rows do not have it."""
        if name not in self.columns:
            return []
        return cast("list[Any]", self.values[self.columns.index(name) :: len(self.columns)])

    def change(self, name: str, change: Callable[[Any], Any]) -> None:
        """Put another value in each place of a column; does nothing if the rows do not have it."""
        if name in self.columns:
            place, width = self.columns.index(name), len(self.columns)
            values = cast("list[Any]", self.values)
            values[place::width] = map(change, values[place::width])

    def each(self) -> Iterator[dict[str, Any]]:
        """Every row: column -> value."""
        width = len(self.columns)
        for start in range(0, len(self.values), width):
            yield dict(zip(self.columns, self.values[start : start + width], strict=True))


class ResultRows(Record, frozen=True):
    """The rows of some checks and of their probes; iterating over it builds the records."""

    checks: tuple[Rows, ...] = ()
    probes: tuple[Rows, ...] = ()
    facts: tuple[McpFacts, ...] = ()
    """What `Rows` of probes name by its place here."""

    def __len__(self) -> int:
        return sum(map(len, self.checks))

    def __iter__(self) -> Iterator[CheckResult]:
        return self.of_servers(self.of_checks(SERVER))

    def of_servers(self, names: Iterable[str]) -> Iterator[CheckResult]:
        """The records of these servers alone."""
        probes: dict[str, dict[int, ProbeResult]] = {name: {} for name in names}
        for rows in self.probes:
            for row in rows.each():
                if (known := probes.get(row[SERVER])) is not None:
                    known.setdefault(row[POSITION], _probe(row, self.facts))
        for rows in self.checks:
            for row in rows.each():
                if (known := probes.get(row[SERVER])) is not None:
                    yield _check(row, tuple(known[place] for place in sorted(known)))

    def __getitem__(self, place: int) -> CheckResult:
        return tuple(self)[place]

    def of_checks(self, name: str) -> list[Any]:
        """A column of all checks that is never null, in their order."""
        return [value for rows in self.checks for value in rows.column(name)]

    def of_probes(self, name: str) -> set[Any]:
        """The different values of a column of probes."""
        return {value for rows in self.probes for value in rows.column(name)}

    def copy(self) -> ResultRows:
        """The same rows, of which each may be changed."""
        checks = tuple([Rows(rows.columns, list(rows.values)) for rows in self.checks])
        return ResultRows(checks, tuple([Rows(rows.columns, list(rows.values)) for rows in self.probes]), self.facts)


class RowBatch(Batch, frozen=True, kw_only=True, tag=True):
    """A batch as workers send it: its checks are rows."""

    checks: ResultRows = ResultRows()  # type: ignore[assignment] # the same records, made when somebody asks for them


class UsualResult(msgspec.Struct, gc=False):
    """A HEALTHY check of one probe that has nothing to tell but this; a worker makes most of its rows from these.

    ``record`` is the check in full.
    """

    kind: str
    url: str
    started_at_ms: int
    duration_us: int
    stages_us: dict[str, int]
    http_status: int
    received_bytes: int
    connections_opened: int
    reused: bool | None
    server: str = ""
    tries: int = 1
    suspect: bool = False
    status: ClassVar[Status] = Status.HEALTHY
    reason: ClassVar[Reason | None] = None
    detail: ClassVar[str | None] = None

    @property
    def probe(self) -> ProbeResult:
        """The result of the probe."""
        return ProbeResult(
            kind=self.kind,
            status=Status.HEALTHY,
            score=1.0,
            url=self.url,
            started_at_ms=self.started_at_ms,
            duration_us=self.duration_us,
            stages_us=self.stages_us,
            http_status=self.http_status,
            received_bytes=self.received_bytes,
            connections_opened=self.connections_opened,
            reused=self.reused,
        )

    @property
    def record(self) -> CheckResult:
        """The check."""
        return CheckResult(
            server=self.server,
            status=Status.HEALTHY,
            score=1.0,
            started_at_ms=self.started_at_ms,
            duration_us=self.duration_us,
            tries=self.tries,
            suspect=self.suspect,
            probes=(self.probe,),
        )


_USUAL_CHECK = (SERVER, "status", "started_at_ms", "duration_us", "score", "tries", "suspect", "maintenance")
_USUAL_PROBE = (
    *(SERVER, POSITION, "kind", "status", "started_at_ms", "duration_us", "score", URL, "attempts"),
    *("http_status", "received_bytes", "connections_opened", "reused"),
)
"""The columns of a `UsualResult`, in the order in which `rows_of` writes them."""


class _Form:
    """The columns of rows that leave out the same fields, and a quick test if a record has this form.

    Building a list of what is null in a record takes three times as long as to see that it is as it was the last time.
    """

    __slots__ = ("columns", "given", "has_remarks", "is_null", "left_out", "nullable")

    def __init__(self, kind: type[Record], is_there: Sequence[bool], stages: Sequence[str]) -> None:
        names = kind.__struct_fields__
        told = [at for at, name in enumerate(names) if is_there[at] and name not in _APART]
        optional = {field.name for field in fields(kind) if field.default is None}
        left_out = [at for at, name in enumerate(names) if not is_there[at] and name not in ("stages_us", "probes")]
        self.given = _picked(told)
        """A record as a tuple -> what of it is in a row."""
        self.left_out = _picked(left_out)
        self.is_null = tuple(() if names[at] == REMARKS else None for at in left_out)
        self.nullable = _picked([at for at, name in enumerate(names) if is_there[at] and name in optional])
        """What could be null, but is not."""
        self.has_remarks = any(is_there[at] and name == REMARKS for at, name in enumerate(names))
        """What has none is never null, but empty."""
        self.columns = (
            *((SERVER, POSITION) if kind is ProbeResult else ()),
            *(names[at] for at in told),
            *(_STAGE_COLUMN[stage] for stage in stages),
            *((MCP,) if kind is ProbeResult and is_there[names.index(MCP)] else ()),
        )


def _picked(places: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A function that picks these places of a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[at] for at in places)


_FORMS: dict[tuple[Any, ...], _Form] = {}
"""What is in a record -> its form."""
_LAST: dict[tuple[str, ...] | None, _Form] = {}
"""The stages of a probe -> the form of the last probe that had these; None -> that of the last check."""


def _form(record: Record, values: tuple[Any, ...], stages: tuple[str, ...]) -> _Form:
    is_there = tuple(value is not None and value != () for value in values)
    key = (type(record), is_there, stages)
    if (form := _FORMS.get(key)) is None:
        form = _FORMS[key] = _Form(type(record), is_there, stages)
    return form


@cache
def _usual_forms(stages: tuple[str, ...], is_reuse_known: bool) -> tuple[_Form, _Form] | None:
    """The forms of a usual check and its probe; None if their columns are others than those written without a look."""
    reused = True if is_reuse_known else None
    record = UsualResult("", "", 0, 0, dict.fromkeys(stages, 0), 200, 0, 0, reused).record
    of_check, of_probe = _form(record, astuple(record), ()), _form(record.probes[0], astuple(record.probes[0]), stages)
    expected = _USUAL_CHECK, (*_USUAL_PROBE, *(_STAGE_COLUMN[stage] for stage in stages))
    return (of_check, of_probe) if (of_check.columns, of_probe.columns) == expected else None


def rows_of(checks: Iterable[CheckResult | UsualResult]) -> ResultRows:
    """The rows of these checks."""
    of_checks: dict[_Form, list[Any]] = {}
    of_probes: dict[_Form, list[Any]] = {}
    facts: dict[McpFacts, int] = {}
    for one in checks:
        if isinstance(one, UsualResult):
            stages_us = one.stages_us
            if (forms := _usual_forms(tuple(stages_us), one.reused is not None)) is not None:
                if (into := of_checks.get(forms[0])) is None:
                    into = of_checks[forms[0]] = []
                at_ms, took_us = one.started_at_ms, one.duration_us
                into += (one.server, Status.HEALTHY, at_ms, took_us, 1.0, one.tries, one.suspect, False)
                if (into := of_probes.get(forms[1])) is None:
                    into = of_probes[forms[1]] = []
                into += (one.server, 0, one.kind, Status.HEALTHY, at_ms, took_us, 1.0, one.url, 1)
                into += (one.http_status, one.received_bytes, one.connections_opened, one.reused, *stages_us.values())
                continue
        check = one.record if isinstance(one, UsualResult) else one
        values = astuple(check)
        form = _LAST.get(None)
        if form is None or form.left_out(values) != form.is_null or None in form.nullable(values):
            form = _LAST[None] = _form(check, values, ())
        if (into := of_checks.get(form)) is None:
            into = of_checks[form] = []
        into += form.given(values)
        for position, probe in enumerate(check.probes):
            values, spent_us = astuple(probe), probe.stages_us
            stages = tuple(spent_us)
            form = _LAST.get(stages)
            if (
                form is None
                or form.left_out(values) != form.is_null
                or None in form.nullable(values)
                or (form.has_remarks and not probe.remarks)
            ):
                form = _LAST[stages] = _form(probe, values, stages)
            if (into := of_probes.get(form)) is None:
                into = of_probes[form] = []
            into += (check.server, position, *form.given(values), *spent_us.values())
            if probe.mcp is not None:
                into.append(facts.setdefault(probe.mcp, len(facts)))
    return ResultRows(
        tuple([Rows(form.columns, values) for form, values in of_checks.items()]),
        tuple([Rows(form.columns, values) for form, values in of_probes.items()]),
        tuple(facts),
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch with everything that is in these."""
    if len(batches) == 1:
        return batches[0]
    return RowBatch(
        checks=_joined([as_rows(batch.checks) for batch in batches]),
        cache_entries=tuple(entry for batch in batches for entry in batch.cache_entries),
        contracts=tuple({one.digest: one for batch in batches for one in batch.contracts}.values()),
        doubts=tuple(doubt for batch in batches for doubt in batch.doubts),
        reached_s=tuple(second for batch in batches for second in batch.reached_s),
    )


def as_rows(checks: ResultRows | Iterable[CheckResult]) -> ResultRows:
    """The same checks as rows."""
    return checks if isinstance(checks, ResultRows) else rows_of(checks)


def records_of(checks: ResultRows | Sequence[CheckResult], names: Collection[str]) -> Iterable[CheckResult]:
    """The records of these servers alone."""
    if isinstance(checks, ResultRows):
        return checks.of_servers(names)
    return [check for check in checks if check.server in names]


def _joined(parts: Sequence[ResultRows]) -> ResultRows:
    of_checks: dict[tuple[str, ...], list[Any]] = {}
    of_probes: dict[tuple[str, ...], list[Any]] = {}
    facts: list[McpFacts] = []
    for part in parts:
        for rows in part.checks:
            of_checks.setdefault(rows.columns, []).extend(rows.values)
        for rows in part.probes:
            if facts:
                rows.change(MCP, len(facts).__add__)
            of_probes.setdefault(rows.columns, []).extend(rows.values)
        facts += part.facts
    return ResultRows(
        tuple(Rows(columns, values) for columns, values in of_checks.items()),
        tuple(Rows(columns, values) for columns, values in of_probes.items()),
        tuple(facts),
    )


def _check(row: Mapping[str, Any], probes: tuple[ProbeResult, ...]) -> CheckResult:
    known = msgspec.convert(
        [row.get(name) if name != "probes" else () for name in CheckResult.__struct_fields__], CheckResult
    )
    return replace(known, probes=probes)


def _probe(row: Mapping[str, Any], facts: Sequence[McpFacts]) -> ProbeResult:
    made = {**row, "stages_us": {stage: row[column] for stage, column in _STAGE_COLUMN.items() if column in row}}
    made[MCP] = facts[row[MCP]] if MCP in row else None
    made.setdefault(REMARKS, ())
    return msgspec.convert([made.get(name) for name in ProbeResult.__struct_fields__], ProbeResult)
