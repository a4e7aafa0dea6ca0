"""A configuration file into Settings, in steps: read, lay over, fill in, validate, and look for contradictions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checker.model import Server
from checker.probes import KINDS
from checker.settings import original
from checker.settings.document import Document, Place, Problem, read
from checker.settings.overlay import merged, with_environment
from checker.settings.shapes import RunOptions, ServerEntry, Settings
from checker.settings.validate import unknown_key, validated
from checker.settings.variables import expand

_TOP = ("servers", "defaults", "run", "environments", "performance_optimization", "benchmarking")
_SERVER_DEFAULTS = ("group", "tags", "priority", "weights", "combine")
_LONGEST_NAME = 200


def load(path: Path, environment: str | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in a file; raises ConfigError, which lists what is wrong and how to mend it.

    ``environment`` is one of the file's ``environments``; None takes MCP_STATUS_ENV, if it is set.
    """
    environment = environment or environ.get("MCP_STATUS_ENV") or None
    return _Loader(with_environment(read(path), environment), environment, environ).settings()


class _Loader:
    """One file on its way to Settings; problems are gathered, so that one run of `config validate` shows them."""

    def __init__(self, document: Document, environment: str | None, environ: Mapping[str, str]) -> None:
        self._document, self._environment = document, environment
        self._problems: list[Problem] = []
        self._raw = document.values
        self._values = expand(document.values, environ, (), self._problems)

    def settings(self) -> Settings:
        """The settings; raises ConfigError."""
        self._stop_on_problems()
        for key in self._values:
            if key not in _TOP and key != "$schema" and not str(key).startswith("x-"):
                self._problem((key,), unknown_key(str(key), list(_TOP)))
        performance = self._block("performance_optimization", original.PerformanceOptimization)
        benchmarking = self._block("benchmarking", original.Benchmarking)
        self._stop_on_problems()
        run_values = {**self._original(original.run_defaults, performance), **(self._values.get("run") or {})}
        run = validated(RunOptions, run_values, self._raw.get("run"), ("run",), self._problems) or RunOptions()
        self._check_run(run)
        defaults = self._defaults(self._original(original.probe_defaults, performance))
        self._stop_on_problems()
        servers = self._servers(defaults)
        self._stop_on_problems()
        return Settings(
            servers=servers,
            run=run,
            performance=performance,
            benchmarking=benchmarking,
            path=str(self._document.path),
            environment=self._environment,
            warnings=tuple(
                original.warnings(self._values.get("performance_optimization") or {}, self._values.get("benchmarking"))
            ),
        )

    def _block(self, name: str, kind: type[Any]) -> Any:
        if self._values.get(name) is None:
            return None
        return validated(kind, self._values[name], self._raw[name], (name,), self._problems)

    def _original(self, read_defaults: Any, performance: original.PerformanceOptimization | None) -> dict[str, Any]:
        return {} if performance is None else read_defaults(self._values["performance_optimization"], performance)

    def _check_run(self, run: RunOptions) -> None:
        for name in ("workers", "concurrency", "per_origin"):
            value = getattr(run, name)
            if value is not None and value < 1:
                self._problem(("run", name), f"{value} is too few; write 1 or more")
        if run.heartbeat_timeout < 3:
            self._problem(("run", "heartbeat_timeout"), "workers speak once a second; write 3s or more")

    def _defaults(self, from_original: Mapping[str, Any]) -> dict[str, Any]:
        """What servers are laid over: validated on its own, so that a fault in it is told once."""
        given = self._values.get("defaults") or {}
        if not isinstance(given, Mapping):
            self._problem(("defaults",), "write keys and values, indented below")
            return {}
        for key in given:
            if key not in (*_SERVER_DEFAULTS, *KINDS):
                self._problem(("defaults", key), unknown_key(str(key), [*_SERVER_DEFAULTS, *KINDS]))
        entry = {key: given[key] for key in _SERVER_DEFAULTS if key in given}
        raw = self._raw.get("defaults")
        validated(ServerEntry, {"name": "-", **entry}, raw, ("defaults",), self._problems)
        defaults: dict[str, Any] = {**entry}
        for kind, probe in KINDS.items():
            block = given.get(kind) or {}
            defaults[kind] = merged(from_original, block)
            trial = {"url": "http://127.0.0.1/", **defaults[kind]} if isinstance(block, Mapping) else block
            validated(probe.options, trial, raw and raw.get(kind), ("defaults", kind), self._problems)
        return defaults

    def _servers(self, defaults: Mapping[str, Any]) -> tuple[Server, ...]:
        listed = self._values.get("servers")
        if not isinstance(listed, list) or not listed:
            self._problem(("servers",), "no servers; list at least one with a name and mcp: or rest:")
            return ()
        servers: dict[str, Server] = {}
        for index, values in enumerate(listed):
            place: Place = ("servers", index)
            server = self._server(values, self._raw["servers"][index], place, defaults)
            if server is None:
                continue
            if server.name in servers:
                self._problem((*place, "name"), f'"{server.name}" is the name of another server too; names are unique')
            servers[server.name] = server
        return tuple(servers.values())

    def _server(self, values: Any, raw: Any, place: Place, defaults: Mapping[str, Any]) -> Server | None:
        if not isinstance(values, Mapping):
            self._problem(place, "not a server; write name: and mcp: or rest:, indented")
            return None
        before = len(self._problems)
        above = {
            key: {"url": value} if key in KINDS and isinstance(value, str) else value for key, value in values.items()
        }
        own = merged({key: defaults[key] for key in _SERVER_DEFAULTS if key in defaults}, above)
        entry_values = {key: value for key, value in own.items() if key not in KINDS}
        if unknown := [key for key in entry_values if key not in ServerEntry.__dataclass_fields__]:
            for key in unknown:
                known = [*ServerEntry.__dataclass_fields__, *KINDS]
                self._problem((*place, key), unknown_key(str(key), known))
                del entry_values[key]
        entry = validated(ServerEntry, entry_values, raw, place, self._problems)
        probes = {
            kind: self._probe(kind, above[kind], raw[kind], (*place, kind), defaults)
            for kind in KINDS
            if above.get(kind) is not None
        }
        if not probes:
            self._problem(place, f"nothing to check; add {' or '.join(f'{kind}:' for kind in KINDS)} with an address")
        if entry is None or len(self._problems) > before:
            return None
        self._check_entry(entry, probes, place)
        return Server(probes=probes, **{key: getattr(entry, key) for key in ServerEntry.__dataclass_fields__})

    def _check_entry(self, entry: ServerEntry, probes: Mapping[str, Any], place: Place) -> None:
        if not entry.name.strip() or len(entry.name) > _LONGEST_NAME or not entry.name.isprintable():
            self._problem((*place, "name"), f"write 1 to {_LONGEST_NAME} printable characters")
        for kind, weight in entry.weights.items():
            if kind not in KINDS:
                self._problem((*place, "weights", kind), unknown_key(kind, list(KINDS)))
            elif not 0 <= weight < float("inf"):
                self._problem((*place, "weights", kind), f"{weight:g} is no weight; write 0 or more")
        if not sum(entry.weights.get(kind, 1.0) for kind in probes):
            self._problem((*place, "weights"), "every probe of this server weighs 0; give one of them more")

    def _probe(self, kind: str, values: Any, raw: Any, place: Place, defaults: Mapping[str, Any]) -> Any:
        if not isinstance(values, Mapping):
            self._problem(place, "write an address, or keys such as url: indented below")
            return None
        shown = raw if isinstance(raw, Mapping) else {"url": raw}
        resolved = self._files(merged(defaults[kind], values), place)
        options = validated(KINDS[kind].options, resolved, shown, place, self._problems)
        if options is not None:
            for keys, text in KINDS[kind].faults(options):
                self._problem((*place, *keys), text)
        return options

    def _files(self, values: Any, place: Place) -> Any:
        """Paths made absolute, from the config's folder; ``bearer_file`` and its like read into ``bearer``."""
        if not isinstance(values, Mapping):
            return values
        resolved = dict(values)
        for key, value in values.items():
            if isinstance(value, Mapping):
                resolved[key] = self._files(value, (*place, key))
            if not str(key).endswith("_file") or not isinstance(value, str):
                continue
            file = self._document.path.parent / Path(value).expanduser()
            read_into = str(key).removesuffix("_file")
            try:
                content = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                self._problem((*place, key), f'"{value}": {said}; name a readable file, from the folder of this one')
                continue
            if read_into == "bearer":
                if values.get(read_into) is not None:
                    self._problem((*place, key), f"{read_into} is set as well; keep one of them")
                resolved[read_into] = content.strip()
            resolved[key] = str(file.resolve())
        return resolved

    def _problem(self, place: Place, text: str) -> None:
        self._problems.append(Problem(place, text))

    def _stop_on_problems(self) -> None:
        if self._problems:
            raise self._document.refuse(self._problems)
