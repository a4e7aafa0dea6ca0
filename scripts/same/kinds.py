"""The kinds of servers that generated fleets are made of, healthy and faulty ones."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from generated_server import GeneratedServer
from proxies import Proxy
from same.fleet import Kind, World
from servers_echo import PROGRAM, EchoServer, generated

from accepting import Accepting
from hostile.kinds import KINDS as HOSTILE
from hostile.kinds import Hostile
from hostile.peer import LONGEST_S, PAUSE_S, Peer
from servers import LEGACY, McpServer, RestServer, Scripted, tool
from servers_faults import MODES, FaultServer
from servers_sse import SseServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_STDIO = Path(__file__).resolve().parents[2] / "tests" / "data" / "stdio"
_UP = b'{"status": "UP"}'
_WAITED_FOR = 2.5
"""Deadline in seconds for servers that never come to an end; all others have a minute, however busy the machine is."""
_JSON = {"Content-Type": "application/json"}
_SHARED = "shared"
_BY_CHANCE = (
    _SHARED,
    "mcp, HTTP+SSE",
    "hostile HTTP+SSE",
    "mcp, asks its client",
    "rest, body not read",
    "rest, endless",
)
"""Begin the names of kinds that have something to do with chance: several share an origin, and one of them finds a
connection open; a second request of a check may overtake the first; of what is not read to its end some has come."""


def has_chance(server: str) -> bool:
    """Whether chance decides which connections the server of this name got, and how many bytes came."""
    name = server.partition(" ")[2]
    return name.startswith(_BY_CHANCE) or "too large" in name


def kinds(temper: str) -> list[tuple[str, Kind]]:
    """Name and kind of what a fleet of this temper may have; in a mixed one half of the servers are healthy."""
    healthy, faulty = [*_HEALTHY.items()], [*_FAULTY.items()]
    if temper == "mixed":
        times = max(1, round(len(faulty) / len(healthy)))
        return healthy * times + faulty
    return healthy if temper == "healthy" else faulty


_HEALTHY: dict[str, Kind] = {}
_FAULTY: dict[str, Kind] = {}


def _rest(
    scripted: Scripted | None = None,
    after: Callable[[RestServer], None] | None = None,
    server: Mapping[str, Any] | None = None,
    path: str = "/health",
    **options: Any,
) -> Kind:
    """A REST server with one path; ``server`` are options of the server itself."""

    def kind(world: World) -> dict[str, Any]:
        said = replace(scripted or Scripted())
        port = world.start(lambda port: RestServer({"/health": said}, port), after)
        return {"rest": {"url": f"http://127.0.0.1:{port}{path}", **options}, **(server or {})}

    return kind


def _answers(body: bytes | str, **headers: str) -> Scripted:
    return Scripted(200, body.encode() if isinstance(body, str) else body, {**_JSON, **headers})


def _bytes(
    data: bytes | str, tls: str | None = None, keep: bool = False, tls_options: Any = None, **options: Any
) -> Kind:
    """A server that sends these bytes to each request, or the mode of that name; and closes, unless it keeps."""

    def kind(world: World) -> dict[str, Any]:
        if keep:
            assert isinstance(data, bytes)
            port = world.start(lambda port: _Keeping(data, port))
        else:
            mode = data if isinstance(data, str) else lambda sock: sock.sendall(data)
            port = world.start(lambda port: FaultServer(mode, world.contexts[tls] if tls else None, port))
        scheme = "https" if tls else "http"
        own = {"tls": tls_options or {"ca_file": str(world.folder / "ca.pem")}} if tls else {}
        return {"rest": {"url": f"{scheme}://127.0.0.1:{port}/health", **own, **options}}

    return kind


class _Keeping:
    """Sends the same bytes to every request, and keeps the connection."""

    def __init__(self, data: bytes, port: int) -> None:
        self._data = data
        self._accepting = Accepting(self._serve, backlog=128, port=port)

    def __enter__(self) -> _Keeping:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.close()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            peer = Peer(sock, self._accepting.port, "")
            while peer.asked() is not None:
                peer.say(self._data)


def _mcp(
    faults: Mapping[str, Any] | Callable[[World], Mapping[str, Any]] | None = None,
    after: Callable[[McpServer], None] | None = None,
    path: str = "/mcp",
    **options: Any,
) -> Kind:
    """A scripted MCP server with these differences from a good one."""

    def kind(world: World) -> dict[str, Any]:
        said = faults(world) if callable(faults) else (faults or {})
        port = world.start(lambda port: McpServer(port, **_copied(said)), after)
        return {"mcp": {"url": f"http://127.0.0.1:{port}{path}", **options}}

    return kind


def _copied(value: Any) -> Any:
    """Its own lists and dicts, for servers change them; `...` stays what it is."""
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _sse(faults: Mapping[str, Any] | None = None, **options: Any) -> Kind:
    def kind(world: World) -> dict[str, Any]:
        port = world.start(lambda port: SseServer(**(faults or {}), port=port))
        return {"mcp": {"url": f"http://127.0.0.1:{port}/sse", "transport": "sse", **options}}

    return kind


def _program(name: str, *args: str, **options: Any) -> Kind:
    def kind(world: World) -> dict[str, Any]:
        command = {"command": sys.executable, "args": [str(_STDIO / f"{name}.py"), *args]}
        return {"mcp": {"transport": "stdio", **command, **options}}

    return kind


def _both(first: Kind, second: Kind, **server: Any) -> Kind:
    """One server with the probes of two."""
    return lambda world: {**first(world), **second(world), **server}


def _different_tools(world: World) -> dict[str, Any]:
    draw = world.random
    names = draw.sample(("add", "search", "fetch", "read", "write", "query", "list files", "é", "x" * 60), 5)
    types = ("string", "number", "integer", "boolean", "array", "object")
    tools = [
        tool(
            name,
            properties={f"p{at}": {"type": draw.choice(types)} for at in range(draw.randrange(4))},
            required=[f"p{at}" for at in range(draw.randrange(2))],
        )
        for name in names[: draw.randint(1, 5)]
    ]
    return {
        "tools": tools,
        "page": draw.choice((0, 0, 1, 2)),
        "sse": draw.random() < 0.4,
        "eras": draw.choice((("session",), ("sessionless",), ("session", "sessionless"))),
        "stateless": draw.random() < 0.3,
    }


_LISTS = {
    "capabilities": {"tools": {}, "resources": {"subscribe": True}, "prompts": {}},
    "answers": {
        "resources/list": {"resources": [{"uri": "config://version", "name": "version"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///{path}", "name": "file"}]},
        "prompts/list": {"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": True}]}]},
        "tools/call": {
            "content": [{"type": "text", "text": "found 3"}],
            "structuredContent": {"total": 3},
            "isError": False,
        },
        "resources/read": {"contents": [{"uri": "config://version", "text": "1"}]},
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}]},
    },
}
_CALLS = [
    {
        "tool": "search",
        "arguments": {"text": "x"},
        "expect": {"is_error": False, "json": [{"path": "$.structuredContent.total", "greater_than": 0}]},
    },
    {"resource": "config://version"},
    {"prompt": "greet", "arguments": {"who": "Ada"}},
]


def _add_tool(server: McpServer) -> None:
    server.faults.tools.append(tool("new"))


def _other_schema(server: McpServer) -> None:
    server.faults.tools[0] = tool("add", properties={"a": {"type": "string"}}, required=["a"])


def _remove_tool(server: McpServer) -> None:
    del server.faults.tools[0]


def _goes_down(server: RestServer) -> None:
    server.paths["/health"].status = 500


def _comes_up(server: RestServer) -> None:
    server.paths["/health"].status = 200


def _session_world(world: World) -> dict[str, Any]:
    return {"version": world.random.choice(LEGACY), "sse": world.random.random() < 0.5}


def _shared_rest(world: World) -> dict[str, Any]:
    """Whoever comes first opens it; its port is the last one there is."""
    port = _shared(world, "rest", lambda port: RestServer(port=port))
    return {"rest": f"http://127.0.0.1:{port}/health"}


def _shared_mcp(world: World) -> dict[str, Any]:
    port = _shared(world, "mcp", McpServer)
    return {
        "mcp": f"http://127.0.0.1:{port}/mcp",
        "rest": {"url": f"http://127.0.0.1:{port}/no", "expect": {"status": [501]}},
    }


def _shared(world: World, name: str, make: Callable[[int], Any]) -> int:
    if name not in world.shared:
        world.shared[name] = world.start(make)
    return world.shared[name]


def _redirected(status: int, to: str = "/there") -> Kind:
    def kind(world: World) -> dict[str, Any]:
        paths = {"/health": Scripted(status, b"", {"Location": to}), "/there": Scripted()}
        port = world.start(lambda port: RestServer(paths, port))
        return {"rest": f"http://127.0.0.1:{port}/health"}

    return kind


def _redirected_away(world: World) -> dict[str, Any]:
    there = world.start(lambda port: RestServer(port=port))
    moved = Scripted(302, b"", {"Location": f"http://127.0.0.1:{there}/health"})
    port = world.start(lambda port: RestServer({"/health": moved}, port))
    return {"rest": {"url": f"http://127.0.0.1:{port}/health", "bearer": "goes-to-the-first-origin-only"}}


def _proxied(password: str | None, given: str) -> Kind:
    def kind(world: World) -> dict[str, Any]:
        there = world.start(lambda port: RestServer(port=port))
        proxy = world.start(lambda port: Proxy(password, port=port))
        return {"rest": {"url": f"http://127.0.0.1:{there}/health", "proxy": f"http://user:{given}@127.0.0.1:{proxy}"}}

    return kind


def _redirected_mcp(world: World) -> dict[str, Any]:
    there = world.start(McpServer)
    faults = {"redirect_to": f"http://127.0.0.1:{there}/mcp"}
    port = world.start(lambda port: McpServer(port, **faults))
    return {"mcp": f"http://127.0.0.1:{port}/mcp"}


def _refused(world: World) -> dict[str, Any]:
    return {"rest": f"http://127.0.0.1:{world.refusing_port()}/health"}


def _refused_mcp(world: World) -> dict[str, Any]:
    return {
        "mcp": {
            "url": f"http://127.0.0.1:{world.refusing_port()}/mcp",
            "retry": {"max_attempts": 2, "initial_backoff": "10ms"},
        }
    }


def _echo(world: World) -> dict[str, Any]:
    """Sends back a secret in some form at some place."""
    echo = replace(world.random.choice(generated(world.random.randrange(10**6), 40)), number=0)
    port = world.start(lambda port: EchoServer([echo], port))
    program = ""
    if echo.where.startswith("stdio"):
        # Told in a file, as the program expects it; both installations get the same one.
        said = world.folder / f"said-{world.ports[0]}-{port}.json"
        said.write_text(json.dumps([echo.said, echo.place]))
        (world.folder / "echo.py").write_text(PROGRAM)
        program = str(world.folder / "echo.py")
    made = EchoServer.entry(_At(port), echo, program)  # type: ignore[arg-type] # all that it looks at is the port
    if program:
        made["mcp"]["args"].insert(1, str(said))
    kind = "rest" if "rest" in made else "mcp"
    return {kind: made[kind]}


class _At:
    def __init__(self, port: int) -> None:
        self.port = port


def _generated(kind_of: str) -> Kind:
    """What it answers, and when it hangs up, follows from a number."""

    def kind(world: World) -> dict[str, Any]:
        draw, number = world.random, world.random.randrange(10**6)
        seed = draw.randrange(10**6)
        port = world.start(lambda port: GeneratedServer(seed, port=port))
        options: dict[str, Any] = {"url": f"http://127.0.0.1:{port}/n/{number}/mcp"}
        if kind_of == "mcp":
            options |= {"era": draw.choice(("auto", "session", "sessionless")), "calls": _CALLS[1:]}
        else:
            options |= {"expect": {"json": [{"path": "$.*", "matches": "."}]}}
        return {kind_of: options}

    return kind


class _HostileServer:
    """One server of the hostile fleet at a given port."""

    def __init__(self, one: Hostile, world: World, port: int) -> None:
        self._one, self._world, self._shared = one, world, dict[str, Any]()
        self._accepting = Accepting(self._serve, backlog=128, port=port)

    def __enter__(self) -> _HostileServer:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.close()

    def _serve(self, accepted: socket.socket) -> None:
        sock = accepted
        try:
            with accepted:
                sock.settimeout(LONGEST_S)
                if self._one.certificate is not None:
                    sock = self._world.contexts[self._one.certificate].wrap_socket(accepted, server_side=True)
                with sock:
                    assert self._one.behaviour is not None
                    self._one.behaviour(Peer(sock, self._accepting.port, _TRAP, PAUSE_S, self._shared))
        except (OSError, ValueError):  # the client has seen enough, or says what is no request
            pass


_TRAP = "http://127.0.0.1:9"


def _hostile(one: Hostile) -> Kind:
    def kind(world: World) -> dict[str, Any]:
        if one.behaviour is None:
            port = world.refusing_port()
        else:
            port = world.start(lambda port: _HostileServer(one, world, port))
        entry = one.configured(port, _TRAP)
        options = entry[one.kind]
        options["timeout"] = "60s" if one.reasons.isdisjoint(_NEVER_ENDS) else f"{_WAITED_FOR}s"
        if "tls" in options:
            options["tls"] = {"ca_file": str(world.folder / "ca.pem")}
        return {one.kind: options}

    return kind


_NEVER_ENDS = {"deadline", "first_byte_timeout"}


_UNCERTAIN = ("other tools with every check", "resets at once", "closes at once")


def _is_certain(one: Hostile) -> bool:
    """Whether the same comes of it each time: not of floods, and not of what may be told by time or otherwise."""
    if one.is_loud or "without end" in one.fault or one.fault in _UNCERTAIN:
        return False
    return len(one.reasons) == 1 or one.reasons.isdisjoint(_NEVER_ENDS)


_SLOW_FOR = Scripted(delay_s=0.4)
_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
_BIG = json.dumps({"status": "UP", "fill": ["x" * 1000] * 700}).encode()


def _coded(coding: str, body: bytes) -> Kind:
    return _rest(_answers(body, Content_Encoding=coding), expect={"json": [{"path": "$.status", "equals": "UP"}]})


def _chunked(*pieces: bytes, head: bytes = b"") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + head + b"\r\n" + chunks + b"0\r\n\r\n"


_HEALTHY |= {
    "rest": _rest(),
    "rest, expected JSON": _rest(
        _answers('{"status": "UP", "queue": {"depth": 3}, "region": "eu-1", "version": "2.1"}'),
        expect={
            "json": [
                {"path": "$.status", "equals": "UP"},
                {"path": "$.queue.depth", "less_than": 1000, "otherwise": "degraded"},
                {"path": "$.region", "one_of": ["eu-1", "eu-2"]},
                {"path": "$.version", "matches": r"^2\."},
                {"path": "$.errors", "exists": False},
            ],
            "body_regex": "status",
            "headers": {"Content-Type": "json"},
            "max_latency": "50s",
        },
    ),
    "rest, other status expected": _rest(Scripted(418), expect={"status": [418, "2xx"]}),
    "rest, no content": _rest(Scripted(204, b"")),
    "rest, HEAD": _rest(method="HEAD"),
    "rest, POST": _rest(method="POST", body='{"deep": true}', headers={"Content-Type": "application/json"}),
    "rest, headers and cookies": _rest(
        _answers(_UP, Set_Cookie="session=very-secret-cookie; Path=/", X_Region="eu"),
        headers={"Cookie": "session=given-secret-cookie", "X-Tenant": "demo"},
        expect={"headers": {"X-Region": "^eu$"}},
    ),
    "rest, bearer": _rest(bearer="secret-token-of-the-fleet"),
    "rest, basic": _rest(basic={"username": "me", "password": "pass word"}),
    "rest, API key in the query": _rest(path="/health?api_key=secret-in-the-query&format=json"),
    "rest, gzip": _coded("gzip", gzip.compress(_UP, mtime=0)),
    "rest, deflate": _coded("deflate", zlib.compress(_UP)),
    "rest, zstd": _coded("zstd", bytes(zstd.compress(_UP))),
    "rest, large body": _rest(_answers(_BIG), max_body="2MiB", expect={"body_regex": "status"}),
    "rest, chunked": _bytes(_chunked(b'{"stat', b'us": ', b'"UP"}'), keep=True),
    "rest, chunked with trailers": _bytes(
        _chunked(_UP, head=b"Trailer: X-A\r\n").removesuffix(b"\r\n") + b"X-A: 1\r\n\r\n"
    ),
    "rest, kept": _bytes(_SHORT, keep=True),
    "rest, HTTP/1.0": _bytes(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nOK"),
    "rest, until it closes": _bytes("until_closed"),
    "rest, interim responses": _bytes("interim"),
    "rest, bytes one by one": _bytes("tiny_segments"),
    "rest, only line feeds": _bytes(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nOK"),
    "rest, urllib3's way": _rest(http="urllib3"),
    "rest, retries": _rest(Scripted(fail_first=2), retry={"max_attempts": 3, "initial_backoff": "10ms"}),
    "rest, slow": _rest(_SLOW_FOR),
    "rest, by name": lambda world: {
        "rest": f"http://localhost:{world.start(lambda port: RestServer(port=port))}/health"
    },
    "rest, with all of a server": _rest(
        server={
            "group": "shop",
            "tags": ["prod", "eu"],
            "priority": "critical",
            "objective": "99.9%",
            "maintenance": [{"start": "2020-01-01T00:00Z", "end": "2099-01-01T00:00Z", "note": "always"}],
        }
    ),
    "rest, body not read": _rest(_answers(_BIG), read_body=False),
    **{f"rest, redirected by {status}": _redirected(status) for status in (301, 302, 303, 307, 308)},
    "rest, redirected elsewhere": _redirected_away,
    "rest, through a proxy": _proxied("secret", "secret"),
    "rest over TLS": _bytes("ok", tls="good"),
    "rest over TLS, retries": _bytes("no_content", tls="good", retry={"max_attempts": 2}),
    "rest over TLS, not verified": _bytes("ok", tls="wrong_host", tls_options={"verify": False}),
    "rest over TLS, certificate watched": _bytes("ok", tls="good", certificate_warning="1d"),
    **{f"{_SHARED} rest {number}": _shared_rest for number in range(6)},
    **{f"{_SHARED} mcp {number}": _shared_mcp for number in range(4)},
    "mcp": _mcp(),
    "mcp, any session version": _mcp(_session_world),
    "mcp, sessionless": _mcp({"eras": ("sessionless",)}),
    "mcp, both eras": _mcp({"eras": ("session", "sessionless")}),
    "mcp, era given": _mcp({"eras": ("session", "sessionless")}, era="session"),
    "mcp, stream": _mcp({"sse": True}),
    "mcp, stream in pieces": _mcp({"sse": True, "segment_bytes": 7, "line_end": b"\n"}),
    "mcp, stream with notifications": _mcp(
        {"sse": True, "before_reply": [{"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x"}}]}
    ),
    "mcp, asks its client": _mcp({"sse": True, "ask_before": {"tools/list": ["ping", "roots/list"]}}),
    "mcp, stream taken up again": _mcp({"sse": True, "cut_streams": 1}),
    "mcp, pages": _mcp({"page": 2, "tools": [tool(f"tool {number}") for number in range(7)]}),
    "mcp, without sessions": _mcp({"stateless": True}),
    "mcp, sessions cannot be ended": _mcp({"delete_status": 405}),
    "mcp, batches": _mcp({"batch": True}),
    "mcp, slow": _mcp({"delay_s": {"tools/list": 0.3}}),
    "mcp, no ping": _mcp(ping=False),
    "mcp, lists and calls": _mcp(_LISTS, calls=_CALLS, expected_tools=["add"]),
    **{f"mcp, contract {number}": _mcp(_different_tools) for number in range(8)},
    "mcp, tool added": _mcp(after=_add_tool),
    "mcp, tool removed": _mcp(after=_remove_tool),
    "mcp, schema changed": _mcp(after=_other_schema),
    "mcp, token": _mcp({"refuse": (401, {"WWW_Authenticate": "Bearer"}), "token": "right"}, bearer="right"),
    "mcp, one session lost": _mcp({"lose_first_session": True}),
    "mcp, session of few requests": _mcp({"session_requests": 3}),
    "mcp, urllib3's way": _mcp(http="urllib3"),
    "mcp and rest": _both(_mcp(), _rest(), weights={"mcp": 2, "rest": 1}),
    "mcp, HTTP+SSE": _sse(),
    "mcp, HTTP+SSE with questions": _sse({"notify_first": True, "ask_first": True}),
    "mcp, stdio": _program("speaks"),
    "mcp, stdio sessionless": _program("sessionless"),
    "mcp, stdio noisy": _program("noisy"),
    "mcp, stdio asks": _program("asks"),
}

_STATUSES = (400, 401, 403, 404, 405, 408, 410, 429, 451, 500, 502, 503, 504, 599)
_FAULTY |= {
    **{f"rest, status {status}": _rest(Scripted(status, b"no")) for status in _STATUSES},
    "rest, 429 with Retry-After": _rest(Scripted(429, b"slow down", {"Retry-After": "17"})),
    "rest, 503 with Retry-After and a retry": _rest(
        Scripted(503, b"", {"Retry-After": "0"}), retry={"max_attempts": 2, "initial_backoff": "10ms"}
    ),
    "rest, authorization wanted": _rest(
        Scripted(401, b"", {"WWW-Authenticate": 'Bearer resource_metadata="https://127.0.0.1/meta", scope="a b"'})
    ),
    "rest, authorization wanted and fine": _rest(Scripted(403), auth_required="healthy"),
    "rest, credentials refused": _rest(
        Scripted(401, b"wrong: secret-token-of-the-fleet"), bearer="secret-token-of-the-fleet"
    ),
    "rest, secret echoed": _rest(
        Scripted(500, b"no such key: key-1234567890"), api_key={"header": "X-API-Key", "value": "key-1234567890"}
    ),
    "rest, degraded by JSON": _rest(
        _answers('{"queue": {"depth": 5000}}'),
        expect={"json": [{"path": "$.queue.depth", "less_than": 10, "otherwise": "degraded"}]},
    ),
    "rest, wrong JSON": _rest(_answers('{"status": "DOWN"}'), expect={"json": [{"path": "$.status", "equals": "UP"}]}),
    "rest, not JSON": _rest(_answers("<html>"), expect={"json": [{"path": "$.status", "equals": "UP"}]}),
    "rest, wrong body": _rest(expect={"body_regex": "^fine$"}),
    "rest, wrong header": _rest(expect={"headers": {"X-Region": "eu"}}),
    "rest, too slow": _rest(_SLOW_FOR, expect={"max_latency": "100ms"}),
    "rest, slower than wished": _rest(_SLOW_FOR, degraded_above="100ms"),
    "rest, body too large": _rest(_answers(_BIG), max_body="100KiB"),
    "rest, redirect not followed": _rest(Scripted(302, b"", {"Location": "/there"}), max_redirects=0),
    "rest, redirected in a circle": _redirected(302, "/health"),
    "rest, redirected to nothing": _redirected(301, ""),
    "rest, redirected to ftp": _redirected(307, "ftp://127.0.0.1/x"),
    "rest, proxy refuses": _proxied("secret", "wrong"),
    "rest, no such name": lambda world: {"rest": "http://no-such-host.invalid/health"},
    "rest, refused": _refused,
    "rest, breaker": _rest(Scripted(500), breaker={"failures": 1, "cooldown": "1h"}),
    "rest, breaker of three": _rest(Scripted(500), breaker={"failures": 3, "cooldown": "1h"}),
    "rest, goes down": _rest(after=_goes_down, breaker={"failures": 2}),
    "rest, comes up": _rest(Scripted(503), after=_comes_up, breaker={"failures": 2}),
    **{
        f"rest, {mode.replace('_', ' ')}": _bytes(
            mode,
            timeout="60s"
            if mode not in ("silent", "drip_head", "drip_body", "endless_comments")
            else f"{_WAITED_FOR}s",
        )
        for mode in MODES
        if mode not in ("ok", "endless", "gzip_bomb", "reset_before_head")
    },
    "rest, reset before the head": _bytes("reset_before_head"),
    "rest, closed, retried": _bytes("closed", retry={"max_attempts": 3, "initial_backoff": "10ms"}),
    "rest, garbage, retried": _bytes("garbage", retry={"max_attempts": 2, "initial_backoff": "10ms"}),
    "rest, garbage, urllib3's way": _bytes("garbage", http="urllib3"),
    "rest, two replies at once": _bytes(_SHORT * 2, keep=True, retry={"max_attempts": 2}),
    "rest, more than announced": _bytes(_SHORT + b"more", keep=True),
    "rest, folded header": _bytes(b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nOK"),
    "rest, both lengths": _bytes(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n"
    ),
    "rest, HTTP/2.0": _bytes(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nOK"),
    "rest, odd status line": _bytes(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nOK"),
    "rest, secret in a malformed head": _bytes(
        b"HTTP/1.1 2x0 secret-token-of-the-fleet\r\n\r\n", bearer="secret-token-of-the-fleet"
    ),
    **{
        f"rest over TLS, {name.replace('_', ' ')}": _bytes("ok", tls=name, certificate_warning="14d")
        for name in ("expired", "expires_soon", "wrong_host", "unknown_authority", "self_signed")
    },
    "rest, plain where TLS is wanted": _bytes("no_handshake", timeout=f"{_WAITED_FOR}s"),
    "mcp, authorization wanted": _mcp({"refuse": (401, {"WWW_Authenticate": 'Bearer error="invalid_token"'})}),
    "mcp, credentials refused": _mcp({"refuse": (403, {}), "token": "right"}, bearer="wrong"),
    "mcp, refused at first": _mcp(
        {"refuse": (429, {"Retry_After": "0"}), "refuse_first": 1}, retry={"max_attempts": 2}
    ),
    "mcp, rate limited": _mcp({"refuse": (429, {"Retry_After": "30"})}),
    "mcp, page instead": _mcp({"raw": dict.fromkeys(("server/discover", "initialize"), (200, "text/html", b"<html>"))}),
    "mcp, error in a list": _mcp({"errors": {"tools/list": (200, -32603, "the database is down")}}),
    "mcp, error of initialize": _mcp({"errors": {"initialize": (500, -32603, "out of memory")}}),
    "mcp, other version": _mcp({"version": "1999-01-01"}),
    "mcp, sessionless wanted": _mcp({"eras": ("session",)}, era="sessionless"),
    "mcp, session wanted": _mcp({"eras": ("sessionless",)}, era="session"),
    "mcp, the same page again": _mcp({"page": 1, "cursor_loop": True}),
    "mcp, too many pages": _mcp({"page": 1, "tools": [tool(f"tool {number}") for number in range(9)]}, max_pages=3),
    "mcp, tool missing": _mcp(expected_tools=["add", "no such tool"]),
    "mcp, invalid schema": _mcp({"tools": [tool("add", properties={"a": {"type": "objekt"}})]}),
    "mcp, schema no object": _mcp({"tools": [{"name": "a", "inputSchema": []}]}),
    "mcp, the same name twice": _mcp({"tools": [tool("a"), tool("a")]}),
    "mcp, tools are numbers": _mcp({"tools": [1, 2]}),
    "mcp, no jsonrpc member": _mcp({"patch": {"ping": {"jsonrpc": ...}}}),
    "mcp, other id": _mcp({"patch": {"tools/list": {"id": 4711}}}),
    "mcp, no id": _mcp({"patch": {"initialize": {"id": ...}}}),
    "mcp, not JSON": _mcp({"raw": {"tools/list": (200, "application/json", b'{"jsonrpc": "2.0", "id": @id@, "resu')}}),
    "mcp, cut off in a stream": _mcp({"raw": {"tools/list": (200, "text/event-stream", b"data: {")}}),
    "mcp, status of a list": _mcp(
        {"raw": {"tools/list": (502, "text/html", b"bad gateway")}},
        retry={"max_attempts": 2, "initial_backoff": "10ms"},
    ),
    "mcp, silent in a list": _mcp({"delay_s": {"tools/list": 20.0}}, timeout=f"{_WAITED_FOR}s"),
    "mcp, call fails": _mcp(
        {
            **_LISTS,
            "answers": {
                **_LISTS["answers"],
                "tools/call": {"content": [{"type": "text", "text": "no"}], "isError": True},
            },
        },
        calls=_CALLS,
    ),
    "mcp, call unknown": _mcp(calls=_CALLS),
    "mcp, redirected away": _redirected_mcp,
    "mcp, breaker": _mcp({"errors": {"initialize": (500, -32603, "down")}}, breaker={"failures": 1, "cooldown": "1h"}),
    "mcp, refused": _refused_mcp,
    "mcp down and rest up": _both(_mcp({"version": "1"}), _rest(), combine={"one_bad": "UNHEALTHY"}),
    "mcp up and rest down": _both(_mcp(), _rest(Scripted(500)), weights={"mcp": 3, "rest": 1}),
    "mcp, remarks count": _both(_mcp({"delete_status": 500}), _rest(), remarks="degraded"),
    "mcp, HTTP+SSE without endpoint": _sse({"endpoint": None}, timeout=f"{_WAITED_FOR}s"),
    "mcp, HTTP+SSE elsewhere": _sse({"endpoint": "http://127.0.0.1:1/messages"}),
    "mcp, HTTP+SSE silent": _sse({"silent": True}, timeout=f"{_WAITED_FOR}s"),
    "mcp, HTTP+SSE hangs up": _sse({"hang_up": True, "silent": True}),
    "mcp, HTTP+SSE refuses": _sse({"post_status": 500}),
    "mcp, stdio dies": _program("dies", env={"SECRET_TOKEN": "secret-of-the-environment"}),
    "mcp, stdio garbage": _program("garbage", timeout="5s"),
    "mcp, stdio not there": lambda world: {"mcp": {"transport": "stdio", "command": "no-such-program-anywhere"}},
    **{f"echoed secret {number}": _echo for number in range(25)},
    **{f"generated rest {number}": _generated("rest") for number in range(12)},
    **{f"generated mcp {number}": _generated("mcp") for number in range(20)},
    **{f"hostile {name}": _hostile(one) for name, one in HOSTILE.items() if _is_certain(one)},
}
