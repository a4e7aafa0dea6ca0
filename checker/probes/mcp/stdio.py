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
        self._stray_lines, self._first_stray = 0, ""
        self._next_id = 0
        self._process: Process | None = None

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
        found = Incoming(self.seen, self._write).reply_to(request_id, self)
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

    def __iter__(self) -> Iterator[Any]:
        """The messages of the program."""
        return self

    def __next__(self) -> Any:
        """The next message; what is no JSON object is counted, and suspected should no reply come.

        No generator, because one is over when a time limit interrupts it.
        """
        while self._process is not None:
            line = self._process.read_line()
            if not line.strip():
                continue
            self.seen.budget.take_message(line)
            try:
                message = parse(line)
            except ProbeFailure:
                message = None
            if isinstance(message, dict | list):
                return message
            self._note_stray(line)
        raise StopIteration

    @property
    def stray(self) -> ProbeFailure | None:
        """What is to be said of lines on standard output that were no messages; None where there were none."""
        if not self._stray_lines:
            return None
        count = "a line" if self._stray_lines == 1 else f"{self._stray_lines} lines"
        return ProbeFailure(
            Reason.MCP_NOT_JSONRPC, f"printed {count} on standard output that are no messages: {self._first_stray!r}"
        )

    def _note_stray(self, line: bytes) -> None:
        self._stray_lines += 1
        self._first_stray = self._first_stray or excerpt(line, 80)
        self.seen.suspicion = self.stray
        if self._stray_lines > _MOST_STRAY_LINES and self.stray is not None:
            raise self.stray
