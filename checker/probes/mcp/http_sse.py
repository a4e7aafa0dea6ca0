"""The HTTP+SSE transport of 2024-11-05: one GET stream that brings every reply, and POSTs to the address it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

from checker.model import Reason, RemarkName
from checker.probes.base import Observation, OnLateHead, ProbeFailure, Reply, Request, Transport
from checker.probes.cookies import Cookies
from checker.probes.http import bare_url, credentials, each_field, note_refusal, origin, refusal, told_url
from checker.probes.mcp.jsonrpc import request_body
from checker.probes.mcp.known_contract import EarlierContract
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.rpc_channel import Answer, IncomingMessages
from checker.probes.mcp.sse import EventStream, media_type, messages_of, note_other, others
from checker.probes.oauth.bearer import Bearer
from checker.probes.redirects import redirected
from checker.secrets.excerpts import excerpt

_EVENTS = "text/event-stream"


class HttpSse:
    """A `rpc_channel.Channel`; closing the stream, at the end of the attempt, ends it."""

    name = "sse"
    leaves_sessions = False

    def __init__(
        self,
        options: McpOptions,
        seen: Observation,
        bearer: Bearer | None,
        earlier: EarlierContract | None = None,
    ) -> None:
        self.options, self.seen, self.earlier = options, seen, earlier
        self.asked, self._bearer = 0, bearer
        self._url, self._post_url, self._followed = bare_url(options.url), "", ""
        self._cookies: Cookies | None = None
        self._messages: Iterator[Any] = iter(())
        self._incoming = IncomingMessages(seen, self._answer_server, RemarkName.STREAM_EVENTS, earlier)
        self._answer_later: Callable[[Callable[[Transport], None]], Any] | None = None

    def open(self, transport: Transport) -> None:
        """GET the stream and read until its endpoint event; raises ProbeFailure if there is none."""
        with transport.timed("initialize"):
            reply = self._get(transport)
            if reply.status != 200 or media_type(reply) != _EVENTS:
                text = excerpt(reply.read(), 80)
                if refused := refusal(self.options, reply.status, self.seen, text):
                    raise refused
                said = f": {text}" if text else ""
                raise ProbeFailure(Reason.HTTP_STATUS, f"HTTP {reply.status} to GET, expected an event stream{said}")
            events = EventStream().events(reply.chunks())
            self._post_url = self._endpoint(events)
            self._messages = messages_of(events, self._incoming, self.seen)

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
        on_late_head: OnLateHead | None = None,
    ) -> Answer:
        """POST a request and read the stream until its reply."""
        self.asked += 1
        request_id = self.asked
        answer = self._post(transport, request_body(method, params, request_id))
        if answer.status >= 300:
            return answer
        self._answer_later = transport.in_background
        found = self._incoming.reply_to(request_id, self._messages, loose="at once" if request_id == 1 else "")
        if found is None:
            said = f"{method}: the event stream ended without a reply{others(self.seen)}"
            raise ProbeFailure(Reason.MCP_NO_REPLY, said)
        return Answer(200, answer.headers, found.result, found.error, source=self._incoming.source)

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """POST a notification; the answer has neither result nor error."""
        return self._post(transport, request_body(method, None, None))

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """Nothing to send: the session ends with its stream."""
        return 204

    def _get(self, transport: Transport) -> Reply:
        """The stream's head; after a refusal once more with a new token, if one is available."""
        for last in (False, True):
            own = self._credentials(transport)
            request = Request("GET", self._url, {"Accept": _EVENTS, "Cache-Control": "no-store", **own})
            reply = self._sent(transport, request, own)
            self._url = self._followed or self._url
            if reply.status in (401, 403, 429, 503):
                note_refusal(reply, self.seen)
            if last or reply.status != 401 or self._bearer is None or not self._bearer.may_renew:
                break
            reply.release()
            self._bearer.renew(transport, self.seen)
        return reply

    def _sent(self, transport: Transport, request: Request, own: Mapping[str, str]) -> Reply:
        """The reply; each redirect within the origin that keeps method and body (307, 308) is followed once."""
        reply, self._followed = transport.send(request), ""
        if "set-cookie" in reply.headers:  # by it a load balancer knows which of its servers has the session
            self._cookies = self._cookies or Cookies()
            self.seen.secrets |= self._cookies.take(request.url, each_field(reply.headers, "set-cookie"))
        self.seen.http_status = reply.status
        kept = (301, 302, 303, 307, 308) if request.method == "GET" else (307, 308)
        if reply.status in kept and (location := reply.headers.get("location")):
            status = reply.status
            follow = redirected(request, status, location, own)
            reply.release()
            if origin(follow.url) != origin(self.options.url):
                raise ProbeFailure(
                    Reason.REDIRECT_BLOCKED,
                    f"HTTP {status} to {request.method} leads to another origin, {excerpt(told_url(follow.url), 100)}",
                )
            self._followed = follow.url
            self.seen.redirects = (self.seen.redirects or 0) + 1
            reply = transport.send(follow)
            self.seen.http_status = reply.status
        return reply

    def _endpoint(self, events: Iterator[tuple[bytes, bytes]]) -> str:
        """The address for POSTs, from the endpoint event; another origin would get the credentials.

        Messages before it are not replies yet; events of other types are ignored.
        """
        for kind, data in events:
            if kind != b"endpoint":
                self.seen.budget.take_message(data)
                note_other(kind, self.seen)
                continue
            url = self._url
            try:
                target = bare_url(urljoin(url, data.decode("utf-8", "replace").strip()))
                same, told = origin(target) == origin(url), excerpt(told_url(target), 100)
            except ValueError:
                raise ProbeFailure(Reason.MCP_INVALID_RESULT, "the endpoint event names no valid address") from None
            if not same:
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"the endpoint event names another origin, {told}")
            return target
        said = f"the event stream ended without an endpoint event{others(self.seen)}"
        raise ProbeFailure(Reason.MCP_NO_REPLY, said)

    def _post(self, transport: Transport, body: bytes) -> Answer:
        own = self._credentials(transport)
        headers = {"Content-Type": "application/json", "Accept": "application/json", **own}
        reply = self._sent(transport, Request("POST", self._post_url, headers, body), own)
        self._post_url = self._followed or self._post_url
        if reply.status >= 300:
            note_refusal(reply, self.seen)
            text = excerpt(reply.read(), 80)
            if refused := refusal(self.options, reply.status, self.seen, text):
                raise refused
            return Answer(reply.status, reply.headers, text=text)
        reply.release()
        return Answer(reply.status, reply.headers)

    def _answer_server(self, body: bytes) -> None:
        """POST an answer to a request from the server; the check does not wait for the outcome."""

        def post(later: Transport) -> None:
            headers = {"Content-Type": "application/json", **self._credentials(later)}
            with suppress(ProbeFailure):
                later.send(Request("POST", self._post_url, headers, body)).release()

        if self._answer_later is not None:
            self._answer_later(post)

    def _credentials(self, transport: Transport) -> dict[str, str]:
        own = credentials(self.options)
        if self._cookies is not None and (sent := self._cookies.header(self._url, own.get("Cookie"))) is not None:
            own["Cookie"] = sent
        return own if self._bearer is None else {**own, **self._bearer.headers(transport, self.seen)}
