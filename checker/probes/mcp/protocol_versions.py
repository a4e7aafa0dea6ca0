"""The family of protocol versions of a server: as configured, else as remembered, else detected."""

from __future__ import annotations

from dataclasses import dataclass

from checker.model import Reason, RemarkName
from checker.probes.base import ProbeFailure, Transport
from checker.probes.mcp import sessionless
from checker.probes.mcp.http_sse import HttpSse
from checker.probes.mcp.list_pages import Offer
from checker.probes.mcp.rpc_channel import Channel
from checker.probes.mcp.session import Session
from checker.probes.mcp.stdio import Stdio

_ERA_MAY_HAVE_CHANGED = {Reason.MCP_ERROR, Reason.MCP_VERSION, Reason.MCP_NOT_JSONRPC, Reason.HTTP_STATUS}
_NO_ANSWER = {
    Reason.MCP_NO_REPLY,
    Reason.CONNECTION_CLOSED,
    Reason.HTTP_MALFORMED,
    Reason.DECODE,
    Reason.PROCESS_EXITED,
}
"""Outcomes of server/discover at a healthy server that does not know it and accepts initialize."""
_PATIENCE = 1 / 3
"""Share of the deadline that a server may take to answer server/discover, which it may not know."""


def check(transport: Transport, channel: Channel, remembered: str | None) -> Offer:
    """The server's offer; raises ProbeFailure."""
    configured = channel.options.era
    era = configured if configured != "auto" else remembered
    if isinstance(channel, HttpSse) and configured == "auto":  # the transport is as old as the session era
        era = "session"
    asked = Discovery()
    if era != "session" and (discovered := discover(transport, channel, asked)) is not None:
        return sessionless.check(transport, channel, discovered)
    if configured == "sessionless":
        raise ProbeFailure(
            Reason.MCP_VERSION, f"server/discover: the endpoint does not speak {sessionless.VERSION}", "discover"
        )
    try:
        offer = _in_session(transport, channel)
    except ProbeFailure as failure:
        unsure = configured == "auto" and (era == "session" or asked.ended)
        may_differ = unsure and failure.reason in _ERA_MAY_HAVE_CHANGED and failure.stage == "initialize"
        if not may_differ or isinstance(channel, HttpSse):
            raise
        if (discovered := _again(transport, channel, asked)) is None:
            raise
        return sessionless.check(transport, channel, discovered)
    if asked.ended:
        channel.seen.remark(RemarkName.FIRST_REQUEST, f"server/discover: {asked.ended}; initialize was answered")
    return offer


@dataclass(slots=True)
class Discovery:
    """The outcome of a server/discover request that was not answered."""

    ended: str = ""
    """The outcome in words."""
    request_id: int = 0
    """Its number, if its answer may still arrive: on the one stream of a started program."""


def _in_session(transport: Transport, channel: Channel) -> Offer:
    """The offer from a session; a session that the server drops on the way is restarted once."""
    try:
        return Session(channel).check(transport)
    except ProbeFailure as failure:
        if failure.reason is not Reason.MCP_SESSION_EXPIRED:
            raise
    channel.seen.complaints.clear()  # of the session that is gone
    return Session(channel).check(transport)


def discover(transport: Transport, channel: Channel, asked: Discovery | None = None) -> sessionless.Discovered | None:
    """The server's discovery result; None if it speaks the session era.

    A server that does not answer, closes the connection or even exits on an unknown message is one of the session era
    (2026-07-28, stdio, Backward Compatibility): initialize decides. ``asked`` records the outcome.
    """
    asked = Discovery() if asked is None else asked
    if channel.options.era == "sessionless":
        return sessionless.discover(transport, channel)
    begun_at = channel.asked
    try:
        with transport.at_most(channel.options.timeout * _PATIENCE):
            return sessionless.discover(transport, channel)
    except ProbeFailure as failure:
        if failure.reason not in _NO_ANSWER:
            raise
        asked.ended = failure.detail
        if failure.reason is Reason.PROCESS_EXITED and isinstance(channel, Stdio):
            channel.open(transport)
        elif isinstance(channel, Stdio):
            asked.request_id = begun_at + 1
        return None


def _again(transport: Transport, channel: Channel, asked: Discovery) -> sessionless.Discovered | None:
    """The discovery result of a server that refused to initialize: from a late answer, or from a second request."""
    if not asked.request_id or not isinstance(channel, Stdio):
        return sessionless.discover(transport, channel)
    if (late := channel.late_reply(asked.request_id)) is not None:
        return sessionless.supported(late.result)
    return sessionless.discover(transport, channel)
