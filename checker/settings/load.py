"""A configuration file into Settings, in steps: read, lay over, fill in, validate, and look for contradictions."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from checker.kinds import KINDS, kinds_in_words
from checker.limits import Keep, keep_faults
from checker.model import Server
from checker.probes import probe_of
from checker.settings import original
from checker.settings.benchmarking import Benchmarking
from checker.settings.choice import selected_environment
from checker.settings.document import Document, Problem, read
from checker.settings.environments import faults_of_others
from checker.settings.files import Files, with_files
from checker.settings.overlay import merged, with_environment
from checker.settings.performance import PerformanceOptimization
from checker.settings.queries import read_queries
from checker.settings.servers import ServerReader
from checker.settings.shapes import ENVIRONMENT_KEYS, TOP_KEYS, RunOptions, Settings
from checker.settings.validate import Source, unknown_key, validated
from checker.settings.variables import expand

Block = TypeVar("Block")
_MOST_WARNED = 10


def load(
    path: str | Path,
    environment: str | None = None,
    environ: Mapping[str, str] = os.environ,
    files: Files | None = None,
) -> Settings:
    """The settings in a file; raises ConfigError, which lists what is wrong and how to mend it.

    ``environment`` is one of the file's ``environments``; None takes MCP_STATUS_ENV, if it is set. ``files`` notes
    what is read besides the file itself; None forgets it.
    """
    environment, named_by = selected_environment(environment, environ)
    with _without_collections():
        whole = read(Path(path))
        document = with_environment(whole, environment, ENVIRONMENT_KEYS, named_by)
        if faults := list(faults_of_others(whole, environment)):
            raise whole.refuse(faults)
        return _Loader(document, environment, environ, files or Files(document.path.parent)).settings()


@contextmanager
def _without_collections() -> Iterator[None]:
    """Hold the cycle collector: a large file is a million small objects, which it would go through again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Loader:
    """One file on its way to Settings; problems are gathered, so that one run of `config validate` shows them."""

    def __init__(self, document: Document, environment: str | None, environ: Mapping[str, str], files: Files) -> None:
        self._document, self._environment, self._files = document, environment, files
        self._problems: list[Problem] = []
        self._whole = Source((), document.values, self._problems)
        self._values = expand(document.values, environ, (), self._problems)

    def settings(self) -> Settings:
        """The settings; raises ConfigError."""
        self._stop_on_problems()
        for key in self._values:
            if key not in TOP_KEYS and key != "$schema" and not key.startswith("x-"):
                self._whole.complain((key,), unknown_key(key, list(TOP_KEYS)))
        performance = self._block("performance_optimization", PerformanceOptimization)
        benchmarking = self._block("benchmarking", Benchmarking)
        in_file = self._values.get("performance_optimization")
        in_file = in_file if isinstance(in_file, Mapping) else {}
        run = self._run(performance)
        history = self._block("history", Keep, original.history_defaults(in_file, performance))
        for key, text in keep_faults(history):
            self._whole.complain(("history", key), text)
        for kind in run.pools:
            if kind not in KINDS:
                self._whole.complain(("run", "pools", kind), unknown_key(kind, list(KINDS)))
        reader = ServerReader(self._files)
        defaults = self._values.get("defaults")
        from_original = original.probe_defaults(in_file, performance)
        if isinstance(defaults, Mapping):
            defaults = original.defaults_over(defaults, *self._document.layers, performance)
        reader.read_defaults({} if defaults is None else defaults, self._whole.below("defaults"), from_original)
        servers = original.of_one_server(performance, self._servers(reader))
        read_queries(self._values.get("queries"), self._whole.below("queries"))
        self._stop_on_problems()
        return Settings(
            servers=servers,
            run=run,
            history=history,
            performance=performance,
            benchmarking=benchmarking,
            path=str(self._document.path),
            environment=self._environment,
            warnings=(*original.warnings(in_file, servers), *_warnings(servers)),
        )

    def _block(self, name: str, kind: type[Block], below: Mapping[str, Any] | None = None) -> Block:
        """The options of a block at the top, laid over ``below``; the defaults alone where it is not valid."""
        given = self._values.get(name)
        given = {} if given is None else given
        if isinstance(given, Mapping):
            given = with_files(kind, given, self._whole.below(name), self._files)
        laid = merged(below or {}, given)
        return validated(kind, laid, self._whole.below(name)) or kind()

    def _run(self, performance: PerformanceOptimization) -> RunOptions:
        """The ``run`` block, with what the original's blocks say in each layer of the file."""
        given = self._values.get("run")
        given = {} if given is None else given
        source = self._whole.below("run")
        if not isinstance(given, Mapping):
            return validated(RunOptions, given, source) or RunOptions()
        given = with_files(RunOptions, given, source, self._files)
        laid = original.run_options(*self._document.layers, given, performance)
        return validated(RunOptions, laid, source) or RunOptions()

    def _servers(self, reader: ServerReader) -> tuple[Server, ...]:
        listed = self._values.get("servers")
        if not isinstance(listed, list) or not listed:
            self._whole.complain(("servers",), f"no servers; list at least one with a name and {kinds_in_words(':')}")
            return ()
        servers: dict[str, Server] = {}
        for index, values in enumerate(listed):
            source = self._whole.below("servers", index)
            server = reader.server(values, source)
            if server is None:
                continue
            if server.name in servers:
                source.complain(("name",), f'"{server.name}" is used by another server too; names must be unique')
            servers[server.name] = server
        return tuple(servers.values())

    def _stop_on_problems(self) -> None:
        if self._problems:
            raise self._document.refuse(self._problems)


def _warnings(servers: Sequence[Server]) -> Iterator[str]:
    """What is odd about the options of probes: a line for each of the first servers, and one for the others."""
    said: dict[str, list[str]] = {}
    for server in servers:
        for kind, options in server.probes.items():
            for warning in probe_of(kind).warnings(options):
                said.setdefault(warning.of_many, []).append(f"{server.name}.{kind}.{warning.key}: {warning.text}")
    for of_many, lines in said.items():
        yield from lines[:_MOST_WARNED]
        if len(lines) > _MOST_WARNED:
            yield f"and {len(lines) - _MOST_WARNED} more servers with {of_many}"
