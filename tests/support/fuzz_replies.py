"""Generated replies: JSON, messages, heads, codings, framing, events and redirects, each right or odd in many ways.

Every function takes a `random.Random`; `FromBytes` is one that a fuzzer's bytes decide. Nothing here leads away from
this machine: addresses are loopback ones, ports nobody listens at, and names of the reserved ``.invalid``.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Mapping
from typing import Any

SESSION_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SESSIONLESS = "2026-07-28"


class FromBytes(random.Random):
    """Draws what the bytes say, and zeros when they have run out."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        super().__init__(0)

    def seed(self, *_: Any, **__: Any) -> None:
        """Nothing to seed."""

    def random(self) -> float:
        """A number from 0 to 1, of three bytes."""
        return self.getrandbits(24) / (1 << 24)

    def getrandbits(self, k: int, /) -> int:
        """As many bits of the bytes that come next."""
        size = (k + 7) // 8
        piece = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(piece, "big") & ((1 << k) - 1)


class Raw(str):
    """JSON text that goes out as it is, whether or not it is any."""

    __slots__ = ()


ODD_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\u202eevil\u2066",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "[bold]x[/bold] [/]",
    "é" * 10,
    "\U0001f600" * 50,
    "x" * 5000,
    "\r\nInjected: yes",
    "../../etc/passwd",
    "%s%n{0}",
    "tools/list",
    SESSIONLESS,
)
ODD_RAW = (
    "NaN",
    "Infinity",
    "1e999",
    "-1e999",
    "1" * 400,
    "-0",
    "0.1e-400",
    "123456789012345678901234567890",
    "9223372036854775808",
    "18446744073709551616",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\x41"',
    '"unterminated',
    "01",
    "{]",
    '{"a":1,"a":2}',
    '{"":{}}',
    "tru",
    "'x'",
    "",
    "\ufeff1",
)
DEPTHS = (5, 100, 200, 255, 300, 900, 1000, 1023, 1100)


def odd_value(draw: random.Random) -> Any:
    """A JSON value that nobody expects."""
    kind = draw.randrange(10)
    if kind == 0:
        return draw.choice((None, True, False, 0, -1, 1, 2**31, 2**53 + 1, -(2**63), 0.5, 1e300))
    if kind == 1:
        return draw.choice(ODD_TEXTS)
    if kind == 2:
        return Raw(draw.choice(ODD_RAW))
    if kind == 3:
        depth = draw.choice(DEPTHS)
        begin, end = draw.choice((("[", "]"), ('{"a":', "}"), ('{"properties":{"a":', "}}"), ('[{"b":', "}]")))
        return Raw(begin * depth + "1" + end * (depth - draw.randrange(2)))
    if kind == 4:
        return [odd_value(draw) for _ in range(draw.randrange(4))]
    if kind == 5:
        return {draw.choice(ODD_TEXTS): odd_value(draw) for _ in range(draw.randrange(4))}
    if kind == 6:
        return Raw("[" + ",".join(["{}"] * draw.choice((1, 100, 20_000))) + "]")
    if kind == 7:
        return draw.choice(([], {}, [[]], [{}], [None], "x", 1))
    if kind == 8:
        return {"$ref": draw.choice(("#", "#/a", "http://127.0.0.1:1/s", "file:///etc/passwd", "urn:x", "\0"))}
    return {"type": draw.choice(("object", "objekt", ["object", 1], None, {}))}


def dump(value: Any) -> str:
    """JSON text, with what is raw as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value)


def changed(draw: random.Random, value: Any, times: int) -> Any:
    """The value with some members replaced by odd ones, left out, doubled or added."""
    for _ in range(times):
        value = _changed_once(draw, value)
    return value


def _changed_once(draw: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        copy = dict(value)
        what = draw.randrange(8)
        if what == 0:
            del copy[key]
        elif what == 1:
            copy[draw.choice(("x", "result", "error", "method", "_meta", "nextCursor", ""))] = odd_value(draw)
        elif what <= 3:
            copy[key] = odd_value(draw)
        else:
            copy[key] = _changed_once(draw, copy[key])
        return copy
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        return [*value[:place], _changed_once(draw, value[place]), *value[place + draw.randrange(2) :]]
    return odd_value(draw)


def _tool(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": "does it",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"q": {"type": "string", "x-mcp-header": "Q"}, "n": {"type": "integer"}},
        },
        "outputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    }


_IDENTITY = {"name": "generated", "version": "1"}
_CAPABILITIES = {"tools": {"listChanged": True}, "resources": {}, "prompts": {}, "logging": {}}


def right_result(draw: random.Random, method: str) -> Any:
    """What a good server answers to the method; the lists have one page or several."""
    if method == "server/discover":
        return {
            "supportedVersions": [SESSIONLESS],
            "capabilities": _CAPABILITIES,
            "_meta": {"io.modelcontextprotocol/serverInfo": _IDENTITY},
            "instructions": "none",
        }
    if method == "initialize":
        version = draw.choice(SESSION_VERSIONS)
        return {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _IDENTITY}
    page: dict[str, Any] = {}
    if method == "tools/list":
        page = {"tools": [_tool(name) for name in draw.choice((("a",), ("a", "b"), ("a", "a"), ()))]}
    elif method == "resources/list":
        page = {"resources": [{"uri": "file:///a", "name": "a", "mimeType": "text/plain"}]}
    elif method == "resources/templates/list":
        page = {"resourceTemplates": [{"uriTemplate": "file:///{a}", "name": "a"}]}
    elif method == "prompts/list":
        page = {"prompts": [{"name": "p", "arguments": [{"name": "q", "required": True}]}]}
    elif method == "tools/call":
        return {"content": [{"type": "text", "text": "42"}], "isError": False, "structuredContent": {"total": 1}}
    elif method == "resources/read":
        return {"contents": [{"uri": "file:///a", "text": "hello"}]}
    elif method == "prompts/get":
        return {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}]}
    if page and draw.random() < 0.1:
        page["nextCursor"] = draw.choice(("", "same", str(draw.randrange(1000)), 1, None))
    return page


def message(draw: random.Random, method: str, request_id: Any, oddness: float) -> str:
    """A JSON-RPC message, or several, in answer to a request."""
    reply: Any = {"jsonrpc": "2.0", "id": request_id, "result": right_result(draw, method)}
    if method == "server/discover" and draw.random() < 0.5:
        code = draw.choice((-32601, -32602, -32022, -32000, 0, 2**70, "x", None))
        error = {"code": code, "message": "unknown", "data": {"supported": [SESSIONLESS], "requested": "x"}}
        reply = {"jsonrpc": "2.0", "id": request_id, "error": error}
    if draw.random() >= oddness:
        return dump(reply)
    kind = draw.randrange(9)
    if kind == 0:
        error = {"code": draw.choice((-32601, -32602, -32603, 0, 401)), "message": draw.choice(ODD_TEXTS)}
        return dump({"jsonrpc": "2.0", "id": request_id, "error": changed(draw, error, draw.randrange(3))})
    if kind == 1:
        return dump([changed(draw, reply, draw.randrange(3)), *[odd_value(draw)] * draw.randrange(3)])
    if kind == 2:
        return dump({**reply, "id": odd_value(draw)})
    if kind == 3:
        return dump(odd_value(draw))
    if kind == 4:
        own = {"jsonrpc": "2.0", "id": odd_value(draw), "method": draw.choice(("ping", "roots/list", "")), "params": {}}
        return dump(draw.choice((own, [own, reply], [[reply]], [])))
    return dump(changed(draw, reply, draw.randint(1, 4)))


def events(draw: random.Random, texts: list[str], oddness: float) -> bytes:
    """The messages as an event stream."""
    end = draw.choice(("\n", "\r\n", "\r")) if draw.random() < oddness else "\n"
    lines: list[str] = []
    if draw.random() < oddness:
        lines += draw.choice(
            ([":" * 3000], ["retry: 5"], ["retry: 99999999999999"], ["id: \0", ""], ["\ufeff"], [""] * 50)
        )
    for text in texts:
        if draw.random() < oddness:
            lines.append(draw.choice(("event: message", "event:", "id: 1", "id: " + "é" * 600, "data", ": c", "x: y")))
        parts = text.split("\n")
        if draw.random() < oddness:
            middle = draw.randrange(len(text) + 1)
            parts = [text[:middle], text[middle:]]
        lines += [f"data: {part}" for part in parts]
        lines.append("")
    stream = (end.join(lines) + end).encode("utf-8", "surrogatepass")
    return stream[: draw.randrange(len(stream) + 1)] if draw.random() < oddness / 4 else stream


def _stacked(body: bytes) -> bytes:
    return gzip.compress(zlib.compress(body, 1), 1, mtime=0)


CODINGS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("gzip", lambda body: gzip.compress(body, 1, mtime=0)),
    ("deflate", lambda body: zlib.compress(body, 1)),
    ("deflate, gzip", _stacked),
    ("gzip", lambda body: gzip.compress(body, 1, mtime=0)[:-6]),
    ("gzip", lambda body: gzip.compress(body[:5], 1, mtime=0) + gzip.compress(body[5:], 1, mtime=0) + b"junk"),
    ("gzip", lambda body: body),
    ("deflate", lambda body: body),
    ("br", lambda body: body),
    ("zstd", lambda body: body),
    ("zstd, br, gzip", lambda body: gzip.compress(body, 1, mtime=0)),
    (", ".join(["gzip"] * 50), lambda body: body),
    ("gzip,,gzip", lambda body: body),
    (",", lambda body: body),
    ("", lambda body: body),
    ("identity", lambda body: body),
    ("x-gzip", lambda body: gzip.compress(body, 1, mtime=0)),
    ("GZIP ", lambda body: gzip.compress(body, 1, mtime=0)),
    ("\xff\xfe", lambda body: body),
    ("gzip", lambda body: gzip.compress(b"\0" * 3_000_000, 9, mtime=0)),
)
STATUS_LINES = (
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.0 200 OK",
    b"HTTP/2 200",
    b"HTTP/1.1 0 x",
    b"HTTP/1.1 99 x",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.1 199 x",
    b"HTTP/1.1 999 x",
    b"HTTP/1.1 1000 x",
    b"HTTP/1.1 -1 x",
    b"HTTP/1.1 2e2 x",
    b"HTTP/1.1  200 OK",
    b"http/1.1 200 OK",
    b"HTTP/1.1 200 \xff\xfe\0",
    b"ICY 200 OK",
    b"\0HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK",
    b"HTTP/9.9 200 OK",
    b"",
)
STATUSES = (201, 202, 204, 205, 206, 226, 300, 304, 400, 401, 402, 403, 404, 405, 406, 409, 415, 418, 421, 429, 500)
STATUSES += (501, 502, 503, 504, 511, 599, 600)
CHALLENGES = (
    "Bearer",
    'Bearer realm="x", error="insufficient_scope", scope="a b"',
    'Bearer error="invalid_token", error_description="the token expired"',
    'Bearer resource_metadata="{here}/.well-known/oauth-protected-resource"',
    'Bearer resource_metadata="http://[::1"',
    'Bearer resource_metadata="http://a:99999/"',
    'Bearer resource_metadata="//"',
    'Bearer resource_metadata="file:///etc/passwd"',
    'Bearer resource_metadata="http://\xe9.invalid/\x80"',
    'Bearer resource_metadata="',
    'Bearer scope="' + "a " * 3000 + '"',
    'Digest nonce="\\"\\\\", Bearer x=y',
    "=, =; ,,, \x01",
    "Bearer " + "a=b, " * 1000,
)
WAITS = ("0", "1", "-1", "99999999999999999999999", "1.5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "²", "\xb2", "1, 2")
WAITS += ("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -9999", "Mon, 01 Jan 0001 00:00:00 +1400", "")
LOCATIONS = (
    "/",
    "",
    "#x",
    "?",
    "..",
    "//",
    "///x",
    "http:",
    "http://",
    "http:///x",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:1/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:x/",
    "http://127.0.0.1:\xb2/",
    "http://127.0.0.1:1%0d%0aA:b/",
    "http://[::1]:1/",
    "http://[::1/",
    "http://[]/",
    "http://[v1.x]/",
    "http://[fe80::1%25lo]:1/",
    "http://[::ffff:127.0.0.1]:1/",
    "http://0:1/",
    "http://0x7f.1:1/",
    "http://2130706433:1/",
    "http://127.1:1/",
    "http://a..invalid/",
    "http://.invalid/",
    "http://" + "a" * 64 + ".invalid/",
    "http://" + "a." * 200 + "invalid/",
    "http://xn--/",
    "http://xn--\xe9.invalid/",
    "http://\xe9\xff.invalid/",
    "http://\u2102.invalid/",
    "http://ex ample.invalid/",
    "http://user:pa ss@127.0.0.1:1/",
    "http://user@evil@127.0.0.1:1/",
    "http://127.0.0.1:1\\@x/",
    "http://127.0.0.1:1/\x00\x7f\xff",
    "http://127.0.0.1:1/%zz%",
    "http://127.0.0.1:1/" + "x" * 9000,
    "https://127.0.0.1:1/",
    "HTTP://127.0.0.1:1/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "data:text/plain,x",
    "javascript:alert(1)",
    "ws://127.0.0.1:1/",
    "\x01\x02",
    "{here}/",
    "{here}/a b\tc",
    "{here}/\u202e",
)
FIELDS = (
    b"Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d; Expires=Never",
    b"Set-Cookie: \xff\0=\x01",
    b"X: " + b"y" * 20_000,
    b"X-A: 1\r\n" * 90 + b"X-B: 2",
    b"X-A: 1\r\n" * 200 + b"X-B: 2",
    b"X : y",
    b": y",
    b"X",
    b" folded",
    b"X: a\r\n b",
    b"X: a\n\tb",
    b"X\xff: \xfe\xff",
    b"X: \0",
    b"\0: x",
    b"X: \x1b[31m",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 1, 1",
    b"Content-Length: +5",
    b"Content-Length: 0x5",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: x",
    b"Connection: close",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Connection: keep-alive, close, \xff",
    b"Content-Type: application/json; charset=\xff",
    b"Content-Type: application/json\r\nContent-Type: text/html",
    b"Content-Type: ",
    b"Content-Type: TEXT/EVENT-STREAM",
    b"Mcp-Session-Id: ",
    b"Mcp-Session-Id: a\xffb",
    b"Mcp-Session-Id: a\r\nMcp-Session-Id: b",
    b"Mcp-Session-Id: " + b"s" * 9000,
    b"Mcp-Session-Id: a\x01\x7f",
    b"MCP-Protocol-Version: 1999-01-01",
    b"Location: http://127.0.0.1:1/",
    b"Age: 99999999999999999999",
    b"Date: x",
)


def framed(draw: random.Random, body: bytes, oddness: float) -> tuple[bytes, bytes]:
    """How the length is said, and the body with its framing."""
    kind = draw.randrange(3) if draw.random() >= oddness else draw.randint(3, 11)
    if kind == 1 or kind >= 8:
        pieces, at = [], 0
        while at < len(body):
            size = min(len(body) - at, draw.choice((1, 7, 4000, 60_000)) if len(body) < 3000 else 60_000)
            extension = draw.choice((b"", b"", b";a=b", b";" + b"x" * 300, b" ")) if kind == 8 else b""
            pieces.append(b"%x%s\r\n" % (size, extension) + body[at : at + size] + b"\r\n")
            at += size
        last = {9: b"0\r\nA: b\r\nC: \xff\r\n\r\n", 10: b"", 11: b"zz\r\n"}.get(kind, b"0\r\n\r\n")
        return b"Transfer-Encoding: chunked\r\n", b"".join(pieces) + last
    if kind == 2:
        return b"Connection: close\r\n", body
    length = {3: len(body) + 5, 4: max(0, len(body) - 1), 5: 10**25, 6: 0, 7: 10**9}.get(kind, len(body))
    return b"Content-Length: %d\r\n" % length, body


def mutated(draw: random.Random, data: bytes) -> bytes:
    """The bytes with a few of them changed, left out, doubled, added or cut off."""
    broken = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(min(len(broken), 600) or 1)
        change = draw.randrange(5)
        if change == 0 and broken:
            broken[at] ^= 1 << draw.randrange(8)
        elif change == 1:
            del broken[at:]
        elif change == 2:
            del broken[at : at + draw.randint(1, 20)]
        elif change == 3:
            broken[at:at] = broken[at : at + 30]
        else:
            broken[at:at] = draw.choice(
                (b"\0", b"\xff\xfe", b"\r\n", b"\r", b"\n\n", b"{", b"-1", b"\xc3\x28", b"1e999")
            )
    return bytes(broken)


def http_reply(
    draw: random.Random, body: bytes, kind: str, oddness: float, here: str, headers: Mapping[str, str] | None = None
) -> bytes:
    """A whole response with this body: right, or odd in one or several of its layers."""

    def is_odd() -> bool:
        return draw.random() < oddness

    line = b"HTTP/1.1 200 OK"
    fields = [
        f"Content-Type: {kind}".encode(),
        *(f"{name}: {value}".encode("latin-1") for name, value in (headers or {}).items()),
    ]
    if is_odd():
        what = draw.randrange(4)
        if what == 0:
            line = draw.choice(STATUS_LINES)
        elif what == 1:
            status = draw.choice((301, 302, 303, 307, 308))
            line = b"HTTP/1.1 %d Moved" % status
            where = draw.choice(LOCATIONS).replace("{here}", here)
            fields.append(b"Location: " + where.encode("utf-8" if draw.random() < 0.5 else "latin-1", "replace"))
        else:
            line = b"HTTP/1.1 %d X" % draw.choice(STATUSES)
    if is_odd():
        challenge = draw.choice(CHALLENGES).replace("{here}", here)
        fields.append(b"WWW-Authenticate: " + challenge.encode("latin-1"))
    if is_odd():
        fields.append(b"Retry-After: " + draw.choice(WAITS).encode("latin-1"))
    if is_odd():
        fields += [draw.choice(FIELDS) for _ in range(draw.randint(1, 3))]
    if is_odd():
        coding, code = draw.choice(CODINGS)
        fields.append(b"Content-Encoding: " + coding.encode("latin-1"))
        body = code(body)
    length, framed_body = framed(draw, body, oddness)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * draw.choice((1, 3, 30)) if is_odd() and draw.random() < 0.3 else b""
    end = b"\n" if is_odd() else b"\r\n"
    data = interim + line + end + end.join(fields) + end + length + end + framed_body
    return mutated(draw, data) if draw.random() < oddness / 3 else data


def oauth_document(draw: random.Random, path: str, here: str, oddness: float) -> Any:
    """Metadata of a resource or of an authorization server, or a token response."""
    if "protected-resource" in path:
        right: Any = {"resource": here + "/mcp", "authorization_servers": [here], "scopes_supported": ["a"]}
    elif "token" in path:
        life = draw.choice((3600, "3600", "nan", "inf", 1e300, -1, None, [], 0))
        right = {"access_token": draw.choice(("t" * 20, "é", "a b", "", 1)), "token_type": "Bearer", "expires_in": life}
    else:
        right = {"issuer": here, "token_endpoint": here + "/token", "token_endpoint_auth_methods_supported": ["x"]}
        if draw.random() < oddness:
            right["token_endpoint"] = draw.choice(LOCATIONS).replace("{here}", here)
        if draw.random() < oddness:
            right["issuer"] = draw.choice(LOCATIONS).replace("{here}", here)
    return changed(draw, right, draw.randint(1, 3)) if draw.random() < oddness else right
