"""Checks with aiohttp on asyncio's own loop: one ClientSession."""

import asyncio

import aiohttp
from order import Order, read_order, report


async def main(order: Order) -> None:
    numbers, good = iter(range(order.checks)), 0

    async def work() -> None:
        nonlocal good
        for number in numbers:
            async with session.get(order.url(number)) as response:
                body = await response.json()
                good += response.status == 200 and body["status"] == "UP"

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=order.concurrency)) as session:
        await asyncio.gather(*(work() for _ in range(order.concurrency)))
    report(good, "aiohttp")


if __name__ == "__main__":
    asyncio.run(main(read_order()))
