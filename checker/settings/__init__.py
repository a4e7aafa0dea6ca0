"""The configuration: YAML into Settings, strictly; each part is imported where it is used first."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checker.settings.adhoc import adhoc
    from checker.settings.bench.load import load_plan, stored_plan
    from checker.settings.bench.quick import quick_plan
    from checker.settings.bench.schema import plan_schema
    from checker.settings.choice import select
    from checker.settings.imported import imported_settings
    from checker.settings.load import load
    from checker.settings.queries import saved_queries
    from checker.settings.schema import json_schema
    from checker.settings.shapes import RunOptions, Settings

__all__ = [
    "RunOptions",
    "Settings",
    "adhoc",
    "imported_settings",
    "json_schema",
    "load",
    "load_plan",
    "plan_schema",
    "quick_plan",
    "saved_queries",
    "select",
    "stored_plan",
]

_HOMES = {
    "RunOptions": "shapes",
    "Settings": "shapes",
    "adhoc": "adhoc",
    "imported_settings": "imported",
    "json_schema": "schema",
    "load": "load",
    "load_plan": "bench.load",
    "plan_schema": "bench.schema",
    "quick_plan": "bench.quick",
    "saved_queries": "queries",
    "select": "choice",
    "stored_plan": "bench.load",
}
"""Name -> its module here. A cached configuration needs neither the YAML reader nor the validator."""


class _Package(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{self.__name__}.{_HOMES[name]}"), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        """Importing a module binds its name here, where ``load`` and ``adhoc`` are to stay the functions."""
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
