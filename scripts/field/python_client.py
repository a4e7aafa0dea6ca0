"""The official Python client as a referee: whether it connects to a server and lists its tools.

Runs with the Python of the SDK's own folder. Its argument is JSON, ``url`` or ``command``, ``args``, ``env``, ``cwd``;
the last line it prints is JSON too.
"""

import asyncio
import json
import logging
import sys

from mcp import Client, StdioServerParameters


async def judge(asked):
    if "url" in asked:
        from mcp.client.sse import sse_client

        server = sse_client(asked["url"]) if asked["transport"] == "sse" else asked["url"]
    else:
        server = StdioServerParameters(command=asked["command"], args=asked["args"], env=asked["env"], cwd=asked["cwd"])
    async with Client(server, read_timeout_seconds=asked["seconds"]) as client:
        count = len((await client.list_tools()).tools) if client.server_capabilities.tools is not None else None
        return {"accepts": True, "tools": count, "version": client.protocol_version}


def inner(error):
    """The exception that matters of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    try:
        said = asyncio.run(judge(json.loads(sys.argv[1])))
    except BaseException as error:
        cause = inner(error)
        said = {"accepts": False, "error": f"{type(cause).__name__}: {cause}"[:300]}
    print("\n" + json.dumps(said), flush=True)
