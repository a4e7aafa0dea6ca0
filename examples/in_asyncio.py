"""Check servers from an asyncio program: the calls block, so they run in a thread.

python examples/in_asyncio.py http://127.0.0.1:8000/health
"""

import asyncio
import sys

from checker.api import Checker


async def main() -> None:
    """Check while the event loop goes on with other work."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with Checker() as checker:
        results = await asyncio.to_thread(checker.check, sys.argv[1:])
    ticking.cancel()
    print(f"{results.status}; the event loop turned meanwhile: {ticks > 0}")


asyncio.run(main())
