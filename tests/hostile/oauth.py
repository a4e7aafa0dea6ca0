"""Faults of an authorization server, and of an MCP server that names one."""

from __future__ import annotations

import json
from typing import Any

from hostile.messages import good
from hostile.peer import Asked, Behaviour, Peer, head

_BLOCK = b" " * 65536
_FLOOD = object()
_SILENT = object()


def _metadata(peer: Peer, **differs: Any) -> dict[str, Any]:
    own = f"http://127.0.0.1:{peer.port}"
    said = {
        "issuer": own,
        "token_endpoint": f"{own}/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "resource": f"{own}/mcp",
        "authorization_servers": [own],
    }
    return {**said, **{name: _filled(value, peer) for name, value in differs.items()}}


def _filled(value: Any, peer: Peer) -> Any:
    return json.loads(json.dumps(value).replace("{trap}", peer.trap))


def _server(metadata: Any = None, token: Any = None, **differs: Any) -> Behaviour:
    """An MCP server that is its own authorization server; what it says there is given, or is good but for that."""

    def behave(peer: Peer) -> None:
        while (asked := peer.asked()) is not None:
            if asked.path.startswith("/.well-known/"):
                if not _say(peer, metadata if metadata is not None else _metadata(peer, **differs)):
                    return
            elif asked.path == "/token":
                if not _say(peer, token if token is not None else {"access_token": "t", "token_type": "Bearer"}):
                    return
            else:
                _guarded(peer, asked)

    return behave


def _say(peer: Peer, what: Any) -> bool:
    """Say it; whether the connection goes on."""
    if what is _SILENT:
        peer.stay()
    elif what is _FLOOD:
        peer.say(head("200 OK", "Content-Type: application/json"))
        peer.flood(_BLOCK)
    elif isinstance(what, str):
        peer.reply(b"", "307 Temporary Redirect", f"Location: {_filled(what, peer)}")
        return True
    else:
        peer.reply(what)
        return True
    return False


def _guarded(peer: Peer, asked: Asked) -> None:
    if asked.headers.get("authorization", "").startswith("Bearer "):
        if "id" in asked.message:
            peer.reply(good(asked.message))
        else:
            peer.reply(b"", "202 Accepted")
        return
    leads = f"http://127.0.0.1:{peer.port}/.well-known/oauth-protected-resource"
    challenge = f'WWW-Authenticate: Bearer resource_metadata="{leads}", scope="admin root"'
    peer.reply(b"{}", "401 Unauthorized", challenge)


_DEEP = b'{"issuer": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
_FAILED = "auth_server auth_rejected"

SERVERS: dict[str, tuple[Behaviour, str]] = {
    "metadata without end": (_server(_FLOOD), _FAILED + " body_too_large"),
    "metadata never comes": (_server(_SILENT), _FAILED + " deadline first_byte_timeout"),
    "metadata that is not JSON": (_server(b"<html>Welcome</html>"), _FAILED),
    "metadata of 100,000 levels": (_server(_DEEP), _FAILED),
    "metadata of other types": (_server({"issuer": 7, "token_endpoint": ["x"], "resource": {}}), _FAILED),
    "metadata of another issuer": (_server(issuer="https://elsewhere.example.net"), _FAILED),
    "metadata of another resource": (_server(resource="{trap}/mcp"), f"{_FAILED} healthy"),
    "metadata that redirects to another origin": (_server("{trap}/metadata"), _FAILED),
    "token endpoint at a link-local address": (_server(token_endpoint="http://169.254.77.77/token"), _FAILED),
    "token endpoint at another origin": (_server(issuer="{trap}", token_endpoint="{trap}/token"), _FAILED),
    "token endpoint that is a file": (_server(token_endpoint="file:///etc/passwd"), _FAILED),
    "token endpoint that redirects": (_server(token="{trap}/token"), _FAILED),
    "token without end": (_server(token=_FLOOD), _FAILED + " body_too_large"),
    "token never comes": (_server(token=_SILENT), _FAILED + " deadline first_byte_timeout"),
    "token that is a list": (_server(token=[1, 2]), _FAILED),
    "token that is a number": (_server(token={"access_token": 7, "token_type": "Bearer"}), _FAILED),
    "token with a line break": (_server(token={"access_token": "a\r\nX: y", "token_type": "Bearer"}), _FAILED),
    "token that lasts for ever": (
        _server(token={"access_token": "t", "token_type": "Bearer", "expires_in": 1e400}),
        f"{_FAILED} healthy",
    ),
}
"""Fault -> the server, and the reasons that are true of it; the configuration names the server itself as issuer."""
