"""Options of the MCP probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from checker.probes.options import STRICT, Endpoint
from checker.units import Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class McpOptions(Endpoint):
    """An MCP endpoint over Streamable HTTP."""

    __pydantic_config__ = STRICT

    transport: Literal["streamable-http"] = "streamable-http"
    """How messages travel."""
    era: Literal["auto", "session", "sessionless"] = "auto"
    """Protocol family: ``session`` is 2024-11-05 to 2025-11-25, ``sessionless`` 2026-07-28; auto asks the server."""
    ping: bool = True
    """Send ping in the session era; a server that does not know the method is not blamed."""
    expected_tools: tuple[str, ...] = ()
    """Names of tools that must be listed."""
    max_pages: int = 100
    """Most pages of tools/list that are read."""
    max_body: Bytes = 10 * 1024 * 1024
    """Largest body accepted, after decompression."""
