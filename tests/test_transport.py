"""The same replies over both ways of speaking HTTP: the fast parser, and urllib3 as it comes. And proxies."""

from __future__ import annotations

import gzip
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import brotli
import pytest
import yaml
from proxies import Proxy
from test_rest_probe import EXPECTED

from checker.model import CheckResult, ProbeResult, Server
from checker.probes.options import Tls
from checker.probes.rest import Expect, RestOptions
from conftest import check_all
from servers import McpServer, RestServer, Scripted
from servers_faults import MODES, FaultServer, certificates, closed_port

WAYS = ("fast", "urllib3")
BODY = b'{"status": "UP"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DEADLINE_S = 2.0
GOOD = ("HEALTHY", None)
CUT_OFF = ("UNHEALTHY", "decode")


def cut_off() -> dict[str, bytes]:
    """Coding -> most of a body in it."""
    text = b"".join(b"%d," % number for number in range(1000))
    whole = {
        "gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "br": brotli.compress(text),
        "deflate, gzip": gzip.compress(zlib.compress(text)),
    }
    return {coding: body[:-9] for coding, body in whole.items()}


def raw(data: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(data)


def coded(coding: str, body: bytes) -> Callable[[socket.socket], None]:
    length = f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return raw(HEAD + length + body)


def chunked(*lines: bytes) -> Callable[[socket.socket], None]:
    return raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")


CASES: dict[str, tuple[Callable[[socket.socket], None], tuple[str, str | None]]] = {
    "chunks with extensions and trailers": (chunked(b"6;a=b", BODY[:6], b"a", BODY[6:], b"0", b"Trailer: 1"), GOOD),
    "chunks in capital hex": (chunked(b"10", BODY, b"0"), GOOD),
    "no reason phrase": (raw(b"HTTP/1.1 200\r\nContent-Length: 16\r\n\r\n" + BODY), GOOD),
    "header names in lower case": (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n" + BODY), GOOD),
    "HTTP/1.0": (raw(b"HTTP/1.0 200 OK\r\nContent-Length: 16\r\n\r\n" + BODY), GOOD),
    "Connection: close": (raw(HEAD + b"Connection: close\r\nContent-Length: 16\r\n\r\n" + BODY), GOOD),
    "header folded over two lines": (raw(HEAD + b"X-A: one\r\n two\r\nContent-Length: 16\r\n\r\n" + BODY), GOOD),
    "empty body": (raw(HEAD + b"Content-Length: 0\r\n\r\n"), GOOD),
    "garbage after the response": (raw(HEAD + b"Content-Length: 16\r\n\r\n" + BODY + b"GARBAGE"), GOOD),
    "second response that nobody asked for": (raw((HEAD + b"Content-Length: 16\r\n\r\n" + BODY) * 2), GOOD),
    "status without a body": (raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 16\r\n\r\n"), GOOD),
    "gzip in two members": (coded("gzip", gzip.compress(BODY[:7]) + gzip.compress(BODY[7:])), GOOD),
    "deflate without its header": (coded("deflate", zlib.compress(BODY)[2:-4]), GOOD),
    "unknown coding": (coded("rot13", BODY), GOOD),
    "codings on top of each other": (coded("deflate, gzip", gzip.compress(zlib.compress(BODY))), GOOD),
    "gzip with padding": (coded("gzip", gzip.compress(BODY) + bytes(9)), GOOD),
    "coding of nothing": (coded("gzip", b""), GOOD),
    **{f"cut off {coding}": (coded(coding, body), CUT_OFF) for coding, body in cut_off().items()},
    "server error": (raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"), ("UNHEALTHY", "http_status")),
    "negative chunk length": (chunked(b"-5", BODY, b"0"), ("UNHEALTHY", "http_malformed")),
    "no HTTP version": (raw(b"HELLO 200 OK\r\n\r\n"), ("UNHEALTHY", "http_malformed")),
    "conflicting lengths": (
        raw(HEAD + b"Content-Length: 16\r\nContent-Length: 3\r\n\r\n" + BODY),
        ("UNHEALTHY", "http_malformed"),
    ),
    "negative length": (raw(HEAD + b"Content-Length: -1\r\n\r\n" + BODY), ("UNHEALTHY", "http_malformed")),
    "length that is no number": (raw(HEAD + b"Content-Length: ten\r\n\r\n" + BODY), ("UNHEALTHY", "http_malformed")),
    "body beyond its limit": (
        raw(HEAD + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000),
        ("UNHEALTHY", "body_too_large"),
    ),
}
"""Name -> what the server does, and status and reason."""

DIFFERENCES: dict[str, dict[str, Any]] = {
    "negative length": {"urllib3": GOOD, "why": "http.client takes a negative length for none and reads to the end"},
    "length that is no number": {"urllib3": GOOD, "why": "http.client ignores it and reads to the end"},
    "negative chunk length": {
        "urllib3": ("UNHEALTHY", "connection_closed"),
        "why": "http.client takes it for a length that is not reached",
    },
    "interim": {
        "urllib3": ("UNHEALTHY", "http_status"),
        "why": "http.client takes 103 for the reply",
    },
    "drip_head": {"urllib3": ("UNHEALTHY", "first_byte_timeout"), "why": "http.client does not say when bytes come"},
}
"""What urllib3 as it comes makes of a reply where the fast parser is stricter or knows more."""


def rest(name: str, url: str, **options: Any) -> Server:
    values = {"url": url, "timeout": DEADLINE_S, "connect_timeout": 1.0, "max_body": 100_000, **options}
    return Server(name=name, probes={"rest": RestOptions(**values)})


def only(check: CheckResult) -> ProbeResult:
    (probe,) = check.probes
    return probe


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, CheckResult]]:
    """Every case and every fault over both ways, by "way: case"."""
    with ExitStack() as stack:
        urls = {name: stack.enter_context(FaultServer(does)).url() for name, (does, _) in CASES.items()}
        urls |= {mode: stack.enter_context(FaultServer(mode)).url() for mode in MODES}
        yield check_all([rest(f"{way}: {name}", url, http=way) for way in WAYS for name, url in urls.items()])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*CASES, *EXPECTED])
def test_reply_means_the_same_over_both_ways(found: dict[str, CheckResult], name: str, way: str) -> None:
    expected = CASES[name][1] if name in CASES else EXPECTED[name][:2]
    expected = DIFFERENCES.get(name, {}).get(way, expected)
    probe = only(found[f"{way}: {name}"])
    assert (probe.status, probe.reason) == expected, probe.detail


@pytest.mark.parametrize("name", ["ok", "gzip", "until_closed", "no_content", "chunks in capital hex"])
def test_facts_are_the_same_over_both_ways(found: dict[str, CheckResult], name: str) -> None:
    fast, plain = (only(found[f"{way}: {name}"]) for way in WAYS)
    for fact in ("http_status", "received_bytes", "connections_opened", "reused", "attempts"):
        assert getattr(fast, fact) == getattr(plain, fact), fact
    assert {"dns", "connect", "wait"} <= plain.stages_us.keys()


@pytest.mark.parametrize("way", WAYS)
def test_both_ways_keep_their_connections(way: str) -> None:
    with RestServer({"/": Scripted()}) as server:
        results = check_all([rest(f"s{number}", server.url("/"), http=way) for number in range(20)], concurrency=1)
        assert server.connections == 1
    assert sorted(only(check).reused for check in results.values()) == [False] + [True] * 19


@pytest.mark.parametrize("way", WAYS)
def test_head_and_redirects_over_both_ways(way: str) -> None:
    routes = {"/": Scripted(), "/moved": Scripted(status=302, headers={"Location": "/"}, body=b"")}
    with RestServer(routes) as server:
        results = check_all(
            [
                rest("head", server.url("/"), http=way, method="HEAD"),
                rest("moved", server.url("/moved"), http=way),
                rest("post", server.url("/"), http=way, method="POST", body="{}"),
            ]
        )
    assert {name: only(check).status for name, check in results.items()} == dict.fromkeys(results, "HEALTHY")
    assert only(results["moved"]).redirects == 1


@pytest.mark.parametrize("way", WAYS)
def test_tls_is_verified_over_both_ways(way: str, tmp_path: Path) -> None:
    contexts = certificates(tmp_path)
    trusting = Tls(ca_file=str(tmp_path / "ca.pem"))
    with ExitStack() as stack:
        urls = {name: stack.enter_context(FaultServer("ok", context)).url() for name, context in contexts.items()}
        servers = [rest(name, url, http=way, tls=trusting) for name, url in urls.items()]
        reasons = {name: only(check).reason for name, check in check_all(servers).items()}
    assert (reasons["good"], reasons["expired"], reasons["wrong_host"]) == (None, "tls_expired", "tls_verify")


def test_mcp_session_is_spoken_over_urllib3_too(tmp_path: Path, status: Any) -> None:
    config = tmp_path / "fleet.yaml"
    with McpServer() as server:
        mcp = {"url": server.url(), "http": "urllib3"}
        config.write_text(yaml.safe_dump({"servers": [{"name": "a", "mcp": mcp}]}))
        assert status("check", config).returncode == 0


def test_proxy_forwards_and_tunnels(tmp_path: Path) -> None:
    contexts = certificates(tmp_path)
    trusting = Tls(ca_file=str(tmp_path / "ca.pem"))
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(password="pass word"))
        plain = stack.enter_context(FaultServer("ok")).url()
        secure = stack.enter_context(FaultServer("ok", contexts["good"])).url()
        address = f"http://user:pass%20word@127.0.0.1:{proxy.port}"
        results = check_all(
            [
                rest("plain", plain, proxy=address),
                rest("secure", secure, proxy=address, tls=trusting),
                rest("expect", plain, proxy=address, expect=Expect(status=(200,))),
            ]
        )
    assert {name: only(check).reason for name, check in results.items()} == dict.fromkeys(results)
    assert sum(line.startswith("CONNECT 127.0.0.1:") for line in proxy.asked) == 1
    assert sum(line.startswith("GET http://127.0.0.1:") for line in proxy.asked) >= 2  # one more where it hung up


def test_proxy_that_refuses_or_is_dead_is_named(tmp_path: Path) -> None:
    contexts = certificates(tmp_path)
    trusting = Tls(ca_file=str(tmp_path / "ca.pem"))
    dead = f"http://127.0.0.1:{closed_port()}"
    with ExitStack() as stack:
        locked, refusing = stack.enter_context(Proxy(password="x")), stack.enter_context(Proxy(refuse=True))
        secure = stack.enter_context(FaultServer("ok", contexts["good"])).url()
        proxies = {
            "dead": dead,
            "locked": f"http://127.0.0.1:{locked.port}",
            "refusing": f"http://127.0.0.1:{refusing.port}",
        }
        servers = [rest(name, secure, proxy=proxy, tls=trusting) for name, proxy in proxies.items()]
        results = {name: only(check) for name, check in check_all(servers).items()}
    assert {name: probe.reason for name, probe in results.items()} == {
        "dead": "connect_refused",
        "locked": "connect_failed",
        "refusing": "connect_failed",
    }
    assert "proxy" in (results["dead"].detail or "")
    assert "407" in (results["locked"].detail or "")
    assert "403" in (results["refusing"].detail or "")


def test_password_of_a_proxy_is_shown_nowhere(
    tmp_path: Path, status: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    secret = "tulip-9137-secret"
    config = tmp_path / "fleet.yaml"
    proxy = f"http://user:{secret}@127.0.0.1:{closed_port()}"
    config.write_text(
        yaml.safe_dump({"servers": [{"name": "a", "rest": {"url": "http://h.invalid/", "proxy": proxy}}]})
    )
    for arguments in (["--format", "json", "-vv"], ["--format", "csv"], []):
        done = status("check", config, *arguments)
        assert done.returncode == 2
        assert secret not in done.stdout + done.stderr
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("history.db*"))
