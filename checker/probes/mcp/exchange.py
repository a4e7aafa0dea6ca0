"""One JSON-RPC message over Streamable HTTP: POST it, find the reply, say what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from checker.model import Reason
from checker.probes.base import Observation, ProbeFailure, Reply, Request, Transport
from checker.probes.http import bare_url, credentials, note_refusal, origin, redirected, refusal
from checker.probes.mcp import sse
from checker.probes.mcp.jsonrpc import RpcError, RpcReply, find_reply, parse, request_body
from checker.probes.mcp.options import McpOptions
from checker.probes.text import excerpt
from checker.version import VERSION

CLIENT_INFO = {"name": "mcp-status-check", "version": VERSION}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one message."""

    status: int
    headers: Mapping[str, str]
    result: Mapping[str, Any] | None = None
    error: RpcError | None = None
    text: str = ""
    """Start of a body that was no JSON-RPC, for the detail of a refusal."""

    def refused(self, method: str) -> ProbeFailure:
        """The failure that this answer is, where a result was needed."""
        if self.error is not None:
            status = "" if self.status == 200 else f" (HTTP {self.status})"
            return ProbeFailure(Reason.MCP_ERROR, f"{method}: {self.error}{status}")
        if self.status in (404, 405):
            return ProbeFailure(
                Reason.HTTP_STATUS,
                f"HTTP {self.status} to {method}: no MCP endpoint over Streamable HTTP at this address",
            )
        said = f": {self.text}" if self.text else ""
        return ProbeFailure(Reason.HTTP_STATUS, f"HTTP {self.status} to {method}{said}")


class Conversation:
    """The messages of one attempt: the address they go to, the next id, and what was seen on the way."""

    def __init__(self, options: McpOptions, seen: Observation) -> None:
        self.options, self.seen = options, seen
        self._url, self._next_id = bare_url(options.url), 0
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            **credentials(options),
        }

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
    ) -> Answer:
        """Send a request and read until its reply; ``on_head`` sees the reply's head before its body is awaited."""
        self._next_id += 1
        request_id = self._next_id
        reply = self._post(transport, request_body(method, params, request_id), headers)
        if on_head is not None:
            on_head(reply)
        return self._answer(reply, request_id, method)

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """Send a notification; the answer has neither result nor error."""
        reply = self._post(transport, request_body(method, None, None), headers)
        text = excerpt(reply.read()) if reply.status >= 400 else ""
        reply.release()
        return Answer(reply.status, reply.headers, text=text)

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """Send DELETE and give the HTTP status."""
        reply = transport.send(Request("DELETE", self._url, {**self._headers, **headers}))
        reply.release()
        return reply.status

    def _post(self, transport: Transport, body: bytes, headers: Mapping[str, str]) -> Reply:
        """POST the body; a 307 or 308 within the origin is followed once and remembered for the attempt."""
        request = Request("POST", self._url, {**self._headers, **headers}, body)
        reply = transport.send(request)
        if reply.status in (307, 308) and (location := reply.headers.get("location")):
            follow = redirected(request, reply.status, location, self._headers)
            reply.release()
            self.seen.http_status = reply.status
            if origin(follow.url) != origin(self._url) or self.seen.redirects:
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"HTTP {reply.status} to another origin, or a second time")
            self._url, self.seen.redirects = follow.url, 1
            reply = transport.send(follow)
        self.seen.http_status = reply.status
        if reply.status in (401, 403, 429, 503):
            note_refusal(reply, self.seen)
        return reply

    def _answer(self, reply: Reply, request_id: int, method: str) -> Answer:
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if reply.status == 200 and kind == "text/event-stream":
            found = self._from_stream(reply, request_id, method)
            return Answer(reply.status, reply.headers, found.result, found.error)
        if reply.status == 200 and kind != "application/json":
            what = f"content type {kind!r}" if kind else "no content type"
            body = reply.read()
            raise ProbeFailure(Reason.MCP_NOT_JSONRPC, f"{method}: answered {what}: {excerpt(body, 60)!r}")
        if reply.status == 200:
            body = reply.read()
            if (found_one := find_reply(parse(body), request_id)) is None:
                raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: the body holds no reply to this request")
            return Answer(reply.status, reply.headers, found_one.result, found_one.error)
        return self._refusal(reply, request_id, kind)

    def _from_stream(self, reply: Reply, request_id: int, method: str) -> RpcReply:
        """Read events up to the reply: some servers hold the stream open after it."""
        for data in sse.events(reply.chunks()):
            message = parse(data)
            if (found := find_reply(message, request_id)) is not None:
                reply.release()
                return found
        raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: the event stream ended without a reply")

    def _refusal(self, reply: Reply, request_id: int, kind: str) -> Answer:
        """An answer with another status than 200; its body is JSON-RPC only if it keeps to it."""
        body = reply.read()
        error = None
        try:
            texts = list(sse.events([body])) if kind == "text/event-stream" else [body]
            found = find_reply(parse(texts[0]), request_id) if texts else None
            error = found.error if found else None
        except ProbeFailure:
            error = None
        # A 403 that is a JSON-RPC error of the transport (-32000) refuses the Host or Origin, not the caller.
        wrong_host = reply.status == 403 and error is not None and "www-authenticate" not in reply.headers
        if not wrong_host and (refused := refusal(self.options, reply.status, self.seen)):
            raise refused
        return Answer(reply.status, reply.headers, error=error, text=excerpt(body, 80))
