"""Which family of protocol versions a server speaks: as configured, else as remembered, else found by asking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.model import Reason
from checker.probes.base import ProbeFailure, Transport
from checker.probes.mcp import sessionless
from checker.probes.mcp.channel import Channel
from checker.probes.mcp.http_sse import HttpSse
from checker.probes.mcp.lists import Offer
from checker.probes.mcp.session import Session
from checker.probes.mcp.stdio import Stdio

_ERA_MAY_HAVE_CHANGED = {Reason.MCP_ERROR, Reason.MCP_VERSION, Reason.MCP_NOT_JSONRPC, Reason.HTTP_STATUS}
_PATIENCE = 1 / 3
"""Share of the deadline that a started program may take to answer server/discover, which it may not know."""


def check(transport: Transport, channel: Channel, remembered: str | None) -> Offer:
    """What the server offers; raises ProbeFailure."""
    configured = channel.options.era
    era = configured if configured != "auto" else remembered
    if isinstance(channel, HttpSse) and configured == "auto":  # the transport is as old as the session era
        era = "session"
    if era != "session" and (discovered := discover(transport, channel)) is not None:
        return sessionless.check(transport, channel, discovered)
    if configured == "sessionless":
        raise ProbeFailure(
            Reason.MCP_VERSION, f"server/discover: the endpoint does not speak {sessionless.VERSION}", "discover"
        )
    try:
        return _in_session(transport, channel)
    except ProbeFailure as failure:
        stale = configured == "auto" and era == "session" and failure.reason in _ERA_MAY_HAVE_CHANGED
        if not stale or failure.stage != "initialize" or isinstance(channel, HttpSse):
            raise
        if (discovered := discover(transport, channel)) is None:
            raise
        return sessionless.check(transport, channel, discovered)


def _in_session(transport: Transport, channel: Channel) -> Offer:
    """The offer of a session; one that the server drops on the way is started over once."""
    try:
        return Session(channel).check(transport)
    except ProbeFailure as failure:
        if failure.reason is not Reason.MCP_SESSION_EXPIRED:
            raise
    return Session(channel).check(transport)


def discover(transport: Transport, channel: Channel) -> Mapping[str, Any] | None:
    """What the server discovers of itself; None where it speaks the session era.

    A program that does not answer, or even ends, at a message it does not know is one of the session era
    (2026-07-28, stdio, Backward Compatibility).
    """
    if not isinstance(channel, Stdio):
        return sessionless.discover(transport, channel)
    try:
        with transport.at_most(channel.options.timeout * _PATIENCE):
            return sessionless.discover(transport, channel)
    except ProbeFailure as failure:
        if channel.options.era == "sessionless":
            raise
        if failure.reason is Reason.PROCESS_EXITED:
            channel.open(transport)
        elif failure.reason is not Reason.MCP_NO_REPLY:
            raise
        return None
