"""A YAML file as plain values, with the line of every key once somebody asks, and without YAML's silent surprises."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field
from yaml.reader import Reader

from checker.errors import ConfigError, ConfigFault
from checker.settings.yaml_scalars import LOADER, MERGE, TEXT, constructed, settled
from checker.settings.yaml_values import Unusual, values_of
from checker.untrusted_text import terminal

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

STANDARD_INPUT = "-"
"""The name of a file that stands for standard input."""
_ALIASES_MAKE = 20  # times the nodes that are written out, at most, once a small document is exceeded
_SQLITE = b"SQLite format 3\0"
_MOST_NAMED = 5
_SMALL = 100_000
_MOST_DEPTH = 50
_NODES = {yaml.AliasEvent, yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent}
_COLLECTIONS = {
    yaml.SequenceStartEvent: 1,
    yaml.MappingStartEvent: 1,
    yaml.SequenceEndEvent: -1,
    yaml.MappingEndEvent: -1,
}


class Problem(Struct, frozen=True):
    """A fault in a file, with its place and remedy."""

    place: Place
    text: str
    line: int | None = None
    """Line of the fault, if it is not that of the place."""


class FoundLater(Mapping[Place, int]):
    """Lines that take a second, slower pass over the text, and are looked for when the first of them is asked for."""

    def __init__(self, find: Callable[[], Mapping[Place, int]]) -> None:
        self._find = find

    @cached_property
    def _found(self) -> Mapping[Place, int]:
        return self._find()

    def __getitem__(self, place: Place) -> int:
        return self._found[place]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Document(Struct, frozen=True):
    """The values of a file and the line of each, counted from 1."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[Place, int]
    layers: tuple[dict[str, Any], dict[str, Any]] = field(default_factory=lambda: ({}, {}))
    """If an environment may be merged over the file: the file without it, and the environment, as written."""
    may_refer: bool = True
    """False if no value has a ``$`` in it, and so no variable is to be filled in."""

    def refuse(self, problems: list[Problem], most: int | None = None) -> ConfigError:
        """The error that lists these problems in the order of the file, a line each; with ``most``, so many of them."""
        placed = sorted(((self.line_of(one), one) for one in problems), key=lambda pair: pair[0] or sys.maxsize)
        shown = [self.told(line, one) for line, one in placed[:most]]
        if most is not None and len(problems) > most:
            shown.append(f"and {len(problems) - most} more; `mcp-status config validate {self.path}` lists them all")
        path = str(self.path)
        return ConfigError("\n".join(shown), [ConfigFault(path, at, dotted(one.place), one.text) for at, one in placed])

    def told(self, line: int | None, problem: Problem) -> str:
        """A problem as a line for people: file, line, place, and what is wrong."""
        said = terminal(f"{dotted(problem.place)}: {problem.text}")
        return f"{self.path}:{f'{line}: ' if line else ' '}{said}"

    def line_of(self, problem: Problem) -> int | None:
        """The line of the problem's place, or of the nearest thing around it."""
        around = (self.lines.get(problem.place[:length]) for length in range(len(problem.place), 0, -1))
        return problem.line or next((line for line in around if line is not None), None)


def dotted(place: Place) -> str:
    """The place in the usual notation: ``servers[2].rest.timeout``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "the document"


def read(path: Path) -> Document:
    """The document; raises ConfigError if it cannot be read, is not YAML, or has a duplicate key."""
    text = _text(path)
    try:
        values = values_of(text)
    except Unusual:
        return read_thoroughly(path, text)
    if not isinstance(values, dict):
        return read_thoroughly(path, text)
    lines = FoundLater(lambda: read_thoroughly(path, text).lines)
    return Document(path, values, lines, may_refer="$" in text or "\\" in text)  # "\x24" is one too


def read_with_faults(path: Path) -> tuple[Document, list[Problem]]:
    """The document as far as it can be read, and what YAML itself has against it; raises ConfigError for no YAML."""
    problems: list[Problem] = []
    return read_thoroughly(path, _text(path), problems), problems


def _text(path: Path) -> str:
    """The text of the file; raises ConfigError."""
    try:
        text = _standard_input() if str(path) == STANDARD_INPUT else path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder; name the configuration in it{_there(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a readable YAML file") from None
    except UnicodeDecodeError as error:
        if bytes(error.object[: len(_SQLITE)]) == _SQLITE:
            raise ConfigError(f"{path}: a SQLite database, no configuration; --db names the history") from None
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if odd := Reader.NON_PRINTABLE.search(text):
        if text.encode("utf-8", "surrogatepass").startswith(_SQLITE):
            raise ConfigError(f"{path}: a SQLite database, no configuration; --db names the history")
        line = text.count("\n", 0, odd.start()) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: a control character (#x{ord(odd[0]):02x}); remove it")
    return text


def _there(folder: Path) -> str:
    """The files of a folder that may be meant, as the end of a message."""
    try:
        names = sorted(one.name for one in folder.iterdir() if one.suffix in (".yaml", ".yml") and one.is_file())
    except OSError:
        return ""
    more = "" if len(names) <= _MOST_NAMED else f" and {len(names) - _MOST_NAMED} more"
    return f": {', '.join(terminal(name) for name in names[:_MOST_NAMED])}{more}" if names else ""


@cache
def _standard_input() -> str:
    """What stands on standard input, kept: some files are looked at twice, and this one can be read once."""
    return "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8-sig")


def read_thoroughly(path: Path, text: str, faults: list[Problem] | None = None) -> Document:
    """The document with its lines; raises ConfigError, which tells everything that YAML itself has against the text.

    With ``faults`` what can be read past goes there instead; the document has what is left.
    """
    lines: dict[Place, int] = {}
    document, problems = Document(path, {}, lines), list[Problem]() if faults is None else faults
    loader = None
    try:
        most = _SMALL + _ALIASES_MAKE * _written_nodes(text)
        loader = LOADER(text)
        node = loader.get_single_node()
        if node is not None:
            _walk(node, most, lines, problems)
        if problems and faults is None:
            raise document.refuse(problems)
        values = _value(node, loader) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        said = _of_tab(text, mark) or f"not valid YAML: {_without_names(error)}"
        raise ConfigError(f"{path}{where}: {said}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if values is None:
        raise ConfigError(f'{path}: empty; a configuration begins with keys such as "servers:"')
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: not a mapping; a configuration begins with keys such as "servers:"')
    return Document(path, values, lines)


def _of_tab(text: str, mark: Any) -> str | None:
    """The fault of a line that is indented with a tab; None for any other line."""
    if mark is None or mark.line >= len(lines := text.split("\n")):
        return None
    indent = lines[mark.line][: len(lines[mark.line]) - len(lines[mark.line].lstrip())]
    return "indented with a tab, which YAML does not allow; indent with spaces" if "\t" in indent else None


def _without_names(error: yaml.MarkedYAMLError) -> str:
    """The fault, without the name of an alias, which may be a password that was not quoted."""
    return re.sub(r"(alias|anchor|tag|handle) +(['\"]).*\2", r"\1", str(error.problem or error.context))


def _written_nodes(text: str) -> int:
    """Number of nodes written in the text; raises ValueError for nesting that would overflow the composer's C stack."""
    nodes = depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        kind = type(event)
        if kind in _NODES:
            nodes += 1
        if kind in _COLLECTIONS:
            depth += _COLLECTIONS[kind]
            if depth > _MOST_DEPTH:
                raise ValueError("nested too deeply")
    return nodes


def _walk(root: yaml.Node, most: int, lines: dict[Place, int], problems: list[Problem]) -> None:
    """Record the line of every key and list item, and report what YAML allows and a configuration does not."""
    waiting: list[tuple[yaml.Node, Place]] = [(root, ())]
    for _ in range(most):
        if not waiting:
            return
        node, place = waiting.pop()
        if len(place) > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        if fault := settled(node):
            problems.append(Problem(place, fault))
            node.tag = TEXT  # for those who read on
        if isinstance(node, yaml.SequenceNode):
            inner = [(item, (*place, index)) for index, item in enumerate(node.value)]
            lines.update({where: item.start_mark.line + 1 for item, where in inner})
            waiting += reversed(inner)
        elif isinstance(node, yaml.MappingNode):
            waiting += reversed(_entries(node, place, lines, problems))
    raise ValueError("too large once its aliases are expanded")


def _entries(
    node: yaml.MappingNode, place: Place, lines: dict[Place, int], problems: list[Problem]
) -> list[tuple[yaml.Node, Place]]:
    """The values of a mapping with their places; reports keys that are duplicate or not text."""
    entries: dict[str, tuple[yaml.Node, Place]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(place, "a list or a mapping where a key should be", line))
        elif key.tag != TEXT and key.tag != MERGE:
            problems.append(Problem(place, f'the key "{key.value}" is not text; put quotes around it', line))
        elif key.value in entries:
            problems.append(Problem((*place, key.value), f"duplicate key (again in line {line})"))
        else:
            where = (*place, key.value)
            lines[where] = line
            entries[key.value] = value, where
    return list(entries.values())


def _value(node: yaml.Node, loader: Any) -> Any:
    """The value of the node; call it after `_walk`, so that keys are text and nesting is limited. Most are text."""
    if isinstance(node, yaml.ScalarNode):
        return constructed(node, loader)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, loader) for item in node.value]
    if any(key.tag == MERGE for key, _ in node.value):
        loader.flatten_mapping(node)
    return {key.value: _value(value, loader) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
