"""What each probe kind does, by its name in `checker.kinds.KINDS`: imported when it is needed first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from checker.kinds import KINDS
from checker.model import Server
from checker.plain import from_plain, reader
from checker.probes.base import Probe


@cache
def probe_of(kind: str) -> Probe:
    """How a kind of probe is configured, made and judged; raises KeyError for a kind that there is not."""
    probe: Probe = import_module(KINDS[kind].module).PROBE
    return probe


def _options_from_plain(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: from_plain(probe_of(kind).options, options) for kind, options in plain.items()}


server_from_plain = reader(Server, probes=_options_from_plain)
"""The server that `checker.plain.to_plain` made plain, with the options of each of its probes."""
