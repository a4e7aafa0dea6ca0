"""JSONPath (RFC 9535) over documents from servers: regular expressions by RE2, and a cost known in advance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonpath
from jsonpath import filter as filters
from jsonpath.function_extensions import ExpressionType, FilterFunction
from jsonpath.parse import Parser
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter, KeysFilter, SliceSelector, WildcardSelector

from checker.probes.patterns import Pattern, PatternRefused, compiled

_FUNCTIONS = ("match", "search")
_FOREIGN_BYTES = 1024 * 1024
_LONGEST_FOREIGN = 200


class JsonPath:
    """A compiled path; `compiled_path` makes them."""

    def __init__(self, path: str) -> None:
        self._path = _ENVIRONMENT.compile(path)
        for pattern in _patterns(self._path):
            compiled(pattern)  # a function of RFC 9535 takes a bad one for no match, which would hide a mistake
            _OWN.add(pattern)
        self.fan_out = _fan_out(self._path)
        """Number of nested passes over the whole document: 0 for a path to a single place."""

    def find_all(self, document: Any) -> list[Any]:
        """The values at the path; raises Python's errors if the document is too deep for it."""
        found: list[Any] = self._path.findall(document)
        return found


@lru_cache(maxsize=1024)
def compiled_path(path: str) -> JsonPath:
    """The path, compiled; raises JSONPathError and PatternRefused."""
    return JsonPath(path)


def jsonpath_fault(path: str) -> str | None:
    """The error in a JSONPath; None if it is valid."""
    try:
        compiled_path(path)
    except PatternRefused as refused:
        return f'"{path}": {refused}'
    except jsonpath.JSONPathError as error:
        return f'"{path}" is not a JSONPath such as $.status: {str(error).splitlines()[0]}'
    return None


class _Parser(Parser):
    """Reads `=~ /expression/`, the library's extension to the RFC, with RE2 as well, and whole numbers exactly."""

    def parse_integer_literal(self, stream: Any) -> Any:
        written = stream.current().value
        literal: Any = super().parse_integer_literal(stream)  # by way of a float, for the sake of exponents
        exact = written.removeprefix("-").isdigit()
        return filters.IntegerLiteral(value=int(written)) if exact else literal

    def parse_regex(self, stream: Any) -> Any:
        literal: Any = super().parse_regex(stream)
        return filters.RegexLiteral(value=compiled(literal.value.pattern, literal.value.flags))  # type: ignore[arg-type] # has what the library uses of one


class _Function(FilterFunction):
    """The functions ``match`` and ``search`` (RFC 9535 sections 2.4.6 and 2.4.7)."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 # as the base class has it
    return_type = ExpressionType.LOGICAL

    def __init__(self, name: str) -> None:
        self._is_match = name == "match"

    def __call__(self, value: object, pattern: object) -> bool:
        """True if the value is text that matches; False for an invalid expression, as the RFC requires."""
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        try:
            expression = compiled(pattern) if pattern in _OWN else _foreign(pattern)
        except PatternRefused:
            return False
        return expression.fullmatch(value) if self._is_match else expression.found_in(value)


def _foreign(pattern: str) -> Pattern:
    """An expression that comes from the document: small, and not cached; raises PatternRefused."""
    if len(pattern) > _LONGEST_FOREIGN:
        raise PatternRefused("too long")
    return Pattern(pattern, memory_bytes=_FOREIGN_BYTES)


class _Environment(jsonpath.JSONPathEnvironment):
    parser_class = _Parser

    def setup_function_extensions(self) -> None:
        """The library's functions, with our own replacing the two that use Python's ``re``."""
        super().setup_function_extensions()
        for name in _FUNCTIONS:
            self.function_extensions[name] = _Function(name)


_ENVIRONMENT = _Environment()
_OWN: set[str] = set()
"""Expressions that stand in paths of the configuration."""


def _selectors(path: Any) -> Iterator[tuple[Any, Any]]:
    """Segment and selector, for the path and for the paths that it is joined from."""
    if isinstance(path, jsonpath.CompoundJSONPath):
        yield from _selectors(path.path)
        for _, other in path.paths:
            yield from _selectors(other)
        return
    for segment in path.segments:
        for selector in segment.selectors:
            yield segment, selector


def _expressions(node: Any) -> Iterator[Any]:
    """A filter's expression and all its subexpressions, without those of the paths in it."""
    yield node
    for child in node.children():
        yield from _expressions(child)


def _within(selector: Any) -> Iterator[Any]:
    if isinstance(selector, Filter | KeysFilter):
        yield from _expressions(selector.expression)


def _patterns(path: Any) -> Iterator[str]:
    """The regular expressions that appear literally in the path."""
    for _, selector in _selectors(path):
        for node in _within(selector):
            if isinstance(node, filters.FunctionExtension) and node.name in _FUNCTIONS:
                yield from (arg.value for arg in node.args[1:] if isinstance(arg, filters.StringLiteral))
            if isinstance(inner := getattr(node, "path", None), jsonpath.JSONPath):
                yield from _patterns(inner)


def _fan_out(path: Any) -> int:
    """Upper bound on the number of nested passes over all values of a document that evaluating the path takes."""
    total = 0
    seen: set[int] = set()
    for segment, selector in _selectors(path):
        if isinstance(segment, JSONPathRecursiveDescentSegment) and id(segment) not in seen:
            seen.add(id(segment))
            total += 1
        if isinstance(selector, WildcardSelector | SliceSelector | Filter | KeysFilter):
            total = max(total, 1)
        for node in _within(selector):
            if isinstance(inner := getattr(node, "path", None), jsonpath.JSONPath):
                total += max(1, _fan_out(inner))
            elif isinstance(node, filters.InfixExpression):
                total = max(total, 1)
    return total
