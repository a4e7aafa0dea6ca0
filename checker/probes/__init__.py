"""What each probe kind does, by its name in `checker.probe_kinds.KINDS`: imported when it is needed first."""

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
    """How a kind of probe is configured, made and judged; raises KeyError for a kind that there is not."""
    probe: Probe = import_module(KINDS[kind].module).PROBE
    return probe


def with_options(server: Server) -> Server:
    """The server that was just unpacked, the options of its probes now as their kinds have them; ValueError if not."""
    probes = cast("dict[str, Any]", server.probes)  # nobody else has it yet
    for kind, plain in probes.items():
        probes[kind] = rebuilt(probe_of(kind).options, plain)
    return server
