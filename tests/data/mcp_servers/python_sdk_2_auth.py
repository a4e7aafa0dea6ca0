"""A server of the Python SDK 2 that asks an authorization server about every token: PORT ISSUER."""

import sys

import httpx2
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings

port, issuer = int(sys.argv[1]), sys.argv[2]
url = f"http://127.0.0.1:{port}/mcp"


class Introspection(TokenVerifier):
    """RFC 7662, as in the SDK's own example."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token, if it is active and for this server."""
        async with httpx2.AsyncClient() as client:
            answer = (await client.post(f"{issuer}/introspect", data={"token": token})).json()
        if not answer.get("active") or answer.get("aud") != url:
            return None
        scopes = answer.get("scope", "").split()
        return AccessToken(
            token=token, client_id=answer["client_id"], scopes=scopes, expires_at=answer["exp"], resource=url
        )


auth = AuthSettings(issuer_url=issuer, resource_server_url=url, required_scopes=["tools:read"])
server = MCPServer("demo", token_verifier=Introspection(), auth=auth)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


server.run(transport="streamable-http", host="127.0.0.1", port=port)
