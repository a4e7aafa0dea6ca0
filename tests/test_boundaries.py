"""No server leads the checker farther inside than it is: over new connections and kept ones, redirects, and proxies."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import pytest
from msgspec.structs import replace
from proxies import Proxy

from checker.errors import ConfigError
from checker.importers.fetch import address_text
from checker.model import CheckResult, Server
from checker.probes.base import ProbeFailure, Request
from checker.probes.redirects import redirected
from checker.probes.rest import RestOptions
from checker.units import Secret
from conftest import check_all
from servers import RestServer, Scripted

WAYS = ("fast", "urllib3")


@pytest.fixture(scope="module", params=WAYS)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What `boundary_program.py` found in a process that is patched as a worker is."""
    program = Path(__file__).parent / "support" / "boundary_program.py"
    done = subprocess.run(
        [sys.executable, program, request.param], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_kept_connection_is_not_reused_where_a_new_one_could_not_go(found: dict[str, Any]) -> None:
    """A public host to start from is not to be had on loopback: what was reached first is set, all else is real."""
    assert (found["first"], found["kept, named by the config"], found["connections"]) == (200, 200, 1)
    for reached in ("PUBLIC", "PRIVATE", "GUARDED", "unknown"):
        assert found[f"kept, named after {reached}"] == "redirect_blocked"
    assert found["requests"] == 2
    assert found["kept, named after LOOPBACK"] == 200
    assert found["kept, private allowed"] == 200


def test_not_even_this_machine_leads_to_metadata(found: dict[str, Any]) -> None:
    said = {name: reason for name, reason in found.items() if name.startswith("metadata ")}
    assert len(said) == 10
    assert set(said.values()) <= {"redirect_blocked"}


def test_chain_of_hosts_leads_no_farther_inside_than_the_outermost(found: dict[str, Any]) -> None:
    assert found["inside again after a public host"] == "redirect_blocked"


def test_what_a_configured_issuer_names_is_judged_by_where_that_is(found: dict[str, Any]) -> None:
    assert found["named by a configured issuer"] == [200, 200], "also after the server, farther outside, was called"
    assert found["named by the server, aside"] == "redirect_blocked"


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal", "0xa9fea9fe", "[fd00:ec2::254]"])
def test_proxy_is_not_asked_for_what_a_server_may_not_name(host: str) -> None:
    with Proxy() as proxy, RestServer() as server:
        server.paths["/away"] = Scripted(302, headers={"Location": f"http://{host}/latest"})
        found = check(server.url("/away"), proxy=Secret(f"http://127.0.0.1:{proxy.port}"))
        assert (found.status, found.reason) == ("UNHEALTHY", "redirect_blocked")
        assert len(proxy.asked) == 1


def test_redirect_within_a_host_goes_through_a_proxy() -> None:
    with Proxy() as proxy, RestServer() as server:
        server.paths["/away"] = Scripted(302, headers={"Location": "/health"})
        found = check(server.url("/away"), proxy=Secret(f"http://127.0.0.1:{proxy.port}"))
        assert (found.status, found.reason) == ("HEALTHY", None)
        assert len(proxy.asked) == 2


@pytest.mark.parametrize("way", [*WAYS, "proxy"])
def test_redirect_goes_over_a_new_connection_where_the_kept_one_ends(way: Any) -> None:
    """What every kept connection may meet, whether or not it was new for the first request of the check."""
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /health\r\nContent-Length: 0\r\n\r\n"
    with Replies([[redirect, b""], [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]]) as server:
        address = f"http://127.0.0.1:{server.port}"
        options: Any = {"proxy": Secret(address)} if way == "proxy" else {"http": way}
        found = check(f"{address}/away", **options)
    assert (found.status, found.reason, found.probes[0].attempts) == ("HEALTHY", None, 1)
    asked = [path.removeprefix(address) for path in server.asked]
    assert asked == ["/away", "/health", "/health"]


class Replies:
    """Gives each connection its replies in turn, one a request, and closes it; an empty one closes it at once."""

    def __init__(self, connections: list[list[bytes]]) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(connections,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self, connections: list[list[bytes]]) -> None:
        for replies in connections:
            client, _ = self._listener.accept()
            with client, client.makefile("rb") as read:
                for reply in replies:
                    self.asked.append(read.readline().split()[1].decode())
                    while read.readline().strip():
                        pass
                    client.sendall(reply)


def check(url: str, **options: Any) -> CheckResult:
    return check_all([Server(name="a", probes={"rest": RestOptions(url=url, **options)})])["a"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [307, 308])
def test_body_is_not_sent_again_to_another_origin(way: Any, status: int) -> None:
    with RestServer() as other, RestServer() as server:
        server.paths["/away"] = Scripted(status, headers={"Location": other.url("/health")})
        server.paths["/within"] = Scripted(status, headers={"Location": "/health"})
        away = check(server.url("/away"), method="POST", body=Secret('{"s": "c4nary"}'), http=way)
        within = check(server.url("/within"), method="POST", body=Secret('{"s": "c4nary"}'), http=way)
        empty = check(server.url("/away"), method="POST", http=way)
        bare = check(server.url("/away"), http=way)
        assert [path for _, path, *_ in other.requests] == ["/health"], "the one without a body"
    assert (away.status, away.reason) == ("UNHEALTHY", "redirect_blocked")
    assert f"HTTP {status} asks to send the body again" in (away.detail or "")
    assert (empty.status, empty.reason) == ("UNHEALTHY", "redirect_blocked")
    assert (within.status, bare.status) == ("HEALTHY", "HEALTHY")


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirect_that_makes_a_get_of_a_post_goes_to_another_origin_without_body_and_credentials(status: int) -> None:
    with RestServer() as other, RestServer() as server:
        server.paths["/away"] = Scripted(status, headers={"Location": other.url("/health")})
        found = check(server.url("/away"), method="POST", body=Secret("c4nary"), bearer=Secret("c4nary"))
        (request,) = other.requests
    assert found.status == "HEALTHY"
    assert request[0] == "GET"
    assert "c4nary" not in repr(request)


REQUEST = Request("POST", "https://a.example/x", {"Authorization": "Bearer c4nary", "Accept": "a"}, b"{}")


@pytest.mark.parametrize(
    "location",
    [
        *(
            "https://b.example/",
            "https://a.example:8443/",
            "https://a.example./",
            "//b.example/",
            "https://a.example@b/",
        ),
        *("http://a.example/", "ftp://a.example/", "https://[", "https://a.example:port/"),
    ],
)
def test_nothing_is_sent_again_beyond_the_origin(location: str) -> None:
    for status in (307, 308):
        with pytest.raises(ProbeFailure) as refused:
            redirected(REQUEST, status, location, {"Authorization": ""})
        assert refused.value.reason == "redirect_blocked"


def test_same_origin_in_another_spelling_gets_what_was_sent() -> None:
    for location in ("/y", "https://A.EXAMPLE:443/y", "//a.example/y", "https://me:pw@a.example/y"):
        follow = redirected(REQUEST, 308, location, {"Authorization": ""})
        assert (follow.body, follow.headers) == (REQUEST.body, REQUEST.headers)
        assert "@" not in follow.url
    upgraded = redirected(replace(REQUEST, url="http://a.example/x"), 307, "https://a.example/x", {"Authorization": ""})
    assert upgraded.body == REQUEST.body


def refusal(url: str) -> str:
    with pytest.raises(ConfigError) as refused:
        address_text(url)
    return str(refused.value)


def test_import_follows_redirects_without_credentials_of_the_first_address() -> None:
    with RestServer() as other, RestServer() as server:
        server.paths |= {
            "/away": Scripted(302, headers={"Location": other.url("/health").replace("127.0.0.1", "localhost")}),
            "/within": Scripted(302, headers={"Location": "/health"}),
            "/loop": Scripted(302, headers={"Location": "/loop"}),
            "/file": Scripted(302, headers={"Location": "file:///etc/passwd"}),
        }
        for path in ("/away", "/within"):
            assert "UP" in address_text(server.url(path).replace("//", "//me:c4nary@"))
        assert "authorization" in map(str.lower, server.requests[-1][2]), "the same origin"
        assert not any("authorization" in map(str.lower, headers) for _, _, headers, _ in other.requests)
        assert "more than 5 redirects" in refusal(server.url("/loop"))
        assert "no http or https address" in refusal(server.url("/file"))


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]"])
def test_import_is_not_led_to_metadata(host: str) -> None:
    with RestServer() as server:
        server.paths["/away"] = Scripted(302, headers={"Location": f"http://{host}/latest/meta-data/"})
        said = refusal(server.url("/away"))
    assert "link-local or metadata address" in said
    assert said.startswith(f"{server.url('/away')}: ")


def test_import_behind_a_proxy_is_judged_by_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as proxy, RestServer() as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        server.paths["/away"] = Scripted(302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
        assert "link-local or metadata address" in refusal(server.url("/away"))
        assert len(proxy.asked) == 1
