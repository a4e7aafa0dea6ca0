"""A server of the Python SDK 1: PORT [sse] [stateless] [json], or stdio."""

import sys

from mcp.server.fastmcp import FastMCP

port = 0 if sys.argv[1] == "stdio" else int(sys.argv[1])
server = FastMCP(
    "demo",
    host="127.0.0.1",
    port=port,
    stateless_http="stateless" in sys.argv,
    json_response="json" in sys.argv,
)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


server.run(transport="stdio" if not port else "sse" if "sse" in sys.argv else "streamable-http")
