"""The implementation of each probe kind in `checker.probe_kinds.KINDS`, by name: imported on first use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, cast

from checker.model import Server
from checker.probe_kinds import KINDS
from checker.probes.base import Probe
from checker.wire import rebuilt


@cache
def probe_of(kind: str) -> Probe:
    """The implementation of a probe kind: its options, attempts and judgement; raises KeyError for an unknown kind."""
    entry = KINDS[kind]
    module = import_module(entry.module)
    probe: Probe = module.probe_of_function(kind, entry.function) if entry.function else module.PROBE
    return probe


def with_options(server: Server) -> Server:
    """The unpacked server with its probes' options in their kinds' own types; raises ValueError if they are invalid."""
    probes = cast("dict[str, Any]", server.probes)  # nobody else has it yet
    for kind, plain in probes.items():
        probes[kind] = rebuilt(probe_of(kind).options, plain)
    return server
