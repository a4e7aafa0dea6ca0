"""Libraries that only some checks need: loaded before the first of these begins, not in the midst of the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions
from checker.worker.checks import Task


def preload(tasks: Iterable[Task]) -> None:
    """Load what judging these servers takes: a load takes tenths of a second, in which nothing else goes on."""
    options = [one for task in tasks for one in task.server.probes.values()]
    if any(isinstance(one, McpOptions) for one in options):
        import checker.probes.mcp.dialects  # for its being loaded
    expected = [expect for one in options for expect in _expected(one)]
    if any(expect.json for expect in expected):
        import checker.probes.jsonpaths
    if any(_has_pattern(expect) for expect in expected):
        import checker.probes.patterns  # noqa: F401 # for its being loaded


def _expected(options: Any) -> list[Any]:
    if isinstance(options, RestOptions):
        return [options.expect]
    return [call.expect for call in options.calls] if isinstance(options, McpOptions) else []


def _has_pattern(expect: Any) -> bool:
    return any(getattr(expect, name, None) for name in ("json", "headers", "body_regex", "text_regex"))
