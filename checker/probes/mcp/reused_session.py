"""A long-lived session: opened once, used for many requests, then ended; for callers that need no whole check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.model import Reason
from checker.probes.base import Observation, ProbeFailure, Transport
from checker.probes.mcp import protocol_versions, sessionless
from checker.probes.mcp.list_pages import LISTS, read_all
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.param_headers import header_value, param_headers
from checker.probes.mcp.rpc_channel import Answer
from checker.probes.mcp.session import Session
from checker.probes.mcp.stdio import Stdio
from checker.probes.mcp.streamable import StreamableHttp
from checker.probes.oauth.bearer import Bearer

_PING_UNKNOWN = (-32601, -32602)


class KeptSession:
    """A session over Streamable HTTP or with a started program; in the sessionless era, an equivalent without one.

    Every method raises ProbeFailure. After mcp_session_expired, and after any failure that leaves the channel in doubt,
    the session has to be opened anew.
    """

    def __init__(self, options: McpOptions) -> None:
        self._options, self._seen = options, Observation()
        self._bearer = None if options.oauth is None else Bearer(options.oauth, options.url, {})
        self._channel: StreamableHttp | Stdio = self._new_channel()
        self._session: Session | None = None
        self._tools: dict[str, Mapping[str, Any]] | None = None
        self.is_open = False

    @property
    def seen(self) -> Observation:
        """Observations from the exchanges: the last status, and the wait that a refusal asks for."""
        return self._seen

    def open(self, transport: Transport) -> None:
        """Start the program if there is one, detect the era, and do the handshake."""
        self._begin()
        channel = self._channel = self._new_channel()
        self._session = None
        if isinstance(channel, Stdio):
            channel.open(transport)
        if self._options.era == "session" or protocol_versions.discover(transport, channel) is None:
            if self._options.era == "sessionless":
                raise ProbeFailure(Reason.MCP_VERSION, f"does not speak {sessionless.VERSION}", "discover")
            self._session = Session(channel)
            self._session.open(transport)
        self.is_open = True

    def ping(self, transport: Transport) -> None:
        """Make an empty request: ping, or server/discover in the sessionless era, which has no ping."""
        if self._session is None:
            self._result(transport, "ping", "server/discover", {})
            return
        self._begin()
        with transport.timed("ping"):
            answer = self._session.ask(transport, "ping", {}, {})
            if answer.result is None and (answer.error is None or answer.error.code not in _PING_UNKNOWN):
                raise answer.refused("ping")

    def list_tools(self, transport: Transport) -> None:
        """The first page of tools/list."""
        result = self._result(transport, "list", "tools/list", {})
        if not isinstance(result.get("tools"), list):
            raise ProbeFailure(Reason.MCP_INVALID_RESULT, "tools/list: tools is not a list", "list")

    def find_tool(self, transport: Transport, name: str) -> None:
        """Make sure that the tool is listed, and fetch its schema; mcp_missing_tool if it is not listed."""
        if self._tools is None:
            self._tools = {str(tool.get("name")): tool for tool in self._all_tools(transport)}
        if name not in self._tools:
            raise ProbeFailure(Reason.MCP_MISSING_TOOL, f"not listed: {name}", "list")

    def call_tool(self, transport: Transport, name: str, arguments: Mapping[str, Any]) -> None:
        """Call the tool; condition_failed if it reports an error of its own."""
        schema = (self._tools or {}).get(name, {}).get("inputSchema")
        headers = {"Mcp-Name": header_value(name), **param_headers(schema, arguments)}
        params = {"name": name, "arguments": dict(arguments)}
        result = self._result(transport, "call", "tools/call", params, headers)
        if result.get("isError"):
            raise ProbeFailure(Reason.CONDITION_FAILED, "isError", "call")

    def end(self, transport: Transport) -> None:
        """End the session; a program ends with its transport."""
        self.is_open = False
        self._begin()
        if self._session is not None:
            self._session.end(transport)
            self._session = None

    def _begin(self) -> None:
        if self._bearer is not None:
            self._bearer.begin()

    def _new_channel(self) -> StreamableHttp | Stdio:
        if self._options.command is not None:
            return Stdio(self._options, self._seen)
        return StreamableHttp(self._options, self._seen, self._bearer)

    def _all_tools(self, transport: Transport) -> list[Mapping[str, Any]]:
        def ask(method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
            return self._ask(transport, method, params, headers)

        with transport.timed("list"):
            listed = read_all(ask, LISTS["tools"], self._options.max_pages)
        return listed if isinstance(listed, list) else []  # a process that makes load does nothing elsewhere

    def _result(
        self,
        transport: Transport,
        stage: str,
        method: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        with transport.timed(stage):
            answer = self._ask(transport, method, params, headers or {})
            if answer.result is None:
                raise answer.refused(method)
            return answer.result

    def _ask(self, transport: Transport, method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        self._begin()
        if self._session is None:
            return sessionless.ask(transport, self._channel, method, params, headers)
        return self._session.ask(transport, method, params, headers)
