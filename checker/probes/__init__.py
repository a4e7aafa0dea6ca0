"""The probe kinds: the only list of them; settings, workers, help and reports read it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.model import Server
from checker.plain import from_plain, reader
from checker.probes import mcp, rest
from checker.probes.base import ProbeKind

KINDS: dict[str, ProbeKind] = {
    "mcp": mcp.KIND,
    "rest": rest.KIND,
}


def _options_from_plain(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: from_plain(KINDS[kind].options, options) for kind, options in plain.items()}


server_from_plain = reader(Server, probes=_options_from_plain)
"""The server that `checker.plain.to_plain` made plain, with the options of each of its probes."""
