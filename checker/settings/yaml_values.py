"""The values of a YAML text in one pass over the parser's events, without the lines of anything.

Nodes, places and lines are most of the cost of reading a large file, and only messages about faults need them. What is
not as usual (a fault, a tag, an alias of something large) is left to `checker.settings.yaml_document`, which reads the
same text again in its thorough way; both give the same values, which a property test compares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from checker.settings.yaml_scalars import LOADER, MERGE, TEXT, constructed, settled

_MOST_DEPTH = 40
_SMALL = 50_000
_ALIASES_MAKE = 10
"""Both are half of what the thorough way allows, so that it decides about the rest."""
_LONGEST_WORD = 5
"""Longest of the words that YAML takes for something else than text, such as ``false``."""
_NOT_ALWAYS_TEXT = frozenset(first for first in LOADER.yaml_implicit_resolvers if first)
"""First characters of plain scalars that are not always text."""


class Unusual(Exception):
    """The text needs the thorough way."""


class _Anchored(NamedTuple):
    """What an alias stands for."""

    value: Any
    nodes: int
    depth: int
    can_be_merged: bool
    """True for a mapping without merge keys."""


def values_of(text: str) -> Any:
    """The values; raises Unusual for a text that has to be read in the thorough way."""
    loader = LOADER(text)
    try:
        return _OnePass(loader).whole()
    except (yaml.YAMLError, ValueError):
        raise Unusual from None
    finally:
        loader.dispose()


class _OnePass:
    """The state of one pass."""

    def __init__(self, loader: Any) -> None:
        self._next: Callable[[], Any] = loader.get_event
        self._loader = loader
        self._anchors: dict[str, _Anchored | None] = {}
        self._written = self._expanded = self._deepest = self._merges = 0
        self._plain: dict[str, Any] = {"": None}
        """Plain scalar that may be something else than text -> its value."""
        self._keys: dict[str, str | None] = {}
        """The same for keys; None is a merge."""

    def whole(self) -> Any:
        """The value of the only document."""
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        value = self._value(self._next(), 1)
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)
        return value

    def _expect(self, kind: type[yaml.Event]) -> None:
        if type(self._next()) is not kind:
            raise Unusual

    def _value(self, event: Any, depth: int) -> Any:
        """The value of the node that begins with this event."""
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._aliased(event, depth)[0]
        if event.tag is not None or depth > _MOST_DEPTH:
            raise Unusual
        if event.anchor is None:
            return self._unnamed(kind, event, depth)
        if event.anchor in self._anchors:
            raise Unusual
        self._anchors[event.anchor] = None  # of what is not at its end: no other may have it, and no alias either
        before, deepest, merges = self._expanded, self._deepest, self._merges
        self._deepest = depth
        value = self._unnamed(kind, event, depth)
        nodes, height = self._expanded - before, self._deepest - depth
        can_be_merged = kind is yaml.MappingStartEvent and merges == self._merges
        self._anchors[event.anchor] = _Anchored(value, nodes, height, can_be_merged)
        self._deepest = max(self._deepest, deepest)
        return value

    def _unnamed(self, kind: Any, event: Any, depth: int) -> Any:
        self._written += 1
        self._expanded += 1
        if kind is yaml.ScalarEvent:
            return self._scalar(event.value) if event.implicit[0] else event.value
        self._deepest = max(self._deepest, depth)
        if kind is yaml.MappingStartEvent:
            return self._mapping(depth + 1)
        if kind is yaml.SequenceStartEvent:
            return self._sequence(depth + 1)
        raise Unusual

    def _aliased(self, event: Any, depth: int) -> _Anchored:
        anchored = self._anchors.get(event.anchor)
        self._written += 1
        if anchored is None or depth + anchored.depth > _MOST_DEPTH:
            raise Unusual
        self._expanded += anchored.nodes
        if self._expanded > _SMALL + _ALIASES_MAKE * self._written:
            raise Unusual
        self._deepest = max(self._deepest, depth + anchored.depth)
        return anchored

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._value(event, depth))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        following, scalar, end = self._next, yaml.ScalarEvent, yaml.MappingEndEvent
        keys, plain = self._keys, self._plain
        values: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        while type(event := following()) is not end:
            if type(event) is not scalar or event.tag is not None or event.anchor is not None:
                raise Unusual
            key: str | None = event.value
            if event.implicit[0] and (not key or key[0] in _NOT_ALWAYS_TEXT):
                try:
                    key = keys[key or ""]
                except KeyError:
                    key = self._key(key or "")
            event = following()
            if key is None:
                if merged is not None:
                    raise Unusual
                merged = self._merged(event, depth)
                self._merges += 1
                continue
            if key in values:
                raise Unusual
            # most values are scalars: a call for each would be a third of the time
            if type(event) is scalar and event.tag is None and event.anchor is None:
                self._expanded += 1
                value = event.value
                if event.implicit[0] and (not value or value[0] in _NOT_ALWAYS_TEXT):
                    value = plain[value] if value in plain else self._scalar(value)
                values[key] = value
            else:
                values[key] = self._value(event, depth)
        self._written += 2 * len(values)
        return values if merged is None else {**merged, **values}

    def _merged(self, event: Any, depth: int) -> dict[str, Any]:
        """What a merge key brings in, if it is the alias of a mapping that has none itself.

        The order of several is another one in each version of the library.
        """
        anchored = self._anchors.get(event.anchor or "") if type(event) is yaml.AliasEvent else None
        if anchored is None or not anchored.can_be_merged:
            raise Unusual
        self._aliased(event, depth)
        found: dict[str, Any] = anchored.value
        return found

    def _scalar(self, text: str) -> Any:
        """The value of a plain scalar."""
        if text and (text[0] not in _NOT_ALWAYS_TEXT or (len(text) > _LONGEST_WORD and text[0].isalpha())):
            return text
        try:
            return self._plain[text]
        except KeyError:
            pass
        node = yaml.ScalarNode(self._loader.resolve(yaml.ScalarNode, text, (True, False)), text)
        if settled(node) is not None or node.tag == MERGE:
            raise Unusual
        value = self._plain[text] = constructed(node, self._loader)
        return value

    def _key(self, text: str) -> str | None:
        """The key that a plain scalar is; None for a merge."""
        tag = self._loader.resolve(yaml.ScalarNode, text, (True, False))
        if tag not in (TEXT, MERGE):
            raise Unusual
        self._keys[text] = None if tag == MERGE else text
        return self._keys[text]
