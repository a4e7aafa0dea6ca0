"""What browsers and curl take from a REST service is healthy here, and what they cannot use is not."""

from __future__ import annotations

import gzip
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_http1 import zstd

from checker.errors import ConfigError
from checker.model import Server
from checker.probes.bodies import as_utf8, json_as_utf8
from checker.probes.conditions import JsonCondition, json_unmet
from checker.probes.cookies import Cookies
from checker.probes.rest import Expect, RestOptions
from checker.settings.load import load
from conftest import check_all
from servers_faults import FaultServer


def page(*headers: str, body: bytes = b"ok", status: str = "200 OK") -> bytes:
    """A whole reply; headers are Latin-1, as raw bytes are."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body


class Site:
    """Answers each request by its path and head; keeps what it was asked."""

    def __init__(
        self, answer: Callable[[str, Mapping[str, str]], bytes], context: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._answer, self._context, self._closing = answer, context, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Site:
        import threading

        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing:
                sock.close()
                return
            try:
                self._serve(self._context.wrap_socket(sock, server_side=True) if self._context else sock)
            except OSError:  # the client has seen enough
                pass
            finally:
                sock.close()

    def _serve(self, sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := sock.recv(65536)):
                return
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        path = lines[0].split(" ")[1]
        self.asked.append((path, headers))
        sock.sendall(self._answer(path, headers))
        sock.close()


def rest(name: str, url: str, **options: Any) -> Server:
    return Server(name=name, probes={"rest": RestOptions(url=url, timeout=3.0, **options)})


def half(coded: bytes) -> bytes:
    return coded[: len(coded) // 2]


TEXT = b'{"status": "UP", "rows": "' + bytes(range(0x20, 0x7F)).replace(b'"', b"").replace(b"\\", b"") * 9 + b'"}'
CODED: dict[str, bytes] = {
    "gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
}


def site(path: str, headers: Mapping[str, str]) -> bytes:
    if path.startswith("/half/"):
        coding = path.removeprefix("/half/")
        return page(f"Content-Encoding: {coding}", body=half(CODED[coding]))
    if path == "/cookies":
        if "seen=1" in headers.get("cookie", ""):
            return page(body=headers["cookie"].encode())
        return page("Location: /cookies", "Set-Cookie: seen=1; Path=/", "Set-Cookie: b=2", status="302 Found")
    if path == "/raw":
        return page("Location: /verf\xc3\xbcgbar/\xe9 x", status="302 Found")
    if path == "/locations":
        return page("Location: /ok", "Location: /ok", status="302 Found")
    return {
        "/latin": page("Content-Type: text/html; charset=ISO-8859-1", body="verfügbar".encode("latin-1")),
        "/meta": page("Content-Type: text/html", body=b'<meta charset="gbk"><p>' + "服务正常".encode("gbk")),
        "/utf16": page('Content-Type: application/json; charset="utf-16"', body='{"status": "UP"}'.encode("utf-16")),
        "/bom": page("Content-Type: application/json", body=b'\xef\xbb\xbf{"status": "UP"}'),
        "/big": page(body=b'{"id": 9007199254740993, "longer": 36893488147419103233}'),
        "/several": page("Via: one", "Via: two"),
        "/verf%C3%BCgbar/%E9%20x": page(),
        "/ok": page(),
    }[path]


def test_what_real_clients_take_is_healthy_and_what_they_cannot_use_is_not() -> None:
    up = (JsonCondition(path="$.status", equals="UP"),)
    with ExitStack() as stack:
        server = stack.enter_context(Site(site))
        other = stack.enter_context(Site(lambda path, headers: page("Set-Cookie: c=3")))
        away = stack.enter_context(
            Site(
                lambda path, headers: page(
                    f"Location: http://localhost:{other.port}/", "Set-Cookie: s=1", status="301 M"
                )
            )
        )
        endless = stack.enter_context(FaultServer("endless"))
        names = {"user-agent": "Mozilla/5.0 probe", "ACCEPT": "text/html", "X-Key": "secret-one", "Cookie": "k=1"}
        found = check_all([
            rest("latin", f"{server.url}/latin", expect=Expect(body_regex="^verfügbar$")),
            rest("meta", f"{server.url}/meta", expect=Expect(body_regex="服务正常")),
            rest("utf16", f"{server.url}/utf16", expect=Expect(json=up)),
            rest("bom", f"{server.url}/bom", expect=Expect(json=up, body_regex=r"^\{")),
            rest("big", f"{server.url}/big", expect=Expect(json=(
                JsonCondition(path="$.id", equals=9007199254740993, less_than=9007199254740994),
                JsonCondition(path="$.longer", equals=36893488147419103233, greater_than=36893488147419103232)))),
            rest("nearly", f"{server.url}/big", expect=Expect(json=(
                JsonCondition(path="$.id", greater_than=9007199254740993),))),
            rest("nearly longer", f"{server.url}/big", expect=Expect(json=(
                JsonCondition(path="$.longer", one_of=(36893488147419103232, None)),))),
            rest("several", f"{server.url}/several", expect=Expect(headers={"via": "^two$"})),
            rest("cookies", f"{server.url}/cookies", headers={"cookie": "a=1; seen=0"},
                 expect=Expect(body_regex="^a=1; seen=1; b=2$")),
            rest("cookies by urllib3", f"{server.url}/cookies", http="urllib3"),
            rest("raw", f"{server.url}/raw"),
            rest("locations", f"{server.url}/locations"),
            rest("away", f"{away.url}/", headers=names),
            rest("stream", endless.url(), read_body=False, max_body=1000),
            rest("endless", endless.url(), max_body=1000),
            *(rest(f"half {coding}", f"{server.url}/half/{coding}") for coding in CODED),
        ])  # fmt: skip
    said = {name: (check.status.value, check.reason) for name, check in found.items()}
    broken = {
        "nearly": ("UNHEALTHY", "condition_failed"),
        "nearly longer": ("UNHEALTHY", "condition_failed"),
        "endless": ("UNHEALTHY", "body_too_large"),
        **{f"half {coding}": ("UNHEALTHY", "decode") for coding in CODED},
    }
    assert said == {**dict.fromkeys(said, ("HEALTHY", None)), **broken}, {n: c.detail for n, c in found.items()}
    assert "read_body: false" in (found["endless"].detail or "")
    assert "36893488147419103233" in (found["nearly longer"].detail or "")
    ((_, went_along),) = other.asked
    sent = {name: went_along.get(name) for name in ("user-agent", "accept", "x-key", "cookie")}
    assert sent == {"user-agent": "Mozilla/5.0 probe", "accept": "text/html", "x-key": None, "cookie": None}


@pytest.mark.parametrize(
    ("set_by", "field", "asked_for", "sent"),
    [
        ("http://a.example/x/y", "k=1", "http://a.example/x/z", True),
        ("http://a.example/x/y", "k=1", "http://a.example/xy", False),
        ("http://a.example/x/y", "k=1", "http://b.a.example/x/", False),
        ("http://a.example/", "k=1; Domain=.A.example", "http://b.a.example:81/", True),
        ("http://b.a.example/", "k=1; Domain=a.example", "https://c.a.example/", True),
        ("http://a.example/", "k=1; Domain=other.example", "http://other.example/", False),
        ("http://a.example/", "k=1; Domain=example", "http://b.example/", False),
        ("http://a.example/", "k=1; Domain=ple", "http://xample/", False),
        ("http://localhost/", "k=1; Domain=localhost", "http://localhost:81/", True),
        ("http://127.0.0.1/", "k=1; Domain=0.0.1", "http://127.0.0.1/", False),
        ("https://a.example/", "k=1; Secure; HttpOnly", "http://a.example/", False),
        ("https://a.example/", "k=1; secure", "https://a.example/", True),
        ("http://a.example/", "k=1; Path=/x", "http://a.example/x/y", True),
        ("http://a.example/", "k=1; Path=/x", "http://a.example/xy", False),
        ("http://a.example/", "k=1; Max-Age=0", "http://a.example/", False),
        ("http://a.example/", "k=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.example/", True),
        ("http://a.example/", "k=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "http://a.example/", False),
        ("http://a.example/", "k=1; Expires=tomorrow", "http://a.example/", True),
        ("http://a.example/", "no cookie", "http://a.example/", False),
    ],
)
def test_cookies_go_where_rfc_6265_has_them_go(set_by: str, field: str, asked_for: str, sent: bool) -> None:
    cookies = Cookies()
    cookies.take(set_by, [field])
    assert cookies.header(asked_for) == ("k=1" if sent else None)


@given(st.lists(st.text(max_size=40), max_size=5), st.text(max_size=20))
def test_no_cookie_of_a_server_breaks_the_reader(fields: list[str], path: str) -> None:
    cookies = Cookies()
    cookies.take(f"http://a.example/{path}", fields)
    header = cookies.header(f"http://a.example/{path}")
    assert header is None or len(header) <= 8192


WORDS = {
    "utf-8": "verfügbar 服务",
    "utf-16": "服务正常",
    "utf-16le": "服务正常",
    "utf-16be": "服务正常",
    "us-ascii": "plain",
    "ISO-8859-1": "verfügbar",
    "latin1": "10 €",
    "windows-1251": "работает",
    "koi8-r": "работает",
    "gb2312": "联通镕",
    "GBK": "联通",
    "big5": "正常",
    "x-sjis": "正常①",
    "euc-jp": "正常",
    "euc-kr": "정상",
    "tis-620": "ปกติ",
}
_WRITTEN_AS = {"ISO-8859-1": "cp1252", "latin1": "cp1252", "gb2312": "gbk", "x-sjis": "cp932", "utf-16le": "utf-16-le"}


@pytest.mark.parametrize("charset", WORDS)
def test_text_is_read_in_its_declared_charset(charset: str) -> None:
    body = WORDS[charset].encode(_WRITTEN_AS.get(charset, charset))
    for kind in (f"text/plain;charset={charset}", f"text/html; Charset = '{charset.upper()}' ; x=y"):
        assert as_utf8(body, kind).decode() == WORDS[charset]
        quoted = f'"{WORDS[charset]}"'.encode(_WRITTEN_AS.get(charset, charset))
        assert json_as_utf8(quoted, kind).decode() == f'"{WORDS[charset]}"'


def test_byte_order_mark_wins_and_json_is_utf8_where_its_bytes_are() -> None:
    text = '{"a": "ü"}'
    for codec in ("utf-8-sig", "utf-16", "utf-32"):
        assert as_utf8(text.encode(codec), "text/plain; charset=iso-8859-1").decode() == text
        assert json_as_utf8(text.encode(codec), None).decode() == text
    assert json_as_utf8(text.encode(), "application/json; charset=iso-8859-1").decode() == text
    assert json_as_utf8(text.encode("utf-16-be"), None).decode() == text
    assert json_as_utf8(text.encode("latin-1"), "application/json").decode() == '{"a": "\ufffd"}'


@given(st.binary(max_size=200), st.text(max_size=30))
def test_no_body_and_no_content_type_break_the_reader(body: bytes, label: str) -> None:
    for kind in (None, f"text/html; charset={label}", "application/json; charset=utf-7", "application/xml"):
        as_utf8(body, kind)
        json_as_utf8(body, kind).decode()


def test_whole_numbers_are_compared_exactly_also_in_paths() -> None:
    body = b'{"ids": [{"id": 9007199254740993}, {"id": 18446744073709551617}]}'
    for number in (9007199254740993, 18446744073709551617):
        there = JsonCondition(path=f"$.ids[?@.id == {number}]")
        assert not json_unmet(body, [there, JsonCondition(path="$.ids[*].id", equals=number)])
        assert json_unmet(body, [JsonCondition(path="$.ids[*].id", equals=number + 1)])


@pytest.mark.parametrize("forgotten", ["body_regex:", "max_latency:", "json: [{path: $.x, equals: }]"])
def test_condition_without_a_value_is_told(tmp_path: Path, forgotten: str) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(f"servers: [{{name: a, rest: {{url: 'http://h/', expect: {{{forgotten} }}}}}}]")
    with pytest.raises(ConfigError, match="its value is missing"):
        load(file, None, {})
    file.write_text(
        "defaults: {rest: {expect: {body_regex: up, max_latency: 5s}}}\n"
        "servers: [{name: a, rest: {url: 'http://h/', expect: {body_regex: , max_latency: }}}]"
    )
    assert load(file, None, {}).servers[0].probes["rest"].expect == Expect()
