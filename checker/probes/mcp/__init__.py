"""The MCP probe: find out which era the endpoint speaks, then handshake, ping and tools as that era has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from checker.model import McpFacts, Reason, Status
from checker.probes.base import Complaint, Observation, ProbeFailure, ProbeKind, Transport
from checker.probes.faults import Fault, endpoint_faults
from checker.probes.mcp import sessionless, tools
from checker.probes.mcp.exchange import Conversation
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.session import Session

ERA = "mcp_era"
"""Cache category: the era an endpoint spoke last."""
TOOLS_DIGEST = "mcp_tools_digest"
"""Cache category: the digest of the tool list an endpoint gave last."""

_ERA_MAY_HAVE_CHANGED = {Reason.MCP_ERROR, Reason.MCP_VERSION, Reason.MCP_NOT_JSONRPC, Reason.HTTP_STATUS}


def attempt(options: McpOptions, transport: Transport, seen: Observation, memory: Mapping[str, str]) -> None:
    """Speak MCP with the endpoint once; what was seen is in ``seen``, also when ProbeFailure is raised."""
    talk = Conversation(options, seen)
    listed = _by_era(options, transport, talk, memory.get(ERA))
    facts = seen.mcp or McpFacts()
    seen.remember[ERA] = facts.era or ""
    if listed is None:
        if options.expected_tools:
            seen.complaints.append(
                Complaint(Status.UNHEALTHY, Reason.MCP_MISSING_TOOL, "the server announces no tools", "list")
            )
        seen.mcp = replace(facts, tool_count=0)
        return
    snapshot = tools.snapshot(listed)
    seen.mcp = replace(
        facts, tool_count=len(listed), tools_digest=snapshot.digest, tools_bytes=len(snapshot.tools.encode())
    )
    seen.remember[TOOLS_DIGEST] = snapshot.digest
    if memory.get(TOOLS_DIGEST) != snapshot.digest:
        seen.snapshot = snapshot
    seen.complaints += tools.complaints(listed, options.expected_tools)


def _by_era(
    options: McpOptions, transport: Transport, talk: Conversation, remembered: str | None
) -> list[Mapping[str, Any]] | None:
    """The tools, by the era that is configured, else remembered, else found by asking."""
    era = options.era if options.era != "auto" else remembered
    if era != "session" and (discovered := sessionless.discover(transport, talk)) is not None:
        return sessionless.check(transport, talk, discovered)
    if options.era == "sessionless":
        raise ProbeFailure(
            Reason.MCP_VERSION, f"server/discover: the endpoint does not speak {sessionless.VERSION}", "discover"
        )
    try:
        return Session(talk).check(transport)
    except ProbeFailure as failure:
        stale = options.era == "auto" and era == "session" and failure.reason in _ERA_MAY_HAVE_CHANGED
        if not stale or failure.stage != "initialize":
            raise
        if (discovered := sessionless.discover(transport, talk)) is None:
            raise
        return sessionless.check(transport, talk, discovered)


def judge(options: McpOptions, seen: Observation) -> list[Complaint]:
    """Everything there is to complain of was found on the way."""
    return list(seen.complaints)


def faults(options: McpOptions) -> Iterator[Fault]:
    """What is contradictory in the options."""
    yield from endpoint_faults(options)
    if options.max_pages < 1:
        yield ("max_pages",), "write 1 or more"


KIND = ProbeKind(options=McpOptions, attempt=attempt, judge=judge, faults=faults)
