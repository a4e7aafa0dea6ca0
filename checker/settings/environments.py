"""What is wrong with the environments of a file that are not selected: a typing error is told before it is deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checker.kinds import KINDS
from checker.limits import Keep
from checker.settings.benchmarking import Benchmarking
from checker.settings.document import Document, Place, Problem
from checker.settings.files import Files
from checker.settings.overlay import FILE_SUFFIX, merged, spelled_out
from checker.settings.performance import PerformanceOptimization
from checker.settings.queries import read_queries
from checker.settings.servers import ServerReader
from checker.settings.shapes import RunOptions
from checker.settings.validate import Source, unknown_key, validated

_BLOCKS: dict[str, Any] = {
    "performance_optimization": PerformanceOptimization,
    "benchmarking": Benchmarking,
    "run": RunOptions,
    "history": Keep,
}
_FOLDER = "cwd"


def faults_of_others(document: Document, selected: str | None) -> Iterator[Problem]:
    """Unknown keys and wrong values of the environments that are not selected.

    What stands in a variable or in a file is not looked at: it may be there only where the environment is used.
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
    """All problems of the file with this environment laid over it; the places are those of the environment."""
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
    entries = {str(one.get("name")): one for one in listed if isinstance(one, Mapping)}
    for name, change in changes.items():
        if name not in entries:
            said = unknown_key(name, list(entries)).replace("unknown key", "no server of this name")
            problems.append(Problem((*place, "servers", name), said))
        elif isinstance(change, Mapping):
            laid = merged(spelled_out(entries[name]), spelled_out(change))
            reader.server(laid, Source((*place, "servers", name), laid, problems))
        elif change is not None:
            said = "write what differs for the server, indented below"
            problems.append(Problem((*place, "servers", name), said))
    return problems


def _stands(document: Document, place: Place) -> bool:
    """Whether the environment itself says what is complained of, in plain words."""
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
