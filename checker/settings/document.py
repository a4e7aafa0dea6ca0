"""A YAML file as plain values, with the line of every key, and nothing in it that YAML lets slip through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from checker.errors import ConfigError

Place = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

_MOST_NODES = 1_000_000
_MOST_DEPTH = 50
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file: where, and what to do about it."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file and the line, counted from 1, at which each of them stands."""

    path: Path
    values: dict[str, Any]
    lines: dict[Place, int]

    def refuse(self, problems: list[Problem], most: int = 10) -> ConfigError:
        """The error that lists these problems, a line each."""
        shown = [f"{self.path}:{self._line(one.place)}{dotted(one.place)}: {one.text}" for one in problems[:most]]
        if len(problems) > most:
            shown.append(f"and {len(problems) - most} more")
        return ConfigError("\n".join(shown))

    def _line(self, place: Place) -> str:
        """The line of the place, or of the nearest thing around it."""
        for length in range(len(place), 0, -1):
            if (line := self.lines.get(place[:length])) is not None:
                return f"{line}: "
        return " "


def dotted(place: Place) -> str:
    """The place as people write it: ``servers[2].rest.timeout``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "the document"


def read(path: Path) -> Document:
    """The document; raises ConfigError for what cannot be read, is no YAML, or has a key twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a readable YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        document = Document(path, {}, {})
        problems: list[Problem] = []
        if node is not None:
            _walk(node, document, problems)
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    finally:
        loader.dispose()
    if problems:
        raise document.refuse(problems)
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: not a mapping; a config begins with keys such as "servers:"')
    return Document(path, values, document.lines)


def _walk(root: yaml.Node, document: Document, problems: list[Problem]) -> None:
    """Note the line of every key and list item, and complain of keys that stand twice."""
    waiting: list[tuple[yaml.Node, Place]] = [(root, ())]
    for _ in range(_MOST_NODES):
        if not waiting:
            return
        node, place = waiting.pop()
        if len(place) > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                document.lines[(*place, index)] = item.start_mark.line + 1
                waiting.append((item, (*place, index)))
        elif isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, value in node.value:
                if key.value in names and key.value != "<<":
                    line = key.start_mark.line + 1
                    problems.append(Problem((*place, key.value), f"the key stands twice (again in line {line})"))
                elif isinstance(key, yaml.ScalarNode):
                    names.add(key.value)
                    document.lines[(*place, key.value)] = key.start_mark.line + 1
                    waiting.append((value, (*place, key.value)))
    raise ValueError("too large once its aliases are expanded")
