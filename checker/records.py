"""Building frozen records at the price of ordinary ones, for the places where thousands are made in a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

Record = TypeVar("Record")


def constructor(kind: type[Record]) -> type[Record]:
    """What builds this frozen, slotted dataclass, called with the same keywords, or with all values in order.

    A frozen dataclass sets each field through `object.__setattr__`, which takes most of the time of building one with
    many fields. This fills an unfrozen twin of the same layout and then turns it into the record. Raises TypeError
    like the class itself for fields that are missing or unknown.
    """
    return _constructor(kind)  # type: ignore[arg-type,no-any-return] # a class can be hashed


def rebuilder(kind: type[Record], read: Mapping[str, Callable[[Any], Any]]) -> Callable[..., Record]:
    """What builds the record from all its values in order; raises TypeError for another number of them.

    ``read`` has functions that make a field's value out of what is given for it; None stands for the field's default.
    """
    known: dict[str, Any] = {f"read_{name}_": function for name, function in read.items()}
    lines = []
    for field in fields(kind):  # type: ignore[arg-type] # every record is a dataclass
        name = field.name
        line = f"self_.{name} = {name}" if name not in read else f"self_.{name} = read_{name}_({name})"
        if name in read and field.default is not MISSING:
            known[f"default_{name}_"] = field.default
            line += f" if {name} is not None else default_{name}_"
        elif name in read and field.default_factory is not MISSING:
            known[f"default_{name}_"] = field.default_factory
            line += f" if {name} is not None else default_{name}_()"
        lines.append(line)
    build: Callable[..., Record] = _compiled(kind, ", ".join(field.name for field in fields(kind)), lines, known)  # type: ignore[arg-type] # as above
    return build


def replaced(record: Record, **changes: Any) -> Record:
    """What `dataclasses.replace` gives, at the price of `constructor`."""
    kind = type(record)
    return _constructor(kind)(**_getter(kind)(record) | changes)  # type: ignore[arg-type,no-any-return] # as above


@lru_cache(maxsize=64)
def _getter(kind: Any) -> Callable[[Any], dict[str, Any]]:
    names = [field.name for field in fields(kind)]
    take = attrgetter(*names)
    return lambda record: dict(zip(names, take(record), strict=True))


@lru_cache(maxsize=64)
def _constructor(kind: Any) -> Any:
    known: dict[str, Any] = {}
    parameters, lines = [], []
    for field in fields(kind):
        default = ""
        if field.default is not MISSING:
            known[f"default_{field.name}_"] = field.default
            default = f"=default_{field.name}_"
        elif field.default_factory is not MISSING:
            known[f"default_{field.name}_"] = field.default_factory
            default = "=None"
            lines.append(f"if {field.name} is None: {field.name} = default_{field.name}_()")
        parameters.append((field.name, default))
        lines.append(f"self_.{field.name} = {field.name}")
    required = [name for name, default in parameters if not default]
    late = {name for name, _ in parameters[len(required) :]}
    if late & set(required):  # keyword-only fields may stand in any order; a function's parameters may not
        parameters = [(name, default or "=missing_") for name, default in parameters]
        known["missing_"] = MISSING
        wanted = " or ".join(f"{name} is missing_" for name in required)
        lines.insert(0, f"if {wanted}: kind_()  # which says what is missing")
    return _compiled(kind, ", ".join(f"{name}{default}" for name, default in parameters), lines, known)


def _compiled(kind: Any, parameters: str, lines: Sequence[str], known: dict[str, Any]) -> Any:
    """The function with these parameters whose lines fill ``self_``."""
    if hasattr(kind, "__post_init__"):
        raise TypeError(f"{kind.__name__} does more than keeping its fields")
    own = {"__slots__": kind.__dict__.get("__slots__", ()), "__setattr__": object.__setattr__}
    known |= {"new_": object.__new__, "twin_": type("Twin", kind.__bases__, own), "kind_": kind}
    body = "\n    ".join(["self_ = new_(twin_)", *lines, "self_.__class__ = kind_", "return self_"])
    exec(f"def build_{kind.__name__}({parameters}):\n    {body}", known)  # noqa: S102 # made of the record's own field names
    return known[f"build_{kind.__name__}"]
