"""A server of the Python SDK 1: PORT [stateless] [json]."""

import sys

from mcp.server.fastmcp import FastMCP

server = FastMCP(
    "demo",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    stateless_http="stateless" in sys.argv,
    json_response="json" in sys.argv,
)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


server.run(transport="streamable-http")
