"""An OAuth 2.1 authorization server on loopback that grants client credentials, in three ways to identify a client."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections import Counter
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "fleet-checker", "correct-horse-battery-staple"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST_ASSERTION_S = 3600


class AuthorizationServer:
    """Runs while the context lasts; what is not an argument may be set at any time.

    ``algorithm`` (RS256 or ES256) signs access tokens; ``well_known`` names the one metadata document that is there.
    """

    def __init__(
        self,
        path: str = "",
        methods: tuple[str, ...] = (),
        algorithm: str = "RS256",
        well_known: str = "oauth-authorization-server",
    ) -> None:
        parameters: Any = {"kid": "server", "use": "sig", "alg": algorithm}
        self.algorithm, self.well_known = algorithm, well_known
        self.signs = (
            ECKey.generate_key("P-256", parameters) if algorithm == "ES256" else RSAKey.generate_key(2048, parameters)
        )
        self.client_key = ECKey.generate_key("P-256")
        self.methods = methods or ("client_secret_basic", "client_secret_post", "private_key_jwt")
        self.fault: str | None = None
        """What goes wrong: hang, 500 or html at every path that ends with ``fault_at``; other_issuer in the metadata;
        invalid_client, invalid_scope, server_error or expired at the token endpoint."""
        self.fault_at = ""
        self.life_s = 600
        self.said_life_s: int | None = None
        """Told to the client instead of how long the token is good for."""
        self.scopes: tuple[str, ...] | None = None
        """Scopes the client may ask for; None allows all."""
        self.granted_scopes: tuple[str, ...] | None = None
        """Scopes put into tokens whatever was asked; None grants what was asked."""
        self.requests: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.revoked: set[str] = set()
        self.closing = threading.Event()
        self._seen_ids: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.path = path.rstrip("/")
        self.issuer = f"http://127.0.0.1:{self._server.server_port}{path}"
        self.base = self.issuer.rstrip("/")

    def __enter__(self) -> AuthorizationServer:
        """Start to serve."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def private_key_pem(self) -> str:
        """The client's private key, for ES256."""
        return self.client_key.as_pem(private=True).decode()

    @cached_property
    def client_rsa_key(self) -> RSAKey:
        """The client's other key; made when it is asked for, which takes a moment."""
        return RSAKey.generate_key(2048)

    @property
    def rsa_private_key_pem(self) -> str:
        """The client's other private key, for RS256."""
        return self.client_rsa_key.as_pem(private=True).decode()

    @property
    def metadata_path(self) -> str:
        """Where the metadata is: RFC 8414 section 3.1 puts the issuer's path behind."""
        return f"/.well-known/{self.well_known}{self.path}"

    def metadata(self) -> dict[str, Any]:
        """RFC 8414 metadata."""
        return {
            "issuer": "http://127.0.0.1:9/other" if self.fault == "other_issuer" else self.issuer,
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/jwks",
            "introspection_endpoint": f"{self.base}/introspect",
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": list(self.methods),
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"],
        }

    def grant(self, form: dict[str, str], authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a token request."""
        self.forms.append(form)
        if self.fault in ("invalid_client", "invalid_scope", "server_error"):
            return 400, {"error": self.fault, "error_description": f"{self.fault} as asked"}
        if self.fault == "expired":
            return 401, {"error": "invalid_client", "error_description": "the client secret has expired"}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        ways = (authorization, form.get("client_secret"), form.get("client_assertion"))
        if sum(way is not None for way in ways) > 1:
            return 400, {"error": "invalid_request", "error_description": "one way to identify a client is enough"}
        if not self._identified(form, authorization):
            return 401, {"error": "invalid_client", "error_description": "who are you?"}
        if not form.get("resource"):
            return 400, {"error": "invalid_target", "error_description": "resource is missing (RFC 8707)"}
        if self.scopes is not None and not set(form.get("scope", "").split()) <= set(self.scopes):
            return 400, {"error": "invalid_scope", "error_description": f"there are {' '.join(self.scopes)}"}
        now = int(time.time())
        scope = form.get("scope", "") if self.granted_scopes is None else " ".join(self.granted_scopes)
        claims = {
            "iss": self.issuer,
            "sub": CLIENT,
            "client_id": CLIENT,
            "aud": form["resource"],
            "iat": now,
            "exp": now + self.life_s,
            "scope": scope,
            "jti": secrets.token_hex(8),
        }
        token = jwt.encode({"alg": self.algorithm, "kid": "server"}, claims, self.signs)
        self.tokens.append(token)
        return 200, {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.said_life_s or self.life_s,
            "scope": scope,
        }

    def introspect(self, token: str) -> dict[str, Any]:
        """RFC 7662 answer."""
        if token in self.revoked:
            return {"active": False}
        try:
            claims = jwt.decode(token, self.signs, algorithms=[self.algorithm]).claims
        except (JoseError, ValueError):
            return {"active": False}
        return {"active": claims["exp"] > time.time(), **claims}

    def _identified(self, form: dict[str, str], authorization: str | None) -> bool:
        if authorization and authorization.startswith("Basic ") and "client_secret_basic" in self.methods:
            try:
                name, _, secret = base64.b64decode(authorization[6:], validate=True).decode().partition(":")
            except ValueError:
                return False
            return (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)  # RFC 6749 section 2.3.1
        if "client_secret" in form and "client_secret_post" in self.methods:
            return (form.get("client_id"), form["client_secret"]) == (CLIENT, SECRET)
        if form.get("client_assertion_type") == _ASSERTION and "private_key_jwt" in self.methods:
            return self._asserted(form.get("client_assertion", ""))
        return False

    def _asserted(self, assertion: str) -> bool:
        """Whether an assertion is the client's, addressed to us, in time and not used before (RFC 7523 section 3)."""
        claims: dict[str, Any] = {}
        for algorithm, key in (("ES256", self.client_key), ("RS256", self.client_rsa_key)):
            try:
                claims = jwt.decode(assertion, key, algorithms=[algorithm]).claims
            except (JoseError, ValueError):
                continue
        identifier, now, ends = claims.get("jti"), time.time(), claims.get("exp")
        if not isinstance(identifier, str) or identifier in self._seen_ids or not isinstance(ends, int | float):
            return False
        self._seen_ids.add(identifier)
        addressed = claims.get("aud") in (self.issuer, f"{self.base}/token")
        ours = claims.get("iss") == CLIENT and claims.get("sub") == CLIENT
        return addressed and ours and now < ends <= now + _LONGEST_ASSERTION_S


def _handler(server: AuthorizationServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests[self.path] += 1
            if self._is_broken():
                return
            if self.path == server.metadata_path:
                self._say(200, server.metadata())
            elif self.path == f"{server.path}/jwks":
                self._say(200, KeySet([server.signs]).as_dict(private=False))
            else:
                self._say(404, {"error": "not found"})

        def do_POST(self) -> None:
            server.requests[self.path] += 1
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            if self._is_broken():
                return
            if self.path == f"{server.path}/introspect":
                self._say(200, server.introspect(form.get("token", "")))
            elif self.path == f"{server.path}/token":
                self._say(*server.grant(form, self.headers.get("Authorization")))
            else:
                self._say(404, {"error": "not found"})

        def _is_broken(self) -> bool:
            if not self.path.endswith(server.fault_at):
                return False
            if server.fault == "hang":
                server.closing.wait(30)
                self.close_connection = True
            elif server.fault == "500":
                self._say(500, {"error": "on purpose"})
            elif server.fault == "html":
                self._say(200, "<html>Welcome</html>", "text/html")
            return server.fault in ("hang", "500", "html")

        def _say(self, status: int, value: Any, kind: str = "application/json") -> None:
            body = value.encode() if isinstance(value, str) else orjson.dumps(value)
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="token"')
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler
