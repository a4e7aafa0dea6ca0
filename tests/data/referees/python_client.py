"""Asks every address on standard input what the official Python client says of its server: a line of JSON each."""

import asyncio
import json
import logging
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

PATIENCE_S = 15.0
AT_ONCE = 4


async def refusal(url: str, lists: list[str]) -> str | None:
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            streamable_http_client(url) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            for one in lists:
                await getattr(session, f"list_{one}")()
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return f"{type(error).__name__}: {error}"[:300]
    return None


async def main() -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str, url: str, lists: list[str]) -> None:
        async with gate:
            sys.stdout.write(json.dumps([name, await refusal(url, lists)]) + "\n")

    await asyncio.gather(*(ask(*one) for one in json.load(sys.stdin)))


logging.disable(logging.CRITICAL)
asyncio.run(main())
