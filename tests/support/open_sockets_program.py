"""Checks servers that do anything but answer, ends some checks halfway, and tells which sockets are left.

Started with the addresses to check as JSON; prints {"left": sockets that are open, "counted": how many the pools know,
"after": those left when idle ones are closed}.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # everything comes after the patch
import os
import sys
from contextlib import suppress
from time import monotonic
from typing import Any

import gevent

from checker.limits import Limits
from checker.messages import Task
from checker.model import Server
from checker.probes.rest import RestOptions
from checker.worker.checks import ServerChecker


def sockets() -> int:
    """The number of sockets that this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


def main() -> None:
    urls: list[str] = json.loads(sys.argv[1])
    before = sockets()
    nothing_in_background: Any = None
    checker = ServerChecker(Limits(per_origin=50), nothing_in_background)
    options = [RestOptions(url=url, timeout=0.5, connect_timeout=0.3) for url in urls]
    tasks = [Task(server=Server(name=f"s{n}", probes={"rest": one}), memory={}) for n, one in enumerate(options * 8)]
    done = [gevent.spawn(checker.check, task) for task in tasks]
    reasons = {one.get().check.reason for one in done}
    for wait_s in (0.0, 0.001, 0.01, 0.05):  # before the connection, in the middle of it, and while it is waited for
        ended = [gevent.spawn(checker.check, task) for task in tasks]
        gevent.sleep(wait_s)
        gevent.killall(ended)
    pools = checker._shared["rest"].pools
    found = {"left": sockets() - before, "counted": pools.counts.open, "in_use": pools.counts.in_use}
    for origin in pools._origins.values():
        origin.close_idle(monotonic())
    print(
        json.dumps({**found, "after": sockets() - before, "counted_after": pools.counts.open, "reasons": list(reasons)})
    )


if __name__ == "__main__":
    main()
