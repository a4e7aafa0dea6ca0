"""OAuth client credentials against real protected servers and an authorization server that can fail."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    usual = {"trust_on_first_use": True} if "token_url" not in values and "issuer" not in values else {}
    named = {"client_id": CLIENT, "client_secret": Secret(SECRET), "scopes": ("tools:read",)}
    return OAuth(**{**named, **usual, **values})


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
        assert "auth" in probe.stages_us
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
    options = McpOptions(url=url, oauth=secret(), timeout=60.0)
    servers = [Server(name=f"s{n}", probes={"mcp": options}) for n in range(20)]
    assert {check.status for check in check_all(servers).values()} == {"HEALTHY"}
    assert len(issuer.forms) == 1


def test_wrong_secret_gets_no_token_by_a_right_one(
    protected: Callable[[str], str], issuer: AuthorizationServer
) -> None:
    secrets = {"right": SECRET, "wrong": "not-the-secret"}
    servers = [
        Server(
            name=name,
            probes={"mcp": McpOptions(url=protected("python-2"), oauth=secret(client_secret=Secret(one)))},
        )
        for name, one in secrets.items()
    ]
    found = check_all(servers)
    assert [found[name].probes[0].reason for name in secrets] == [None, "auth_rejected"]


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


TRUST = "trust_on_first_use: true, scopes: [tools:read]"


def config(tmp_path: Path, url: str, run: str = "", trust: str = TRUST) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        f"run: {{{run}}}\nservers:\n  - name: a\n    mcp:\n      url: {url}\n"
        f"      oauth: {{client_id: {CLIENT}, client_secret: '${{FLEET_SECRET}}', {trust}}}\n"
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


def test_load_test_renews_the_token_of_a_kept_session(
    tmp_path: Path, protected: Callable[[str], str], issuer: AuthorizationServer, status: Callable[..., Any]
) -> None:
    issuer.said_life_s = 1
    oauth = {"client_id": CLIENT, "client_secret": SECRET, "issuer": issuer.issuer, "scopes": ["tools:read"]}
    plan = tmp_path / "plan.yaml"
    scenario = {"operation": "mcp_list", "rate": 5, "duration": "3s"}
    servers = [{"name": "a", "mcp": {"url": protected("python-2"), "oauth": oauth}}]
    plan.write_text(json.dumps({"servers": servers, "scenarios": {"s": scenario}}))
    done = status("bench", "run", plan, "--no-calibrate", "--live", "off", "--format", "json")
    measured = json.loads(done.stdout)["measured"]
    assert (measured["ok"] > 0, "auth_rejected" in measured["reasons"]) == (True, False)
    assert len(issuer.forms) > 1


class Hostile:
    """An MCP server that asks for a token, and says at other paths what it is told to; keeps every request."""

    def __init__(self, said: Callable[[str], dict[str, tuple[int, dict[str, Any], dict[str, str]]]]) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = {name.lower(): value for name, value in self.headers.items()}
                owner.requests.append((self.command, self.path, sent, body))
                status, document, headers = said(owner.url).get(self.path, (404, {}, {}))
                if self.path == "/mcp" and "authorization" not in sent:
                    status, headers = 401, {"WWW-Authenticate": f'Bearer scope="admin"{owner.challenge}'}
                told = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(told))}.items():
                    self.send_header(name, value)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST = answer  # noqa: N815 # the names that the base class calls

            def log_message(self, *_: object) -> None:
                pass

        self.challenge = ""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Hostile:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def posted(self) -> list[str]:
        """What was posted anywhere but to the MCP endpoint."""
        return [body.decode() for method, path, _, body in self.requests if method == "POST" and path != "/mcp"]


RESOURCE, METADATA = "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"
GRANT = {"access_token": "t0ken-canary-5150", "token_type": "Bearer", "expires_in": 60}
Said = dict[str, tuple[int, dict[str, Any], dict[str, str]]]


def usual(url: str, **changed: Any) -> Said:
    """What an authorization server on the MCP server's own origin says."""
    metadata = {"issuer": url, "token_endpoint": f"{url}/token", **changed}
    named = {"resource": f"{url}/mcp", "authorization_servers": [url]}
    return {RESOURCE: (200, named, {}), METADATA: (200, metadata, {}), "/token": (200, GRANT, {})}


@pytest.mark.parametrize("kind", ["secret", "signed"])
def test_nothing_is_sent_to_an_authorization_server_that_only_the_server_names(
    kind: str, issuer: AuthorizationServer
) -> None:
    key = {"client_secret": None, "private_key": Secret(issuer.private_key_pem)} if kind == "signed" else {}
    with Hostile(usual) as other:
        named = {"authorization_servers": [other.url]}
        with Hostile(lambda url: {**usual(url), RESOURCE: (200, {"resource": f"{url}/mcp", **named}, {})}) as server:
            probe = check(f"{server.url}/mcp", secret(trust_on_first_use=False, **key))
            assert (server.posted, other.requests) == ([], [])
    assert (probe.status, probe.reason, probe.failed_stage) == ("DEGRADED", "issuer_not_trusted", "auth")
    assert f"add `issuer: {other.url}` under `oauth:`" in (probe.detail or "")


@pytest.mark.parametrize("names_itself", [True, False])
def test_authorization_server_at_the_servers_own_origin_is_named_by_the_configuration(names_itself: bool) -> None:
    with Hostile(lambda url: {**usual(url), **({} if names_itself else {RESOURCE: (404, {}, {})})}) as server:
        probe = check(f"{server.url}/mcp", secret(trust_on_first_use=False))
        assert len(server.posted) == 1
    assert probe.reason != "issuer_not_trusted"
    with (
        Hostile(usual) as other,
        Hostile(lambda url: usual(url, token_endpoint=f"{other.url}/token")) as server,
    ):
        probe = check(f"{server.url}/mcp", secret(trust_on_first_use=False))
        assert (server.posted, other.requests) == ([], [])
    assert (probe.status, probe.reason) == ("UNHEALTHY", "auth_server")
    assert f"add `token_url: {other.url}/token` under `oauth:`" in (probe.detail or "")


def test_named_issuer_gets_the_credentials_and_configured_scopes_alone() -> None:
    with Hostile(usual) as server:
        probe = check(f"{server.url}/mcp", secret(issuer=server.url, scopes=("read",)))
        (form,) = server.posted
        assert "scope=read" in form
        assert "admin" not in form, "the challenge adds nothing"
        check(f"{server.url}/mcp?x=1", secret(issuer=server.url, scopes=()))
        assert "scope=" not in server.posted[-1]
        assert not any(path == RESOURCE for _, path, *_ in server.requests), "the server is not asked whom to trust"
    assert probe.reason != "issuer_not_trusted"


LIES: dict[str, tuple[Callable[[str], Said], str]] = {
    # what is wrong with the metadata, and part of the detail
    "issuer of somebody else": (lambda url: usual(url, issuer="https://real.example/"), "names another issuer"),
    "no issuer": (lambda url: usual(url, issuer=None), "names another issuer"),
    "issuer in capitals": (lambda url: usual(url, issuer=url.upper()), "names another issuer"),
    "issuer with a path": (lambda url: usual(url, issuer=f"{url}/x"), "names another issuer"),
    "issuer with a user": (lambda url: usual(url, issuer=url.replace("//", "//me@")), "names another issuer"),
    "issuer with a fragment": (lambda url: usual(url, issuer=f"{url}#x"), "names another issuer"),
    "issuer with two slashes": (lambda url: usual(url, issuer=f"{url}//"), "names another issuer"),
    "endpoint is a file": (lambda url: usual(url, token_endpoint="file:///etc/passwd"), "no valid token_endpoint"),
    "endpoint is a list": (lambda url: usual(url, token_endpoint=[url]), "no token_endpoint"),
    "endpoint with a user": (
        lambda url: usual(url, token_endpoint="http://me:pw@127.0.0.1/"),
        "no valid token_endpoint",
    ),
    "endpoint is http elsewhere": (lambda url: usual(url, token_endpoint="http://10.9.9.9/token"), "is not https"),
    "endpoint is link-local": (lambda url: usual(url, token_endpoint="https://169.254.169.254/t"), "link-local"),
    "metadata elsewhere": (
        lambda url: {**usual(url), METADATA: (302, {}, {"Location": f"{url}/elsewhere"})},
        "no metadata",
    ),
    "token of another kind": (
        lambda url: {**usual(url), "/token": (200, {**GRANT, "token_type": "mac"}, {})},
        "type mac",
    ),
    "token of nothing": (lambda url: {**usual(url), "/token": (200, {**GRANT, "access_token": ""}, {})}, "without an"),
    "token that is a line": (
        lambda url: {**usual(url), "/token": (200, {**GRANT, "access_token": "a\r\nX: y"}, {})},
        "without an access_token",
    ),
    "token that no head holds": (
        lambda url: {**usual(url), "/token": (200, {**GRANT, "access_token": "x" * 100_000}, {})},
        "more than 65536 characters",
    ),
    "answer of another issuer": (
        lambda url: {**usual(url), "/token": (200, {**GRANT, "iss": "https://real.example"}, {})},
        "answered for another issuer",
    ),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("trust", ["issuer", "first use"])
def test_metadata_that_does_not_fit_is_refused(lie: str, trust: str) -> None:
    said, detail = LIES[lie]
    with Hostile(said) as server:
        named = {"issuer": server.url} if trust == "issuer" else {}
        probe = check(f"{server.url}/mcp", secret(**named))
        sent = [one for one in server.posted if "client_credentials" in one]
        tokens = [headers for _, path, headers, _ in server.requests if path == "/mcp" and "authorization" in headers]
    assert (probe.status, probe.reason) == ("UNHEALTHY", "auth_server")
    assert detail in (probe.detail or "")
    assert len(sent) == int(lie.startswith(("token ", "answer ")))
    assert tokens == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_token_request_is_not_sent_on(status: int) -> None:
    with (
        Hostile(lambda url: {}) as other,
        Hostile(lambda url: {**usual(url), "/token": (status, {}, {"Location": f"{other.url}/token"})}) as server,
    ):
        probe = check(f"{server.url}/mcp", secret(issuer=server.url))
        assert (len(server.posted), other.requests) == (1, [])
    assert (probe.status, probe.reason) == ("UNHEALTHY", "auth_server")
    assert f"answered HTTP {status}: credentials are not sent on" in (probe.detail or "")


def test_metadata_of_another_resource_is_refused() -> None:
    others = ("https://other.example/mcp", "http://127.0.0.1:1/mcp", "{url}/mcpx", "{url}/mcp/more")
    for resource in (*others, "https://other.examp[e/mcp", "http://127.0.0.1:99999/mcp", ""):
        with Hostile(
            lambda url, r=resource: {**usual(url), RESOURCE: (200, {"resource": r.format(url=url)}, {})}
        ) as server:
            probe = check(f"{server.url}/mcp", secret())
            assert server.posted == []
        assert (probe.reason, "metadata of another resource" in (probe.detail or "")) == ("auth_server", True)


def test_slash_at_the_end_is_no_other_issuer() -> None:
    for given, said in (("", "/"), ("/", "")):
        with Hostile(lambda url, s=said: usual(url, issuer=url + s)) as server:
            check(f"{server.url}/mcp", secret(issuer=server.url + given))
            assert len(server.posted) == 1


def test_issuer_is_pinned_on_first_use_and_another_one_is_refused(tmp_path: Path, status: Callable[..., Any]) -> None:
    names: list[str] = []
    with (
        Hostile(usual) as second,
        Hostile(
            lambda url: {**usual(url), RESOURCE: (200, {"resource": f"{url}/mcp", "authorization_servers": names}, {})}
        ) as server,
    ):
        names[:] = [server.url, second.url]
        file = config(tmp_path, f"{server.url}/mcp")
        env = {"FLEET_SECRET": SECRET}
        status("check", file, env=env)
        assert (len(server.posted), len(second.posted)) == (1, 0), "the first of several"
        listed = json.loads(status("cache", "list", "oauth_issuer", "--format", "json").stdout)["entries"]
        assert [(one["key"], one["value"]) for one in listed] == [(f"{server.url}/mcp", server.url)]
        names[:] = [second.url, server.url]
        status("check", file, env=env)
        assert (len(server.posted), len(second.posted)) == (2, 0), "it stays with the one that is pinned"
        names[:] = [second.url]
        assert status("cache", "clear", "--yes").returncode == 0
        done = status("check", file, "--format", "json", env=env)
        assert (len(server.posted), len(second.posted)) == (2, 0)
        (probe,) = json.loads(done.stdout)["checks"][0]["probes"]
        assert (probe["status"], probe["reason"]) == ("DEGRADED", "issuer_not_trusted")
        accept = f"mcp-status cache clear oauth_issuer --key {server.url}/mcp"
        assert accept in probe["detail"]
        assert status(*accept.split()[1:], "--yes").returncode == 0
        status("check", file, env=env)
        assert (len(server.posted), len(second.posted)) == (2, 1)


def test_config_without_an_issuer_is_warned_of(tmp_path: Path, status: Callable[..., Any]) -> None:
    done = status("config", "validate", config(tmp_path, "http://h/mcp", trust="key_id: k"), env={"FLEET_SECRET": "x"})
    assert done.returncode == 0
    assert (
        "a.mcp.oauth: credentials will be sent to an authorization server at the server's own origin alone"
        in done.stderr
    )
    assert (
        "credentials"
        not in status("config", "validate", config(tmp_path, "http://h/mcp"), env={"FLEET_SECRET": "x"}).stderr
    )
    for wrong in ("issuer: 'https://me@h/'", "issuer: 'https://h/?a'", "issuer: 'https://h/#a'", "issuer: h"):
        done = status("config", "validate", config(tmp_path, "http://h/mcp", trust=wrong), env={"FLEET_SECRET": "x"})
        assert done.returncode == 3
        assert "oauth.issuer" in done.stderr


@pytest.mark.parametrize("broken", ["", "invalid_client", "hang"])
def test_no_secret_reaches_any_output(
    broken: str,
    tmp_path: Path,
    protected: Callable[[str], str],
    issuer: AuthorizationServer,
    status: Callable[..., Any],
) -> None:
    issuer.fault = broken or None
    trusting = {"trust_on_first_use": True, "scopes": ["tools:read"]}
    file = tmp_path / "fleet.yaml"
    mcp = {
        "url": protected("python-2"),
        "timeout": "2s",
        "oauth": {"client_id": CLIENT, "client_secret": SECRET, **trusting},
    }
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
        {"client_id": CLIENT, "client_secret_file": "secret", "issuer": issuer.issuer, "scopes": ["tools:read"]},
        {
            **{"client_id": CLIENT, "private_key_file": "key.pem", "algorithm": "ES256"},
            **{"issuer": issuer.issuer, "scopes": ["tools:read"]},
        },
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
