"""The stdio transport: a started program, one JSON-RPC message per line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from checker.model import Reason, RemarkName
from checker.probes.base import Command, Observation, OnLateHead, ProbeFailure, Process, Reply, Transport
from checker.probes.mcp.jsonrpc import RpcReply, find_reply, read, request_body
from checker.probes.mcp.known_contract import EarlierContract
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.rpc_channel import Answer, IncomingMessages


class Stdio:
    """Implements `checker.probes.mcp.rpc_channel.Channel`; the attempt's end shuts the program down."""

    name = "stdio"
    leaves_sessions = False

    def __init__(self, options: McpOptions, seen: Observation, earlier: EarlierContract | None = None) -> None:
        self.options, self.seen, self.earlier = options, seen, earlier
        self.asked = 0
        self._process: Process | None = None
        self._incoming = IncomingMessages(seen, self._write, RemarkName.STDOUT_LINES, earlier)

    def open(self, transport: Transport) -> None:
        """Start the program; raises ProbeFailure if that is not possible."""
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
        on_late_head: OnLateHead | None = None,
    ) -> Answer:
        """Write a request and read lines until its reply."""
        self.asked += 1
        request_id = self.asked
        self._write(request_body(method, params, request_id))
        found = self._incoming.reply_to(request_id, self, loose="at once" if request_id == 1 else "")
        if found is None:
            raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: standard output was closed without a reply")
        return Answer(200, {}, found.result, found.error, source=self._incoming.source)

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
        """The next message; a line that is not JSON is recorded, and reported if no reply arrives.

        Not a generator, because a generator is finished once a time limit interrupts it.
        """
        while self._process is not None:
            line = self._process.read_line()
            if not line.strip():
                continue
            self.seen.budget.take_message(line)
            try:
                message, source = read(line, self._incoming.earlier)
            except ProbeFailure:
                self._incoming.note_stray("printed a line on standard output that is no message", line)
                continue
            self._incoming.source = source
            return message
        raise StopIteration

    def late_reply(self, request_id: int) -> RpcReply | None:
        """The reply to a request that was given up, if it has arrived since."""
        message = self._incoming.late.get(request_id)
        try:
            return None if message is None else find_reply(message, request_id)
        except ProbeFailure:
            return None
