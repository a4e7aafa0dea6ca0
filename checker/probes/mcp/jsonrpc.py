"""JSON-RPC 2.0 messages: writing requests, and recognising the reply to one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from msgspec.structs import replace

from checker.model import Reason
from checker.probes import offload
from checker.probes.base import ProbeFailure
from checker.probes.bodies import TooDeep, TooManyValues, loads
from checker.probes.mcp.known_contract import EarlierContract
from checker.probes.mcp.known_replies import Readings
from checker.secrets.excerpts import excerpt
from checker.structs import Record


class RpcError(Record, frozen=True):
    """The error member of a reply."""

    code: int
    message: str
    data: Any = None

    def __str__(self) -> str:
        return f"{self.code} {excerpt(self.message)}"


class RpcReply(Record, frozen=True):
    """A reply to one request: exactly one of the first two is set."""

    result: Mapping[str, Any] | None = None
    error: RpcError | None = None
    odd: str = ""
    """Oddities of the message that every client accepts."""
    refused: str = ""
    """The reason for which one of the official clients refuses the message, and the client."""


class UnreadResult(dict[str, Any]):
    """A result that came in an earlier run in the same bytes: nothing is in here before somebody needs it."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self._text = text

    def read(self) -> Mapping[str, Any]:
        """The result; its text was read before."""
        result: Mapping[str, Any] = loads(self._text)
        return result


_USUAL_MEMBERS = 3
_MESSAGES: Readings[Any] = Readings(256 * 1024)
"""Messages that are no usual replies, such as errors."""
_RESULTS: Readings[Mapping[str, Any]] = Readings(1024 * 1024)
"""A value takes up to ten times the bytes of its text."""
_SPACE = rb"[ \t\r\n]*"
_VERSION = rb'("jsonrpc"%s:%s"2\.0")' % (_SPACE, _SPACE)
_ID = rb'"id"%s:%s(0|[1-9][0-9]{0,14})' % (_SPACE, _SPACE)
_BEFORE = re.compile(
    rb"%s\{%s(?:%s%s,%s)?" % (_SPACE, _SPACE, _VERSION, _SPACE, _SPACE)
    + rb"(?:%s%s,%s)?(?:%s%s,%s)?" % (_ID, _SPACE, _SPACE, _VERSION, _SPACE, _SPACE)
    + rb'"result"%s:%s' % (_SPACE, _SPACE)
)
_BEHIND = re.compile(
    rb"(?:%s,%s%s)?(?:%s,%s%s)?" % (_SPACE, _SPACE, _VERSION, _SPACE, _SPACE, _ID)
    + rb"(?:%s,%s%s)?%s\}%s" % (_SPACE, _SPACE, _VERSION, _SPACE, _SPACE)
)
"""What a reply with a result has before and behind it, in whatever order; every member once."""
_LONGEST_AROUND = 100


def request_body(method: str, params: Mapping[str, Any] | None, request_id: int | None) -> bytes:
    """A request, or a notification if there is no id."""
    if params is None:
        return _bare_body(method, request_id)
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if request_id is not None:
        message["id"] = request_id
    message["params"] = params
    return orjson.dumps(message)


@lru_cache(maxsize=256)
def _bare_body(method: str, request_id: int | None) -> bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if request_id is not None:
        message["id"] = request_id
    return orjson.dumps(message)


def is_request(message: Any) -> bool:
    """True if the message is a request from the server, which waits for an answer."""
    request = isinstance(message, dict) and isinstance(message.get("method"), str)
    return request and isinstance(message.get("id"), str | int | float)  # JSON-RPC 2.0 section 4 knows no other id


def answer_body(request: Mapping[str, Any]) -> bytes:
    """The answer of a client that announced no capabilities: only ping is known."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] == "ping":
        answer["result"] = {}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found: this client announced no such capability"}
    return orjson.dumps(answer)


def parse(text: bytes) -> Any:
    """The JSON value; raises ProbeFailure if the text is not JSON, or nested deeper than any real message.

    Results in a message that is too large to be read beside others are `checker.probes.mcp.large_messages.LargeResult`.
    The value must not be changed: it is also that of other texts with the same bytes.
    """
    length = len(text)
    if length <= offload.LARGE_BYTES and (known := _MESSAGES.get(text)) is not None:
        return known
    if offload.is_large(text) and offload.is_elsewhere():
        from checker.probes.mcp.large_messages import parse_large

        return parse_large(text)
    try:
        message = loads(text)
    except TooManyValues as error:
        raise ProbeFailure(Reason.BODY_TOO_LARGE, str(error)) from None
    except TooDeep as error:
        raise ProbeFailure(Reason.MCP_NOT_JSONRPC, f"answered {error}") from None
    except orjson.JSONDecodeError:
        shown = f"not JSON: {excerpt(text, 80)!r}" if text.strip() else "an empty body"
        raise ProbeFailure(Reason.MCP_NOT_JSONRPC, f"answered {shown}") from None
    if length <= offload.LARGE_BYTES:
        _MESSAGES.note(text, message, length)
    return message


def read(text: bytes, earlier: EarlierContract | None = None) -> tuple[Any, bytes]:
    """The message as by `parse`, and the text of its result; empty for whatever is not a usual reply of usual size.

    What follows from a result is known again by this text: another number of the request does not make it another one.
    A result that came in an earlier run, and is awaited again, is an `UnreadResult`.
    """
    if (found := _result_in(text)) is None:
        return parse(text), b""
    number, source = found
    if earlier is not None and earlier.needs_no_reading(source):
        return {"jsonrpc": "2.0", "id": number, "result": UnreadResult(source)}, source
    if (result := _RESULTS.get(source)) is None:
        if offload.is_large(text) and offload.is_elsewhere():
            return parse(text), b""
        try:
            result = loads(source, levels_around=1)
        except ValueError:  # it is no JSON, or no value by itself: then the message is another one than it looks
            return parse(text), b""
        _RESULTS.note(source, result, len(source))
    return {"jsonrpc": "2.0", "id": number, "result": result}, source


def _result_in(text: bytes) -> tuple[int, bytes] | None:
    """The id of a reply and the text of its result, which is an object, if it is one; None if it is no usual reply.

    With that text replaced by another object the message is still JSON, and says the same otherwise.
    """
    if len(text) > offload.LARGE_BYTES:
        return None
    start = text.find(b"{", text.find(b"{") + 1)
    end = text.rfind(b"}", 0, text.rfind(b"}")) + 1
    if not start < end or start > _LONGEST_AROUND or len(text) - end > _LONGEST_AROUND:
        return None
    number = _number(text[:start], text[end:])
    return None if number is None else (number, text[start:end])


@lru_cache(maxsize=1024)  # ids are low, and all replies of a program look alike
def _number(before: bytes, behind: bytes) -> int | None:
    """The id of a reply that has this before and behind its result; None if it is no usual one."""
    begin, end = _BEFORE.fullmatch(before), _BEHIND.fullmatch(behind)
    if begin is None or end is None:
        return None
    (version, number, other), (third, later_number, fourth) = begin.groups(), end.groups()
    if (number is None) == (later_number is None) or [version, other, third, fourth].count(None) != 3:
        return None
    return int(number or later_number)


def find_reply(message: Any, request_id: int) -> RpcReply | None:
    """The reply to ``request_id`` in a message or in a batch; None if the message is about something else.

    Raises ProbeFailure if the message claims to be the reply and breaks JSON-RPC 2.0 section 5.
    """
    if isinstance(message, list):  # batches exist in protocol version 2025-03-26 only, but are harmless to read
        if any(isinstance(one, list) for one in message):
            raise _broken("a batch in a batch")
        replies = [reply for one in message if (reply := find_reply(one, request_id)) is not None]
        return replace(replies[0], refused="a batch (Python SDK refuses it)") if replies else None
    if not isinstance(message, dict):
        raise _broken("not an object")
    if "method" in message:  # a request or notification of the server's own
        return None
    if "result" not in message and "error" not in message:
        raise _broken("neither result nor error in it")
    if "error" in message:
        return _error_reply(message, request_id)
    if message.get("jsonrpc") != "2.0":
        raise _broken(f"jsonrpc is {_shown(message.get('jsonrpc'), 40)}, expected '2.0'")
    if not answers(message.get("id"), request_id):
        raise _broken(f"id is {_shown(message.get('id'), 40)}, expected {request_id}")
    if not isinstance(message["result"], dict):
        raise _broken("result is not an object")
    if len(message) == _USUAL_MEMBERS and type(message["id"]) is int:
        return RpcReply(result=message["result"])
    others = sorted(name for name in message if name not in ("jsonrpc", "id", "result"))
    return RpcReply(
        result=message["result"],
        odd="" if type(message["id"]) is int else f"its id is {_shown(message['id'], 40)}, a text",
        refused=f"{excerpt(others[0], 40)} beside its result (TypeScript SDK refuses it)" if others else "",
    )


def answers(given: Any, request_id: int) -> bool:
    """True if a message's id is that of the request; as text too, which the official clients accept."""
    return bool(given == request_id or given == str(request_id)) and not isinstance(given, bool)


def spelled(message: Any) -> bytes:
    """The beginning of a JSON value, for a human reader."""
    return _shown(message, 80).encode("utf-8", "replace")


def _error_reply(message: Mapping[str, Any], request_id: int) -> RpcReply:
    """The reply for an error that may carry another id: a server that refuses a request unread cannot know its id."""
    error = message["error"]
    if "result" in message:
        raise _broken("both result and error in it")
    if message.get("jsonrpc") != "2.0" or not isinstance(error, dict):
        raise _broken(f"error is {_shown(error, 80)}")
    code, text = error.get("code"), error.get("message")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(text, str):
        raise _broken(f"error without a numeric code and a message: {_shown(error, 80)}")
    return RpcReply(error=RpcError(code, text, error.get("data")))


def _shown(value: Any, limit: int) -> str:
    """The beginning of a value, of which no more than necessary is serialised: it may be megabytes."""
    if isinstance(value, dict):
        members = {name[:limit]: _cut(item, limit) for name, item in islice(value.items(), 5)}
        return excerpt(repr(members), limit)
    return excerpt(repr(_cut(value, limit)), limit)


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, dict | list):
        return type(value)()
    return value[:limit] if isinstance(value, str) else value


def _broken(what: str) -> ProbeFailure:
    return ProbeFailure(Reason.MCP_NOT_JSONRPC, f"not a JSON-RPC 2.0 reply: {what}")
