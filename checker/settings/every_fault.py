"""Every fault of a configuration at once: of the file itself and of each environment, in the order of the lines.

`checker.settings.load` stops at the first step that finds something, which is quicker and enough for a run. Here each
step goes on with what is left, so that a file is mended in one go.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from checker.errors import ConfigError
from checker.settings.blocks import ENVIRONMENT_KEYS
from checker.settings.files import Files
from checker.settings.load import SettingsReader
from checker.settings.other_files import other_kind
from checker.settings.overlay import expand, faults_of_changes, faults_of_environments, with_environment
from checker.settings.selection import selected_environment
from checker.settings.yaml_document import Document, Place, Problem, read_with_faults

_UNSET = "unset"
"""What stands for a variable or a file that is not there, to read on with."""


class Validation(Struct, frozen=True):
    """What is wrong with a configuration, and what it was looked at with."""

    faults: tuple[str, ...]
    """A line for each: file, line, key, value and remedy."""
    environments: tuple[str, ...]
    """The names of all environments of the file."""
    unset: tuple[str, ...]
    """Variables that are not set, and files that are not there, where they were allowed not to be."""


def validation(
    path: Path,
    environment: str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    allow_unset: bool = False,
) -> Validation:
    """Every fault of the file, and of the file with each of its environments merged in.

    Variables and secret files need to be there for the selected environment, or for the file itself where none is
    selected, and with ``allow_unset`` not even for that: others may be used elsewhere. Raises ConfigError for a file
    that cannot be read as YAML at all, or is something else.
    """
    whole, of_yaml = read_with_faults(path)
    if said := other_kind(whole.values, str(path)):
        raise ConfigError(said)
    selected, named_by = selected_environment(environment, environ)
    environments = whole.values.get("environments")
    names = [*environments] if isinstance(environments, Mapping) else []
    sound, found = _sound(whole)
    found += of_yaml
    if selected is not None and selected not in names:
        said = f'no environment "{selected}"{named_by}; there are: {", ".join(names) or "none"}'
        found.append(Problem(("environments",), said))
    told: dict[tuple[int, str], list[str | None]] = {}
    for problem in found:
        line = whole.line_of(problem)
        told[line or sys.maxsize, whole.told(line, problem)] = [None]
    known, unset = {problem.place for problem in of_yaml}, dict[str, None]()
    looked_at = [*([] if selected in names else [None]), *names]
    for name in looked_at:
        document = with_environment(sound, name, ENVIRONMENT_KEYS)
        absent: list[str] = []
        for problem in _faults(document, name, environ, known, absent if allow_unset or name != selected else None):
            line = document.line_of(problem)
            told.setdefault((line or sys.maxsize, document.told(line, problem)), []).append(name)
        if name == selected:
            unset |= dict.fromkeys(absent)
    return Validation(
        tuple(
            f"{text}{_where(where, looked_at)}" for (_, text), where in sorted(told.items(), key=lambda one: one[0][0])
        ),
        tuple(names),
        tuple(unset),
    )


def _where(environments: list[str | None], looked_at: Sequence[str | None]) -> str:
    """The environments in which there is a fault that is not one of the file itself, as the end of its line."""
    names = [name for name in environments if name is not None]
    if len(names) < len(environments) or set(names) == set(looked_at):
        return ""
    return f" (in environment{'s' if len(names) > 1 else ''} {', '.join(names)})"


def _sound(whole: Document) -> tuple[Document, list[Problem]]:
    """The document with environments that can be merged into it, and the faults of what was left out of them."""
    environments = whole.values.get("environments")
    if environments is None:
        return whole, []
    faults = faults_of_environments(environments, ENVIRONMENT_KEYS)
    kept: dict[str, Any] = {}
    for name, above in environments.items() if isinstance(environments, Mapping) else ():
        kept[name] = {key: above[key] for key in ENVIRONMENT_KEYS if key in above} if isinstance(above, Mapping) else {}
        changes = kept[name].get("servers")
        if changes is None:
            continue
        wrong = faults_of_changes(whole.values.get("servers"), changes, ("environments", name, "servers"))
        faults += wrong
        left_out = {problem.place[-1] for problem in wrong}
        kept[name]["servers"] = (
            {key: change for key, change in changes.items() if key not in left_out}
            if isinstance(changes, Mapping)
            else {}
        )
    return replace(whole, values={**whole.values, "environments": kept}), faults


def _faults(
    document: Document,
    environment: str | None,
    environ: Mapping[str, str],
    known: set[Place],
    absent: list[str] | None,
) -> Iterator[Problem]:
    """The faults of one environment, without those that only follow from what is not there or is told already.

    What is not there goes to ``absent``; None makes it a fault.
    """
    lenient, of_variables, malformed = _Lenient(environ), list[Problem](), list[Problem]()
    expand(document.values, environ, (), of_variables)
    expand(document.values, lenient, (), malformed)
    yield from malformed if absent is not None else of_variables
    silent = {*known, *(one.place for one in of_variables)}
    files = Files(document.path.parent)
    if absent is not None:
        absent += lenient.missing
        files = _LenientFiles(document.path.parent, absent)
    for problem in SettingsReader(document, environment, lenient, files).faults():
        if not any(problem.place[:length] in silent for length in range(len(problem.place) + 1)):
            yield problem


class _Lenient(Mapping[str, str]):
    """An environment in which every variable is set to something, and which notes those that are not."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.missing: list[str] = []

    def __getitem__(self, name: str) -> str:
        if name not in self._environ:
            self.missing.append(name)
        return self._environ.get(name, _UNSET)

    def get(self, name: str, default: Any = None) -> Any:
        """The variable; the default of the file where that has one."""
        return self._environ.get(name, default) if default is not None else self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


class _LenientFiles(Files):
    """Files that need not be there: secrets are often only where a configuration is used."""

    def __init__(self, folder: Path, absent: list[str]) -> None:
        super().__init__(folder)
        self._absent = absent

    def text(self, named: str) -> tuple[str, str]:
        """The path and the content, which is made up for a file that cannot be read."""
        try:
            return super().text(named)
        except OSError:
            self._absent.append(named)
            return str(self.place(named)), _UNSET
