"""A configuration file into Settings, in steps: read, merge layers, fill in variables, validate, cross-check."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from checker.errors import ConfigError
from checker.limits import Keep, RunOptions, keep_faults
from checker.model import Server
from checker.probe_kinds import KINDS, kinds_in_words
from checker.probes import probe_of
from checker.settings import legacy
from checker.settings.blocks import ENVIRONMENT_KEYS, TOP_KEYS, Settings
from checker.settings.files import Files, with_files
from checker.settings.legacy_options import Benchmarking, PerformanceOptimization
from checker.settings.named_queries import read_queries
from checker.settings.other_files import other_kind
from checker.settings.overlay import FILE_SUFFIX, expand, faults_of_changes, merged, spelled_out, with_environment
from checker.settings.selection import selected_environment
from checker.settings.servers import ServerReader
from checker.settings.validate import Source, unknown_key, validated
from checker.settings.yaml_document import Document, Place, Problem, read

_BLOCKS: dict[str, Any] = {
    "performance_optimization": PerformanceOptimization,
    "benchmarking": Benchmarking,
    "run": RunOptions,
    "history": Keep,
}
_FOLDER = "cwd"


def faults_of_others(document: Document, selected: str | None) -> Iterator[Problem]:
    """Unknown keys and wrong values of the environments that are not selected.

    Values of variables and files are not checked: they may exist only where the environment is used.
    """
    environments = document.values.get("environments")
    for name, above in environments.items() if isinstance(environments, Mapping) else ():
        if name == selected or not isinstance(above, Mapping):
            continue
        for problem in _faults(document.values, ("environments", name), above, Files(document.path.parent)):
            # what the file itself says wrongly is told when the file is read; what is missing here may stand there
            if _stands(document, problem.place):
                yield problem


def _faults(base: Mapping[str, Any], place: Place, above: Mapping[str, Any], files: Files) -> list[Problem]:
    """All problems of the file with this environment merged over it, with places in the environment."""
    problems: list[Problem] = []
    whole = Source(place, above, problems)
    for key, kind in _BLOCKS.items():
        if key in above:
            laid = merged(base.get(key) or {}, above[key] if above[key] is not None else {})
            validated(kind, laid, Source((*place, key), laid, problems))
            pools = laid.get("pools") if key == "run" and isinstance(laid, Mapping) else None
            unknown = (kind for kind in pools or () if kind not in KINDS)
            problems += [Problem((*place, key, "pools", one), unknown_key(one, list(KINDS))) for one in unknown]
    read_queries(above.get("queries"), whole.below("queries"))
    reader, defaults = ServerReader(files), merged(base.get("defaults") or {}, above.get("defaults") or {})
    reader.read_defaults(defaults, Source((*place, "defaults"), defaults, problems), {})
    changes, listed = above.get("servers"), base.get("servers")
    if not isinstance(changes, Mapping) or not isinstance(listed, list):
        return problems
    problems += faults_of_changes(listed, changes, (*place, "servers"))
    entries = {str(one.get("name")): one for one in listed if isinstance(one, Mapping)}
    for name, change in changes.items():
        if name in entries and isinstance(change, Mapping):
            laid = merged(spelled_out(entries[name]), spelled_out(change))
            reader.server(laid, Source((*place, "servers", name), laid, problems))
    return problems


def _stands(document: Document, place: Place) -> bool:
    """True if the faulty value is written literally in the environment itself."""
    if place[-1] == "url" and isinstance(_at(document.values, place[:-1]), str):
        place = place[:-1]  # an address alone
    if place not in document.lines or str(place[-1]).endswith(FILE_SUFFIX) or place[-1] == _FOLDER:
        return False
    value = _at(document.values, place)
    return not (isinstance(value, str) and "$" in value)


def _at(values: Any, place: Place) -> Any:
    for step in place:
        try:
            values = values[step]
        except (LookupError, TypeError):
            return None
    return values


Block = TypeVar("Block")
_MOST_WARNED = 10
_MOST_TOLD = 10
"""A run is stopped by the first fault; `checker.settings.every_fault` is for whoever mends a file."""


def load(
    path: str | Path,
    environment: str | None = None,
    environ: Mapping[str, str] = os.environ,
    files: Files | None = None,
) -> Settings:
    """The settings in a file; raises ConfigError, which lists the faults and their remedies.

    ``environment`` is one of the file's ``environments``; None takes MCP_STATUS_ENV, if it is set. ``files`` records
    the other files that are read; None discards this.
    """
    environment, named_by = selected_environment(environment, environ)
    with _without_collections():
        whole = read(Path(path))
        document = with_environment(whole, environment, ENVIRONMENT_KEYS, named_by)
        if faults := list(faults_of_others(whole, environment)):
            raise whole.refuse(faults, _MOST_TOLD)
        if said := other_kind(document.values, str(path)):
            raise ConfigError(said)
        return SettingsReader(document, environment, environ, files or Files(document.path.parent)).settings()


def load_values(values: Mapping[str, Any], name: str, environment: str | None = None) -> Settings:
    """The settings in plain values of a program: the keys of a file, in which ``$`` is text. Raises ConfigError.

    ``name`` stands in messages in place of a file name; relative paths start at the current folder.
    """
    whole = Document(Path(name), _plain(values), {}, may_refer=False)
    document = with_environment(whole, environment, ENVIRONMENT_KEYS)
    settings = SettingsReader(document, environment, {}, Files(Path.cwd())).settings()
    return replace(settings, path=None)


def _plain(values: Any) -> Any:
    """The values in the forms that a file gives: those of a program may be tuples, or mappings of another kind."""
    if isinstance(values, Mapping):
        return {key: _plain(item) for key, item in values.items()}
    return [_plain(item) for item in values] if isinstance(values, list | tuple) else values


@contextmanager
def _without_collections() -> Iterator[None]:
    """Pause the garbage collector: a large file is a million small objects, which it would scan again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class SettingsReader:
    """One file on its way to Settings; problems are collected, so that all of them are told at once."""

    def __init__(self, document: Document, environment: str | None, environ: Mapping[str, str], files: Files) -> None:
        self._document, self._environment, self._files = document, environment, files
        self._problems: list[Problem] = []
        self._whole = Source((), document.values, self._problems)
        self._values = document.values
        if document.may_refer:
            self._values = expand(document.values, environ, (), self._problems)

    def faults(self) -> list[Problem]:
        """Everything that is wrong with it."""
        self._read()
        return self._problems

    def settings(self) -> Settings:
        """The settings; raises ConfigError."""
        self._stop_on_problems()
        settings = self._read()
        self._stop_on_problems()
        return settings

    def _read(self) -> Settings:
        """The settings, which are of no use if there are problems."""
        for key in self._values:
            if key not in TOP_KEYS and key != "$schema" and not key.startswith("x-"):
                self._whole.complain((key,), unknown_key(key, list(TOP_KEYS)))
        performance = self._block("performance_optimization", PerformanceOptimization)
        benchmarking = self._block("benchmarking", Benchmarking)
        in_file = self._values.get("performance_optimization")
        in_file = in_file if isinstance(in_file, Mapping) else {}
        run = self._run(performance)
        history = self._block("history", Keep, legacy.history_defaults(in_file, performance))
        for key, text in keep_faults(history):
            self._whole.complain(("history", key), text)
        for kind in run.pools:
            if kind not in KINDS:
                self._whole.complain(("run", "pools", kind), unknown_key(kind, list(KINDS)))
        reader = ServerReader(self._files)
        defaults = self._values.get("defaults")
        from_original = legacy.probe_defaults(in_file, performance)
        if isinstance(defaults, Mapping):
            defaults = legacy.defaults_over(defaults, *self._document.layers, performance)
        reader.read_defaults({} if defaults is None else defaults, self._whole.below("defaults"), from_original)
        servers = legacy.of_one_server(performance, self._servers(reader))
        read_queries(self._values.get("queries"), self._whole.below("queries"))
        return Settings(
            servers=servers,
            run=run,
            history=history,
            performance=performance,
            benchmarking=benchmarking,
            path=str(self._document.path),
            environment=self._environment,
            warnings=(*legacy.warnings(in_file, servers), *_warnings(servers)),
        )

    def _block(self, name: str, kind: type[Block], below: Mapping[str, Any] | None = None) -> Block:
        """The options of a top-level block, merged over ``below``; the defaults alone if it is not valid."""
        given = self._values.get(name)
        given = {} if given is None else given
        if isinstance(given, Mapping):
            given = with_files(kind, given, self._whole.below(name), self._files)
        laid = merged(below or {}, given)
        return validated(kind, laid, self._whole.below(name)) or kind()

    def _run(self, performance: PerformanceOptimization) -> RunOptions:
        """The ``run`` block, combined with the legacy blocks in each layer of the file."""
        given = self._values.get("run")
        given = {} if given is None else given
        source = self._whole.below("run")
        if not isinstance(given, Mapping):
            return validated(RunOptions, given, source) or RunOptions()
        given = with_files(RunOptions, given, source, self._files)
        laid = legacy.run_options(*self._document.layers, given, performance)
        return validated(RunOptions, laid, source) or RunOptions()

    def _servers(self, reader: ServerReader) -> tuple[Server, ...]:
        listed = self._values.get("servers")
        if not isinstance(listed, list) or not listed:
            self._whole.complain(("servers",), f"no servers; list at least one with a name and {kinds_in_words(':')}")
            return ()
        servers: dict[str, Server | None] = {}
        for index, values in enumerate(listed):
            server = reader.like_another(values)
            if server is None:
                server = reader.server(values, self._whole.below("servers", index))
            name = server.name if server is not None else _name_of(values)
            if name in servers:
                said = f'"{name}" is used by another server too; names must be unique'
                self._whole.complain(("servers", index, "name"), said)
            if name is not None:
                servers[name] = server
        return tuple(server for server in servers.values() if server is not None)

    def _stop_on_problems(self) -> None:
        if self._problems:
            raise self._document.refuse(self._problems, _MOST_TOLD)


def _name_of(entry: Any) -> str | None:
    """The name that an entry with faults would have."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) else None


def _warnings(servers: Sequence[Server]) -> Iterator[str]:
    """Warnings about odd probe options: a line for each of the first servers, and one for the others."""
    said: dict[str, list[str]] = {}
    for server in servers:
        for kind, options in server.probes.items():
            for warning in probe_of(kind).warnings(options):
                said.setdefault(warning.of_many, []).append(f"{server.name}.{kind}.{warning.key}: {warning.text}")
    for of_many, lines in said.items():
        yield from lines[:_MOST_WARNED]
        if len(lines) > _MOST_WARNED:
            yield f"and {len(lines) - _MOST_WARNED} more servers with {of_many}"
