"""Servers that send back what they were sent, in any form and at any place of a reply; and how they are configured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit

from canaries import ECHOES, echoed

from servers import _Handler, _Running

_LETTERS = "ABCDEFGHKLMNPQRSTUVWXYZabcdefghkmnpqrstuvwxyz23456789"
_ODD = "\"'\\%+/=&<>;:,@#?-_.!$(){}[]"
_INIT = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "echo", "version": "1"}}
_TOOL = {"name": "look", "description": "looks", "inputSchema": {"type": "object"}}

PROGRAM = """
import json, sys
with open(sys.argv[1]) as file: said, place = json.load(file)
if place == "stderr":
    sys.stderr.write("usage: " + said + "\\n"); sys.exit(2)
if place == "stray":
    print("starting with " + said.replace("\\n", " "), flush=True)
init = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "p", "version": "1"}}
tool = {"name": "look", "description": "looks", "inputSchema": {"type": "object"}}
if place == "instructions": init["instructions"] = said
if place == "description": tool["description"] = said
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if place == "error":
        body = {"error": {"code": -32000, "message": "no: " + said}}
    else:
        known = {"initialize": init, "ping": {}, "tools/list": {"tools": [tool]}}
        unknown = {"error": {"code": -32601, "message": "Method not found"}}
        body = {"result": known[m["method"]]} if m["method"] in known else unknown
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **body}), flush=True)
"""
"""A program that says what stands in the file that its first argument names."""


@dataclass(frozen=True)
class Echo:
    """One server: the secret that it is sent, where that is configured, and what the server makes of it, where."""

    number: int
    secret: str
    where: str
    echo: str
    place: str

    @property
    def said(self) -> str:
        return echoed(self.secret, self.echo)


def _text(random: Random, odd: str, length: int) -> str:
    """A secret: letters at both ends, so that a part of it can be told from other texts, and anything between."""
    ends = min(10, max(4, length // 3))
    letters = ["".join(random.choice(_LETTERS) for _ in range(ends)) for _ in range(2)]
    if length < 2 * ends:
        return "".join(letters)[:length]
    inner = "".join(random.choice(_LETTERS + 2 * odd) for _ in range(length - 2 * ends))
    return letters[0] + inner + letters[1]


_PASSWORDS = _ODD + "  é€😀"
WHERE: dict[str, tuple[str, str, Callable[[str, str], dict[str, Any]]]] = {
    "bearer": ("both", _ODD, lambda url, s: {"url": url, "bearer": s}),
    "password": ("both", _PASSWORDS, lambda url, s: {"url": url, "basic": {"username": "me", "password": s}}),
    "api key": ("both", _ODD + "  ", lambda url, s: {"url": url, "api_key": {"value": s}}),
    "header": ("both", _ODD + "  é", lambda url, s: {"url": url, "headers": {"X-Trace": s}}),
    "authorization": ("both", _ODD, lambda url, s: {"url": url, "headers": {"Authorization": f"Token {s}"}}),
    "cookie": ("both", "-_.%+/=!$", lambda url, s: {"url": url, "headers": {"Cookie": f"a=b; session={s}; c=d"}}),
    "query": ("both", _PASSWORDS, lambda url, s: {"url": f"{url}?format=json&key={quote(s, safe='')}"}),
    "user": ("both", _ODD, lambda url, s: {"url": url.replace("//", f"//{quote(s, safe='')}:x@")}),
    "user's password": ("both", _PASSWORDS, lambda url, s: {"url": url.replace("//", f"//me:{quote(s, safe='')}@")}),
    "proxy": (
        "both",
        _ODD,
        lambda url, s: {"url": url, "proxy": f"http://me:{quote(s, safe='')}@{urlsplit(url).netloc}"},
    ),
    "body": ("rest", _PASSWORDS, lambda url, s: {"url": url, "method": "POST", "body": s}),
    "body, inside": ("rest", _PASSWORDS, lambda url, s: {"url": url, "method": "POST", "body": json.dumps({"key": s})}),
    "argument of a call": (
        "mcp",
        _PASSWORDS,
        lambda url, s: {"url": url, "calls": [{"tool": "look", "arguments": {"password": s}}]},
    ),
    "client secret": (
        "mcp",
        _PASSWORDS,
        lambda url, s: {
            "url": url,
            "oauth": {
                "client_id": "me",
                "client_secret": s,
                "issuer": url.rpartition("/mcp")[0],
                "token_url": url.replace("/mcp/", "/token/"),
            },
        },
    ),
    "environment": ("stdio", _PASSWORDS, lambda url, s: {"env": {"SERVICE_TOKEN": s}}),
    "argument": ("stdio", _PASSWORDS, lambda url, s: {"args": ["--api-key", s]}),
    "argument, named": ("stdio", _PASSWORDS, lambda url, s: {"args": [f"--password={s}"]}),
    "argument, header": ("stdio", _ODD, lambda url, s: {"args": ["--header", f"Authorization: Bearer {s}"]}),
    "argument, JSON": ("stdio", _PASSWORDS, lambda url, s: {"args": ["--config", json.dumps({"token": s})]}),
}
"""Where a secret is configured -> the kind of server, what it may have in it, and the options."""

PLACES = {
    "rest": ("body", "text", "header", "status line", "location", "challenge", "metadata", "malformed"),
    "mcp": (
        "error",
        "instructions",
        "name",
        "version",
        "capabilities",
        "capability",
        "description",
        "schema",
        "tool",
        "protocol",
        "not json",
        "text",
        "location",
        "challenge",
        "metadata",
        "event",
        "error data",
        "call",
    ),
    "stdio": ("stderr", "stray", "error", "instructions", "description"),
}
"""Kind -> the places of its reply in which the secret may stand."""


def generated(seed: int, count: int) -> list[Echo]:
    """So many servers; every place where a secret may be configured, and every place of a reply, among them."""
    random, found = Random(seed), []
    where = list(WHERE)
    for number in range(count):
        at = where[number % len(where)]
        kind, odd, _ = WHERE[at]
        kind = random.choice(("rest", "mcp")) if kind == "both" else kind
        length = random.choice((16, 20, 24, 40, 64, 120, 200)) if random.random() < 0.9 else random.randint(9, 15)
        secret = _text(random, odd, length)
        place = "challenge" if at == "client secret" else random.choice(PLACES[kind])
        found.append(Echo(number, secret, f"{kind}: {at}", random.choice(sorted(ECHOES)), place))
    return found


class EchoServer(_Running):
    """Answers /rest/N and /mcp/N as the echo of that number says."""

    def __init__(self, echoes: list[Echo], port: int = 0) -> None:
        self.echoes = echoes
        super().__init__(_EchoHandler, port)

    def entry(self, echo: Echo, program: str) -> dict[str, Any]:
        """The server's entry in a configuration."""
        kind, _, at = echo.where.partition(": ")
        options = WHERE[at][2](f"http://127.0.0.1:{self.port}/{kind}/{echo.number}", echo.secret)
        options["timeout"] = "20s"
        if kind == "stdio":
            options = {"command": sys.executable, **options, "args": [program, *options.get("args", ())]}
            kind = "mcp"
        elif kind == "rest":
            options["expect"] = {"json": [{"path": "$.status", "equals": "UP"}], "headers": {"X-Said": "^fine$"}}
        return {"name": f"s{echo.number}", kind: options}


class _EchoHandler(_Handler):
    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, kind, number = urlsplit(self.path).path.split("/")[:3]
        owner: Any = self.server.owner  # type: ignore[attr-defined]
        echo: Echo = owner.echoes[int(number)]
        if kind == "token":
            told = {"error": "invalid_client", "error_description": f"no {echo.said}"}
            return self.answer(401, json.dumps(told).encode(), Content_Type="application/json")
        if kind == "rest" or echo.place in ("text", "location", "challenge", "metadata", "not json", "event"):
            return self._plainly(echo)
        self._speak(echo, json.loads(body or b"{}"))

    do_GET = do_POST = do_DELETE = _do  # noqa: N815 # names http.server looks for

    def _plainly(self, echo: Echo) -> None:
        said = echo.said
        line = " ".join(said.split()).encode().decode("latin-1")
        if echo.place == "location":
            return self.answer(307, Location=f"ftp://127.0.0.1/{line}?x={line}")
        if echo.place == "challenge":
            quoted = line.replace("\\", "\\\\").replace('"', '\\"')
            return self.answer(401, WWW_Authenticate=f'Bearer error="invalid_token", error_description="{quoted}"')
        if echo.place == "metadata":
            line = line.replace('"', "%22")
            return self.answer(401, WWW_Authenticate=f'Bearer resource_metadata="http://127.0.0.1:9/{line}?x={line}"')
        if echo.place == "status line":
            self.wfile.write(f"HTTP/1.1 5x0 {line}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
            self.close_connection = True
            return None
        if echo.place == "malformed":
            self.wfile.write(f"HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: zz{line}\r\n\r\n".encode("latin-1"))
            self.close_connection = True
            return None
        if echo.place == "header":
            return self.answer(200, b'{"status": "UP"}', X_Said=line)
        if echo.place == "event":
            return self.answer(
                200, f"event: {line}\ndata: {line}\n\n".encode("latin-1"), Content_Type="text/event-stream"
            )
        if echo.place == "body":
            return self.answer(200, json.dumps({"status": said}).encode(), Content_Type="application/json")
        if echo.place == "not json":
            return self.answer(200, f"{{ {said}".encode(), Content_Type="application/json")
        return self.answer(500, f"Cannot POST {self.path}: {said}".encode(), Content_Type="text/plain")

    def _speak(self, echo: Echo, message: Mapping[str, Any]) -> None:
        said, place = echo.said, echo.place
        if "id" not in message:
            return self.answer(202)
        init, tool = json.loads(json.dumps(_INIT)), dict(_TOOL)
        texts = {"instructions": "instructions", "protocol": "protocolVersion"}
        if place in texts:
            init[texts[place]] = said
        elif place in ("name", "version"):
            init["serverInfo"][place] = said
        elif place in ("capabilities", "capability"):
            init["capabilities"]["experimental"] = {"x": said} if place == "capabilities" else {said: "x"}
        elif place == "description":
            tool["description"] = f"Looks with {said}"
        elif place == "schema":
            tool["inputSchema"] = {"type": "object", "required": said}
        elif place == "tool":
            tool["name"] = said
        results = {
            "initialize": init,
            "ping": {},
            "tools/list": {"tools": [tool]},
            "tools/call": {"content": [{"type": "text", "text": f"no: {said}"}], "isError": True},
        }
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        method = str(message.get("method"))
        if place == "error" or method not in results:
            reply["error"] = {"code": -32601 if method not in results else -32000, "message": f"no: {said}"}
        elif place == "error data":
            reply["error"] = {"code": "bad", "message": 1, "data": said}
        else:
            reply["result"] = results[method]
        self.answer(200, json.dumps(reply).encode(), Content_Type="application/json")
