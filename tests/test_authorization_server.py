"""The authorization server of the tests and the servers it protects, seen by requests and tokens made by hand."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from authorization_server import CLIENT, SECRET, AuthorizationServer
from conftest import missing
from real_servers import PROTECTED, NotInstalled, running

RESOURCE = "http://127.0.0.1:1/mcp"
BASIC = {"Authorization": f"Basic {b64encode(f'{CLIENT}:{SECRET}'.encode()).decode()}"}
POST: dict[str, Any] = {"client_id": CLIENT, "client_secret": SECRET}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def issuer() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server


def metadata(server: AuthorizationServer) -> Any:
    return requests.get(f"{server.issuer}/.well-known/oauth-authorization-server", timeout=5).json()


def ask(server: AuthorizationServer, headers: dict[str, str] | None = None, **form: Any) -> tuple[int, Any]:
    """Status and body of a token request; a field that is None is left out."""
    fields = {"grant_type": "client_credentials", "resource": RESOURCE, **form}
    reply = requests.post(f"{server.base}/token", data=fields, headers=headers, timeout=5)
    assert reply.headers["Cache-Control"] == "no-store"
    assert (reply.status_code == 401) == ("WWW-Authenticate" in reply.headers)
    return reply.status_code, reply.json()


def asserted(server: AuthorizationServer, key: Any = None, algorithm: str = "ES256", **claims: Any) -> dict[str, Any]:
    """The fields that identify the client with a signed assertion; a claim that is None is left out."""
    now, identifier = int(time.time()), str(time.time_ns())
    usual = {"iss": CLIENT, "sub": CLIENT, "aud": server.issuer, "iat": now, "exp": now + 60, "jti": identifier}
    written = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    signed = jwt.encode({"alg": algorithm}, written, key or server.client_key)
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}


def claims_of(server: AuthorizationServer, token: str) -> dict[str, Any]:
    """The claims of a token that is signed by a published key."""
    keys = KeySet.import_key_set(requests.get(metadata(server)["jwks_uri"], timeout=5).json())
    return jwt.decode(token, keys, algorithms=[server.algorithm]).claims


def is_active(server: AuthorizationServer, token: str) -> bool:
    reply = requests.post(f"{server.base}/introspect", data={"token": token}, timeout=5)
    return bool(reply.json()["active"])


def test_metadata_names_its_issuer_and_its_endpoints(issuer: AuthorizationServer) -> None:
    found = metadata(issuer)
    assert (found["issuer"], found["token_endpoint"]) == (issuer.issuer, f"{issuer.issuer}/token")
    assert "private_key_jwt" in found["token_endpoint_auth_methods_supported"]


@pytest.mark.parametrize("path", ["/", "/tenant", "/tenant/"])
def test_metadata_of_an_issuer_with_a_path_is_at_the_root(path: str) -> None:
    with AuthorizationServer(path, well_known="openid-configuration") as server:
        root = server.issuer.removesuffix(path)
        found = requests.get(f"{root}/.well-known/openid-configuration{path.rstrip('/')}", timeout=5).json()
        assert found["issuer"] == root + path
        assert found["token_endpoint"] == f"{root}{path.rstrip('/')}/token"
        assert requests.get(f"{root}/.well-known/oauth-authorization-server", timeout=5).status_code == 404
        assert ask(server, BASIC)[0] == 200


def test_published_keys_are_public(issuer: AuthorizationServer) -> None:
    (key,) = requests.get(f"{issuer.issuer}/jwks", timeout=5).json()["keys"]
    assert not {"d", "p", "q"} & key.keys()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_token_says_who_may_do_what_where_and_how_long(algorithm: str) -> None:
    with AuthorizationServer(algorithm=algorithm) as server:
        server.life_s = 30
        status, answer = ask(server, BASIC, scope="tools:read")
        claims = claims_of(server, answer.pop("access_token"))
        assert (status, answer) == (200, {"token_type": "Bearer", "expires_in": 30, "scope": "tools:read"})
        assert (claims["iss"], claims["aud"], claims["client_id"]) == (server.issuer, RESOURCE, CLIENT)
        assert claims["exp"] - claims["iat"] == 30
        assert server.requests["/token"] == 1


def test_client_is_known_by_header_form_and_both_keys(issuer: AuthorizationServer) -> None:
    forms = [
        POST,
        asserted(issuer),
        asserted(issuer, issuer.client_rsa_key, "RS256"),
        asserted(issuer, aud=f"{issuer.issuer}/token"),
    ]
    answers = [ask(issuer, BASIC), *(ask(issuer, **form) for form in forms)]
    assert [status for status, _ in answers] == [200] * 5
    assert len(issuer.tokens) == len(set(issuer.tokens)) == 5


def test_private_keys_are_given_as_pem(issuer: AuthorizationServer) -> None:
    elliptic, rsa = ECKey.import_key(issuer.private_key_pem), RSAKey.import_key(issuer.rsa_private_key_pem)
    assert ask(issuer, **asserted(issuer, elliptic))[0] == ask(issuer, **asserted(issuer, rsa, "RS256"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Basic {b64encode(b'fleet-checker:wrong').decode()}"}, {"Authorization": "Basic \u00fc"}],
)
def test_stranger_is_refused(issuer: AuthorizationServer, headers: dict[str, Any]) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    status, answer = ask(issuer, sent)
    assert (status, answer["error"]) == (401, "invalid_client")
    assert ask(issuer, **{**POST, "client_secret": "wrong"})[0] == 401
    assert issuer.tokens == []


def test_secret_in_the_header_is_encoded_like_a_form(issuer: AuthorizationServer, monkeypatch: Any) -> None:
    monkeypatch.setattr("authorization_server.SECRET", "per%cent +plus")
    for secret, expected in (("per%25cent+%2Bplus", 200), ("per%cent +plus", 401)):
        header = b64encode(f"{CLIENT}:{secret}".encode()).decode()
        assert ask(issuer, {"Authorization": f"Basic {header}"})[0] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "http://elsewhere"},
        {"aud": None},
        {"exp": 1_000_000_000},
        {"exp": 9_000_000_000},
        {"exp": None},
        {"exp": "soon"},
        {"jti": None},
        {"iss": "stranger"},
        {"sub": None},
        {"key": ECKey.generate_key("P-256")},
        {"key": RSAKey.generate_key(2048), "algorithm": "RS256"},
    ],
)
def test_wrong_assertion_is_refused(issuer: AuthorizationServer, wrong: dict[str, Any]) -> None:
    assert ask(issuer, **asserted(issuer, **wrong))[0] == 401


def test_assertion_is_good_once(issuer: AuthorizationServer) -> None:
    fields = asserted(issuer)
    assert [ask(issuer, **fields)[0] for _ in range(2)] == [200, 401]


def test_way_that_is_not_offered_is_refused() -> None:
    with AuthorizationServer(methods=("client_secret_post",)) as server:
        assert metadata(server)["token_endpoint_auth_methods_supported"] == ["client_secret_post"]
        statuses = (ask(server, BASIC)[0], ask(server, **asserted(server))[0], ask(server, **POST)[0])
        assert statuses == (401, 401, 200)


def test_bad_requests_have_their_error(issuer: AuthorizationServer) -> None:
    issuer.scopes = ("tools:read",)
    errors: dict[str, dict[str, Any]] = {
        "invalid_target": {"resource": None},
        "unsupported_grant_type": {"grant_type": "password"},
        "invalid_request": POST,
        "invalid_scope": {"scope": "tools:read tools:write"},
    }
    assert {error: ask(issuer, BASIC, **form)[1]["error"] for error, form in errors.items()} == {e: e for e in errors}


def test_introspection_knows_revoked_and_expired_tokens(issuer: AuthorizationServer) -> None:
    good, revoked = (ask(issuer, BASIC)[1]["access_token"] for _ in range(2))
    issuer.life_s = -1
    expired = ask(issuer, BASIC)[1]["access_token"]
    issuer.revoked.add(revoked)
    assert [is_active(issuer, token) for token in (good, revoked, expired, "nonsense")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("invalid_client", 400, "invalid_client"),
        ("invalid_scope", 400, "invalid_scope"),
        ("server_error", 400, "server_error"),
        ("expired", 401, "invalid_client"),
        ("500", 500, "on purpose"),
    ],
)
def test_token_endpoint_fails_as_told(issuer: AuthorizationServer, fault: str, status: int, error: str) -> None:
    issuer.fault = fault
    answered, answer = ask(issuer, BASIC)
    assert (answered, answer["error"]) == (status, error)
    issuer.fault = None
    assert ask(issuer, BASIC)[0] == 200


def test_fault_is_at_its_path_only(issuer: AuthorizationServer) -> None:
    issuer.fault, issuer.fault_at = "html", "/token"
    assert metadata(issuer)["issuer"] == issuer.issuer
    reply = requests.post(f"{issuer.issuer}/token", timeout=5)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html")


def test_metadata_can_name_another_issuer(issuer: AuthorizationServer) -> None:
    issuer.fault = "other_issuer"
    assert metadata(issuer)["issuer"] != issuer.issuer
    assert ask(issuer, BASIC)[0] == 200


def test_hanging_server_says_nothing_until_it_is_closed() -> None:
    replies: list[bytes] = []

    def listen(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET /jwks HTTP/1.1\r\nHost: a\r\n\r\n")
            replies.append(connection.recv(1000))

    with AuthorizationServer() as server:
        server.fault = "hang"
        listening = threading.Thread(target=listen, args=[int(server.issuer.rpartition(":")[2])])
        listening.start()
        listening.join(0.3)
        assert (listening.is_alive(), server.requests["/jwks"]) == (True, 1)
    listening.join(5)
    assert replies == [b""]


@pytest.fixture(scope="module")
def guard() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server


@pytest.fixture(scope="module")
def protected(guard: AuthorizationServer) -> Iterator[Callable[[str], str]]:
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def url(name: str) -> str:
            if name not in started:
                try:
                    started[name] = stack.enter_context(running(PROTECTED[name], issuer=guard.issuer))
                except NotInstalled as error:
                    missing(str(error))
            return started[name]

        yield url


@pytest.fixture(autouse=True)
def usual(guard: AuthorizationServer) -> None:
    guard.life_s = 600


def initialize(url: str, token: str | None = None) -> requests.Response:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    return requests.post(url, body, headers=headers, timeout=10)


def token_for(guard: AuthorizationServer, resource: str, scope: str = "tools:read") -> str:
    return str(ask(guard, BASIC, resource=resource, scope=scope)[1]["access_token"])


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_server_names_its_metadata_and_these_its_issuer(
    name: str, protected: Callable[[str], str], guard: AuthorizationServer
) -> None:
    url = protected(name)
    reply = initialize(url)
    assert reply.status_code == 401
    words = urllib.request.parse_http_list(reply.headers["WWW-Authenticate"].removeprefix("Bearer "))
    challenge = urllib.request.parse_keqv_list(words)
    found = requests.get(challenge["resource_metadata"], timeout=5).json()
    assert found["resource"] == url
    assert [issuer.rstrip("/") for issuer in found["authorization_servers"]] == [guard.issuer]


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_server_takes_a_token_for_itself_alone(
    name: str, protected: Callable[[str], str], guard: AuthorizationServer
) -> None:
    url = protected(name)
    good = initialize(url, token_for(guard, url))
    assert good.status_code == 200
    assert '"serverInfo"' in good.text
    assert initialize(url, token_for(guard, RESOURCE)).status_code == 401
    assert initialize(url, "nonsense").status_code == 401


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_server_refuses_an_expired_token(
    name: str, protected: Callable[[str], str], guard: AuthorizationServer
) -> None:
    guard.life_s = -5
    assert initialize(protected(name), token_for(guard, protected(name))).status_code == 401


def test_introspecting_server_wants_a_scope_and_knows_what_is_revoked(
    protected: Callable[[str], str], guard: AuthorizationServer
) -> None:
    url = protected("python-2")
    weak = initialize(url, token_for(guard, url, scope="other"))
    assert (weak.status_code, "insufficient_scope" in weak.headers["WWW-Authenticate"]) == (403, True)
    token = token_for(guard, url)
    assert initialize(url, token).status_code == 200
    guard.revoked.add(token)
    assert initialize(url, token).status_code == 401
