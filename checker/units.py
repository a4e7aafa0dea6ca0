"""Option types that parse their YAML spelling: durations, sizes and secrets.

The types are read by two sides: the settings validate YAML with them through pydantic, and the worker, which does not
load pydantic, uses the plain values. Therefore the pydantic hooks import inside their bodies. ``around`` is the same
without pydantic, for `checker.settings.usual_options`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection
from operator import ge, gt, le, lt
from typing import Annotated, Any, cast

Convert = Callable[[Any], Any]
"""A function that returns an option's value for the one that was written, or raises ValueError."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PER_CENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)")
_SECONDS_PER = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 3650 * 86400.0  # sockets refuse a time limit that does not fit their clock
_BYTES_PER = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def parse_duration(text: str | float) -> float:
    """Seconds for ``300ms``, ``30s``, ``5m``, ``1h``, ``7d``, ``1h30m`` or a plain number of seconds.

    Raises ValueError for anything else, for a negative number and for more than 3650 days.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        if text < 0 or text != text or text == float("inf"):
            raise ValueError("a duration is 0 or more seconds")
        return _not_too_long(text)
    if not isinstance(text, str) or not (spelled := text.strip()):
        raise ValueError("write a duration like 300ms, 30s, 5m or 1h")
    if re.fullmatch(r"\d+(\.\d+)?", spelled):
        return _not_too_long(float(spelled))
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", spelled):
        raise ValueError("write a duration like 300ms, 30s, 5m or 1h")
    return _not_too_long(sum(float(number) * _SECONDS_PER[unit] for number, unit in _DURATION.findall(spelled)))


def _not_too_long(seconds: float) -> float:
    if seconds > _LONGEST_S:
        raise ValueError("a duration is at most 3650d")
    return float(seconds)


def parse_objective(text: str | float) -> float:
    """A ratio above 0 and below 1 for ``99.9%``, 99.9 or 0.999; raises ValueError otherwise."""
    match = _PER_CENT.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None and (isinstance(text, bool) or not isinstance(text, int | float)):
        raise ValueError("write an objective like 99.9%")
    given = float(match[1]) if match else float(text)
    ratio = given / 100 if match or given >= 1 else given
    if not 0 < ratio < 1:
        raise ValueError("write more than 0% and less than 100%: an objective leaves a budget for errors")
    return round(ratio, 9)


def parse_size(text: str | int) -> int:
    """Bytes for ``64KiB``, ``1MiB``, ``512B`` or a plain number of bytes; raises ValueError otherwise."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError("write a size like 512B, 64KiB or 1MiB")
    return int(match[1]) * _BYTES_PER[match[2]]


class Secret(str):
    """Text that must not be shown: its repr is ``***``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Accept any YAML string."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


class Holds(enum.Enum):
    """Annotated metadata of an option: the kind of secrets it may contain (`checker.secrets.known_secrets`)."""

    NOTHING = "nothing"
    """Shown as it is."""
    ADDRESS = "address"
    """User info, query values and fragment are secret, host and path are not."""
    PROXY = "proxy"
    """An address that is not shown at all."""
    ARGUMENTS = "arguments"
    """Arguments of a program: secret unless they are plainly not."""
    VARIABLES = "variables"
    """Values under names: secret by their names, and unless they are plainly not."""
    HEADERS = "headers"
    """Request headers: secret but for a few, such as Accept."""
    PERHAPS = "perhaps"
    """Secret unless it is plainly not."""


Public = Annotated[str, Holds.NOTHING]
"""Text that may be shown."""


class _Spelled:
    """Annotated metadata that parses a YAML spelling with ``parse`` and describes it to JSON Schema."""

    def __init__(self, parse: Any, pattern: str, number: str, example: str) -> None:
        self._parse, self._pattern, self._number, self._example = parse, pattern, number, example

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self._parse)

    def around(self, convert: Convert) -> Convert:
        """The parser; it takes the value as written."""
        return cast(Convert, self._parse)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        text = {"type": "string", "pattern": self._pattern, "examples": [self._example]}
        return {"anyOf": [text, {"type": self._number, "minimum": 0}]}


Seconds = Annotated[float, _Spelled(parse_duration, r"^(\d+(\.\d+)?(ms|s|m|h|d))+$|^\d+(\.\d+)?$", "number", "30s")]
"""A duration in seconds, spelled ``300ms``, ``30s``, ``5m``, ``1h`` in YAML."""

Bytes = Annotated[int, _Spelled(parse_size, r"^\d+\s*(B|KiB|MiB|GiB)$", "integer", "1MiB")]
"""A size in bytes, spelled ``64KiB`` or ``1MiB`` in YAML."""

Objective = Annotated[float, _Spelled(parse_objective, r"^\d+(\.\d+)?\s*%$", "number", "99.9%")]
"""An availability objective, spelled ``99.9%`` in YAML: a ratio."""


_HOLDS = {"ge": ge, "gt": gt, "le": le, "lt": lt}


class Within:
    """Annotated metadata: a number within bounds, which pydantic checks."""

    def __init__(self, **bounds: float) -> None:
        self._bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """A whole number or any number, depending on the type."""
        from pydantic_core import core_schema

        bounds: Any = self._bounds
        return core_schema.int_schema(**bounds) if source is int else core_schema.float_schema(**bounds)

    def around(self, convert: Convert) -> Convert:
        """What ``convert`` returns; raises ValueError outside the bounds."""
        checks = [(_HOLDS[name], bound) for name, bound in self._bounds.items()]

        def within(value: Any) -> Any:
            number = convert(value)
            if not all(holds(number, bound) for holds, bound in checks):
                raise ValueError("out of bounds")
            return number

        return within


class Checked:
    """Annotated metadata: a function that returns the value, or raises ValueError with the value to write instead."""

    def __init__(self, check: Callable[[Any], Any]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Everything the type itself accepts, then the function."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def around(self, convert: Convert) -> Convert:
        """The function of what ``convert`` returns."""
        return lambda value: self._check(convert(value))


class OneOf:
    """Annotated metadata: one of the keys that a mapping has at the time."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self._names:
            *some, last = map(repr, self._names)
            raise ValueError(f"should be {', '.join(some)} or {last}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """One of the names."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"enum": list(self._names), "type": "string"}

    def around(self, convert: Convert) -> Convert:
        """The check of the value itself."""
        return self._check


class _Given:
    """Annotated metadata of an option that is either absent or has a value: an empty one is an error."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Everything the type accepts except null."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(_given, handler(source))

    def around(self, convert: Convert) -> Convert:
        """What ``convert`` returns for a value that is given."""
        return lambda value: convert(_given(value))


def _given(value: Any) -> Any:
    if value is None:
        raise ValueError("its value is missing; add it or remove the key; one_of: [null] asks for null")
    return value


GIVEN = _Given()
"""Mark of an option that does not accept null."""

Count = Annotated[int, Within(ge=1)]
"""A whole number of at least one."""
Percent = Annotated[float, Within(gt=0, le=100)]
"""More than 0, up to 100."""
PositiveNumber = Annotated[float, Within(gt=0)]
"""More than 0."""
