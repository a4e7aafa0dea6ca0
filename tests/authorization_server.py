"""An OAuth 2.1 authorization server on loopback that grants client credentials, in three ways to identify a client."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "fleet-checker", "correct-horse-battery-staple"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class AuthorizationServer:
    """Runs while the context lasts; ``fault`` and ``life_s`` may be set at any time."""

    def __init__(self, path: str = "", methods: tuple[str, ...] = ()) -> None:
        self.signs = RSAKey.generate_key(2048, {"kid": "server", "use": "sig", "alg": "RS256"})
        self.client_key = ECKey.generate_key("P-256")
        self.methods = methods or ("client_secret_basic", "client_secret_post", "private_key_jwt")
        self.fault: str | None = None
        self.life_s = 600
        self.granted_scopes: tuple[str, ...] | None = None
        """Scopes put into tokens whatever was asked; None grants what was asked."""
        self.requests: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.revoked: set[str] = set()
        self._seen_ids: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> AuthorizationServer:
        """Start to serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def private_key_pem(self) -> str:
        """The client's private key."""
        return self.client_key.as_pem(private=True).decode()

    def metadata(self) -> dict[str, Any]:
        """RFC 8414 metadata."""
        return {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": list(self.methods),
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
        if not self._identified(form, authorization):
            return 401, {"error": "invalid_client", "error_description": "who are you?"}
        if not form.get("resource"):
            return 400, {"error": "invalid_target", "error_description": "resource is missing (RFC 8707)"}
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
        token = jwt.encode({"alg": "RS256", "kid": "server"}, claims, self.signs)
        self.tokens.append(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.life_s, "scope": scope}

    def introspect(self, token: str) -> dict[str, Any]:
        """RFC 7662 answer."""
        if token in self.revoked:
            return {"active": False}
        try:
            claims = jwt.decode(token, self.signs).claims
        except (JoseError, ValueError):
            return {"active": False}
        return {"active": claims["exp"] > time.time(), **claims}

    def _identified(self, form: dict[str, str], authorization: str | None) -> bool:
        if authorization and authorization.startswith("Basic ") and "client_secret_basic" in self.methods:
            name, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
            return (unquote(name), unquote(secret)) == (CLIENT, SECRET)
        if "client_secret" in form and "client_secret_post" in self.methods:
            return (form.get("client_id"), form["client_secret"]) == (CLIENT, SECRET)
        if form.get("client_assertion_type") == _ASSERTION and "private_key_jwt" in self.methods:
            return self._asserted(form.get("client_assertion", ""))
        return False

    def _asserted(self, assertion: str) -> bool:
        """Whether an assertion is the client's, addressed to us, in time and not used before (RFC 7523 section 3)."""
        try:
            claims = jwt.decode(assertion, self.client_key, algorithms=["ES256"]).claims
        except (JoseError, ValueError):
            return False
        fresh = claims.get("jti") not in self._seen_ids
        self._seen_ids.add(str(claims.get("jti")))
        addressed = claims.get("aud") in (self.issuer, f"{self.issuer}/token")
        ours = claims.get("iss") == CLIENT and claims.get("sub") == CLIENT
        return bool(fresh and addressed and ours and claims.get("exp", 0) > time.time())


def _handler(server: AuthorizationServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests[self.path] += 1
            path = server.issuer.partition("//")[2].partition("/")[2]
            well_known = "/.well-known/oauth-authorization-server" + (f"/{path}" if path else "")
            if self._is_broken():
                return
            if self.path == well_known:
                self._say(200, server.metadata())
            elif self.path.endswith("/jwks"):
                self._say(200, KeySet([server.signs]).as_dict(private=False))
            else:
                self._say(404, {"error": "not found"})

        def do_POST(self) -> None:
            server.requests[self.path] += 1
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            if self._is_broken():
                return
            if self.path.endswith("/introspect"):
                self._say(200, server.introspect(form.get("token", "")))
            else:
                self._say(*server.grant(form, self.headers.get("Authorization")))

        def _is_broken(self) -> bool:
            if server.fault == "hang":
                time.sleep(30)
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
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler
