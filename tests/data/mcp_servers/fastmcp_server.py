"""A server of FastMCP with two tools on a page: PORT [TOKEN], or stdio."""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier

auth = StaticTokenVerifier({sys.argv[2]: {"client_id": "demo", "scopes": []}}) if len(sys.argv) > 2 else None
server = FastMCP("demo", auth=auth, list_page_size=2)

for name in ("one", "two", "three", "four", "five"):

    @server.tool(name=name)
    def nothing(text: str) -> str:
        """Give the text back."""
        return text


if sys.argv[1] == "stdio":
    server.run(transport="stdio", show_banner=False)
else:
    server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
