"""The HTTP+SSE transport of 2024-11-05: one GET stream that brings every reply, and POSTs to the address it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

from checker.model import Reason
from checker.probes.base import Budget, Observation, ProbeFailure, Reply, Request, Transport
from checker.probes.http import bare_url, credentials, note_refusal, origin, refusal
from checker.probes.mcp.channel import Answer, Incoming
from checker.probes.mcp.jsonrpc import parse, request_body
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.sse import EventStream
from checker.probes.oauth.bearer import Bearer
from checker.probes.text import excerpt

_EVENTS = "text/event-stream"


class HttpSse:
    """Implements `checker.probes.mcp.channel.Channel`; closing the stream, which the attempt's end does, ends it."""

    name = "sse"
    leaves_sessions = False

    def __init__(self, options: McpOptions, seen: Observation, bearer: Bearer | None) -> None:
        self.options, self.seen = options, seen
        self._next_id, self._bearer, self._post_url = 0, bearer, ""
        self._messages: Iterator[Any] = iter(())

    def open(self, transport: Transport) -> None:
        """GET the stream and read on to its endpoint event; raises ProbeFailure where there is none."""
        with transport.timed("initialize"):
            reply = self._get(transport)
            if reply.status != 200 or reply.headers.get("content-type", "").partition(";")[0].strip() != _EVENTS:
                text = excerpt(reply.read(), 80)
                if refused := refusal(self.options, reply.status, self.seen, text):
                    raise refused
                said = f": {text}" if text else ""
                raise ProbeFailure(Reason.HTTP_STATUS, f"HTTP {reply.status} to GET, expected an event stream{said}")
            events = EventStream().events(reply.chunks())
            self._post_url = self._endpoint(events)
            self._messages = _messages(events, self.seen.budget)

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
    ) -> Answer:
        """POST a request and read the stream up to its reply."""
        self._next_id += 1
        request_id = self._next_id
        answer = self._post(transport, request_body(method, params, request_id))
        if answer.status >= 300:
            return answer
        incoming = Incoming(self.seen, lambda body: self._answer_server(transport, body))
        found = incoming.reply_to(request_id, self._messages)
        if found is None:
            raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: the event stream ended without a reply")
        return Answer(200, answer.headers, found.result, found.error)

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """POST a notification; the answer has neither result nor error."""
        return self._post(transport, request_body(method, None, None))

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """Nothing to send: the session ends with its stream."""
        return 204

    def _get(self, transport: Transport) -> Reply:
        """The stream's head; after a refusal once more with a new token, where one is to be had."""
        for last in (False, True):
            headers = {"Accept": _EVENTS, "Cache-Control": "no-store", **self._credentials(transport)}
            reply = transport.send(Request("GET", bare_url(self.options.url), headers))
            self.seen.http_status = reply.status
            if reply.status in (401, 403, 429, 503):
                note_refusal(reply, self.seen)
            if last or reply.status != 401 or self._bearer is None or not self._bearer.may_renew:
                break
            reply.release()
            self._bearer.renew(transport, self.seen)
        return reply

    def _endpoint(self, events: Iterator[tuple[bytes, bytes]]) -> str:
        """The address for POSTs, which is the first event; another origin would get the credentials."""
        for kind, data in events:
            if kind != b"endpoint":
                raise ProbeFailure(
                    Reason.MCP_NOT_JSONRPC, f"the stream begins with a {excerpt(kind, 40)!r} event, expected endpoint"
                )
            url = bare_url(self.options.url)
            try:
                target = bare_url(urljoin(url, data.decode("utf-8", "replace").strip()))
                same = origin(target) == origin(url)
            except ValueError:
                raise ProbeFailure(Reason.MCP_INVALID_RESULT, "the endpoint event names no valid address") from None
            if not same:
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, "the endpoint event names another origin")
            return target
        raise ProbeFailure(Reason.MCP_NO_REPLY, "the event stream ended without an endpoint event")

    def _post(self, transport: Transport, body: bytes) -> Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self._credentials(transport)}
        reply = transport.send(Request("POST", self._post_url, headers, body))
        self.seen.http_status = reply.status
        if reply.status >= 300:
            note_refusal(reply, self.seen)
            text = excerpt(reply.read(), 80)
            if refused := refusal(self.options, reply.status, self.seen, text):
                raise refused
            return Answer(reply.status, reply.headers, text=text)
        reply.release()
        return Answer(reply.status, reply.headers)

    def _answer_server(self, transport: Transport, body: bytes) -> None:
        """POST an answer to a request of the server's own; nothing of the check waits for what becomes of it."""

        def post(later: Transport) -> None:
            headers = {"Content-Type": "application/json", **self._credentials(later)}
            with suppress(ProbeFailure):
                later.send(Request("POST", self._post_url, headers, body)).release()

        transport.in_background(post)

    def _credentials(self, transport: Transport) -> dict[str, str]:
        own = credentials(self.options)
        return own if self._bearer is None else {**own, **self._bearer.headers(transport, self.seen)}


def _messages(events: Iterator[tuple[bytes, bytes]], budget: Budget) -> Iterator[Any]:
    for kind, data in events:
        budget.take_message(data)
        if kind == b"message":
            yield parse(data)
