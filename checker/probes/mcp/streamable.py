"""The Streamable HTTP transport: every message is a POST, the reply is in its body or in an event stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from checker.model import Reason, RemarkName
from checker.probes.base import Observation, OnLateHead, ProbeFailure, Reply, Request, Transport
from checker.probes.cookies import Cookies
from checker.probes.http import bare_url, credentials, each_field, header_lines, note_refusal, origin, refusal
from checker.probes.mcp.jsonrpc import RpcReply, find_reply, parse, read, request_body
from checker.probes.mcp.known_contract import EarlierContract
from checker.probes.mcp.known_replies import Readings, may_hold_secret
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.rpc_channel import Answer, IncomingMessages, note_oddness, refused_once
from checker.probes.mcp.sse import EventStream, media_type, messages_of, others
from checker.probes.oauth.bearer import Bearer
from checker.probes.redirects import redirected
from checker.secrets.excerpts import excerpt
from checker.version import USER_AGENT

_MOST_RESUMED = 5
_EVENTS = "text/event-stream"
_JSON = "application/json"
_MARK = b"\xef\xbb\xbf"
_PYTHON_TAKES_IT = "Python SDK takes the first message that is no notification for the reply, and refuses it"
_NONE: Mapping[str, str] = {}
_LINES_NONE = header_lines(_NONE)
_ALWAYS = {"Content-Type": _JSON, "Accept": f"{_JSON}, {_EVENTS}", "Accept-Encoding": "identity"}
_LINES_ALWAYS = header_lines({"User-Agent": USER_AGENT, **_ALWAYS})
_SHORT_BYTES = 4096
_SHOWN: Readings[tuple[str, str]] = Readings(64 * 1024)
_WITHOUT_REPLY = (202, 204, 205)
"""Success codes without a body, or with one that is not a reply: the official clients do not read it."""


class StreamableHttp:
    """Implements `checker.probes.mcp.rpc_channel.Channel`: the address, the next id, and observations on the way."""

    name = "streamable-http"
    leaves_sessions = True

    def __init__(
        self,
        options: McpOptions,
        seen: Observation,
        bearer: Bearer | None,
        earlier: EarlierContract | None = None,
    ) -> None:
        self.options, self.seen, self.earlier = options, seen, earlier
        self._url, self.asked, self._bearer = bare_url(options.url), 0, bearer
        self._cookies: Cookies | None = None
        given = credentials(options)
        self._headers = {**_ALWAYS, **given} if given else _ALWAYS
        self._own: Mapping[str, str] = _ALWAYS
        self._more: Mapping[str, str] = _NONE
        """The headers whose lines are known: those of every request, and those of the session."""
        self._own_lines, self._more_lines = _LINES_ALWAYS, _LINES_NONE

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
        on_late_head: OnLateHead | None = None,
    ) -> Answer:
        """Send a request and read until its reply; ``on_head`` gets the reply's head before its body is read."""
        self.asked += 1
        request_id = self.asked
        reply = self._post(transport, method, request_body(method, params, request_id), headers, on_late_head)
        if on_head is not None:
            on_head(reply)
        return self._answer(transport, reply, request_id, method, headers)

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """Send a notification; the answer has neither result nor error."""
        reply = self._post(transport, method, request_body(method, None, None), headers)
        text = excerpt(reply.read()) if reply.status >= 400 else ""
        reply.release()
        if 200 <= reply.status < 300 and reply.status != 202:
            self.seen.remark(RemarkName.NOTIFICATION_ANSWERED, f"HTTP {reply.status} to {method}, expected 202")
        return Answer(reply.status, reply.headers, text=text)

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """Send DELETE and return the HTTP status."""
        own = self._all_headers(transport)
        head = self._head(own, headers, b"\r\n")
        reply = transport.send(Request("DELETE", self._url, {**own, **headers}, head=head))
        reply.release()
        return reply.status

    def _all_headers(self, transport: Transport) -> dict[str, str]:
        own = self._headers
        if self._cookies is not None and (sent := self._cookies.header(self._url, own.get("Cookie"))) is not None:
            own = {**own, "Cookie": sent}
        return own if self._bearer is None else {**own, **self._bearer.headers(transport, self.seen)}

    def _take_cookies(self, reply: Reply) -> None:
        """Keep cookies for the attempt: a load balancer uses them to find the server that has the session."""
        if "set-cookie" in reply.headers:
            self._cookies = self._cookies or Cookies()
            self.seen.secrets |= self._cookies.take(self._url, each_field(reply.headers, "set-cookie"))

    def _post(
        self,
        transport: Transport,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        on_late_head: OnLateHead | None = None,
    ) -> Reply:
        """POST the body; if a token is available and none was sent, or it was refused, once more with a new one."""
        reply = self._post_once(transport, method, body, headers, on_late_head)
        if reply.status == 401 and self._bearer is not None and self._bearer.may_renew:
            reply.release()
            self._bearer.renew(transport, self.seen)
            reply = self._post_once(transport, method, body, headers, on_late_head)
        return reply

    def _post_once(
        self,
        transport: Transport,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        on_late_head: OnLateHead | None,
    ) -> Reply:
        """POST the body; a 307 or 308 within the origin is followed once and remembered for the attempt."""
        own = self._all_headers(transport)
        head = self._head(own, headers, _end_of_head(len(body)), _method_line(method))
        request = Request("POST", self._url, {**own, "Mcp-Method": method, **headers}, body, head=head)
        reply = transport.send(request, on_late_head)
        self._take_cookies(reply)
        if reply.status in (307, 308) and (location := reply.headers.get("location")):
            follow = redirected(request, reply.status, location, own)
            reply.release()
            self.seen.http_status = reply.status
            if origin(follow.url) != origin(self._url) or self.seen.redirects:
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"HTTP {reply.status} to another origin, or a second time")
            self._url, self.seen.redirects = follow.url, 1
            reply = transport.send(follow, on_late_head)
            self._take_cookies(reply)
        self.seen.http_status = reply.status
        if reply.status in (401, 403, 429, 503):
            note_refusal(reply, self.seen)
        return reply

    def _head(self, own: Mapping[str, str], more: Mapping[str, str], end: bytes, method: bytes = b"") -> bytes | None:
        """The lines of a request's headers; None if the transport has to merge and look through them.

        A session gives the same mappings with every request, so that their lines are written once.
        """
        if own is not self._own or more is not self._more:
            if own is not self._own:
                self._own, self._own_lines = own, header_lines({"User-Agent": USER_AGENT, **own})
            self._more, self._more_lines = more, header_lines(more)
            if "Mcp-Method" in own or "Mcp-Method" in more or not own.keys().isdisjoint(more):
                self._more_lines = None
        if self._own_lines is None or self._more_lines is None:
            return None
        return b"".join((self._own_lines, method, self._more_lines, end))

    def _answer(
        self, transport: Transport, reply: Reply, request_id: int, method: str, headers: Mapping[str, str]
    ) -> Answer:
        kind, status, source = media_type(reply), reply.status, b""
        if not 200 <= status < 300 or status in _WITHOUT_REPLY:
            return self._refusal(reply, request_id, kind)
        if kind == _EVENTS:
            found, source = self._from_stream(transport, reply, request_id, method, headers)
        elif kind.startswith(_JSON):  # as the official clients look at it
            body = reply.read()
            self.seen.budget.take_message(body)
            if body.startswith(_MARK):
                refused_once(self.seen, "a body begins with a byte order mark (Python SDK refuses it)")
            message, source = read(body.removeprefix(_MARK), self.earlier)
            if (in_body := find_reply(message, request_id)) is None:
                raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: the body holds no reply to this request")
            note_oddness(found := in_body, self.seen)
        else:
            what = f"content type {kind!r}" if kind else "no content type"
            body = reply.read()
            raise ProbeFailure(Reason.MCP_NOT_JSONRPC, f"{method}: answered {what}: {excerpt(body, 60)!r}")
        if status != 200:
            self.seen.remark(RemarkName.STATUS_CODE, f"HTTP {status} with a proper reply to {method}")
        if kind not in (_JSON, _EVENTS):
            refused_once(self.seen, f"content type {excerpt(kind, 60)!r} of a proper reply (TypeScript SDK refuses it)")
        return Answer(200, reply.headers, found.result, found.error, source=source)

    def _from_stream(
        self, transport: Transport, reply: Reply, request_id: int, method: str, headers: Mapping[str, str]
    ) -> tuple[RpcReply, bytes]:
        """Read events until the reply, and return it with its message: some servers hold the stream open after it.

        A stream that ends early after an event with an id is resumed where it ended (2025-11-25, Transports,
        Resumability and Redelivery).
        """
        incoming = IncomingMessages(
            self.seen,
            lambda body: self._answer_server(transport, body, headers),
            RemarkName.STREAM_EVENTS,
            self.earlier,
        )
        for _ in range(_MOST_RESUMED):
            stream = EventStream()
            messages = messages_of(stream.events(reply.chunks()), incoming, self.seen)
            found = incoming.reply_to(request_id, messages, loose="at the end")
            if found is not None:
                reply.release()
                if incoming.first_odd and found.result is not None:
                    refused_once(self.seen, f"before a reply, the stream {incoming.first_odd} ({_PYTHON_TAKES_IT})")
                return found, incoming.source
            if stream.last_id is None:
                break
            transport.wait((stream.retry_ms or 0) / 1000)
            resume = {"Accept": _EVENTS, "Last-Event-ID": stream.last_id}
            own = {name: value for name, value in self._all_headers(transport).items() if name != "Content-Type"}
            own["Mcp-Method"] = method
            reply = transport.send(Request("GET", self._url, {**own, **headers, **resume}))
            if reply.status != 200 or media_type(reply) != _EVENTS:
                reply.release()
                break
        raise ProbeFailure(Reason.MCP_NO_REPLY, f"{method}: the event stream ended without a reply{others(self.seen)}")

    def _answer_server(self, transport: Transport, body: bytes, headers: Mapping[str, str]) -> None:
        """POST an answer to a request from the server; the check does not wait for the outcome."""

        def post(later: Transport) -> None:
            with suppress(ProbeFailure):
                later.send(Request("POST", self._url, {**self._all_headers(later), **headers}, body)).release()

        transport.in_background(post)

    def _refusal(self, reply: Reply, request_id: int, kind: str) -> Answer:
        """An answer with another status than 200; its body is treated as JSON-RPC only if it is valid."""
        body = reply.read()
        error = None
        try:
            text = next((data for _, data in EventStream().events([body])), b"") if kind == _EVENTS else body
            self.seen.budget.take_message(text)
            found = find_reply(parse(text), request_id)
            error = found.error if found else None
        except ProbeFailure:
            error = None
        said, text_shown = _shown(body)
        refused = refusal(self.options, reply.status, self.seen, said)
        # A 403 that is a JSON-RPC error of the transport (-32000) refuses something of the request, not the caller.
        is_error = reply.status == 403 and error is not None and "www-authenticate" not in reply.headers
        if refused is not None and not (is_error and refused.reason is not Reason.HTTP_STATUS):
            raise refused
        return Answer(reply.status, reply.headers, error=error, text=text_shown)


@lru_cache(maxsize=64)
def _method_line(method: str) -> bytes:
    return f"Mcp-Method: {method}\r\n".encode()


@lru_cache(maxsize=1024)
def _end_of_head(length: int) -> bytes:
    return f"Content-Length: {length}\r\n\r\n".encode()


def _shown(body: bytes) -> tuple[str, str]:
    """The beginning of a refusal's body: for the reason, and for a detail."""
    if (known := _SHOWN.get(body)) is not None and not may_hold_secret(body):
        return known
    shown = excerpt(body, 200), excerpt(body, 80)
    if len(body) <= _SHORT_BYTES and not may_hold_secret(body):
        _SHOWN.note(body, shown, len(body))
    return shown
