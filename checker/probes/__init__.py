"""The probe kinds: the only list of them; settings, workers, help and reports read it here."""

from __future__ import annotations

from checker.probes import mcp, rest
from checker.probes.base import ProbeKind

KINDS: dict[str, ProbeKind] = {
    "mcp": mcp.KIND,
    "rest": rest.KIND,
}
