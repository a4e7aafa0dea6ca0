"""TLS sessions taken up again, counted at the server: when they are, and when they must not be."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from checker.model import Server
from checker.probes.base import ProbeFailure
from checker.probes.options import Tls
from checker.probes.rest import RestOptions
from checker.worker.transport import tls as transport_tls
from checker.worker.transport.tls import TlsContexts, certificate_expiry, keep_session
from fleets import checked, rest_fleet
from servers_faults import OK, FaultServer, certificates

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
RESUMED, FULL = True, False


@contextmanager
def tls_server(context: ssl.SSLContext, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[Any]:
    """A server that closes after each answer; ``handshakes`` tells of each whether it was resumed."""
    context.minimum_version = context.maximum_version = version
    handshakes: list[bool] = []

    def answer(sock: Any) -> None:
        handshakes.append(sock.session_reused)
        sock.sendall(OK)

    with FaultServer(answer, context) as server:
        yield SimpleNamespace(url=server.url(), port=server.port, handshakes=handshakes)


@pytest.fixture
def trusted(tmp_path: Path) -> Tls:
    """What trusts all certificates of `certificates` but the stranger's."""
    return Tls(ca_file=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("version", VERSIONS)
def test_session_of_a_server_is_taken_up_by_its_next_check(
    tmp_path: Path, trusted: Tls, version: ssl.TLSVersion
) -> None:
    with tls_server(certificates(tmp_path)["good"], version) as server:
        found = checked(rest_fleet([server.url], 10, tls=trusted), concurrency=1)
    assert server.handshakes == [FULL, *[RESUMED] * 9]
    assert (found.pool.tls_handshakes, found.pool.tls_resumed) == (10, 9)
    assert set(found.reasons.values()) == {None}
    expiries = {check.probes[0].certificate_expires_at_ms for check in found.checks.values()}
    assert len(expiries) == 1
    assert None not in expiries, "a resumed session knows the certificate too"


@pytest.mark.parametrize("version", VERSIONS)
def test_end_of_the_certificate_is_told_although_the_session_is_resumed(
    tmp_path: Path, trusted: Tls, version: ssl.TLSVersion
) -> None:
    with tls_server(certificates(tmp_path)["expires_soon"], version) as server:
        servers = rest_fleet([server.url], 4, tls=trusted, certificate_warning=7 * 86400.0)
        found = checked(servers, concurrency=1)
    assert server.handshakes == [FULL, RESUMED, RESUMED, RESUMED]
    assert set(found.reasons.values()) == {"certificate_expires_soon"}


@pytest.mark.parametrize("version", VERSIONS)
def test_servers_do_not_take_up_the_session_of_another_name(
    tmp_path: Path, trusted: Tls, version: ssl.TLSVersion
) -> None:
    """One address and port under two names, and another port."""
    context = certificates(tmp_path)["good"]
    with tls_server(context, version) as server, tls_server(context, version) as other:
        named = server.url.replace("127.0.0.1", "localhost")
        found = checked(rest_fleet([server.url, named, other.url], 9, tls=trusted), concurrency=1)
    assert set(found.reasons.values()) == {None}
    assert server.handshakes == [FULL, FULL, *[RESUMED] * 4]
    assert other.handshakes == [FULL, RESUMED, RESUMED]


@pytest.mark.parametrize("version", VERSIONS)
def test_settings_do_not_take_up_the_session_of_others(tmp_path: Path, trusted: Tls, version: ssl.TLSVersion) -> None:
    """A session that was made without verification would hide that the certificate is not accepted."""
    settings = [Tls(verify=False), trusted, Tls(), Tls(verify=False, server_name="localhost"), Tls(verify=False)]
    with tls_server(certificates(tmp_path)["unknown_authority"], version) as server:
        options = [RestOptions(url=server.url, tls=one) for one in settings * 2]
        servers = [Server(name=f"s{place}", probes={"rest": one}) for place, one in enumerate(options)]
        found = checked(servers, concurrency=1)
    assert [found.reasons[f"s{place}"] for place in range(10)] == [None, "tls_verify", "tls_verify", None, None] * 2
    assert server.handshakes == [FULL, FULL, RESUMED, RESUMED, RESUMED, RESUMED]
    assert found.pool.tls_handshakes == 6


def test_certificate_that_is_not_accepted_is_refused_each_time(tmp_path: Path, trusted: Tls) -> None:
    contexts = certificates(tmp_path)
    for name, reason in {
        "expired": "tls_expired",
        "wrong_host": "tls_verify",
        "unknown_authority": "tls_verify",
    }.items():
        with tls_server(contexts[name]) as server:
            found = checked(rest_fleet([server.url], 4, tls=trusted), concurrency=1)
        assert set(found.reasons.values()) == {reason}
        assert found.pool.tls_resumed == 0


def test_view_tells_how_many_handshakes_were_resumed(tmp_path: Path, status: Callable[..., Any]) -> None:
    config = tmp_path / "fleet.yaml"
    with tls_server(certificates(tmp_path)["good"]) as server:
        servers = [{"name": f"s{number}", "rest": server.url} for number in range(5)]
        defaults = {"rest": {"tls": {"ca_file": "ca.pem"}}}
        run = {"concurrency": 1, "workers": 1}
        config.write_text(yaml.safe_dump({"run": run, "defaults": defaults, "servers": servers}))
        assert status("check", config).returncode == 0
    said = status("sql", "select kind, tls_handshakes, tls_resumed from pool_history order by kind", "--format", "json")
    assert json.loads(said.stdout) == [
        {"kind": "mcp", "tls_handshakes": 0, "tls_resumed": 0},
        {"kind": "rest", "tls_handshakes": 5, "tls_resumed": 4},
    ]


# From here on the context itself, in this process, because its clock has to be moved.


def connect(context: ssl.SSLContext, server: Any) -> int | None:
    """Make one exchange as a connection does, and give the end of the certificate."""
    plain = socket.create_connection(("127.0.0.1", server.port), 10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        expiry = certificate_expiry(secure)
        secure.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while secure.recv(65536):
            pass
        keep_session(secure)
    return None if expiry is None else expiry.at_ms


def test_there_is_one_context_for_each_distinct_setting(tmp_path: Path, trusted: Tls) -> None:
    certificates(tmp_path)
    contexts = TlsContexts()
    settings = [Tls(), Tls(verify=False), trusted, Tls(server_name="a.example")]
    made = [contexts.get(one) for one in settings]
    assert len(set(map(id, made))) == 4
    assert [contexts.get(Tls(**{name: getattr(one, name) for name in Tls.__slots__})) for one in settings] == made


def test_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailure, match=r"nothing\.pem"):
        TlsContexts().get(Tls(ca_file=str(tmp_path / "nothing.pem")))


@pytest.mark.parametrize("version", VERSIONS)
def test_certificate_is_asked_for_again_after_some_minutes(
    tmp_path: Path, trusted: Tls, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from the handshake that showed the certificate, however often the session was taken up since."""
    now_s = 1000.0
    monkeypatch.setattr(transport_tls, "monotonic", lambda: now_s)
    with tls_server(certificates(tmp_path)["good"], version) as server:
        context = TlsContexts().get(trusted)
        for after_s in (0, 100, 200, 299, 301, 400, 602):
            now_s = 1000.0 + after_s
            assert connect(context, server)
    assert server.handshakes == [FULL, RESUMED, RESUMED, RESUMED, FULL, RESUMED, FULL]


def test_no_session_outlives_its_certificate(tmp_path: Path, trusted: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate ends a minute after the handshake: from then on nobody takes up the session."""
    now_s = 1000.0
    monkeypatch.setattr(transport_tls, "monotonic", lambda: now_s)
    with tls_server(certificates(tmp_path)["good"]) as server:
        context = TlsContexts().get(trusted)
        expires_at_ms = connect(TlsContexts().get(trusted), server) or 0
        monkeypatch.setattr(transport_tls, "time", lambda: expires_at_ms / 1000 - 60)
        for after_s in (0, 59, 61):
            now_s = 1000.0 + after_s
            connect(context, server)
    assert server.handshakes == [FULL, FULL, RESUMED, FULL]


def test_server_that_forgot_its_sessions_gets_a_new_one(tmp_path: Path, trusted: Tls) -> None:
    """As after its restart, or behind a balancer: the certificate it has now is verified."""
    issued = certificates(tmp_path)
    with tls_server(issued["good"]) as server:
        context = TlsContexts().get(trusted)
        connect(context, server)
        connect(context, server)
        port = server.port
    assert server.handshakes == [FULL, RESUMED]
    with FaultServer("ok", issued["wrong_host"], port=port) as replaced, pytest.raises(ssl.SSLCertVerificationError):
        connect(context, replaced)
