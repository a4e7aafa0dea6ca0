"""Base classes for the two kinds of records: messages between processes, and options validated from YAML."""

from __future__ import annotations

from typing import Any, TypeGuard, get_type_hints

import msgspec


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Facts and commands, packed as the list of their values."""


class Options(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A block of configuration: read strictly, and packed without values that are at their default.

    pydantic validates it by the types and defaults of its fields, and describes it by their docstrings.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Keys and values; only the fields are accepted."""
        from pydantic_core import core_schema

        hints, arguments = get_type_hints(cls, include_extras=True), []
        for field in msgspec.structs.fields(cls):
            schema = handler.generate_schema(hints[field.name])
            if field.default is not msgspec.NODEFAULT:
                schema = core_schema.with_default_schema(schema, default=field.default)
            elif field.default_factory is not msgspec.NODEFAULT:
                schema = core_schema.with_default_schema(schema, default_factory=field.default_factory)
            arguments.append(core_schema.dataclass_field(field.name, schema, kw_only=True))
        return core_schema.no_info_after_validator_function(
            lambda given: cls(**given[0]),
            core_schema.dataclass_args_schema(cls.__name__, arguments, extra_behavior="forbid"),
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
            serialization=core_schema.plain_serializer_function_ser_schema(_spelled_out),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """The keys, each with the docstring of its field."""
        reference: dict[str, Any] = handler(core)
        schema = handler.resolve_ref_schema(reference)
        schema |= {"title": cls.__name__, "description": _cleaned(cls.__doc__), "additionalProperties": False}
        for name, text in _docstrings(cls).items():
            schema["properties"][name]["description"] = text
        return reference


def is_options(kind: Any) -> TypeGuard[type[Options]]:
    """True if it is a class of options."""
    return isinstance(kind, type) and issubclass(kind, Options)


def _spelled_out(value: Any) -> Any:
    """The value with options as mappings, defaults included."""
    if isinstance(value, Options):
        return {name: _spelled_out(getattr(value, name)) for name in value.__struct_fields__}
    return {key: _spelled_out(item) for key, item in value.items()} if isinstance(value, dict) else value


def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the docstring below it, for a class and its bases."""
    import ast
    from inspect import getsource
    from itertools import pairwise
    from textwrap import dedent

    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if one is Options or not is_options(one) or hasattr(one, "of_function"):  # which no text describes
            continue
        (tree,) = ast.parse(dedent(getsource(one))).body
        assert isinstance(tree, ast.ClassDef)  # noqa: S101 # it is the source of a class
        for field, below in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                found[field.target.id] = _cleaned(ast.literal_eval(below.value))
    return found


def _cleaned(text: str | None) -> str:
    from inspect import cleandoc

    return cleandoc(text or "")
