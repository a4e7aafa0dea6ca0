"""Checks with the official MCP SDK: initialize, ping and list_tools, each with an HTTP client of its own or over one.

The documented way makes an HTTP client for every connection; with ``--share`` one serves all, which is the best it can.
"""

import asyncio
import sys

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from order import Order, read_order, report


async def check(url: str, http_client: httpx2.AsyncClient | None) -> bool:
    async with (
        streamable_http_client(url, http_client=http_client) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        await session.send_ping()
        return len((await session.list_tools()).tools) == 5


async def main(order: Order) -> None:
    numbers, good = iter(range(order.checks)), 0

    async def work(shared: httpx2.AsyncClient | None) -> None:
        nonlocal good
        for number in numbers:
            found = await check(order.url(number), shared)  # apart: others add meanwhile
            good += found

    if "--share" in sys.argv:
        limits = httpx2.Limits(max_connections=order.concurrency, max_keepalive_connections=order.concurrency)
        async with httpx2.AsyncClient(limits=limits) as shared:
            await asyncio.gather(*(work(shared) for _ in range(order.concurrency)))
    else:
        await asyncio.gather(*(work(None) for _ in range(order.concurrency)))
    report(good, "mcp", "httpx2")


if __name__ == "__main__":
    asyncio.run(main(read_order()))
