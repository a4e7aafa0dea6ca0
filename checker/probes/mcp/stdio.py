"""The stdio transport: a started program, one JSON-RPC message a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from checker.model import Reason
from checker.probes.base import Command, Observation, ProbeFailure, Process, Reply, Transport
from checker.probes.mcp.channel import Answer, Incoming
from checker.probes.mcp.jsonrpc import parse, request_body
from checker.probes.mcp.options import McpOptions
from checker.probes.text import excerpt

_MOST_STRAY_LINES = 200


class Stdio:
    """Implements `checker.probes.mcp.channel.Channel`; the attempt's end shuts the program down."""

    name = "stdio"
    leaves_sessions = False

    def __init__(self, options: McpOptions, seen: Observation) -> None:
        self.options, self.seen = options, seen
        self.stray_lines = 0
        """Lines on standard output that were no messages."""
        self.first_stray = ""
        self._next_id = 0
        self._process: Process | None = None
        self._messages: Iterator[Any] = iter(())

    def open(self, transport: Transport) -> None:
        """Start the program; raises ProbeFailure where that is not possible."""
        options = self.options
        with transport.timed("start"):
            self._process = transport.start(
                Command(
                    program=options.command or "",
                    args=options.args,
                    env=options.env,
                    cwd=options.cwd,
                    shutdown_s=options.shutdown_timeout,
                )
            )
        self._messages = self._read(self._process)

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
    ) -> Answer:
        """Write a request and read lines up to its reply."""
        self._next_id += 1
        request_id = self._next_id
        self._write(request_body(method, params, request_id))
        found = Incoming(self.seen, self._write).reply_to(request_id, self._messages)
        if found is None:
            raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: standard output was closed without a reply")
        return Answer(200, {}, found.result, found.error)

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """Write a notification."""
        self._write(request_body(method, None, None))
        return Answer(202, {})

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """Nothing to send: the session ends with the program."""
        return 204

    def _write(self, message: bytes) -> None:
        if self._process is not None:
            self._process.send(message)

    def _read(self, process: Process) -> Iterator[Any]:
        """Messages as they come; what is no JSON object is counted, and suspected should no reply come."""
        for line in process.lines():
            if not line.strip():
                continue
            try:
                message = parse(line)
            except ProbeFailure:
                message = None
            if isinstance(message, dict | list):
                yield message
                continue
            self._stray(line)

    def _stray(self, line: bytes) -> None:
        self.stray_lines += 1
        self.first_stray = self.first_stray or excerpt(line, 80)
        count = "a line" if self.stray_lines == 1 else f"{self.stray_lines} lines"
        self.seen.suspicion = ProbeFailure(
            Reason.MCP_NOT_JSONRPC, f"printed {count} on standard output that are no messages: {self.first_stray!r}"
        )
        if self.stray_lines > _MOST_STRAY_LINES:
            raise self.seen.suspicion
