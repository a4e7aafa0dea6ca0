"""What a ``server.json`` asks its users for, in either of its spellings, and what stands for it in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checker.importers import look
from checker.importers.imported import Unusable
from checker.importers.variables import escaped, reference, variable_name

BRACED = re.compile(r"\{([^{}]*)\}")
"""A placeholder of the registry."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the variables of a server are called."""

    server: str = ""
    """What their names begin with; in a listing each server has its own, so that none gets another's credential."""

    def variable(self, key: str) -> str:
        """The environment variable for what the registry calls ``key``."""
        return variable_name(self.server, key)


def value(values: Mapping[str, Any], key: str) -> Any:
    """The value of a key, in camelCase or as files from before September 2025 spell it."""
    found = values.get(key)
    return values.get(re.sub(r"(?=[A-Z])", "_", key).lower()) if found is None else found


def blocks(values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of mappings of a key; raises Unusable for anything else."""
    listed = value(values, key)
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Unusable(f"{key} is not a list of objects")
    return listed


def word(values: Mapping[str, Any], key: str) -> str | None:
    """The text of a key, in either spelling; None where there is none."""
    return look.text({key: value(values, key)}, key)


def given(block: Mapping[str, Any], key: str, naming: Naming) -> str | None:
    """What an input of the registry is: its value, its default, or a variable where it must be given.

    None is an optional one without a default.
    """
    for source in ("value", "default"):
        plain = look.texts({source: [block[source]]}, source)[0] if block.get(source) is not None else None
        if plain is not None:
            return filled(plain, block, naming)
    required, secret = (
        look.flag(block, camel) or look.flag(block, snake)
        for camel, snake in (("isRequired", "is_required"), ("isSecret", "is_secret"))
    )
    wanted = required or (secret and value(block, "isRequired") is not False)
    return reference(naming.variable(key)) if wanted else None


def filled(template: str, block: Mapping[str, Any], naming: Naming) -> str:
    """The template with each ``{name}`` that its ``variables`` describe filled in; others stay as they are."""
    variables = block.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise Unusable("variables is not a mapping")
    known = variables or {}

    def fill(match: re.Match[str]) -> str:
        described = known.get(match[1])
        if not isinstance(described, dict):
            return match[0]
        found = given({**described, "variables": None}, match[1], naming)
        return reference(naming.variable(match[1]), "") if found is None else found

    return BRACED.sub(fill, escaped(template))
