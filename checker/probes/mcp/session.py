"""The session era, protocol versions 2024-11-05 to 2025-11-25: handshake, requests, and the session ended again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from checker.model import McpFacts, Reason, Status
from checker.probes.base import Background, Complaint, ProbeFailure, Reply, Transport
from checker.probes.mcp import tools
from checker.probes.mcp.exchange import CLIENT_INFO, Answer, Conversation
from checker.probes.mcp.facts import capabilities_text, server_identity
from checker.probes.text import excerpt

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_METHOD_UNKNOWN = (-32601, -32602)  # the second from Python SDK 1.x
_CANNOT_BE_ENDED = (404, 405)


class Session:
    """One session of one attempt; whatever happens, `end` or `abandon` is the last thing done with it."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self._id: str | None = None
        self._version: str | None = None

    def check(self, transport: Transport) -> list[Mapping[str, Any]] | None:
        """Handshake, ping and tools; None where the server announces no tools. Leaves no session behind."""
        opening = transport.in_background(self._open)
        try:
            capabilities = self._accept(transport, opening)
            if self.talk.options.ping:
                self._ping(transport)
            listed = self._list(transport) if "tools" in capabilities else None
        except BaseException:  # a deadline and a cancelled run end here too
            transport.in_background(lambda later: self._abandon(later, opening))
            raise
        self._end(transport)
        return listed

    def _open(self, transport: Transport) -> Answer:
        """Send initialize, without a version header: some healthy servers refuse one there."""
        params = {"protocolVersion": VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT_INFO}
        return self.talk.call(transport, "initialize", params, {}, on_head=self._note_id)

    def _note_id(self, reply: Reply) -> None:
        if session_id := reply.headers.get("mcp-session-id"):
            self._id = session_id
            self.talk.seen.sessions_opened = (self.talk.seen.sessions_opened or 0) + 1

    def _accept(self, transport: Transport, opening: Background) -> Mapping[str, Any]:
        """The announced capabilities, once the handshake is done."""
        with transport.timed("initialize"):
            answer: Answer = opening.wait()
            if answer.result is None:
                raise answer.refused("initialize")
            version, capabilities = answer.result.get("protocolVersion"), answer.result.get("capabilities")
            if not isinstance(version, str) or not isinstance(capabilities, dict):
                raise ProbeFailure(
                    Reason.MCP_INVALID_RESULT, "initialize: protocolVersion or capabilities is missing or malformed"
                )
            name, server_version = server_identity(answer.result.get("serverInfo"))
            self.talk.seen.mcp = McpFacts(
                era="session",
                protocol_version=excerpt(version, 40),
                server_name=name,
                server_version=server_version,
                capabilities=capabilities_text(capabilities),
            )
            if version not in VERSIONS:
                raise ProbeFailure(
                    Reason.MCP_VERSION,
                    f"initialize: server speaks {excerpt(version, 40)!r}, unknown to the session era",
                )
            if name is None:
                raise ProbeFailure(Reason.MCP_INVALID_RESULT, "initialize: serverInfo has no name")
            self._version = version
        with transport.timed("initialized"):
            answer = self.talk.notify(transport, "notifications/initialized", self._headers())
            if answer.status >= 300:
                raise answer.refused("notifications/initialized")
        return capabilities

    def _ping(self, transport: Transport) -> None:
        with transport.timed("ping"):
            answer = self.talk.call(transport, "ping", None, self._headers())
            if answer.result is not None or (answer.error and answer.error.code in _METHOD_UNKNOWN):
                return
            if answer.error is None:
                raise answer.refused("ping")
            self.talk.seen.complaints.append(
                Complaint(Status.DEGRADED, Reason.MCP_ERROR, f"ping: {answer.error}", "ping")
            )

    def _list(self, transport: Transport) -> list[Mapping[str, Any]]:
        with transport.timed("list"):
            return tools.read_all(
                lambda params: self.talk.call(transport, "tools/list", params or None, self._headers()),
                self.talk.options.max_pages,
            )

    def _end(self, transport: Transport) -> None:
        """DELETE the session, if the server gave one: a DELETE without an id breaks one server for the next caller.

        What goes wrong here is no fault of what was checked, so it is not a failure; the counts tell it.
        """
        if self._id is None:
            return
        session_headers, self._id = self._headers(), None
        try:
            with transport.timed("close"):
                status = self.talk.delete(transport, session_headers)
        except ProbeFailure:
            return
        if status < 300 or status in _CANNOT_BE_ENDED:
            self.talk.seen.sessions_closed = (self.talk.seen.sessions_closed or 0) + 1

    def _abandon(self, transport: Transport, opening: Background) -> None:
        """Wait for an initialize that is still under way, because its session would stay; then end it."""
        with suppress(ProbeFailure):  # the attempt has told it already
            opening.wait()
        self._end(transport)

    def _headers(self) -> dict[str, str]:
        headers = {"MCP-Protocol-Version": self._version} if self._version else {}
        if self._id is not None:
            headers["Mcp-Session-Id"] = self._id
        return headers
