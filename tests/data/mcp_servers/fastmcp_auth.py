"""A server of FastMCP that takes tokens signed by an authorization server: PORT ISSUER."""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth import JWTVerifier, RemoteAuthProvider

port, issuer = int(sys.argv[1]), sys.argv[2]
base = f"http://127.0.0.1:{port}"
verifier = JWTVerifier(jwks_uri=f"{issuer}/jwks", issuer=issuer, audience=f"{base}/mcp")
server = FastMCP("demo", auth=RemoteAuthProvider(verifier, authorization_servers=[issuer], base_url=base))


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


server.run(transport="http", host="127.0.0.1", port=port, show_banner=False)
