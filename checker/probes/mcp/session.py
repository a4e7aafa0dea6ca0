"""The session era, protocol versions 2024-11-05 to 2025-11-25: handshake, requests, and the end of the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from checker.model import McpFacts, Reason, RemarkName, Status
from checker.probes.base import Background, Complaint, OnLateHead, ProbeFailure, Reply, Transport
from checker.probes.mcp.configured_calls import make_calls
from checker.probes.mcp.known_replies import Readings, may_hold_secret
from checker.probes.mcp.list_pages import Offer, read_lists
from checker.probes.mcp.result_types import (
    INITIALIZE,
    capabilities_text,
    instructions_text,
    refusals,
    refused,
    server_identity,
)
from checker.probes.mcp.rpc_channel import CLIENT_INFO, Answer, Channel
from checker.secrets.excerpts import excerpt

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_OLDEST = "2024-10-07"
"""A draft that one of the official clients still speaks."""
_METHOD_UNKNOWN = -32601
_PING_UNKNOWN = (_METHOD_UNKNOWN, -32602)  # the second from Python SDK 1.x
_CANNOT_BE_ENDED = (404, 405)
_REFUSED = (401, 403, 429)
_LONGEST_END_S = 1.0
"""Wait for the end of a session before it is left to the background: everything else was answered."""


class _Announcement(NamedTuple):
    """The content of an initialize result."""

    version: str
    facts: McpFacts
    capabilities: Mapping[str, Any]
    instructions: str | None


_ANNOUNCED: Readings[_Announcement] = Readings(256 * 1024)


class Session:
    """One session of one attempt; in every case, ending it is the last step."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._options, self._seen = channel, channel.options, channel.seen
        self._id: str | None = None
        self._version: str | None = None
        self._named: tuple[str | None, str | None] = None, None
        self._naming: dict[str, str] = {}
        """The headers that name version and session, for ``_named``."""

    def check(self, transport: Transport) -> Offer:
        """Handshake, ping, lists and calls; the step that ends the session is left in ``seen.closing``.

        Raises ProbeFailure, with the session ended; mcp_session_expired if the server has dropped it meanwhile.
        """
        if not self._channel.leaves_sessions:
            return self._use(transport, lambda: self._open(transport))
        opening: Background | None = None
        opened: Callable[[], Any] = partial(self._open, transport, self._end_late)
        if not transport.keeps_waiting:
            opening = transport.in_background(self._open)
            opened = opening.wait
        try:
            offer = self._use(transport, opened)
        except BaseException:  # a deadline and a cancelled run end here too
            if opening is not None or self._id is not None:
                transport.in_background(lambda later: self._abandon(later, opening))
            raise
        self._seen.closing = self
        return offer

    def open(self, transport: Transport) -> Offer:
        """Handshake only: returns the server's announcement. A caller that opens a session like this must `end` it."""
        return self._accept(transport, lambda: self._open(transport))

    def ask(self, transport: Transport, method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """A request in the open session; raises ProbeFailure if the server has dropped it."""
        return self._ask(transport, method, params or None, headers)

    def end(self, transport: Transport) -> None:
        """End the session if the server created one."""
        self._end(transport)

    def leave(self, transport: Transport) -> None:
        """End it in the background."""
        if self._id is not None:
            transport.in_background(lambda later: self._end(later, patient=True))

    def _use(self, transport: Transport, opened: Any) -> Offer:
        offer = self._accept(transport, opened)
        if self._options.ping:
            self._ping(transport)

        def ask(method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
            return self._ask(transport, method, params or None, headers)

        with transport.timed("list"):
            read_lists(ask, offer, self._options, self._seen, self._channel.earlier)
        if self._options.calls:
            make_calls(transport, ask, self._options.calls, offer, self._seen)
        return offer

    def _open(self, transport: Transport, on_late_head: OnLateHead | None = None) -> Answer:
        """Send initialize, without a version header: some healthy servers refuse one in that request."""
        params = {"protocolVersion": VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT_INFO}
        return self._channel.call(transport, "initialize", params, {}, self._note_id, on_late_head)

    def _note_id(self, reply: Reply) -> None:
        if reply.status < 300 and (session_id := reply.headers.get("mcp-session-id")):
            self._id = session_id
            self._seen.sessions_opened = (self._seen.sessions_opened or 0) + 1

    def _end_late(self, reply: Reply, transport: Transport) -> None:
        """End a session that the server has opened after the end of the attempt."""
        self._note_id(reply)
        reply.release()
        self._end(transport, patient=True)

    def _accept(self, transport: Transport, opened: Any) -> Offer:
        """The server's announcement, once the handshake is done."""
        with transport.timed("initialize"):
            answer: Answer = opened()
            if (result := answer.result) is None:
                raise answer.refused("initialize")
            source = (answer.source, self._channel.name)
            is_usual = bool(answer.source) and not may_hold_secret(answer.source)
            if not is_usual or (announced := _ANNOUNCED.get(source)) is None:
                announced = self._announced(result)
                if is_usual and not self._seen.complaints:
                    _ANNOUNCED.note(source, announced, len(answer.source))
            self._seen.mcp, version = announced.facts, announced.version
            self._version = version
        with transport.timed("initialized"):
            answer = self._channel.notify(transport, "notifications/initialized", self._headers())
            if 300 <= answer.status < 400 or answer.status in _REFUSED:
                raise answer.refused("notifications/initialized")
            if answer.status >= 400:
                said = answer.refused("notifications/initialized").detail
                self._seen.complaints.append(
                    Complaint(Status.DEGRADED, Reason.HTTP_STATUS, f"{said} (TypeScript SDK refuses it)", "initialized")
                )
        identity = {"name": announced.facts.server_name, "version": announced.facts.server_version}
        sources = [source[0]] if source[0] else None
        return Offer(version, identity, announced.capabilities, announced.instructions, sources=sources)

    def _announced(self, result: Mapping[str, Any]) -> _Announcement:
        """The content of an initialize result; raises ProbeFailure for one that clients refuse."""
        version, capabilities = result.get("protocolVersion"), result.get("capabilities")
        complaints = refused(refusals(result, INITIALIZE, ""), "initialize", "initialize")
        if not isinstance(version, str) or not isinstance(capabilities, dict):
            raise _failure(complaints)
        name, server_version = server_identity(result.get("serverInfo"))
        facts = self._seen.mcp = McpFacts(
            era="session",
            transport=self._channel.name,
            protocol_version=excerpt(version, 40),
            server_name=name,
            server_version=server_version,
            capabilities=capabilities_text(capabilities),
        )
        if version not in VERSIONS and version != _OLDEST:
            raise ProbeFailure(
                Reason.MCP_VERSION,
                f"initialize: server speaks {excerpt(version, 40)!r}, unknown to the session era",
            )
        if complaints and complaints[0].status is Status.UNHEALTHY:
            raise _failure(complaints)
        self._seen.complaints += complaints
        if version == _OLDEST:
            said = f"initialize: server speaks {version} (the Python SDK refuses it)"
            self._seen.complaints.append(Complaint(Status.DEGRADED, Reason.MCP_VERSION, said, "initialize"))
        return _Announcement(version, facts, capabilities, instructions_text(result.get("instructions")))

    def _ping(self, transport: Transport) -> None:
        with transport.timed("ping"):
            answer = self._ask(transport, "ping", None, {})
            if answer.result is not None or (answer.error and answer.error.code in _PING_UNKNOWN):
                return
            if answer.error is None:
                raise answer.refused("ping")
            self._seen.complaints.append(Complaint(Status.DEGRADED, Reason.MCP_ERROR, f"ping: {answer.error}", "ping"))

    def _ask(
        self, transport: Transport, method: str, params: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> Answer:
        """A request in the session; raises ProbeFailure if the server has dropped it (Session Management, 404)."""
        own = self._headers()
        answer = self._channel.call(transport, method, params, {**own, **headers} if headers else own)
        gone = answer.status == 404 and (answer.error is None or answer.error.code != _METHOD_UNKNOWN)
        if gone and self._id is not None:
            raise self._gone(method)
        return answer

    def _gone(self, method: str) -> ProbeFailure:
        self._id = None
        return ProbeFailure(Reason.MCP_SESSION_EXPIRED, f"{method}: HTTP 404, the session is gone")

    def _end(self, transport: Transport, patient: bool = False) -> None:
        """DELETE the session, if the server created one: a DELETE without an id breaks one server for the next caller.

        An error here is not a fault of the checked server, so it is not a failure; the counts show it.
        """
        if self._id is None:
            return
        session_headers, session_id, self._id = self._headers(), self._id, None
        most_s = self._options.timeout if patient else _LONGEST_END_S
        try:
            with transport.timed("close"), transport.at_most(most_s):
                status = self._channel.delete(transport, session_headers)
        except ProbeFailure as failure:
            self._seen.remark(RemarkName.SESSION_END, f"DELETE of the session: {failure.detail}")
            if failure.reason is Reason.MCP_NO_REPLY and not patient:
                self._id = session_id
                transport.in_background(lambda later: self._end(later, patient=True))
            return
        except (
            BaseException
        ):  # a deadline or a cancelled run before the DELETE was answered, perhaps before it was sent
            if not patient:  # what is ended in the background already would begin again and again
                self._seen.remark(RemarkName.SESSION_END, "DELETE of the session: not answered before the deadline")
                self._id = session_id
                transport.in_background(lambda later: self._end(later, patient=True))
            raise
        if status < 300 or status in _CANNOT_BE_ENDED:
            self._seen.sessions_closed = (self._seen.sessions_closed or 0) + 1
        else:
            self._seen.remark(RemarkName.SESSION_END, f"HTTP {status} to DELETE of the session")

    def _abandon(self, transport: Transport, opening: Background | None) -> None:
        """Wait for an initialize that is still in progress, because its session would remain; then end it."""
        if opening is not None:
            with suppress(ProbeFailure):  # the attempt has told it already
                opening.wait()
        self._end(transport, patient=True)

    def _headers(self) -> dict[str, str]:
        """The headers of a request in the session: the same mapping as for the one before, while nothing changes."""
        if self._named != (self._version, self._id):
            self._named = self._version, self._id
            self._naming = {"MCP-Protocol-Version": self._version} if self._version else {}
            if self._id is not None:
                self._naming["Mcp-Session-Id"] = self._id
        return self._naming


def _failure(complaints: list[Complaint]) -> ProbeFailure:
    """The failure for a result that the official clients refuse."""
    (one,) = complaints
    return ProbeFailure(one.reason, one.detail)
