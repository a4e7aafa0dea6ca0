"""A server of the Python SDK 2: PORT [sse] [stateless] [json], or stdio."""

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


if sys.argv[1] == "stdio":
    server.run(transport="stdio")
elif "sse" in sys.argv:
    server.run(transport="sse", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run(
        transport="streamable-http",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        stateless_http="stateless" in sys.argv,
        json_response="json" in sys.argv,
    )
