"""OAuth client credentials against real protected servers and an authorization server that can fail."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from authorization_server import CLIENT, SECRET, AuthorizationServer
from checker.model import ProbeResult, Server
from checker.probes.mcp.options import McpOptions
from checker.probes.oauth.options import OAuth
from checker.units import Secret
from conftest import check_all, missing
from real_servers import PROTECTED, NotInstalled, running

KEY = "k" * 40


@pytest.fixture(scope="module")
def issuer() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server


@pytest.fixture(autouse=True)
def proper(issuer: AuthorizationServer) -> Iterator[None]:
    yield
    issuer.fault, issuer.granted_scopes, issuer.said_life_s = None, None, None
    issuer.forms.clear()


@pytest.fixture(scope="module")
def protected(issuer: AuthorizationServer) -> Iterator[Callable[[str], str]]:
    started: dict[str, Any] = {}

    def url(name: str) -> str:
        if name not in started:
            context = running(PROTECTED[name], issuer=issuer.issuer)
            try:
                started[name] = context, context.__enter__()
            except NotInstalled as error:
                missing(str(error))
        return str(started[name][1])

    yield url
    for context, _ in started.values():
        context.__exit__(None, None, None)


def secret(**values: Any) -> OAuth:
    return OAuth(**{"client_id": CLIENT, "client_secret": Secret(SECRET), **values})


def check(url: str, oauth: OAuth | None, **options: Any) -> ProbeResult:
    probes = {"mcp": McpOptions(url=url, oauth=oauth, timeout=10.0, **options)}
    (probe,) = check_all([Server(name="a", probes=probes)])["a"].probes
    return probe


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_server_asks_for_credentials_and_takes_them(
    name: str, protected: Callable[[str], str], issuer: AuthorizationServer
) -> None:
    url = protected(name)
    without = check(url, None)
    assert (without.status, without.reason) == ("DEGRADED", "auth_required")
    assert without.auth_metadata_url is not None
    for oauth in (
        secret(),
        secret(method="client_secret_post"),
        secret(client_secret=None, private_key=Secret(issuer.private_key_pem)),
    ):
        probe = check(url, oauth)
        assert (probe.status, probe.detail) == ("HEALTHY", None)
        assert probe.stages.auth_us is not None
        assert probe.connections_opened == 1, "the authorization server's connections are not the probe's"
        assert issuer.forms[-1]["resource"] == url


@pytest.mark.parametrize("odd", ["a%b+c d&e=f", "pä€"])
def test_secret_of_any_characters_is_encoded(
    odd: str, protected: Callable[[str], str], issuer: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authorization_server.SECRET", odd)
    for method in ("client_secret_basic", "client_secret_post"):
        probe = check(protected("python-2"), secret(client_secret=Secret(odd), method=method))
        assert (probe.status, probe.detail) == ("HEALTHY", None)


def test_servers_of_one_address_share_a_token(protected: Callable[[str], str], issuer: AuthorizationServer) -> None:
    url = protected("python-2")
    servers = [Server(name=f"s{n}", probes={"mcp": McpOptions(url=url, oauth=secret())}) for n in range(20)]
    assert {check.status for check in check_all(servers).values()} == {"HEALTHY"}
    assert len(issuer.forms) == 1


FAULTS = {
    # what the authorization server does: status, reason, part of the detail
    "invalid_client": ("UNHEALTHY", "auth_rejected", "refused a token: invalid_client"),
    "expired": ("UNHEALTHY", "auth_expired", "the client secret has expired"),
    "invalid_scope": ("DEGRADED", "auth_scope", "invalid_scope"),
    "500": ("UNHEALTHY", "auth_server", "answered HTTP 500"),
    "html": ("UNHEALTHY", "auth_server", "no metadata"),
    "server_error": ("UNHEALTHY", "auth_server", "server_error"),
    "hang": ("UNHEALTHY", "auth_server", "did not answer in time"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_at_the_authorization_server_is_told_apart(
    fault: str, protected: Callable[[str], str], issuer: AuthorizationServer
) -> None:
    issuer.fault = fault
    probes = {"mcp": McpOptions(url=protected("fastmcp-4"), oauth=secret(), timeout=2.0)}
    (probe,) = check_all([Server(name="a", probes=probes)])["a"].probes
    status, reason, detail = FAULTS[fault]
    assert (probe.status, probe.reason, probe.failed_stage) == (status, reason, "auth"), probe.detail
    assert detail in (probe.detail or "")


def test_unreachable_authorization_server_is_told(protected: Callable[[str], str]) -> None:
    probe = check(protected("python-2"), secret(token_url="http://127.0.0.1:9/token"))
    assert (probe.status, probe.reason, probe.failed_stage) == ("UNHEALTHY", "auth_server", "auth")
    assert "http://127.0.0.1:9/token cannot be reached: connect_refused" in (probe.detail or "")


def test_missing_scope_is_no_outage(protected: Callable[[str], str], issuer: AuthorizationServer) -> None:
    issuer.granted_scopes = ("other",)
    probe = check(protected("python-2"), secret())
    assert (probe.status, probe.reason) == ("DEGRADED", "auth_scope")
    assert probe.detail == "HTTP 403: the credentials work, but lack a scope: Required scope: tools:read"


def test_token_for_another_resource_is_refused_once_and_not_asked_for_again(
    protected: Callable[[str], str], issuer: AuthorizationServer
) -> None:
    probe = check(protected("python-2"), secret(resource="http://elsewhere/mcp"))
    assert (probe.status, probe.reason) == ("UNHEALTHY", "auth_rejected")
    assert len(issuer.forms) == 1


def config(tmp_path: Path, url: str, run: str = "") -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        f"run: {{{run}}}\nservers:\n  - name: a\n    mcp:\n      url: {url}\n"
        f"      oauth: {{client_id: {CLIENT}, client_secret: '${{FLEET_SECRET}}'}}\n"
    )
    return file


def test_token_is_kept_between_runs_only_encrypted(
    tmp_path: Path, protected: Callable[[str], str], issuer: AuthorizationServer, status: Callable[..., Any]
) -> None:
    file = config(tmp_path, protected("python-2"), f"token_key: {KEY}")
    for _ in range(2):
        done = status("check", file, env={"FLEET_SECRET": SECRET})
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(issuer.forms) == 1
    issuer.revoked.add(issuer.tokens[-1])
    assert status("check", file, env={"FLEET_SECRET": SECRET}).returncode == 0
    assert len(issuer.forms) == 2, "a token that was refused is renewed"
    other = config(tmp_path, protected("python-2"), f"token_key: {'x' * 40}")
    assert status("check", other, env={"FLEET_SECRET": SECRET}).returncode == 0
    assert len(issuer.forms) == 3, "a token under another key is not used"


def test_token_is_not_kept_without_a_key(
    tmp_path: Path, protected: Callable[[str], str], issuer: AuthorizationServer, status: Callable[..., Any]
) -> None:
    file = config(tmp_path, protected("python-2"))
    for _ in range(2):
        assert status("check", file, env={"FLEET_SECRET": SECRET}).returncode == 0
    assert len(issuer.forms) == 2
    with sqlite3.connect(tmp_path / "history.db") as connection:
        assert connection.execute("select * from cache_entries where category = 'auth_tokens'").fetchall() == []
    connection.close()


def test_short_lived_token_is_renewed_before_it_expires(
    tmp_path: Path, protected: Callable[[str], str], issuer: AuthorizationServer, status: Callable[..., Any]
) -> None:
    issuer.said_life_s = 1
    file = config(tmp_path, protected("fastmcp-4"), f"token_key: {KEY}")
    assert status("check", file, env={"FLEET_SECRET": SECRET}).returncode == 0
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        ends_ms = connection.execute(
            "select expires_at_ms from cache_entries where category = 'auth_tokens'"
        ).fetchone()
    time.sleep(max(0.0, ends_ms[0] / 1000 - 0.1 - time.time()))  # to its last tenth: a quick machine is there too soon
    assert status("check", file, env={"FLEET_SECRET": SECRET}).returncode == 0
    assert len(issuer.forms) == 2


@pytest.mark.parametrize("broken", ["", "invalid_client", "hang"])
def test_no_secret_reaches_any_output(
    broken: str,
    tmp_path: Path,
    protected: Callable[[str], str],
    issuer: AuthorizationServer,
    status: Callable[..., Any],
) -> None:
    issuer.fault = broken or None
    file = tmp_path / "fleet.yaml"
    mcp = {"url": protected("python-2"), "timeout": "2s", "oauth": {"client_id": CLIENT, "client_secret": SECRET}}
    bearer = {"url": protected("fastmcp-4"), "bearer": "canary-bearer-5150"}
    basic = {"url": protected("fastmcp-4"), "basic": {"username": "u", "password": "canary-basic-5150"}}
    key = {"url": protected("fastmcp-4"), "api_key": {"value": "canary-key-5150"}}
    servers = [{"name": name, "mcp": one} for name, one in {"o": mcp, "b": bearer, "p": basic, "k": key}.items()]
    file.write_text(json.dumps({"run": {"token_key": KEY}, "servers": servers}))
    said = ""
    for fmt in ("table", "json", "ndjson", "csv"):
        done = status("check", file, "--format", fmt, "-vv")
        said += done.stdout + done.stderr
    said += status("history", "o", "--format", "json").stdout + status("contract", "o").stdout
    said += status("sql", "select * from probe_history", "--format", "json").stdout
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("history.db*"))
    tokens = {token for token in issuer.tokens if len(token) > 20}
    assert "auth_rejected" in said
    for canary in (SECRET, "canary-bearer-5150", "canary-basic-5150", "canary-key-5150", KEY, *tokens):
        assert canary not in said
        assert canary.encode() not in stored


def test_client_secret_comes_from_a_file(
    tmp_path: Path, protected: Callable[[str], str], issuer: AuthorizationServer, status: Callable[..., Any]
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "key.pem").write_text(issuer.private_key_pem)
    file = tmp_path / "fleet.yaml"
    oauth = [
        {"client_id": CLIENT, "client_secret_file": "secret"},
        {"client_id": CLIENT, "private_key_file": "key.pem", "algorithm": "ES256"},
    ]
    servers = [{"name": f"s{n}", "mcp": {"url": protected("python-2"), "oauth": one}} for n, one in enumerate(oauth)]
    file.write_text(json.dumps({"servers": servers}))
    done = status("check", file)
    assert done.returncode == 0, done.stdout


def test_worker_environment_is_not_needed_for_secrets(
    tmp_path: Path, protected: Callable[[str], str], status: Callable[..., Any]
) -> None:
    """No secret stands on a command line, where every user of the machine can read it."""
    file = config(tmp_path, protected("python-2"), f"token_key: {KEY}")
    environment = {**os.environ, "FLEET_SECRET": SECRET, "MCP_STATUS_DB": str(tmp_path / "h.db")}
    process = subprocess.Popen(
        [sys.executable, "-m", "checker", "check", str(file), "-q"], env=environment, stdout=subprocess.DEVNULL
    )
    seen = ""
    while process.poll() is None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    seen += (entry / "cmdline").read_text()
                except OSError:
                    continue
    assert "checker.worker" in seen
    assert SECRET not in seen
    assert KEY not in seen
