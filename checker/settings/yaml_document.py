"""A YAML file as plain values, with the line of every key, and without YAML's silent surprises."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from checker.errors import ConfigError
from checker.untrusted_text import terminal

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

_ALIASES_MAKE = 20  # times the nodes that are written out, at most, once a small document is exceeded
_SMALL = 100_000
_MOST_DEPTH = 50
_NODES = {yaml.AliasEvent, yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent}
_COLLECTIONS = {
    yaml.SequenceStartEvent: 1,
    yaml.MappingStartEvent: 1,
    yaml.SequenceEndEvent: -1,
    yaml.MappingEndEvent: -1,
}
_LONGEST_NUMBER = 19  # digits; what is longer may not fit the 64 bits in which numbers reach the workers
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXT, _MERGE = f"{_TAG}str", f"{_TAG}merge"
_PLAIN = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp")}


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in a file, with its place and remedy."""

    place: Place
    text: str
    line: int | None = None
    """Line of the fault, if it is not that of the place."""


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file and the line of each, counted from 1."""

    path: Path
    values: dict[str, Any]
    lines: dict[Place, int]
    layers: tuple[dict[str, Any], dict[str, Any]] = field(default_factory=lambda: ({}, {}))
    """If an environment may be merged over the file: the file without it, and the environment, as written."""

    def refuse(self, problems: list[Problem], most: int = 10) -> ConfigError:
        """The error that lists these problems in the order of the file, a line each."""
        placed = sorted(((self._line(one), one) for one in problems), key=lambda pair: pair[0] or sys.maxsize)
        shown = [
            f"{self.path}:{f'{line}: ' if line else ' '}{terminal(f'{dotted(one.place)}: {one.text}')}"
            for line, one in placed[:most]
        ]
        if len(problems) > most:
            shown.append(f"and {len(problems) - most} more")
        return ConfigError("\n".join(shown))

    def _line(self, problem: Problem) -> int | None:
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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a readable YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if odd := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: a control character (#x{ord(odd[0]):02x}); remove it")
    document, problems = Document(path, {}, {}), list[Problem]()
    loader = None
    try:
        most = _SMALL + _ALIASES_MAKE * _written_nodes(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _walk(node, most, document, problems)
        if problems:
            raise document.refuse(problems)
        values = _value(node, loader) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {_without_names(error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: not a mapping; a configuration begins with keys such as "servers:"')
    return Document(path, values, document.lines)


def _without_names(error: yaml.MarkedYAMLError) -> str:
    """The fault, without the name of an alias, which may be a password that was not quoted."""
    return re.sub(r"(alias|anchor|tag|handle) +(['\"]).*\2", r"\1", str(error.problem or error.context))


def _written_nodes(text: str) -> int:
    """Number of nodes written in the text; raises ValueError for nesting that would overflow the composer's C stack."""
    nodes = depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        kind = type(event)
        if kind in _NODES:
            nodes += 1
        if kind in _COLLECTIONS:
            depth += _COLLECTIONS[kind]
            if depth > _MOST_DEPTH:
                raise ValueError("nested too deeply")
    return nodes


def _walk(root: yaml.Node, most: int, document: Document, problems: list[Problem]) -> None:
    """Record the line of every key and list item, and report what YAML allows and a configuration does not."""
    waiting: list[tuple[yaml.Node, Place]] = [(root, ())]
    for _ in range(most):
        if not waiting:
            return
        node, place = waiting.pop()
        if len(place) > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        if fault := _settle(node):
            problems.append(Problem(place, fault))
        if isinstance(node, yaml.SequenceNode):
            inner = [(item, (*place, index)) for index, item in enumerate(node.value)]
            document.lines.update({where: item.start_mark.line + 1 for item, where in inner})
            waiting += reversed(inner)
        elif isinstance(node, yaml.MappingNode):
            waiting += reversed(_entries(node, place, document, problems))
    raise ValueError("too large once its aliases are expanded")


def _entries(
    node: yaml.MappingNode, place: Place, document: Document, problems: list[Problem]
) -> list[tuple[yaml.Node, Place]]:
    """The values of a mapping with their places; reports keys that are duplicate or not text."""
    entries: dict[str, tuple[yaml.Node, Place]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(place, "a list or a mapping where a key should be", line))
        elif key.tag != _TEXT and key.tag != _MERGE:
            problems.append(Problem(place, f'the key "{key.value}" is not text; put quotes around it', line))
        elif key.value in entries:
            problems.append(Problem((*place, key.value), f"duplicate key (again in line {line})"))
        else:
            where = (*place, key.value)
            document.lines[where] = line
            entries[key.value] = value, where
    return list(entries.values())


def _value(node: yaml.Node, loader: Any) -> Any:
    """The value of the node; call it after `_walk`, so that keys are text and nesting is limited. Most are text."""
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.tag == _TEXT else loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, loader) for item in node.value]
    if any(key.tag == _MERGE for key, _ in node.value):
        loader.flatten_mapping(node)
    return {key.value: _value(value, loader) for key, value in node.value}


def _settle(node: yaml.Node) -> str | None:
    """Turn values that only YAML 1.1 takes for numbers or dates into text; report values that are never allowed."""
    if node.tag == _TEXT:
        return None
    if node.tag == f"{_TAG}value":  # a lone "=", for which the loader has no constructor
        node.tag = _TEXT
    if node.tag not in _PLAIN:
        return "YAML tags are not supported here; put quotes around text that begins with !"
    if node.tag == f"{_TAG}timestamp" or (node.tag in (f"{_TAG}int", f"{_TAG}float") and ":" in node.value):
        node.tag = _TEXT
    elif node.tag == f"{_TAG}int" and len(node.value) > _LONGEST_NUMBER:
        return "the number is too long; put quotes around it if it is text"
    elif node.tag == f"{_TAG}float" and not _finite(node.value):
        return "not a finite number; write one, or put quotes around it if it is text"
    return None


def _finite(spelled: str) -> bool:
    """True if a YAML float is finite; Python cannot parse ``.inf`` and ``.nan``."""
    try:
        return math.isfinite(float(spelled.replace("_", "")))
    except ValueError:
        return False
