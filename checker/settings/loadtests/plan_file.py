"""From a plan's file to a Plan, in steps: read, fill in, validate, look for contradictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from checker.errors import ConfigError, UsageError
from checker.loadtest.plan import LoadLimits, Model, Output, Plan, Scenario, Stress, Suite, Threshold
from checker.loadtest.planning.plan_validation import plan_faults, threshold_faults, unknown
from checker.loadtest.planning.stages import settled, shorthand, stage_faults
from checker.loadtest.thresholds.grammar import canonical, parsed_metric
from checker.model import Server
from checker.probe_kinds import kinds_in_words
from checker.settings.blocks import ENVIRONMENT_KEYS
from checker.settings.files import Files
from checker.settings.load import load
from checker.settings.loadtests.blocks import (
    AROUND,
    BLOCKS,
    LEVELS,
    SPELLINGS,
    PlanEntry,
    ScenarioEntry,
    ThresholdEntry,
)
from checker.settings.loadtests.legacy import plan_of_block
from checker.settings.loadtests.source import LEFT_OUT, escaped_values, source_of
from checker.settings.other_files import of_client
from checker.settings.overlay import expand, with_environment
from checker.settings.selection import selected_environment
from checker.settings.servers import ServerReader
from checker.settings.validate import Source, unknown_key, validated
from checker.settings.yaml_document import Document, FoundLater, Place, Problem, read


def read_scenarios(values: Any, source: Source) -> dict[str, Scenario]:
    """The scenarios by name, in the order of the file; their faults are added to the problems."""
    if not isinstance(values, Mapping) or not values:
        source.complain((), "write names of scenarios, each with what it does, indented below")
        return {}
    found = {name: _scenario(entry, source.below(name)) for name, entry in values.items()}
    return {name: scenario for name, scenario in found.items() if scenario is not None}


def _scenario(values: Any, source: Source) -> Scenario | None:
    if not isinstance(values, Mapping):
        source.complain((), "not a scenario; write operation: and rate: with duration:, indented below")
        return None
    before = len(source.problems)
    for key in values:
        if key in _K6:
            source.complain((key,), f"k6's word; here it is {_K6[key]}")
    entry = validated(ScenarioEntry, {key: value for key, value in values.items() if key not in _K6}, source)
    if entry is None:
        return None
    level = _level(entry, values, source)
    for keys, text in stage_faults(entry.stages):
        source.complain(("stages", *keys), text)
    if len(source.problems) > before:
        return None
    same = {name: getattr(entry, name) for name in Scenario.__struct_fields__}
    if level is None:
        return Scenario(**{**same, "stages": settled(entry.stages)})
    around = {name: getattr(entry, name) for name in AROUND}
    model = Model.CLOSED if entry.users is not None else Model.OPEN
    return Scenario(**{**same, "model": model, "stages": shorthand(level, **around)})


_K6 = {
    "executor": "rate:, users: or stages: with model:",
    "vus": "users:",
    "startTime": "start_after:",
    "startRate": "a first stage of kind: warm_up",
    "startVUs": "a first stage of kind: warm_up",
    "timeUnit": "left out: rates are per second",
    "preAllocatedVUs": "max_in_flight:",
    "maxVUs": "max_in_flight:",
    "gracefulStop": "timeout:, for which late answers are waited for",
}
"""An option of a scenario in k6 -> the option here."""


def _level(entry: ScenarioEntry, values: Mapping[str, Any], source: Source) -> float | None:
    """The level that is held, None for one in stages; adds problems for options that contradict each other."""
    given = [key for key in LEVELS if getattr(entry, key) is not None]
    if entry.stages:
        for key in (*LEVELS, *AROUND):
            if values.get(key) is not None:
                source.complain((key,), "cannot be combined with stages:, which say the same; keep one of them")
        return None
    if not given:
        source.complain((), "no load; add rate: or users: with duration:, or stages:")
        return None
    if len(given) > 1:
        source.complain(("users",), "cannot be combined with rate:; a load is either a rate (open) or users (closed)")
        return None
    if not entry.duration:
        source.complain(("duration",), "missing; add how long the level is measured, such as 30s")
    model = Model.OPEN if entry.rate is not None else Model.CLOSED
    if "model" in values and entry.model is not model:
        source.complain(("model",), f"{given[0]}: makes it {model}; remove one of them")
    if entry.users is not None:
        return float(entry.users)
    return entry.rate


def read_thresholds(values: Any, source: Source) -> list[tuple[Threshold, Place]]:
    """The thresholds and the position of each below the block; faults are added to the problems."""
    if values is None:
        return []
    if not isinstance(values, Mapping):
        source.complain((), "write metrics with lists of conditions, such as response_time: [p(95)<500]")
        return []
    found: list[tuple[Threshold, Place]] = []
    for metric, conditions in values.items():
        try:
            parsed_metric(metric)
        except ValueError as error:
            source.complain((metric,), str(error))
            continue
        for place, entry in _entries(conditions, source, (metric,)):
            threshold = _threshold(metric, entry, source.below(*place))
            found += [(threshold, place)] if threshold is not None else []
    return found


def _entries(conditions: Any, source: Source, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(conditions, str | Mapping):
        yield place, conditions
    elif isinstance(conditions, list) and conditions:
        yield from (((*place, index), entry) for index, entry in enumerate(conditions))
    else:
        source.complain(place, "write a list of conditions, such as [p(95)<500]")


def _threshold(metric: str, entry: Any, source: Source) -> Threshold | None:
    given = {"expression": entry} if isinstance(entry, str) else entry
    if not isinstance(given, Mapping):
        source.complain((), "not a condition; write one such as p(95)<500, or expression: and over:, indented below")
        return None
    given = dict(given)
    for theirs, ours in SPELLINGS.items():
        if theirs in given and ours in given:
            source.complain((theirs,), f"{ours} is set as well; keep one of them")
            del given[theirs]
        elif theirs in given:
            given[ours] = given.pop(theirs)
    before = len(source.problems)
    spelled = validated(ThresholdEntry, given, source)
    if spelled is None or len(source.problems) > before:
        return None
    threshold = Threshold(
        metric=metric,
        expression=spelled.expression.strip(),
        over=spelled.over,
        abort=spelled.abort,
        delay=spelled.delay,
    )
    try:
        return canonical(threshold)
    except ValueError as error:
        source.complain((), str(error))
        return None


Block = TypeVar("Block")
_PLAYED = ("scenarios", "suite", "stress")
_ORIGINAL = "benchmarking"
_FROM_COMMAND_LINE = ("public_hosts", "allow_public")


@dataclass(frozen=True, slots=True)
class Listed:
    """Servers, and their entries as written, in the same order."""

    servers: tuple[Server, ...]
    entries: Sequence[Any]


def load_plan(
    path: str | Path,
    environment: str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    scenarios: Sequence[str] = (),
    suite: bool = False,
) -> Plan:
    """The plan in a file: one of our own, or a legacy configuration with a ``benchmarking`` block.

    ``environment`` selects one of the environments of the configuration with the servers (None: MCP_STATUS_ENV),
    ``scenarios`` the scenarios to play, by default all of the plan's. ``suite`` selects the suite. Raises ConfigError,
    which lists the faults and their remedies, and UsageError for a choice that the file does not have.
    """
    document = read(Path(path))
    if said := of_client(document.values, str(path)):
        raise ConfigError(said)
    if not any(key in document.values for key in _PLAYED) and _has_block(document, environment, environ):
        return _of_configuration(Path(path), environment, environ, scenarios, suite)
    reader = _PlanReader(_chosen(document, scenarios, suite), environ)
    return reader.plan(lambda: reader.listed(environment))


def stored_plan(source: Mapping[str, Any], environ: Mapping[str, str] = os.environ, name: str = "stored plan") -> Plan:
    """The plan of a stored run, from `Plan.source`; it has a warning if options were not stored.

    ``name`` stands in messages in place of a file name. Raises ConfigError, such as for variables that are not set.
    """
    values = {key: value for key, value in source.items() if key != LEFT_OUT}
    reader = _PlanReader(Document(Path(name), values, {}), environ)
    left_out = ", ".join(map(str, source.get(LEFT_OUT, ())))
    said = (f"run without what is not stored: {left_out}",) if left_out else ()
    return reader.plan(lambda: reader.listed(None), said, stored=source)


def plan_of_values(values: Mapping[str, Any], servers: Sequence[Server], name: str) -> Plan:
    """The plan in plain values of a program: the keys of a file but for its servers, in which ``$`` is text.

    Raises ConfigError, in which ``name`` stands in place of a file name.
    """
    document = Document(Path(name), {key: escaped_values(value) for key, value in values.items()}, {})
    return _PlanReader(document, {}).plan(lambda: Listed(tuple(servers), ()))


def _has_block(document: Document, environment: str | None, environ: Mapping[str, str]) -> bool:
    if _ORIGINAL in document.values:
        return True
    selected = selected_environment(environment, environ)[0]
    environments = document.values.get("environments")
    differing = environments.get(selected) if isinstance(environments, Mapping) else None
    return isinstance(differing, Mapping) and _ORIGINAL in differing


def _of_configuration(
    path: Path, environment: str | None, environ: Mapping[str, str], scenarios: Sequence[str], suite: bool
) -> Plan:
    """The plan in a configuration's ``benchmarking`` block."""
    settings = load(path, environment, environ)
    written = _configuration(path, environment, environ)
    defaults = (written.values.get(_ORIGINAL) or {}).get("defaults") or {}
    repeated = settings.benchmarking.defaults.iterations if "iterations" in defaults else 1
    values, said = plan_of_block(settings.benchmarking, settings.servers, scenarios, suite, repeated)
    lines = FoundLater(
        lambda: {place[1:]: line for place, line in written.lines.items() if place[0] == _ORIGINAL and len(place) > 1}
    )
    listed = Listed(settings.servers, written.values["servers"])
    return _PlanReader(Document(path, values, lines), environ).plan(lambda: listed, said)


def _configuration(path: Path, environment: str | None, environ: Mapping[str, str]) -> Document:
    """A configuration as written, merged with its environment."""
    selected, named_by = selected_environment(environment, environ)
    return with_environment(read(path), selected, ENVIRONMENT_KEYS, named_by)


def _chosen(document: Document, names: Sequence[str], suite: bool) -> Document:
    """The document with only those scenarios and their thresholds; raises UsageError if a scenario is missing."""
    if suite and "suite" not in document.values:
        raise UsageError(f"{document.path} has no suite:; leave out --suite, or add one")
    there = document.values.get("scenarios")
    if not names:
        return document
    if not isinstance(there, Mapping):
        raise UsageError(f"{document.path} has no scenarios: to choose from; leave out --scenario")
    for name in names:
        if name not in there:
            raise UsageError(unknown("scenario", name, list(there)))
    values = {**document.values, "scenarios": {name: there[name] for name in there if name in names}}
    if isinstance(thresholds := values.get("thresholds"), Mapping):
        left_out = set(there) - set(names)
        values["thresholds"] = {key: value for key, value in thresholds.items() if _scenario_of(key) not in left_out}
    return Document(document.path, values, document.lines)


def _scenario_of(metric: str) -> str | None:
    try:
        return parsed_metric(metric)[1].get("scenario")
    except ValueError:  # the reader says what is wrong with it
        return None


class _PlanReader:
    """A reader of one document into a Plan; it collects problems, so that all are shown at once."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document, self._environ = document, environ
        self._problems: list[Problem] = []
        self._whole = Source((), document.values, self._problems)
        self._values = expand(document.values, environ, (), self._problems)

    def plan(
        self, servers: Callable[[], Listed], warnings: Sequence[str] = (), stored: Mapping[str, Any] | None = None
    ) -> Plan:
        """The plan over the servers of ``servers()``; raises ConfigError. ``stored`` is a source to keep unchanged."""
        self._stop_on_problems()
        head = self._head()
        listed = servers()
        name = head.name or self._document.path.stem
        scenarios = self._scenarios()
        suite, stress = self._block("suite", Suite), self._block("stress", Stress)
        limits, output = self._block("limits", LoadLimits), self._block("output", Output)
        thresholds = read_thresholds(self._values.get("thresholds"), self._whole.below("thresholds"))
        self._stop_on_problems()
        plan = Plan(
            name=name,
            servers=listed.servers,
            scenarios=scenarios,
            suite=suite,
            stress=stress,
            thresholds=tuple(threshold for threshold, _ in thresholds),
            limits=limits or LoadLimits(),
            workers=head.workers,
            seed=head.seed,
            calibrate=head.calibrate,
            output=output or Output(),
            source=dict(stored or source_of(self._document.values, name, listed.servers, listed.entries)),
            path=None if stored is not None else str(self._document.path),
            warnings=tuple(warnings),
        )
        self._look_through(plan, thresholds)
        self._stop_on_problems()
        return plan

    def listed(self, environment: str | None) -> Listed:
        """The servers: the plan's own entries, or those of the configuration that it names."""
        given = self._values.get("servers")
        if isinstance(given, str):
            return self._configured(given, environment)
        if environment is not None:
            raise UsageError(f"{self._document.path} lists its servers itself, for every environment; leave it out")
        if not isinstance(given, list) or not given:
            text = f"no servers; list at least one with a name and {kinds_in_words(':')}, or name a configuration file"
            self._whole.complain(("servers",), text)
            return Listed((), ())
        reader = ServerReader(Files(self._document.path.parent))
        reader.read_defaults(self._values.get("defaults") or {}, self._whole.below("defaults"), {})
        servers: dict[str, Server] = {}
        for index, values in enumerate(given):
            source = self._whole.below("servers", index)
            server = reader.server(values, source)
            if server is not None and server.name in servers:
                source.complain(("name",), f'"{server.name}" is used by another server too; names must be unique')
            if server is not None:
                servers[server.name] = server
        return Listed(tuple(servers.values()), self._document.values["servers"])

    def _configured(self, named: str, environment: str | None) -> Listed:
        if self._values.get("defaults") is not None:
            self._whole.complain(("defaults",), "the servers come from a configuration, which has its own; remove it")
        path = self._document.path.parent / Path(named).expanduser()
        if not path.is_file():
            shown = self._whole.shown(("servers",))
            self._whole.complain(("servers",), f"{shown}: no such file; name a configuration, from this file's folder")
            return Listed((), ())
        settings = load(path, environment, self._environ)
        entries = _configuration(path, environment, self._environ).values["servers"]
        return Listed(settings.servers, entries)

    def _head(self) -> PlanEntry:
        known = [*PlanEntry.__struct_fields__, *BLOCKS]
        head: dict[str, Any] = {}
        for key, value in self._values.items():
            if key in _FROM_COMMAND_LINE:
                self._whole.complain((key,), "not from a file: give --allow-public HOST on the command line")
            elif key not in known and key != "$schema" and not key.startswith("x-"):
                self._whole.complain((key,), unknown_key(key, known))
            elif key in known and key not in BLOCKS and value is not None:
                head[key] = value
        return validated(PlanEntry, head, self._whole) or PlanEntry()

    def _scenarios(self) -> dict[str, Scenario]:
        if "scenarios" not in self._values:
            return {}
        return read_scenarios(self._values["scenarios"], self._whole.below("scenarios"))

    def _block(self, name: str, kind: type[Block]) -> Block | None:
        """The options of a block at the top level; None if it is missing or invalid."""
        if name not in self._values:
            return None
        given = self._values[name]
        return validated(kind, {} if given is None else given, self._whole.below(name))

    def _look_through(self, plan: Plan, thresholds: Sequence[tuple[Threshold, Place]]) -> None:
        """Add problems for contradictions between values that are valid on their own."""
        for keys, text in plan_faults(plan):
            self._whole.complain(keys, text)
        for threshold, place in thresholds:
            for keys, text in threshold_faults(plan, threshold):
                self._whole.complain(("thresholds", *place, *keys), text)

    def _stop_on_problems(self) -> None:
        if self._problems:
            raise self._document.refuse(self._problems)
