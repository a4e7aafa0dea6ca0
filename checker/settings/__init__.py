"""The configuration: YAML into Settings, strictly; imported only where a command needs it."""

from __future__ import annotations

from checker.settings.adhoc import adhoc, select
from checker.settings.imported import imported_settings
from checker.settings.load import load
from checker.settings.schema import json_schema
from checker.settings.shapes import RunOptions, Settings

__all__ = ["RunOptions", "Settings", "adhoc", "imported_settings", "json_schema", "load", "select"]
