"""A server of the Python SDK 2: PORT [stateless] [json]."""

import sys

from mcp.server import MCPServer

server = MCPServer("demo")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def search(text: str) -> list[str]:
    """Find nothing."""
    return []


server.run(
    transport="streamable-http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    stateless_http="stateless" in sys.argv,
    json_response="json" in sys.argv,
)
